//! Giving a contract its outcome: the payer's balances pay what was used, the rest is released, the payee is credited.

use super::record::{Balance, ContractRecord, Credit, Outcome, Payout, Settled};
use super::state::State;
use crate::ids::{BalanceId, ContractId, NetworkId};

impl State {
    /// Settles at `used` bytes, at most the contract's size. All of it is one batch: outcome, every balance, every
    /// credit, the archive.
    pub(super) fn settle(&mut self, id: ContractId, used: i64, outcome: Outcome) {
        self.unindex_open(id);
        let Some(contract) = self.contracts.remove(&id) else { return };
        let record = contract.record;
        let used = used.clamp(0, record.transfer_bytes);
        if record.anchor.is_some() {
            let reserved: i64 = record.escrow.iter().map(|(_, bytes)| bytes).sum();
            self.pairs.entry(record.pair()).companion_reserved -= reserved;
        }
        let payouts = self.pay_out(&record.escrow, used);
        self.credit(&record, used, &payouts);
        self.remember_close(id, &record, self.now);
        self.remember_outcome(id, self.now, outcome);
        self.changes.contracts.insert(id);
        let settled =
            Settled { contract_id: id, contract: record, close_time: self.now, used_bytes: used, outcome, payouts };
        self.changes.settled.push(settled);
    }

    /// Releases the reservations and takes `used` bytes from their balances, in spend order.
    fn pay_out(&mut self, escrow: &[(BalanceId, i64)], used: i64) -> Vec<Payout> {
        let mut unpaid = used;
        let mut payouts = Vec::new();
        for (balance_id, reserved) in escrow {
            let Some((key, bucket)) = self.balances.by_id(*balance_id) else { continue };
            let bytes = unpaid.min(*reserved);
            unpaid -= bytes;
            bucket.reserved -= reserved;
            if bytes > 0 {
                bucket.balance.bytes -= bytes;
                payouts.push(Payout { balance_id: *balance_id, bytes, revenue: revenue(&bucket.balance, bytes) });
                self.changes.balances.insert(key);
            }
        }
        payouts
    }

    /// Adds what was used to the payee's credit and the payer's use. An unlimited payer reserves nothing but is
    /// metered all the same.
    fn credit(&mut self, record: &ContractRecord, used: i64, payouts: &[Payout]) {
        let Some(payer) = record.payer.filter(|_| used > 0) else { return };
        let revenue = payouts.iter().map(|payout| payout.revenue).sum();
        self.add_credit(payer, Credit { used_bytes: used, ..Credit::default() });
        let provided =
            Credit { provided_bytes: used, provided_revenue: revenue, provided_contracts: 1, ..Credit::default() };
        self.add_credit(record.payee(), provided);
        self.note_unpaid(record.payee());
    }

    pub(super) fn add_credit(&mut self, network: NetworkId, more: Credit) {
        let day = (self.now.day_number(), network);
        for credit in [&mut self.accounts.entry(network).or_default().credit, self.days.entry(day).or_default()] {
            credit.used_bytes = credit.used_bytes.saturating_add(more.used_bytes);
            credit.provided_bytes = credit.provided_bytes.saturating_add(more.provided_bytes);
            credit.provided_revenue = credit.provided_revenue.saturating_add(more.provided_revenue);
            credit.provided_contracts += more.provided_contracts;
        }
        self.changes.credits.insert(network);
        self.changes.days.insert(day);
    }
}

/// The payee's half of the revenue behind `bytes` of a balance, rounded half up once.
fn revenue(balance: &Balance, bytes: i64) -> i64 {
    if balance.start_bytes <= 0 {
        return 0;
    }
    let start = i128::from(balance.start_bytes);
    let exact_times_start = i128::from(balance.net_revenue) * i128::from(bytes);
    ((exact_times_start + start) / (2 * start)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revenue_is_half_the_share_rounded_once() {
        let balance = |net_revenue, start_bytes| Balance { net_revenue, start_bytes, ..Balance::default() };
        assert_eq!(revenue(&balance(1_000, 100), 100), 500);
        assert_eq!(revenue(&balance(1, 100), 100), 1, "half rounds away from zero");
        assert_eq!(revenue(&balance(1, 100), 99), 0);
        assert_eq!(revenue(&balance(5, 0), 1), 0);
        let large = balance(i64::MAX, i64::MAX);
        assert_eq!(revenue(&large, i64::MAX), i64::MAX / 2 + 1);
    }
}
