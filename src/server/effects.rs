//! Carries what follows from a commit out to people and connected clients.

use super::mail::Mailer;
use crate::domain::effect::{Effect, EffectSink};

/// The sink of the operation service.
pub struct Effects {
    mailer: Mailer,
}

impl Effects {
    /// A sink that sends through `mailer`.
    pub fn new(mailer: Mailer) -> Self {
        Self { mailer }
    }
}

impl EffectSink for Effects {
    fn apply(&self, effect: Effect) {
        if let Effect::Send(message) = effect {
            self.mailer.send(&message);
        }
    }
}
