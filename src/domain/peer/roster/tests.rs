use super::*;
use crate::domain::testing::id;
use crate::wire::messages::NetworkPeer;

const DELAY: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(60);

/// A network of clients named by a byte, and a clock.
struct Script {
    roster: Roster,
    now: Timestamp,
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Reset,
    Peer(u8),
    Left(u8, Timestamp),
}
use Said::{Left, Reset};

fn peer(byte: u8) -> Peer {
    Peer {
        client_id: id(byte),
        provide_modes: Vec::new(),
        principal: String::new(),
        roles: Vec::new(),
        device_name: format!("device {byte}"),
        device_spec: String::new(),
    }
}

fn said(push: &Push) -> Vec<Said> {
    let entry = |peer: &NetworkPeer| match peer.disconnect_time {
        Some(at) => Left(peer.client_id[0], Timestamp::from_millis(at)),
        None => Said::Peer(peer.client_id[0]),
    };
    match push {
        Push::NetworkPeersReset => vec![Reset],
        Push::NetworkPeersUpdate(update) => update.peers.iter().map(entry).collect(),
        other => panic!("unexpected {other:?}"),
    }
}

impl Script {
    fn new(members_max: usize) -> Self {
        let rules = RosterRules { announce_delay: DELAY, grace: GRACE, members_max };
        Self { roster: Roster::new(rules), now: Timestamp::from_secs(1000) }
    }

    /// A process run that is new.
    fn attach(&mut self, client: u8) {
        self.attach_again(client);
        self.roster.handle_resync(id(client));
    }

    /// One that is known and gets no list.
    fn attach_again(&mut self, client: u8) {
        self.roster.handle_attach(self.now, id(99), peer(client));
    }

    fn detach(&mut self, client: u8) {
        self.roster.handle_detach(self.now, id(client));
    }

    fn wait(&mut self, by: Duration) {
        self.now = self.now + by;
        self.roster.handle_timeout(self.now);
    }

    /// Checks that exactly these packs leave, in this order.
    #[track_caller]
    fn expect<const N: usize>(&mut self, packs: [(u8, Vec<Said>); N]) {
        let mut left = Vec::new();
        while let Some((client_id, pushes)) = self.roster.poll_output() {
            left.push((client_id.as_bytes()[0], pushes.iter().flat_map(said).collect::<Vec<_>>()));
        }
        assert_eq!(left, packs);
    }

    fn drain(&mut self) {
        while self.roster.poll_output().is_some() {}
    }

    /// Clients 1 and 2, shown to each other.
    fn pair() -> Self {
        let mut script = Script::new(100);
        script.attach(1);
        script.attach(2);
        script.wait(DELAY);
        script.drain();
        script
    }
}

#[test]
fn a_client_shows_after_the_delay_and_never_to_itself() {
    let mut script = Script::new(100);
    script.attach(1);
    script.expect([(1, vec![Reset])]);
    script.wait(DELAY);
    script.expect([]);
    script.attach(2);
    script.expect([(2, vec![Reset, Said::Peer(1)])]);
    script.wait(DELAY - Duration::from_millis(1));
    script.expect([]);
    script.wait(Duration::from_millis(1));
    script.expect([(1, vec![Said::Peer(2)])]);
}

#[test]
fn a_short_reconnect_is_invisible() {
    let mut script = Script::pair();
    script.detach(2);
    script.wait(Duration::from_secs(59));
    script.attach_again(2);
    script.wait(Duration::from_secs(600));
    script.expect([]);
}

#[test]
fn those_that_come_or_go_within_a_moment_are_told_of_together() {
    let mut script = Script::new(100);
    for client in 1..=3 {
        script.attach(client);
        script.wait(TOGETHER / 2);
    }
    script.attach(4);
    script.drain();
    // The third came at the end of the moment, the fourth after it.
    script.wait(DELAY - TOGETHER / 2 * 3);
    let others = |client| (1..=3).filter(|other| *other != client).map(Said::Peer).collect();
    script.expect([1, 2, 3, 4].map(|client| (client, others(client))));
    script.wait(DELAY);
    script.expect([1, 2, 3].map(|client| (client, vec![Said::Peer(4)])));

    let left: [_; 2] = [1, 2].map(|client| {
        script.detach(client);
        let at = script.now;
        script.wait(TOGETHER);
        Left(client, at)
    });
    script.detach(3);
    script.wait(GRACE - TOGETHER * 2);
    let [first, second] = left;
    let both = || vec![Left(1, at(&first)), Left(2, at(&second))];
    script.expect([3, 4].map(|client| (client, both())));
}

fn at(said: &Said) -> Timestamp {
    match said {
        Left(_, at) => *at,
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn a_marker_follows_the_grace_and_is_kept_for_five_minutes() {
    let mut script = Script::pair();
    let left = script.now;
    script.detach(2);
    script.wait(GRACE);
    script.expect([(1, vec![Left(2, left)])]);
    script.attach(3);
    script.expect([(3, vec![Reset, Said::Peer(1), Left(2, left)])]);
    assert_eq!(
        script.roster.list(script.now, id(99), Some(id(1))).1,
        [Marker { client_id: id(2), disconnect_time: left }]
    );
    script.wait(MARKER_LIFETIME);
    script.drain();
    script.roster.handle_resync(id(1));
    script.expect([(1, vec![Reset, Said::Peer(3)])]);
    assert!(script.roster.list(script.now, id(99), None).1.is_empty());
}

#[test]
fn a_client_that_returns_after_its_marker_shows_again_and_gets_the_full_list() {
    let mut script = Script::pair();
    script.detach(2);
    script.wait(GRACE);
    script.drain();
    script.attach(2);
    script.expect([(2, vec![Reset, Said::Peer(1)])]);
    script.wait(DELAY);
    script.expect([(1, vec![Said::Peer(2)])]);
}

#[test]
fn a_client_leaves_with_its_last_transport() {
    let mut script = Script::pair();
    script.attach_again(2);
    script.attach_again(2);
    script.expect([]);
    script.detach(2);
    script.detach(2);
    script.wait(GRACE);
    script.expect([]);
}

#[test]
fn a_client_gone_before_the_delay_was_never_there() {
    let mut script = Script::pair();
    script.attach(3);
    script.detach(3);
    script.drain();
    script.wait(Duration::from_secs(600));
    script.expect([]);
}

#[test]
fn a_leaving_client_still_hears_of_others() {
    let mut script = Script::pair();
    script.detach(2);
    script.attach(3);
    script.drain();
    script.wait(DELAY);
    script.expect([(1, vec![Said::Peer(3)]), (2, vec![Said::Peer(3)])]);
}

#[test]
fn a_change_is_told_once() {
    let mut script = Script::pair();
    let mut changed = peer(2);
    changed.provide_modes = vec![ProvideMode::Public];
    script.roster.handle_change(script.now, changed.clone());
    script.expect([(1, vec![Said::Peer(2)])]);
    script.roster.handle_change(script.now, changed);
    script.expect([]);
}

#[test]
fn a_removed_client_leaves_at_once() {
    let mut script = Script::pair();
    script.roster.handle_remove(script.now, id(2));
    script.expect([(1, vec![Left(2, script.now)])]);
    script.detach(2);
    script.wait(GRACE);
    script.expect([]);
}

#[test]
fn networks_do_not_see_each_other() {
    let mut script = Script::pair();
    script.roster.handle_attach(script.now, id(98), peer(7));
    script.roster.handle_resync(id(7));
    script.expect([(7, vec![Reset])]);
    script.wait(DELAY);
    script.expect([]);
}

#[test]
fn above_the_bound_lists_are_empty_until_the_network_shrinks() {
    let mut script = Script::new(10);
    for client in 1..=10 {
        script.attach(client);
    }
    script.wait(DELAY);
    script.drain();
    script.attach(11);
    script.drain();
    script.wait(DELAY);
    let resets: [_; 11] = std::array::from_fn(|at| (at as u8 + 1, vec![Reset]));
    script.expect(resets);
    script.roster.handle_remove(script.now, id(11));
    script.expect([]);
    script.roster.handle_remove(script.now, id(10));
    let mut lists = 0;
    while let Some((_, pushes)) = script.roster.poll_output() {
        assert_eq!(pushes.len(), 2, "a reset and the list in one pack");
        lists += 1;
    }
    assert_eq!(lists, 9);
}

#[test]
fn everything_is_forgotten_in_the_end() {
    let mut script = Script::pair();
    script.attach(3);
    for client in 1..=3 {
        script.detach(client);
    }
    script.wait(GRACE);
    script.wait(MARKER_LIFETIME);
    assert_eq!(script.roster.poll_timeout(), None);
    assert!(script.roster.networks.is_empty() && script.roster.homes.is_empty());
}

#[test]
fn markers_of_clients_made_and_removed_in_a_loop_are_bounded() {
    let mut script = Script::new(5);
    for client in 1..50 {
        script.attach(client);
        script.wait(DELAY);
        script.roster.handle_remove(script.now, id(client));
    }
    assert!(script.roster.homes.len() <= 5);
    assert!(script.roster.timers.len() <= 5);
}
