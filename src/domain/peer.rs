//! Network peers: the other top-level clients of a client's network, as lists that follow the connections.

use crate::ids::ClientId;
use crate::wire::control_message::Push;

/// Where messages to clients leave; the relay implements it.
pub trait PeerSink: Send + Sync + 'static {
    /// Queues messages that must travel in one pack, at most 3000 bytes. A client that is not here is no error. Must
    /// not block and must not call back.
    fn push(&self, client_id: ClientId, pushes: Vec<Push>);
}
