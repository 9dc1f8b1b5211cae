//! Who calls the client API, from where, and in which language they are answered.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};

use super::error::AppError;
use super::words::{self, Language};
use crate::config::tls::TlsMode;
use crate::domain::app::token::{AppBearer, FindBearer};
use crate::domain::auth::attempts::{Origin, Surface};
use crate::domain::error::DomainError;
use crate::http::address::{PeerAddr, is_trusted};
use crate::http::extract::{ClientAddress, bearer};
use crate::http::state::ApiState;

/// Anybody, at the host that this surface answers under; else 404.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Their language.
    pub language: Language,
    /// Where they call from, for the limits on attempts.
    pub origin: Origin,
    /// Base of the addresses that they are given, without a slash at its end.
    pub base: String,
}

/// The bearer of a token of this surface; else 401.
#[derive(Clone, Debug)]
pub struct AppCaller {
    /// Who calls, from where.
    pub visitor: Visitor,
    /// Their device and identity.
    pub bearer: AppBearer,
}

impl FromRequestParts<ApiState> for Visitor {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, AppError> {
        let language = Language::of(&parts.headers);
        let authority = authority(parts);
        let wanted = &state.config().client_api.host;
        let is_here = wanted.is_empty()
            || authority.as_ref().is_some_and(|authority| authority.host().eq_ignore_ascii_case(wanted));
        if !is_here {
            return Err(AppError::no_route(language));
        }
        let ClientAddress(address) = ClientAddress::from_request_parts(parts, state)
            .await
            .map_err(|_| AppError::new(StatusCode::BAD_REQUEST, language, &words::BAD_REQUEST))?;
        let origin = Origin { surface: Surface::ClientApi, address: address.ip() };
        Ok(Self { language, origin, base: base(parts, state, authority) })
    }
}

impl FromRequestParts<ApiState> for AppCaller {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, AppError> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        let found =
            bearer(parts).ok_or(DomainError::Unauthorized).and_then(|token| state.service.read(&FindBearer { token }));
        match found {
            Ok(bearer) => Ok(Self { visitor, bearer }),
            Err(error) => Err(AppError::of(error, visitor.language)),
        }
    }
}

/// The host, and perhaps the port, that the request was sent to.
fn authority(parts: &Parts) -> Option<Authority> {
    let named = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    named.or_else(|| parts.uri.authority().cloned())
}

/// Where the server is for this caller: as the operator says, or as the request came.
fn base(parts: &Parts, state: &ApiState, authority: Option<Authority>) -> String {
    let config = state.config();
    if !config.client_api.public_url.is_empty() {
        return config.client_api.public_url.trim_end_matches('/').to_owned();
    }
    let is_tls_here = config.tls.mode != TlsMode::Off;
    let peer = parts.extensions.get::<PeerAddr>();
    let is_proxied = peer.is_some_and(|PeerAddr(peer)| is_trusted(peer.ip(), &config.http.trusted_proxies));
    let is_tls_before = is_proxied && parts.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let scheme = if is_tls_here || is_tls_before { "https" } else { "http" };
    match authority {
        Some(authority) => format!("{scheme}://{authority}"),
        None => format!("{scheme}://{}", config.http.listen),
    }
}
