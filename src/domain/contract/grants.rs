//! Grants: the balances that come with a period, and those that come with a purchase.
//!
//! Each is proven in the commit that makes it, by a marker of its period or by the key of its purchase, so that none is
//! given twice. Never by the balance itself: balances are deleted, and one that was taken back would come again.
//!
//! | grant | how much | from | until just before |
//! |---|---|---|---|
//! | free | `plan.free.bytes` | 00:00 UTC | 01:00 of the next day |
//! | Pro | `plan.pro.bytes` | the first of the month | the second of the next |
//! | referral | `plan.referral.bytes` a link | when it is given | 25 hours later |
//!
//! The free one and the month's are given when somebody looks or spends, and a month's also by the ledger's own task,
//! because tokens say who is Pro. Periods that nobody saw are not made up for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::record::{Balance, GRANTS, GrantMarker};
use super::restore::{PAGE, for_each};
use super::state::State;
use crate::config::contracts::Grant;
use crate::domain::balance::{Market, Subscription};
use crate::domain::error::DomainError;
use crate::ids::{BalanceId, NetworkId, RecordId};
use crate::json_record;
use crate::store::table::Table;
use crate::store::{Store, StoreError};
use crate::time::{DAY, Timestamp};

/// What was given for a key.
pub const GRANT_KEYS: Table<String, Given> = Table::new(209, "grant_keys");

/// Paid periods of subscriptions.
pub const RENEWALS: Table<(NetworkId, RecordId), Renewal> = Table::new(210, "renewals");

/// Daily grants reach this far into the next day, so that there is no gap at midnight.
const DAY_OVERLAP: Duration = Duration::from_secs(3600);

/// Days that a marker is kept after its period.
const MARKER_DAYS: u32 = 40;

/// How long a key is kept after the end of what it gave: longer than anyone sends the same purchase again.
const KEY_KEPT: Duration = Duration::from_secs(400 * 86_400);

/// Longest key.
const MAX_KEY_BYTES: usize = 256;

/// Kinds of grants that come with a period. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Periodic {
    Free = 1,
    Pro = 2,
    Referral = 3,
}

impl Periodic {
    const ALL: [Self; 3] = [Self::Free, Self::Pro, Self::Referral];

    /// When the marker of a period may go: the day after the last on which it is kept.
    fn forget_day(self, period: u32) -> u32 {
        let days = if self == Self::Pro { 31 } else { 1 };
        period + days + MARKER_DAYS
    }
}

/// The last grant of each periodic kind of a network.
#[derive(Debug, Default)]
pub(super) struct Markers([Option<GrantMarker>; 3]);

impl Markers {
    pub(super) fn get(&self, kind: Periodic) -> Option<GrantMarker> {
        self.0[kind as usize - 1]
    }

    fn slot(&mut self, kind: Periodic) -> &mut Option<GrantMarker> {
        &mut self.0[kind as usize - 1]
    }
}

/// What is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sku {
    /// A period of a subscription: for as long as it runs, the network has the month's Pro balance.
    Subscription,
    /// Bytes and nothing else.
    Data,
}

/// A grant that must be given once, however often it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantOnce {
    /// Who gets it.
    pub network_id: NetworkId,
    /// What is bought.
    pub sku: Sku,
    /// Where it was bought.
    pub market: Market,
    /// Names the purchase: 1 to 256 bytes.
    pub key: String,
    /// The balance is usable, or the subscription runs, from here.
    pub start: Timestamp,
    /// Until just before here.
    pub end: Timestamp,
    /// Size of the balance that comes with it; 0 for none.
    pub bytes: i64,
    /// What was earned by the sale, nano-cents. It stands behind the balance that comes with it; behind the months of
    /// Pro when there is none.
    pub revenue: i64,
    /// Whether that balance makes the network Pro.
    pub is_pro: bool,
}

/// What was given for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Who got it.
    pub network_id: NetworkId,
    /// The balance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_id: Option<BalanceId>,
    /// The period of a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_id: Option<RecordId>,
    /// When it ends, unless it was taken back.
    pub end_time: Timestamp,
}
json_record!(Given, 1);

/// How a grant by key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantOutcome {
    /// Given now.
    Granted(Given),
    /// Given before; nothing has changed.
    Already(Given),
    /// The key is empty or too long, the window is empty, an amount is negative, or nothing would be given.
    Malformed,
}

/// A paid period of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// Who bills it.
    pub market: Market,
    /// It runs from here.
    pub start_time: Timestamp,
    /// Until just before here.
    pub end_time: Timestamp,
    /// What stands behind the months of Pro in it, nano-cents.
    pub revenue: i64,
}
json_record!(Renewal, 1);

impl Renewal {
    fn is_active(&self, now: Timestamp) -> bool {
        self.start_time <= now && now < self.end_time
    }

    /// The part of its revenue that falls into a month: over its months they add up to all of it.
    fn revenue_within(&self, start: Timestamp, end: Timestamp) -> i64 {
        let length = self.end_time.since(self.start_time).as_millis() as i128;
        let shared = self.end_time.min(end).since(self.start_time.max(start)).as_millis() as i128;
        (i128::from(self.revenue) * shared).checked_div(length).unwrap_or(0) as i64
    }
}

/// What was granted, as far as it matters for what is granted next.
#[derive(Debug, Default)]
pub(super) struct Grants {
    keys: HashMap<String, Given>,
    /// When each key may be forgotten.
    key_ends: BTreeSet<(Timestamp, String)>,
    renewals: BTreeMap<(NetworkId, RecordId), Renewal>,
    /// When to look at each marker next, in days; a marker that has moved on is looked at again.
    marker_ends: BinaryHeap<Reverse<(u32, u8, NetworkId)>>,
    /// The last day on which every subscription was looked at, and how far that has come today.
    walked: u32,
    walk: Option<(NetworkId, RecordId)>,
}

impl Grants {
    fn of(&self, network: NetworkId) -> impl Iterator<Item = (RecordId, &Renewal)> {
        let (first, last) = (RecordId::new([0; 16]), RecordId::new([0xff; 16]));
        self.renewals.range((network, first)..=(network, last)).map(|((_, id), renewal)| (*id, renewal))
    }

    fn active(&self, network: NetworkId, now: Timestamp) -> impl Iterator<Item = (RecordId, &Renewal)> {
        self.of(network).filter(move |(_, renewal)| renewal.is_active(now))
    }
}

impl Ledger {
    /// Gives what was bought, once per key: the key, the subscription's period and the balance are one commit.
    pub async fn grant_once(&self, grant: GrantOnce) -> Result<GrantOutcome, DomainError> {
        self.run(move |state| state.grant_once(&grant)).await
    }

    /// Ends now what was given for a key, as after a refund, and the month's Pro balance when no other subscription
    /// is left. Says what it was; `None` for a key that gave nothing.
    pub async fn revoke(&self, key: String) -> Result<Option<Given>, DomainError> {
        self.run(move |state| state.revoke(&key)).await
    }

    /// Ends a balance now, as after a refund; what open contracts reserve from it is still theirs. Says whether the
    /// balance exists.
    pub async fn claw_back(&self, balance: BalanceId) -> Result<bool, DomainError> {
        self.run(move |state| state.claw_back(balance)).await
    }

    /// Gives each network its bytes for the links of today, unless it has them; says how many got some.
    pub async fn grant_referrals(&self, bytes: Vec<(NetworkId, i64)>) -> Result<usize, DomainError> {
        let grant = move |state: &mut State| {
            bytes.into_iter().filter(|(network, bytes)| state.grant_referral(*network, *bytes)).count()
        };
        self.run(grant).await
    }
}

impl State {
    /// Gives a network what is due: the month's Pro balance, else the free one of today.
    pub(super) fn grant_due(&mut self, network: NetworkId) {
        self.grant_month(network);
        let Grant::Bytes(bytes) = self.rules.free else { return };
        let start = self.now.start_of_day();
        if self.has_period(network, Periodic::Free, start) || self.balances.is_pro(network, self.now) {
            return;
        }
        let bytes = i64::try_from(bytes.0).unwrap_or(i64::MAX);
        let balance = Balance { start_bytes: bytes, bytes, ..Balance::default() };
        self.grant_period(network, Periodic::Free, start, start + DAY + DAY_OVERLAP, balance);
    }

    /// Gives this month's Pro balance to a network with a subscription.
    fn grant_month(&mut self, network: NetworkId) {
        if self.grants.active(network, self.now).next().is_none() {
            return;
        }
        let (start, next) = (self.now.start_of_month(), self.now.start_of_next_month());
        let shares = self.grants.active(network, self.now).map(|(_, renewal)| renewal.revenue_within(start, next));
        let subsidy_net_revenue = shares.fold(0, i64::saturating_add);
        let bytes = self.rules.pro_bytes;
        let balance = Balance { start_bytes: bytes, bytes, subsidy_net_revenue, is_pro: true, ..Balance::default() };
        self.grant_period(network, Periodic::Pro, start, next + DAY, balance);
    }

    /// Gives the month to every network with a subscription, once a day, `limit` subscriptions at a time; says whether
    /// there are more.
    pub(super) fn grant_months(&mut self, limit: usize) -> bool {
        let today = self.now.day_number();
        if self.grants.walked >= today {
            return false;
        }
        let after = self.grants.walk.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let rows = self.grants.renewals.range((after, std::ops::Bound::Unbounded)).take(limit);
        let rows: Vec<_> = rows.map(|(key, renewal)| (*key, renewal.end_time)).collect();
        for (key, end_time) in &rows {
            match *end_time > self.now {
                true => self.grant_month(key.0),
                // Its row stays, as the record of a sale.
                false => drop(self.grants.renewals.remove(key)),
            }
        }
        let is_more = rows.len() == limit;
        self.grants.walk = rows.last().map(|(key, _)| *key).filter(|_| is_more);
        if !is_more {
            self.grants.walked = today;
        }
        is_more
    }

    /// Gives today's bytes for links between networks; says whether it did.
    pub(super) fn grant_referral(&mut self, network: NetworkId, bytes: i64) -> bool {
        let balance = Balance { start_bytes: bytes, bytes, ..Balance::default() };
        self.grant_period(network, Periodic::Referral, self.now, self.now + DAY + DAY_OVERLAP, balance)
    }

    /// Gives the balance of a period unless the network had it; says whether it did.
    fn grant_period(
        &mut self,
        network: NetworkId,
        kind: Periodic,
        start: Timestamp,
        end: Timestamp,
        balance: Balance,
    ) -> bool {
        if self.has_period(network, kind, start) {
            return false;
        }
        let Some(balance_id) = self.grant(network, start, end, balance) else { return false };
        self.mark_period(network, kind, GrantMarker { period: start.day_number(), balance_id });
        true
    }

    /// Whether a network had the period that begins at `start`, or a later one.
    pub(super) fn has_period(&self, network: NetworkId, kind: Periodic, start: Timestamp) -> bool {
        let marker = self.accounts.get(&network).and_then(|account| account.markers.get(kind));
        marker.is_some_and(|marker| marker.period >= start.day_number())
    }

    /// Notes that a network has had a period.
    pub(super) fn mark_period(&mut self, network: NetworkId, kind: Periodic, marker: GrantMarker) {
        let slot = self.accounts.entry(network).or_default().markers.slot(kind);
        if slot.replace(marker).is_none() {
            self.grants.marker_ends.push(Reverse((kind.forget_day(marker.period), kind as u8, network)));
        }
        self.changes.put(&GRANTS, &(network, kind as u8), &marker);
    }

    pub(super) fn grant_once(&mut self, grant: &GrantOnce) -> GrantOutcome {
        if let Some(given) = self.grants.keys.get(&grant.key) {
            return GrantOutcome::Already(*given);
        }
        let is_key = (1..=MAX_KEY_BYTES).contains(&grant.key.len());
        let is_empty = grant.sku == Sku::Data && grant.bytes == 0;
        if !is_key || is_empty || grant.end <= grant.start || grant.bytes < 0 || grant.revenue < 0 {
            return GrantOutcome::Malformed;
        }
        let network_id = grant.network_id;
        let balance = Balance {
            start_bytes: grant.bytes,
            bytes: grant.bytes,
            net_revenue: grant.revenue,
            is_pro: grant.is_pro,
            ..Balance::default()
        };
        let balance_id = self.grant(network_id, grant.start, grant.end, balance);
        let renewal_id = (grant.sku == Sku::Subscription).then(|| {
            let id: RecordId = self.new_id();
            let revenue = if balance_id.is_some() { 0 } else { grant.revenue };
            let renewal = Renewal { market: grant.market, start_time: grant.start, end_time: grant.end, revenue };
            self.grants.renewals.insert((network_id, id), renewal);
            self.changes.put(&RENEWALS, &(network_id, id), &renewal);
            id
        });
        let given = Given { network_id, balance_id, renewal_id, end_time: grant.end };
        self.grants.key_ends.insert((grant.end + KEY_KEPT, grant.key.clone()));
        self.grants.keys.insert(grant.key.clone(), given);
        self.changes.put(&GRANT_KEYS, &grant.key, &given);
        self.grant_month(network_id);
        GrantOutcome::Granted(given)
    }

    pub(super) fn revoke(&mut self, key: &str) -> Option<Given> {
        let given = *self.grants.keys.get(key)?;
        if let Some(balance) = given.balance_id {
            self.claw_back(balance);
        }
        if let Some(id) = given.renewal_id {
            self.end_renewal((given.network_id, id));
        }
        Some(given)
    }

    /// Ends a subscription's period, and the month's balance with the last of them. The month is then open again for
    /// whoever subscribes anew.
    fn end_renewal(&mut self, key: (NetworkId, RecordId)) {
        let now = self.now;
        let Some(renewal) = self.grants.renewals.get_mut(&key).filter(|renewal| renewal.end_time > now) else { return };
        renewal.end_time = now;
        let renewal = *renewal;
        self.changes.put(&RENEWALS, &key, &renewal);
        if self.grants.active(key.0, now).next().is_some() {
            return;
        }
        let month = self.accounts.get_mut(&key.0).and_then(|account| account.markers.slot(Periodic::Pro).take());
        if let Some(month) = month {
            self.changes.delete(&GRANTS, &(key.0, Periodic::Pro as u8));
            self.claw_back(month.balance_id);
        }
    }

    /// Ends a balance now, as after a refund; what contracts reserve from it still settles against it. One that has
    /// ended stays as it is.
    pub(super) fn claw_back(&mut self, id: BalanceId) -> bool {
        let Some(key) = self.balances.key(id) else { return false };
        if key.end_time > self.now
            && let Some((old, new)) = self.balances.end_at(id, self.now)
        {
            self.changes.balances.extend([old, new]);
            self.end_redeemed(key.network_id, id);
        }
        true
    }

    /// The subscriptions that run now, one per store, the longest first.
    pub(super) fn subscriptions(&self, network: NetworkId) -> Vec<Subscription> {
        let mut active: Vec<_> = self.grants.active(network, self.now).collect();
        active.sort_by_key(|(id, renewal)| (Reverse(renewal.end_time), *id));
        let mut listed: Vec<Subscription> = Vec::new();
        for (renewal_id, renewal) in active {
            if listed.iter().all(|known| known.market != renewal.market) {
                listed.push(Subscription { renewal_id, market: renewal.market });
            }
        }
        listed
    }

    /// Forgets markers and keys whose time is up, at most `limit` of each; says whether there are more.
    pub(super) fn forget_grants(&mut self, limit: usize) -> bool {
        let today = self.now.day_number();
        let (mut markers, mut keys) = (0, 0);
        while markers < limit && self.grants.marker_ends.peek().is_some_and(|Reverse((due, _, _))| *due <= today) {
            let Some(Reverse((_, number, network))) = self.grants.marker_ends.pop() else { break };
            markers += 1;
            let Some(kind) = Periodic::ALL.into_iter().find(|kind| *kind as u8 == number) else { continue };
            let Some(account) = self.accounts.get_mut(&network) else { continue };
            let Some(marker) = account.markers.get(kind) else { continue };
            let due = kind.forget_day(marker.period);
            if due > today {
                self.grants.marker_ends.push(Reverse((due, number, network)));
                continue;
            }
            *account.markers.slot(kind) = None;
            self.changes.delete(&GRANTS, &(network, number));
        }
        while keys < limit && self.grants.key_ends.first().is_some_and(|(due, _)| *due <= self.now) {
            let Some((_, key)) = self.grants.key_ends.pop_first() else { break };
            keys += 1;
            self.grants.keys.remove(&key);
            self.changes.delete(&GRANT_KEYS, &key);
        }
        markers == limit || keys == limit
    }

    pub(super) fn restore_grants(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        for_each(store, &GRANTS, None, PAGE, |(network, number), marker| {
            let Some(kind) = Periodic::ALL.into_iter().find(|kind| *kind as u8 == number) else { return };
            *self.accounts.entry(network).or_default().markers.slot(kind) = Some(marker);
            self.grants.marker_ends.push(Reverse((kind.forget_day(marker.period), number, network)));
        })?;
        for_each(store, &GRANT_KEYS, None, PAGE, |key, given| {
            self.grants.key_ends.insert((given.end_time + KEY_KEPT, key.clone()));
            self.grants.keys.insert(key, given);
        })?;
        let now = self.now;
        for_each(store, &RENEWALS, None, PAGE, |key, renewal| {
            if renewal.end_time > now {
                self.grants.renewals.insert(key, renewal);
            }
        })
    }
}
