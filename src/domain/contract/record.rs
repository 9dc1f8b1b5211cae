//! What the ledger stores, and under which keys. Everything else it knows is rebuilt from these rows at start.

use super::codec::{Decoder, Encoder};
use crate::domain::stream::Stream;
use crate::domain::stream::key::StreamKey;
use crate::ids::{BalanceId, ClientId, ContractId, NetworkId};
use crate::store::table::{Table, TableKey, TableValue};
use crate::time::Timestamp;

/// Balances in spend order: network, then end, start and id.
pub const BALANCES: Table<BalanceKey, Balance> = Table::new(200, "balances");

/// Contracts without an outcome: open or disputed.
pub const CONTRACTS: Table<ContractId, ContractRecord> = Table::new(202, "contracts");

/// Settled contracts, as blobs by hour and sequence number, for as long as `contracts.archive_days`.
pub const ARCHIVE: Table<(u32, u64), ArchiveBlob> = Table::new(203, "archive");

/// Lifetime credit and use of each network.
pub const CREDITS: Table<NetworkId, Credit> = Table::new(204, "credits");

/// The same per day, kept 400 days. The day leads, so that old ones go as one range.
pub const NETWORK_DAYS: Table<(u32, NetworkId), Credit> = Table::new(205, "network_days");

/// The last period for which a network was given a grant of a kind.
pub const GRANTS: Table<(NetworkId, u8), GrantMarker> = Table::new(206, "grants");

/// Places in the archive that its readers and its retention agree on.
pub const ARCHIVE_MARKS: Table<u8, ArchivePosition> = Table::new(300, "archive_marks");

/// The [`ARCHIVE_MARKS`] row of where the archive begins: what lies before may be deleted already.
pub const ARCHIVE_START: u8 = 0;

/// The [`ARCHIVE_MARKS`] row of the last archive row that the statistics have counted.
pub const COUNTED_UP_TO: u8 = 1;

const FORMAT: u8 = 1;

/// Contracts of format 1 end behind their votes; since format 2 the stream follows.
const CONTRACT_FORMAT: u8 = 2;

/// Key of a balance; its order is the order of spending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BalanceKey {
    /// The network that may spend it.
    pub network_id: NetworkId,
    /// Usable until just before here.
    pub end_time: Timestamp,
    /// Usable from here.
    pub start_time: Timestamp,
    /// Names the balance.
    pub balance_id: BalanceId,
}

impl TableKey for BalanceKey {
    fn encode_into(&self, out: &mut Vec<u8>) {
        let times = (self.end_time.as_millis(), self.start_time.as_millis());
        (self.network_id, times, self.balance_id).encode_into(out);
    }

    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        let (network_id, (end, start), balance_id) = <(NetworkId, (u64, u64), BalanceId)>::decode_from(bytes)?;
        let (end_time, start_time) = (Timestamp::from_millis(end), Timestamp::from_millis(start));
        Some(Self { network_id, end_time, start_time, balance_id })
    }
}

/// A bucket of bytes that a network may spend. Open reservations are not subtracted here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Size at the grant; never changes.
    pub start_bytes: i64,
    /// Bytes not yet settled.
    pub bytes: i64,
    /// Revenue behind the bucket that is shared with providers, nano-cents.
    pub net_revenue: i64,
    /// Revenue behind the bucket that is not shared per byte, nano-cents.
    pub subsidy_net_revenue: i64,
    /// Carries the Pro entitlement until its end, even with no bytes left.
    pub is_pro: bool,
    /// The store purchase that created it.
    pub purchase_token: Option<String>,
}

impl Balance {
    /// Whether revenue stands behind it.
    pub fn is_paid(&self) -> bool {
        self.net_revenue > 0 || self.subsidy_net_revenue > 0
    }
}

impl TableValue for Balance {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.i64(self.start_bytes).i64(self.bytes).i64(self.net_revenue).i64(self.subsidy_net_revenue);
        out.u8(u8::from(self.is_pro));
        out.option(self.purchase_token.as_ref(), |out, token| out.bytes(token.as_bytes()));
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let balance = Self {
            start_bytes: input.i64()?,
            bytes: input.i64()?,
            net_revenue: input.i64()?,
            subsidy_net_revenue: input.i64()?,
            is_pro: input.u8()? != 0,
            purchase_token: input.option(|input| String::from_utf8(input.bytes()?.to_vec()).ok())?,
        };
        input.is_at_end().then_some(balance)
    }
}

/// One end of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    /// The client.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
}

/// Which end of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The sender.
    Source = 0,
    /// The receiver.
    Destination = 1,
}

impl Party {
    /// The opposite end.
    pub fn other(self) -> Self {
        match self {
            Party::Source => Party::Destination,
            Party::Destination => Party::Source,
        }
    }
}

/// What one party counted, added up over its checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Bytes, at most the contract's size.
    pub used_bytes: i64,
    /// No longer a checkpoint.
    pub is_final: bool,
    /// When it was last recorded.
    pub time: Timestamp,
    /// Count of the last report, to recognise the same one sent again.
    pub acked: u64,
    /// The other count of the last report.
    pub unacked: u64,
}

/// A contract that has no outcome yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractRecord {
    /// The sender.
    pub source: Side,
    /// The receiver.
    pub destination: Side,
    /// Granted size.
    pub transfer_bytes: i64,
    /// The contract it replies to; none for a plain contract.
    pub anchor: Option<ContractId>,
    /// Who pays; none for a contract within a network.
    pub payer: Option<NetworkId>,
    /// Share of paid buckets, 0 to 100; 200 when nobody pays.
    pub priority: u32,
    /// The mode whose secret signed it.
    pub provide_mode: u8,
    /// When it was made.
    pub create_time: Timestamp,
    /// When the two reports were found too far apart.
    pub dispute_time: Option<Timestamp>,
    /// Bytes reserved per balance, in spend order; empty when nobody pays or the payer is unlimited.
    pub escrow: Vec<(BalanceId, i64)>,
    /// What the source counted, what the destination counted.
    pub votes: [Option<Vote>; 2],
    /// The stream it entered when it was made.
    pub stream: Option<Stream>,
}

impl ContractRecord {
    /// The vote of a party.
    pub fn vote(&self, party: Party) -> Option<&Vote> {
        self.votes[party as usize].as_ref()
    }

    /// Whether anyone has voted.
    pub fn has_votes(&self) -> bool {
        self.votes.iter().any(Option::is_some)
    }

    /// Whether both parties have voted, be it a checkpoint.
    pub fn has_both_votes(&self) -> bool {
        self.votes.iter().all(Option::is_some)
    }

    /// When a party last voted; the epoch when none has.
    pub fn last_vote(&self) -> Timestamp {
        self.votes.iter().flatten().map(|vote| vote.time).max().unwrap_or(Timestamp::ZERO)
    }

    /// The network that earns what is used.
    pub fn payee(&self) -> NetworkId {
        match self.payee_party() {
            Party::Source => self.source.network_id,
            Party::Destination => self.destination.network_id,
        }
    }

    /// The end that earns what is used: the one whose network does not pay.
    pub fn payee_party(&self) -> Party {
        if self.payer == Some(self.source.network_id) { Party::Destination } else { Party::Source }
    }

    /// Sender and receiver.
    pub fn pair(&self) -> (ClientId, ClientId) {
        (self.source.client_id, self.destination.client_id)
    }

    fn encode_into(&self, out: &mut Encoder) {
        for side in [&self.source, &self.destination] {
            out.id(side.client_id).id(side.network_id);
        }
        out.i64(self.transfer_bytes).u32(self.priority).u8(self.provide_mode).time(self.create_time);
        out.option(self.anchor, Encoder::id).option(self.payer, Encoder::id).option(self.dispute_time, Encoder::time);
        out.u32(self.escrow.len() as u32);
        for (balance, bytes) in &self.escrow {
            out.id(*balance).i64(*bytes);
        }
        for vote in &self.votes {
            out.option(vote.as_ref(), |out, vote| {
                out.i64(vote.used_bytes).u8(u8::from(vote.is_final)).time(vote.time).u64(vote.acked).u64(vote.unacked)
            });
        }
        out.option(self.stream.as_ref(), |out, stream| {
            let between = stream.key.intermediaries(self.source.client_id);
            out.id(stream.id).u8(between.len() as u8);
            between.into_iter().fold(out, Encoder::id)
        });
    }

    /// Reads one of `format`, which is 1 or 2.
    fn decode_from(input: &mut Decoder<'_>, format: u8) -> Option<Self> {
        let side = |input: &mut Decoder<'_>| Some(Side { client_id: input.id()?, network_id: input.id()? });
        let vote = |input: &mut Decoder<'_>| {
            input.option(|input| {
                Some(Vote {
                    used_bytes: input.i64()?,
                    is_final: input.u8()? != 0,
                    time: input.time()?,
                    acked: input.u64()?,
                    unacked: input.u64()?,
                })
            })
        };
        let (source, destination) = (side(input)?, side(input)?);
        let stream = |input: &mut Decoder<'_>| {
            let (id, count) = (input.id()?, input.u8()?);
            let between = (0..count).map(|_| input.id()).collect::<Option<Vec<_>>>()?;
            Some(Stream { id, key: StreamKey::new(source.client_id, &between, destination.client_id) })
        };
        Some(Self {
            source,
            destination,
            transfer_bytes: input.i64()?,
            priority: input.u32()?,
            provide_mode: input.u8()?,
            create_time: input.time()?,
            anchor: input.option(Decoder::id)?,
            payer: input.option(Decoder::id)?,
            dispute_time: input.option(Decoder::time)?,
            escrow: (0..input.u32()?).map(|_| Some((input.id()?, input.i64()?))).collect::<Option<_>>()?,
            votes: [vote(input)?, vote(input)?],
            stream: if format == 1 { None } else { input.option(stream)? },
        })
    }
}

impl TableValue for ContractRecord {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(CONTRACT_FORMAT);
        self.encode_into(&mut out);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, mut input) = Decoder::versioned(bytes).filter(is_contract_format)?;
        let record = Self::decode_from(&mut input, format)?;
        input.is_at_end().then_some(record)
    }
}

fn is_contract_format((found, _): &(u8, Decoder<'_>)) -> bool {
    (1..=CONTRACT_FORMAT).contains(found)
}

/// What a settle took from one balance and gave to the payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// The balance.
    pub balance_id: BalanceId,
    /// Bytes taken.
    pub bytes: i64,
    /// The payee's share of the revenue behind them, nano-cents.
    pub revenue: i64,
}

/// How a contract ended. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By two reports that agree well enough.
    Settled = 0,
    /// By the sweeper.
    Swept = 1,
    /// A dispute, by the operator, at the count of the source.
    ResolvedToSource = 2,
    /// A dispute, by the operator, at the count of the destination.
    ResolvedToDestination = 3,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Settled, Self::Swept, Self::ResolvedToSource, Self::ResolvedToDestination];

    fn decode(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Settled | Self::Swept => "settled",
            Self::ResolvedToSource => "dispute_resolved_to_source",
            Self::ResolvedToDestination => "dispute_resolved_to_destination",
        })
    }
}

/// A contract with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Names the contract.
    pub contract_id: ContractId,
    /// What it was.
    pub contract: ContractRecord,
    /// When it was settled.
    pub close_time: Timestamp,
    /// Bytes it counts for.
    pub used_bytes: i64,
    /// What settled it.
    pub outcome: Outcome,
    /// Only balances that paid something.
    pub payouts: Vec<Payout>,
}

/// Contracts settled in one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveBlob(pub Vec<Settled>);

impl TableValue for ArchiveBlob {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(CONTRACT_FORMAT);
        out.u32(self.0.len() as u32);
        for settled in &self.0 {
            out.id(settled.contract_id);
            settled.contract.encode_into(&mut out);
            out.time(settled.close_time).i64(settled.used_bytes).u8(settled.outcome as u8);
            out.u32(settled.payouts.len() as u32);
            for payout in &settled.payouts {
                out.id(payout.balance_id).i64(payout.bytes).i64(payout.revenue);
            }
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, mut input) = Decoder::versioned(bytes).filter(is_contract_format)?;
        let one = |input: &mut Decoder<'_>| {
            Some(Settled {
                contract_id: input.id()?,
                contract: ContractRecord::decode_from(input, format)?,
                close_time: input.time()?,
                used_bytes: input.i64()?,
                outcome: Outcome::decode(input.u8()?)?,
                payouts: (0..input.u32()?)
                    .map(|_| Some(Payout { balance_id: input.id()?, bytes: input.i64()?, revenue: input.i64()? }))
                    .collect::<Option<_>>()?,
            })
        };
        let settled = (0..input.u32()?).map(|_| one(&mut input)).collect::<Option<_>>()?;
        input.is_at_end().then_some(Self(settled))
    }
}

/// A place in the archive: the key of a row. Rows are only ever added behind all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchivePosition {
    /// Hours since 1970.
    pub hour: u32,
    /// Which row of that hour.
    pub sequence: u64,
}

impl TableValue for ArchivePosition {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.u32(self.hour).u64(self.sequence);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let position = Self { hour: input.u32()?, sequence: input.u64()? };
        input.is_at_end().then_some(position)
    }
}

/// What a network has provided and used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// Bytes it provided to those who paid for them.
    pub provided_bytes: i64,
    /// Its share of the revenue behind them, nano-cents.
    pub provided_revenue: i64,
    /// Bytes it paid for.
    pub used_bytes: i64,
    /// Contracts it earned from.
    pub provided_contracts: u64,
}

impl TableValue for Credit {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.i64(self.provided_bytes).i64(self.provided_revenue).i64(self.used_bytes).u64(self.provided_contracts);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let credit = Self {
            provided_bytes: input.i64()?,
            provided_revenue: input.i64()?,
            used_bytes: input.i64()?,
            provided_contracts: input.u64()?,
        };
        input.is_at_end().then_some(credit)
    }
}

/// Proof that a period's grant was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantMarker {
    /// The first day of the last period granted.
    pub period: u32,
    /// What was granted.
    pub balance_id: BalanceId,
}

impl TableValue for GrantMarker {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.u32(self.period).id(self.balance_id);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let marker = Self { period: input.u32()?, balance_id: input.id()? };
        input.is_at_end().then_some(marker)
    }
}

#[cfg(test)]
mod tests;
