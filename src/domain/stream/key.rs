//! The nodes of a stream in their canonical order, which says who is next to whom.

use std::sync::Arc;

use crate::ids::{ClientId, StreamId};
use crate::wire::messages::StreamOpen;

/// The nodes of a stream. Both directions of a pair over the same nodes are one stream, so the list has a canonical
/// order: the smaller end comes first. Never shorter than two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey(Arc<[ClientId]>);

/// The neighbours of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The node before it; none for the first.
    pub previous: Option<ClientId>,
    /// The node behind it; none for the last.
    pub next: Option<ClientId>,
}

impl StreamKey {
    /// The stream from `source` over the intermediaries, in this order, to `destination`, or back.
    pub fn new(source: ClientId, intermediaries: &[ClientId], destination: ClientId) -> Self {
        let mut nodes = Vec::with_capacity(intermediaries.len() + 2);
        nodes.push(source);
        nodes.extend_from_slice(intermediaries);
        nodes.push(destination);
        if nodes.iter().gt(nodes.iter().rev()) {
            nodes.reverse();
        }
        Self(nodes.into())
    }

    /// Every node, in canonical order.
    pub fn nodes(&self) -> &[ClientId] {
        &self.0
    }

    /// Both ends, the smaller one first.
    pub fn ends(&self) -> (ClientId, ClientId) {
        match &*self.0 {
            [first, .., last] => (*first, *last),
            // Cannot be built.
            _ => Default::default(),
        }
    }

    /// The nodes between the ends, as met on the way from `source`.
    pub fn intermediaries(&self, source: ClientId) -> Vec<ClientId> {
        let mut between = self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default().to_vec();
        if self.ends().0 != source {
            between.reverse();
        }
        between
    }

    /// Every node with its neighbours.
    pub fn hops(&self) -> impl Iterator<Item = (ClientId, Hop)> + '_ {
        self.0.iter().enumerate().map(|(at, node)| {
            let previous = at.checked_sub(1).and_then(|before| self.0.get(before)).copied();
            (*node, Hop { previous, next: self.0.get(at + 1).copied() })
        })
    }
}

impl Hop {
    /// The message that tells the node. The end that faces a destination begins the direct connection, so the two ends
    /// must never see the same side.
    pub fn message(self, stream_id: StreamId) -> StreamOpen {
        StreamOpen {
            destination_id: self.next.map(Into::into),
            source_id: self.previous.map(Into::into),
            stream_id: stream_id.into(),
        }
    }
}

/// Both ends of a pair, the smaller one first.
pub fn pair(a: ClientId, b: ClientId) -> (ClientId, ClientId) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::id;

    fn key(nodes: &[u8]) -> StreamKey {
        let nodes: Vec<ClientId> = nodes.iter().map(|node| id(*node)).collect();
        StreamKey::new(nodes[0], &nodes[1..nodes.len() - 1], nodes[nodes.len() - 1])
    }

    #[test]
    fn both_directions_are_one_stream_and_another_order_is_another() {
        assert_eq!(key(&[1, 2]), key(&[2, 1]));
        assert_eq!(key(&[1, 7, 5, 2]), key(&[2, 5, 7, 1]));
        assert_ne!(key(&[1, 7, 5, 2]), key(&[1, 5, 7, 2]));
        assert_ne!(key(&[1, 2]), key(&[1, 7, 2]));
        assert_eq!(key(&[2, 5, 7, 1]).ends(), pair(id(2), id(1)));
        assert_eq!(key(&[3, 5, 7, 3]), key(&[3, 7, 5, 3]), "equal ends: the nodes between decide");
    }

    #[test]
    fn the_smaller_end_sees_a_destination_only_whoever_asked() {
        for nodes in [[1, 9, 2], [2, 9, 1]] {
            let hops: Vec<_> = key(&nodes).hops().collect();
            assert_eq!(
                hops,
                [
                    (id(1), Hop { previous: None, next: Some(id(9)) }),
                    (id(9), Hop { previous: Some(id(1)), next: Some(id(2)) }),
                    (id(2), Hop { previous: Some(id(9)), next: None }),
                ]
            );
        }
        let first = key(&[2, 1]).hops().next().unwrap().1.message(id(5));
        assert_eq!(first.destination_id(), [2; 16]);
        assert_eq!((first.source_id, &first.stream_id[..]), (None, &[5; 16][..]));
    }

    #[test]
    fn the_nodes_between_come_in_the_order_of_the_way() {
        let key = key(&[2, 5, 7, 1]);
        assert_eq!(key.intermediaries(id(2)), [id(5), id(7)]);
        assert_eq!(key.intermediaries(id(1)), [id(7), id(5)]);
        assert_eq!(StreamKey::new(id(1), &key.intermediaries(id(1)), id(2)), key);
    }
}
