//! Tokens of sign-in services (`auth_jwt`): whose they are, if a service that is switched on has made them for one of
//! our apps.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::key_set::{KeySet, KeySetSource};
use super::method::MethodKind;
use super::outside::OutsideIdentity;
use super::user_auth::UserAuth;
use crate::config::auth::{Auth, SignInService};
use crate::domain::error::DomainError;
use crate::time::Timestamp;

/// Clock difference between machines that is forgiven.
const LEEWAY: Duration = Duration::from_secs(30);
/// Longest token that is read.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The services that are switched on.
pub struct Services(Vec<Service>);

struct Service {
    kind: MethodKind,
    issuers: Vec<String>,
    client_ids: Vec<String>,
    keys: KeySet,
}

#[derive(Deserialize)]
struct Claims {
    exp: u64,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    iat: Option<u64>,
    #[serde(default)]
    email: Option<String>,
    /// A boolean, or its text.
    #[serde(default)]
    email_verified: Value,
    #[serde(default)]
    name: Option<String>,
}

impl Services {
    /// The services that the settings switch on.
    pub fn new(settings: &Auth, source: &Arc<dyn KeySetSource>) -> Self {
        let all = [(MethodKind::Apple, &settings.apple), (MethodKind::Google, &settings.google)];
        let on = all.into_iter().filter(|(_, service)| service.is_on());
        Self(on.map(|(kind, service)| Service::new(kind, service, source)).collect())
    }

    /// Whose token it is; `None` when it does not hold, or its service (`apple`, `google`) is switched off.
    ///
    /// # Errors
    /// [`DomainError::Unavailable`] while the keys of the service cannot be had.
    pub async fn identify(
        &self,
        now: Timestamp,
        service: &str,
        token: &str,
    ) -> Result<Option<OutsideIdentity>, DomainError> {
        match self.0.iter().find(|one| one.kind.as_str() == service) {
            Some(service) if token.len() <= MAX_TOKEN_BYTES => service.identify(now, token).await,
            _ => Ok(None),
        }
    }
}

impl Service {
    fn new(kind: MethodKind, settings: &SignInService, source: &Arc<dyn KeySetSource>) -> Self {
        let SignInService { client_ids, issuers, keys } = settings.clone();
        Self { kind, issuers, client_ids, keys: KeySet::new(&keys, Arc::clone(source)) }
    }

    async fn identify(&self, now: Timestamp, token: &str) -> Result<Option<OutsideIdentity>, DomainError> {
        let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
        let Some(key_id) = header.kid.filter(|_| header.alg == Algorithm::RS256) else { return Ok(None) };
        let Some(key) = self.keys.key(now, &key_id).await? else { return Ok(None) };
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&self.issuers);
        validation.set_audience(&self.client_ids);
        // The library has a clock of its own; times are checked by ours.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation).ok();
        Ok(decoded.filter(|decoded| decoded.claims.is_current(now)).and_then(|decoded| self.owner(decoded.claims)))
    }

    fn owner(&self, claims: Claims) -> Option<OutsideIdentity> {
        if claims.email_verified != Value::Bool(true) && claims.email_verified != "true" {
            return None;
        }
        let email = UserAuth::parse(&claims.email?).filter(|email| email.kind() == MethodKind::Email)?;
        let user_name = match self.kind {
            // Apple tells the name to the app only, and only once.
            MethodKind::Apple => String::new(),
            _ => claims.name?,
        };
        Some(OutsideIdentity { kind: self.kind, identity: email.as_str().into(), user_name })
    }
}

impl Claims {
    fn is_current(&self, now: Timestamp) -> bool {
        let latest = (now + LEEWAY).as_secs();
        let is_alive = now.as_secs() < self.exp.saturating_add(LEEWAY.as_secs());
        is_alive && [self.nbf, self.iat].into_iter().flatten().all(|from| from <= latest)
    }
}
