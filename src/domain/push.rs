//! Messages of the control id on their way from a state machine to the clients.
//!
//! A [`Pusher`] owns the machine. Whoever feeds it also carries out what it says, and meanwhile takes what others make
//! it say: messages keep their order without a lock held while they leave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};

use parking_lot::Mutex;

use crate::ids::ClientId;
use crate::wire::control_message::Push;

/// Where messages to clients leave; the relay implements it.
pub trait PushSink: Send + Sync + 'static {
    /// Queues messages that must travel in one pack, at most 3000 bytes; says whether the client is here. Must not
    /// block and must not call back.
    fn push(&self, client_id: ClientId, pushes: Vec<Push>) -> bool;
}

/// A state machine that has something to say to clients.
pub trait PushSource: Send + 'static {
    /// The next messages of one pack, and to whom.
    fn poll_output(&mut self) -> Option<(ClientId, Vec<Push>)>;
}

/// A state machine and the way out of what it says.
pub struct Pusher<S> {
    state: Mutex<State<S>>,
    sink: OnceLock<Weak<dyn PushSink>>,
    pushed: AtomicU64,
}

struct State<S> {
    source: S,
    /// Somebody is handing messages to the sink, and will take new ones too.
    is_delivering: bool,
}

impl<S: PushSource> Pusher<S> {
    /// A machine that nobody hears yet.
    pub fn new(source: S) -> Self {
        let state = Mutex::new(State { source, is_delivering: false });
        Self { state, sink: OnceLock::new(), pushed: AtomicU64::new(0) }
    }

    /// Names the way out, once; messages before that are dropped. Weak, because the relay holds those who push.
    pub fn deliver_to(&self, sink: Weak<dyn PushSink>) {
        // A second call has no effect; there is one relay.
        let _ = self.sink.set(sink);
    }

    /// Looks at the machine.
    pub fn read<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.state.lock().source)
    }

    /// Gives the machine an input, and delivers what it says.
    pub fn feed<T>(&self, input: impl FnOnce(&mut S) -> T) -> T {
        let result = input(&mut self.state.lock().source);
        self.deliver();
        result
    }

    /// Messages handed to clients that were here.
    pub fn pushed_count(&self) -> u64 {
        self.pushed.load(Ordering::Relaxed)
    }

    fn deliver(&self) {
        if std::mem::replace(&mut self.state.lock().is_delivering, true) {
            return;
        }
        let sink = self.sink.get().and_then(Weak::upgrade);
        loop {
            let output = {
                let mut state = self.state.lock();
                let output = state.source.poll_output();
                state.is_delivering = output.is_some();
                output
            };
            let Some((client_id, pushes)) = output else { return };
            let count = pushes.len() as u64;
            if sink.as_ref().is_some_and(|sink| sink.push(client_id, pushes)) {
                self.pushed.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::testing::id;

    /// Says a reset to each of its clients in turn.
    struct Script(Vec<ClientId>);

    impl PushSource for Script {
        fn poll_output(&mut self) -> Option<(ClientId, Vec<Push>)> {
            self.0.pop().map(|client_id| (client_id, vec![Push::NetworkPeersReset; 2]))
        }
    }

    /// Only client 1 is here.
    #[derive(Default)]
    struct Sink(Mutex<Vec<ClientId>>);

    impl PushSink for Sink {
        fn push(&self, client_id: ClientId, _: Vec<Push>) -> bool {
            self.0.lock().push(client_id);
            client_id == id(1)
        }
    }

    #[test]
    fn everything_said_leaves_and_what_found_its_client_is_counted() {
        let pusher = Pusher::new(Script(vec![id(1)]));
        pusher.feed(|_| ());
        assert!(pusher.read(|source| source.0.is_empty()), "said to nobody, and not kept");
        let sink = Arc::new(Sink::default());
        let weak: Weak<dyn PushSink> = Arc::<Sink>::downgrade(&sink);
        pusher.deliver_to(weak);
        pusher.feed(|source| source.0 = vec![id(2), id(1)]);
        assert_eq!(*sink.0.lock(), [id(1), id(2)]);
        assert_eq!(pusher.pushed_count(), 2);
    }
}
