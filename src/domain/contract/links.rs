//! Which clients have a transport, since when, and until when: what the sweeper needs to know that both ends are gone.
//!
//! Memory only. After a restart nobody counts as gone until seen again.

use std::collections::VecDeque;
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;

use crate::ids::ClientId;
use crate::time::Timestamp;

/// How long a client that has left is remembered: longer than any rule that asks about it looks back.
const REMEMBERED: Duration = Duration::from_secs(900);

#[derive(Clone, Copy, Debug)]
struct Link {
    connected_at: Timestamp,
    left_at: Option<Timestamp>,
}

/// Connected clients, and those that left a short while ago.
#[derive(Debug, Default)]
pub(super) struct Links {
    clients: DashMap<ClientId, Link>,
    /// Who left when, to forget them in order.
    left: Mutex<VecDeque<(Timestamp, ClientId)>>,
}

impl Links {
    pub(super) fn connected(&self, client: ClientId, now: Timestamp) {
        self.clients.insert(client, Link { connected_at: now, left_at: None });
    }

    pub(super) fn disconnected(&self, client: ClientId, now: Timestamp) {
        let is_known = self.clients.get_mut(&client).map(|mut link| link.left_at = Some(now)).is_some();
        if is_known {
            self.left.lock().push_back((now, client));
        }
    }

    /// When the client last came; the epoch when it was not seen.
    pub(super) fn last_connect(&self, client: ClientId) -> Timestamp {
        self.clients.get(&client).map_or(Timestamp::ZERO, |link| link.connected_at)
    }

    /// Since when a client that was connected at `since` or later no longer is.
    pub(super) fn gone_since(&self, client: ClientId, since: Timestamp) -> Option<Timestamp> {
        self.clients.get(&client)?.left_at.filter(|left| *left >= since)
    }

    /// Forgets who left long ago.
    pub(super) fn forget(&self, now: Timestamp) {
        let until = now.before(REMEMBERED);
        let mut left = self.left.lock();
        while let Some(&(at, client)) = left.front()
            && at < until
        {
            left.pop_front();
            self.clients.remove_if(&client, |_, link| link.left_at.is_some_and(|left| left < until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = ClientId::new([1; 16]);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn only_a_client_that_was_there_since_then_can_be_gone() {
        let links = Links::default();
        assert_eq!(links.gone_since(CLIENT, at(1)), None, "never seen");
        links.connected(CLIENT, at(10));
        assert_eq!(links.gone_since(CLIENT, at(1)), None, "still there");
        links.disconnected(CLIENT, at(20));
        assert_eq!(links.gone_since(CLIENT, at(20)), Some(at(20)));
        assert_eq!(links.gone_since(CLIENT, at(21)), None, "left before");
        links.connected(CLIENT, at(30));
        assert_eq!(links.gone_since(CLIENT, at(1)), None, "back again");
        assert_eq!(links.last_connect(CLIENT), at(30));
    }

    #[test]
    fn those_who_left_long_ago_are_forgotten() {
        let links = Links::default();
        links.connected(CLIENT, at(10));
        links.disconnected(CLIENT, at(20));
        links.connected(CLIENT, at(30));
        links.forget(at(2000));
        assert_eq!(links.clients.len(), 1, "it came back");
        links.disconnected(CLIENT, at(2000));
        links.forget(at(2900));
        assert_eq!(links.clients.len(), 1);
        links.forget(at(2901));
        assert!(links.clients.is_empty() && links.left.lock().is_empty());
    }
}
