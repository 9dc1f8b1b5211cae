//! Carries what follows from a commit out to people and connected clients.

use std::sync::{Arc, OnceLock, Weak};

use super::mail::Mailer;
use crate::domain::effect::{Effect, EffectSink};
use crate::domain::peer::Peers;
use crate::domain::provider::index::ProviderIndex;
use crate::relay::Relay;

/// The sink of the operation service.
pub struct Effects {
    mailer: Mailer,
    live: OnceLock<Live>,
}

/// Those who hear of changes. They hold the service, which holds the sink: hence weak.
struct Live {
    relay: Weak<Relay>,
    peers: Weak<Peers>,
    providers: Weak<ProviderIndex>,
}

impl Effects {
    /// A sink that sends through `mailer`; nobody is connected yet.
    pub fn new(mailer: Mailer) -> Self {
        Self { mailer, live: OnceLock::new() }
    }

    /// Names, once, those who hear of changes.
    pub fn join(&self, relay: &Arc<Relay>, peers: &Arc<Peers>, providers: &Arc<ProviderIndex>) {
        let live =
            Live { relay: Arc::downgrade(relay), peers: Arc::downgrade(peers), providers: Arc::downgrade(providers) };
        // A second call has no effect; there is one of each.
        let _ = self.live.set(live);
    }
}

impl EffectSink for Effects {
    fn apply(&self, effect: Effect) {
        match (effect, self.live.get()) {
            (Effect::Send(message), _) => self.mailer.send(&message),
            (effect, Some(live)) => live.apply(&effect),
            (_, None) => {}
        }
    }
}

impl Live {
    fn apply(&self, effect: &Effect) {
        let (Some(relay), Some(peers), Some(providers)) =
            (self.relay.upgrade(), self.peers.upgrade(), self.providers.upgrade())
        else {
            return;
        };
        match effect {
            Effect::Send(_) => {}
            Effect::ClientRemoved(client) => {
                relay.disconnect(*client);
                peers.client_removed(*client);
                providers.refresh(*client);
            }
            Effect::ProofEnded(client) => relay.disconnect(*client),
            Effect::CredentialsChanged(network) => relay.disconnect_network(*network),
            Effect::ClientChanged(_, client) => {
                peers.client_changed(*client);
                providers.refresh(*client);
            }
        }
    }
}
