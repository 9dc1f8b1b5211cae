//! The sequences of one endpoint, by peer and lane.
//!
//! A sorted list with room for one: most endpoints, one for each client of a server among them, have a single sequence in
//! each direction. The first node of a tree has room for eleven.

use smallvec::SmallVec;

use super::lane::Lane;
use crate::ids::ClientId;

/// A lane of a peer.
pub(crate) type Key = (ClientId, Lane);

/// A sorted list of sequences.
#[derive(Debug)]
pub(crate) struct Sequences<S>(SmallVec<[(Key, Box<S>); 1]>);

impl<S> Default for Sequences<S> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<S> Sequences<S> {
    fn find(&self, key: &Key) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is one on a lane of a peer.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.find(key).is_ok()
    }

    /// The one on a lane of a peer.
    pub(crate) fn get(&self, key: &Key) -> Option<&S> {
        self.find(key).ok().map(|at| &*self.0[at].1)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut S> {
        self.find(key).ok().map(|at| &mut *self.0[at].1)
    }

    /// Adds one in the place of that which was there.
    pub(crate) fn insert(&mut self, key: Key, sequence: S) {
        match self.find(&key) {
            Ok(at) => *self.0[at].1 = sequence,
            Err(at) => self.0.insert(at, (key, Box::new(sequence))),
        }
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Box<S>> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// All lanes of all peers, in order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.0.iter().map(|(key, _)| *key).collect()
    }

    /// All sequences.
    pub(crate) fn values(&self) -> impl Iterator<Item = &S> {
        self.0.iter().map(|(_, sequence)| &**sequence)
    }

    /// All sequences, to change them.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.0.iter_mut().map(|(_, sequence)| &mut **sequence)
    }

    /// The lanes of one peer.
    pub(crate) fn of(&self, peer: ClientId) -> impl Iterator<Item = (Key, &S)> {
        let start = self.find(&(peer, Lane::default())).unwrap_or_else(|at| at);
        let rest = self.0[start..].iter().map(|(key, sequence)| (*key, &**sequence));
        rest.take_while(move |((of, _), _)| *of == peer)
    }

    /// Gives back memory for more than there are.
    pub(crate) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lanes_of_a_peer_are_found_among_those_of_others() {
        let peer = |number| ClientId::new([number; 16]);
        let second = Lane { logical_lane: 1, ..Lane::default() };
        let mut sequences = Sequences::default();
        for (number, lane) in [(2, second), (3, Lane::default()), (1, second), (2, Lane::default())] {
            sequences.insert((peer(number), lane), (number, lane.logical_lane));
        }
        assert_eq!(sequences.values().copied().collect::<Vec<_>>(), [(1, 1), (2, 0), (2, 1), (3, 0)]);
        assert_eq!(sequences.of(peer(2)).map(|(_, of)| *of).collect::<Vec<_>>(), [(2, 0), (2, 1)]);
        assert_eq!(sequences.of(peer(4)).count(), 0);
        sequences.insert((peer(2), second), (9, 9));
        assert_eq!((sequences.len(), sequences.get(&(peer(2), second))), (4, Some(&(9, 9))));
        assert_eq!(sequences.remove(&(peer(1), second)), Some(Box::new((1, 1))));
        assert!(!sequences.contains(&(peer(1), second)) && sequences.remove(&(peer(1), second)).is_none());
        assert_eq!(sequences.keys().first(), Some(&(peer(2), Lane::default())));
    }
}
