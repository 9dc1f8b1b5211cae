//! Typed calls of the JSON API.
//!
//! The types here are written from the protocol, not shared with the server, so that a call through them checks
//! what the server really sends. Each call makes one request within [`REQUEST_TIMEOUT`]; retries are the caller's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use prost::Message as _;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tls::{Trust, TrustError};
use crate::ids::{ClientId, LocationId, NetworkId};
use crate::wire::messages::{Frame, Pack};

/// Time for one request: the whole of what the apps allow.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Largest answer, as in the apps.
const MAX_ANSWER_BYTES: usize = 2 * 1024 * 1024;

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// TLS settings that cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No answer.
    #[error("{route}: no answer: {cause}")]
    Unreachable {
        /// The route called.
        route: String,
        /// Why.
        cause: reqwest::Error,
    },
    /// An answer with another status than 200.
    #[error("{route}: {status}: {message}")]
    Status {
        /// The route called.
        route: String,
        /// Its status.
        status: StatusCode,
        /// The message of the body, or the body itself when it has none.
        message: String,
    },
    /// Status 200 with an `error` in the result.
    #[error("{route}: {message}")]
    Refused {
        /// The route called.
        route: String,
        /// What the server said.
        message: String,
    },
    /// A result that is not what the protocol says.
    #[error("{route}: not understood: {reason}")]
    Malformed {
        /// The route called.
        route: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The API of one server, on behalf of nobody, a user or a client. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    base: String,
    http: reqwest::Client,
    token: Option<String>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What `/auth/network-create` takes. Without `user_auth` an account without any sign-in method is made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NetworkCreate {
    /// Name of the person; may be empty.
    pub user_name: String,
    /// Mail address or phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_auth: Option<String>,
    /// At least 6 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// 5 to 50 letters, digits or dashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_name: Option<String>,
    /// Must be true.
    pub terms: bool,
}

/// What `/auth/network-create` gives.
#[derive(Clone, Debug, Deserialize)]
pub struct NetworkCreated {
    /// The new network.
    pub network: CreatedNetwork,
    /// Present when a code was sent and must be returned through [`Api::verify`].
    pub verification_required: Option<VerificationRequired>,
}

/// The network made by a sign-up.
#[derive(Clone, Debug, Deserialize)]
pub struct CreatedNetwork {
    /// Its id.
    pub network_id: NetworkId,
    /// Its name.
    pub network_name: String,
    /// The user's token, absent until verified.
    pub by_jwt: Option<String>,
}

/// Names the identity to be verified.
#[derive(Clone, Debug, Deserialize)]
pub struct VerificationRequired {
    /// The normalised address.
    pub user_auth: String,
}

/// What `/auth/login-with-password` gives: a token, or the wish for a code.
#[derive(Clone, Debug, Deserialize)]
pub struct LoggedIn {
    /// The user's network.
    pub network: Option<LoggedInNetwork>,
    /// Present when a code was sent and must be returned.
    pub verification_required: Option<VerificationRequired>,
}

/// The network of a login.
#[derive(Clone, Debug, Deserialize)]
pub struct LoggedInNetwork {
    /// The user's token.
    pub by_jwt: Option<String>,
}

/// What `/network/auth-client` takes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuthClient {
    /// An existing client to authorise again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The client from which a new one is derived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_client_id: Option<ClientId>,
    /// Name of the device.
    pub description: String,
    /// System of the device.
    pub device_spec: String,
}

/// What `/network/auth-client` gives.
#[derive(Clone, Deserialize)]
pub struct ClientToken {
    /// The client's token.
    pub by_client_jwt: String,
    /// The client.
    pub client_id: ClientId,
}

impl std::fmt::Debug for ClientToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientToken").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// What `/subscription/balance` gives, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Balance {
    /// Granted in the buckets that are usable now.
    pub start_balance_byte_count: u64,
    /// Left in them, reservations taken off.
    pub balance_byte_count: u64,
    /// Reserved by open contracts.
    pub open_transfer_byte_count: u64,
}

impl Balance {
    /// Bytes settled so far, as the apps compute it.
    pub fn used(&self) -> u64 {
        self.start_balance_byte_count
            .saturating_sub(self.balance_byte_count)
            .saturating_sub(self.open_transfer_byte_count)
    }
}

/// A kind of provider that `/network/find-providers2` is asked for.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderSpec {
    /// At this place.
    LocationId(LocationId),
    /// This one.
    ClientId(ClientId),
    /// Any.
    BestAvailable(bool),
}

/// What `/network/find-providers2` gives.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct FoundProvider {
    /// The provider.
    pub client_id: ClientId,
    /// Where it is, if known.
    pub location: Option<ProviderLocation>,
}

/// Where a provider is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ProviderLocation {
    /// Name of the country.
    pub country: String,
    /// Name of the city; empty when it is not known.
    #[serde(default)]
    pub city: String,
}

/// What `/transfer/stats` gives: bytes that the network carried for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct TransferStats {
    /// Paid out.
    pub paid_bytes_provided: u64,
    /// Not paid out.
    pub unpaid_bytes_provided: u64,
}

/// The answer of the control id to a pack sent over HTTP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlAnswer {
    /// Its frames.
    pub frames: Vec<Frame>,
    /// What went wrong with single frames of the request.
    pub error: Option<String>,
}

impl Api {
    /// The API at `base`, e.g. `http://127.0.0.1:8080`, with nobody logged in.
    pub fn new(base: &str, trust: &Trust) -> Result<Self, ApiError> {
        let tls = trust.client_config(&["h2", "http/1.1"], None)?;
        let built = reqwest::Client::builder().tls_backend_preconfigured(tls).timeout(REQUEST_TIMEOUT).build();
        let http = built.map_err(|cause| ApiError::Unreachable { route: base.into(), cause })?;
        Ok(Self { base: base.trim_end_matches('/').into(), http, token: None })
    }

    /// The same API on behalf of the bearer of `token`.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The token calls are made with.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Creates an account and its network.
    pub async fn network_create(&self, new: &NetworkCreate) -> Result<NetworkCreated, ApiError> {
        self.post("/auth/network-create", new).await
    }

    /// Returns the code that was sent; gives the user's token.
    pub async fn verify(&self, user_auth: &str, code: &str) -> Result<String, ApiError> {
        let body = serde_json::json!({ "user_auth": user_auth, "verify_code": code });
        let answer: LoggedIn = self.post("/auth/verify", &body).await?;
        token_of(answer, "/auth/verify")
    }

    /// Logs in.
    pub async fn login(&self, user_auth: &str, password: &str) -> Result<LoggedIn, ApiError> {
        let body = serde_json::json!({ "user_auth": user_auth, "password": password });
        self.post("/auth/login-with-password", &body).await
    }

    /// Turns a user's token into a client's.
    pub async fn auth_client(&self, client: &AuthClient) -> Result<ClientToken, ApiError> {
        self.post("/network/auth-client", client).await
    }

    /// Removes a client for good; its transports end.
    pub async fn remove_client(&self, client: ClientId) -> Result<(), ApiError> {
        let body = serde_json::json!({ "client_id": client });
        self.post::<serde_json::Value>("/network/remove-client", &body).await.map(drop)
    }

    /// Providers of a kind, at most `count`, best first.
    pub async fn find_providers(&self, spec: ProviderSpec, count: usize) -> Result<Vec<FoundProvider>, ApiError> {
        #[derive(Deserialize)]
        struct Found {
            providers: Vec<FoundProvider>,
        }
        let body = serde_json::json!({ "specs": [spec], "count": count, "force_count": true, "rank_mode": "quality" });
        let found: Found = self.post("/network/find-providers2", &body).await?;
        Ok(found.providers)
    }

    /// The network's transfer balance.
    pub async fn balance(&self) -> Result<Balance, ApiError> {
        self.call(Method::GET, "/subscription/balance", None::<&()>).await
    }

    /// What the network carried for others.
    pub async fn transfer_stats(&self) -> Result<TransferStats, ApiError> {
        self.call(Method::GET, "/transfer/stats", None::<&()>).await
    }

    /// The published identity key of a client.
    pub async fn client_key(&self, client: ClientId) -> Result<Option<Vec<u8>>, ApiError> {
        #[derive(Deserialize)]
        struct Key {
            public_key: Option<String>,
        }
        let route = format!("/key/{client}");
        let key: Key = self.call(Method::GET, &route, None::<&()>).await?;
        key.public_key.map(|text| BASE64.decode(text).map_err(|error| malformed(&route, error))).transpose()
    }

    /// Sends control messages and waits until the server has made them durable.
    pub async fn connect_control(&self, frames: Vec<Frame>) -> Result<ControlAnswer, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            pack: String,
            error: Option<Message>,
        }
        #[derive(Deserialize)]
        struct Message {
            message: String,
        }
        const ROUTE: &str = "/connect/control";
        let pack = Pack { frames, ..Pack::default() };
        let body = serde_json::json!({ "pack": BASE64.encode(pack.encode_to_vec()) });
        // An error here speaks of single frames; the answer to the others counts.
        let answer: Answer = decode(ROUTE, &self.request(Method::POST, ROUTE, Some(&body)).await?)?;
        let bytes = BASE64.decode(&answer.pack).map_err(|error| malformed(ROUTE, error))?;
        let pack = Pack::decode(Bytes::from(bytes)).map_err(|error| malformed(ROUTE, error))?;
        Ok(ControlAnswer { frames: pack.frames, error: answer.error.map(|error| error.message) })
    }

    /// POSTs a body and reads the result.
    pub async fn post<T: DeserializeOwned>(&self, route: &str, body: &impl Serialize) -> Result<T, ApiError> {
        self.call(Method::POST, route, Some(body)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ApiError> {
        let answer = self.request(method, route, body).await?;
        match error_message(&answer) {
            Some(message) => Err(ApiError::Refused { route: route.into(), message }),
            None => decode(route, &answer),
        }
    }

    async fn request(&self, method: Method, route: &str, body: Option<&impl Serialize>) -> Result<Bytes, ApiError> {
        let mut request = self.http.request(method, format!("{}{route}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |cause: reqwest::Error| ApiError::Unreachable { route: route.into(), cause };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let answer = read_bounded(response, route).await?;
        if status != StatusCode::OK {
            let message = error_message(&answer).unwrap_or_else(|| String::from_utf8_lossy(&answer).trim().to_owned());
            return Err(ApiError::Status { route: route.into(), status, message });
        }
        Ok(answer)
    }
}

async fn read_bounded(mut response: reqwest::Response, route: &str) -> Result<Bytes, ApiError> {
    let mut answer = bytes::BytesMut::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|cause| ApiError::Unreachable { route: route.into(), cause })? else {
            return Ok(answer.freeze());
        };
        if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(malformed(route, format!("more than {MAX_ANSWER_BYTES} bytes")));
        }
        answer.extend_from_slice(&chunk);
    }
}

fn decode<T: DeserializeOwned>(route: &str, answer: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(answer).map_err(|error| malformed(route, error))
}

fn malformed(route: &str, reason: impl ToString) -> ApiError {
    ApiError::Malformed { route: route.into(), reason: reason.to_string() }
}

/// The `error.message` of a body, if it has one.
fn error_message(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Option<Message>,
    }
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    serde_json::from_slice::<Body>(answer).ok()?.error.map(|error| error.message)
}

fn token_of(answer: LoggedIn, route: &str) -> Result<String, ApiError> {
    let token = answer.network.and_then(|network| network.by_jwt);
    token.ok_or_else(|| malformed(route, "no token in the answer"))
}

#[cfg(test)]
mod tests;
