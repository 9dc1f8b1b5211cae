//! When clients are connected, in memory until it is written down.
//!
//! A client with several transports is connected once: a *session* lasts from its first transport to its last. Only
//! changes are written, so a session costs a write when it begins, when it ends and at each midnight it sees; after a
//! crash the sessions that were open end where the server was last known to run.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;

use super::record::{ConnectEvent, HEARTBEAT, HOUR_MILLIS, Instant, OPEN_SESSIONS, UPTIME_DAYS, UptimeDay};
use super::rollup::{Write, row};
use crate::domain::presence::{Connection, PresenceListener};
use crate::ids::ClientId;
use crate::store::{Store, StoreError};
use crate::time::{Clock, Timestamp};

/// Clients whose sessions may change between two writes; what more do is not written.
const MAX_CHANGED: usize = 1 << 17;

/// The longest session that is believed after a crash: sessions are written anew at every midnight.
const LONGEST_LEFT_OPEN: Duration = Duration::from_secs(2 * 86_400);

/// Rows read at once when the server starts.
const PAGE: usize = 1024;

/// A client's days.
pub(super) type Days = BTreeMap<u32, UptimeDay>;

/// Follows transports.
pub(super) struct Uptime {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Never steps back, so that sessions of a client do not overlap.
    now: Timestamp,
    live: HashMap<ClientId, Session>,
    changed: HashMap<ClientId, Days>,
}

#[derive(Clone, Copy)]
struct Session {
    transports: u32,
    since: Timestamp,
}

/// What has changed of one client. Days and session are written together, or a crash would count them twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) client_id: ClientId,
    pub(super) days: Days,
    /// Since when it is connected, if it is.
    pub(super) since: Option<Timestamp>,
}

impl Uptime {
    pub(super) fn new(clock: Clock) -> Self {
        let state = State { now: clock.now(), ..State::default() };
        Self { clock, state: Mutex::new(state) }
    }

    /// Takes what has changed since the last call. The sessions of everyone still connected begin anew at midnight.
    pub(super) fn take(&self) -> Vec<Change> {
        let mut state = self.state.lock();
        state.advance(self.clock.now());
        state.turn_day();
        let changed = std::mem::take(&mut state.changed);
        let since = |client_id: ClientId| state.live.get(&client_id).map(|session| session.since);
        changed.into_iter().map(|(client_id, days)| Change { client_id, days, since: since(client_id) }).collect()
    }

    /// What is not written yet about a client, its session until now included.
    pub(super) fn recent(&self, client_id: ClientId) -> Days {
        let mut state = self.state.lock();
        state.advance(self.clock.now());
        let mut days = state.changed.get(&client_id).cloned().unwrap_or_default();
        if let Some(session) = state.live.get(&client_id) {
            add_interval(&mut days, session.since, state.now);
        }
        days
    }

    /// Whether anyone is connected.
    pub(super) fn is_anyone_connected(&self) -> bool {
        !self.state.lock().live.is_empty()
    }
}

impl PresenceListener for Uptime {
    fn attached(&self, connection: &Connection) {
        let client_id = connection.entry.client_id;
        let mut state = self.state.lock();
        state.advance(self.clock.now());
        let now = state.now;
        let session = state.live.entry(client_id).or_insert(Session { transports: 0, since: now });
        session.transports += 1;
        if session.transports == 1 {
            state.note(client_id, |days| add_event(days, now, true));
        }
    }

    fn detached(&self, connection: &Connection) {
        let client_id = connection.entry.client_id;
        let mut state = self.state.lock();
        state.advance(self.clock.now());
        let now = state.now;
        let Some(session) = state.live.get_mut(&client_id) else { return };
        session.transports -= 1;
        if session.transports > 0 {
            return;
        }
        let since = session.since;
        state.live.remove(&client_id);
        state.note(client_id, |days| {
            add_interval(days, since, now);
            add_event(days, now, false);
        });
    }
}

impl State {
    fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    fn note(&mut self, client_id: ClientId, change: impl FnOnce(&mut Days)) {
        if self.changed.len() < MAX_CHANGED || self.changed.contains_key(&client_id) {
            change(self.changed.entry(client_id).or_default());
        }
    }

    /// Gives every session of before midnight to the day it was in.
    fn turn_day(&mut self) {
        let midnight = self.now.start_of_day();
        for (client_id, session) in &mut self.live {
            if session.since < midnight {
                let days = self.changed.entry(*client_id).or_default();
                add_interval(days, session.since, midnight);
                // A row for today too: it was connected today.
                days.entry(midnight.day_number()).or_default();
                session.since = midnight;
            }
        }
    }
}

fn add_interval(days: &mut Days, from: Timestamp, to: Timestamp) {
    let mut from = from.as_millis().max(to.before(LONGEST_LEFT_OPEN).as_millis());
    while from < to.as_millis() {
        let hour = from / HOUR_MILLIS;
        let end = to.as_millis().min((hour + 1) * HOUR_MILLIS);
        let day = days.entry((hour / 24) as u32).or_default();
        let slot = day.hours.at(hour as u32);
        *slot = (*slot + (end - from) as u32).min(HOUR_MILLIS as u32);
        from = end;
    }
}

fn add_event(days: &mut Days, at: Timestamp, connected: bool) {
    let at_millis = at.since(at.start_of_day()).as_millis() as u32;
    days.entry(at.day_number()).or_default().push(ConnectEvent { at_millis, connected });
}

/// The rows after these changes, and how many clients each day has for the first time.
pub(super) fn merge(store: &dyn Store, changes: &[Change]) -> Result<(Vec<Write>, BTreeMap<u32, u64>), StoreError> {
    let (mut writes, mut new) = (Vec::new(), BTreeMap::new());
    for change in changes {
        for (day, more) in &change.days {
            let key = (*day, change.client_id);
            let mut stored = UPTIME_DAYS.get(store, &key)?.unwrap_or_else(|| {
                *new.entry(*day).or_default() += 1;
                UptimeDay::default()
            });
            stored.add(more);
            writes.push(row(&UPTIME_DAYS, &key, &stored));
        }
        writes.push(match change.since {
            Some(since) => row(&OPEN_SESSIONS, &change.client_id, &Instant(since)),
            None => (OPEN_SESSIONS.key(&change.client_id), None),
        });
    }
    Ok((writes, new))
}

/// The end of every session that a crash left open.
pub(super) fn left_open(store: &dyn Store) -> Result<Vec<Change>, StoreError> {
    let Some(Instant(end)) = HEARTBEAT.get(store, &())? else { return Ok(Vec::new()) };
    let mut changes = Vec::new();
    OPEN_SESSIONS.each(store, &OPEN_SESSIONS.prefix(&()), None, PAGE, |client_id, Instant(since)| {
        let (mut days, end) = (Days::new(), end.max(since));
        add_interval(&mut days, since, end);
        add_event(&mut days, end, false);
        changes.push(Change { client_id, days, since: None });
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(changes)
}

/// The time of a heartbeat, as a write.
pub(super) fn heartbeat(now: Timestamp) -> Write {
    row(&HEARTBEAT, &(), &Instant(now))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::domain::presence::PresenceEntry;
    use crate::domain::testing::id;

    /// 23:50 of day 100.
    const START: Timestamp = Timestamp::from_secs(101 * 86_400 - 600);

    fn transport(client: u8, connection: u8) -> Connection {
        let entry = PresenceEntry {
            connection_id: id(connection),
            client_id: id(client),
            network_id: id(9),
            instance_id: id(1),
            address: IpAddr::from([203, 0, 113, 1]),
        };
        Connection { entry, connect_time: START, vitals: Arc::default() }
    }

    fn minutes(days: &Days) -> Vec<(u32, usize, u32)> {
        let hours = |day: &UptimeDay| day.hours.0;
        let used = days.iter().flat_map(|(day, row)| hours(row).into_iter().enumerate().map(|(at, ms)| (*day, at, ms)));
        used.filter(|(.., ms)| *ms > 0).map(|(day, at, ms)| (day, at, ms / 60_000)).collect()
    }

    #[test]
    fn overlapping_transports_are_one_session() {
        let clock = Clock::manual(START);
        let uptime = Uptime::new(clock.clone());
        let pass = |minutes: u64| clock.advance(Duration::from_secs(60 * minutes));
        uptime.attached(&transport(1, 1));
        pass(2);
        uptime.attached(&transport(1, 2));
        pass(2);
        uptime.detached(&transport(1, 1));
        pass(1);
        uptime.detached(&transport(1, 2));
        pass(1);
        uptime.attached(&transport(1, 3));
        pass(1);
        assert_eq!(minutes(&uptime.recent(id(1))), [(100, 23, 6)]);
        let changes = uptime.take();
        assert_eq!(changes.len(), 1);
        assert_eq!(minutes(&changes[0].days), [(100, 23, 5)], "the open session is not written yet");
        assert_eq!(changes[0].since, Some(START + Duration::from_secs(360)));
        let events: Vec<_> = changes[0].days[&100].events.iter().map(|event| event.connected).collect();
        assert_eq!(events, [true, false, true]);
        assert!(uptime.take().is_empty(), "nothing has changed since");
        assert_eq!(minutes(&uptime.recent(id(1))), [(100, 23, 1)], "the rest is written");
    }

    #[test]
    fn a_session_over_midnight_is_shared_out() {
        let clock = Clock::manual(START);
        let uptime = Uptime::new(clock.clone());
        uptime.attached(&transport(1, 1));
        assert_eq!(uptime.take().len(), 1);
        clock.advance(Duration::from_secs(1800));
        let changes = uptime.take();
        assert_eq!(minutes(&changes[0].days), [(100, 23, 10)]);
        assert!(changes[0].days.contains_key(&101), "it is there on the new day");
        assert_eq!(changes[0].since, Some(START + Duration::from_secs(600)));
        clock.advance(Duration::from_secs(3600));
        uptime.detached(&transport(1, 1));
        let changes = uptime.take();
        assert_eq!(minutes(&changes[0].days), [(101, 0, 60), (101, 1, 20)]);
        assert_eq!(changes[0].since, None);
    }

    #[test]
    fn transports_of_a_client_may_overtake_each_other() {
        let clock = Clock::manual(START);
        let uptime = Uptime::new(clock.clone());
        uptime.attached(&transport(1, 1));
        clock.advance(Duration::from_secs(60));
        uptime.detached(&transport(1, 1));
        uptime.attached(&transport(1, 2));
        clock.advance(Duration::from_secs(60));
        uptime.detached(&transport(1, 2));
        uptime.detached(&transport(1, 2));
        assert_eq!(minutes(&uptime.recent(id(1))), [(100, 23, 2)]);
        assert!(!uptime.is_anyone_connected());
    }

    #[test]
    fn only_so_many_changes_wait() {
        let clock = Clock::manual(START);
        let uptime = Uptime::new(clock.clone());
        let client = |n: usize| {
            let mut connection = transport(1, 1);
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            connection.entry.client_id = ClientId::new(bytes);
            connection
        };
        (0..=MAX_CHANGED).for_each(|n| uptime.attached(&client(n)));
        assert_eq!(uptime.take().len(), MAX_CHANGED);
        clock.advance(Duration::from_secs(60));
        uptime.detached(&client(MAX_CHANGED));
        assert_eq!(minutes(&uptime.take()[0].days), [(100, 23, 1)], "the session itself was followed");
    }
}
