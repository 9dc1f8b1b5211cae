//! Who is signed in, as the argument of a handler, and how a session begins and ends.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::csrf;
use super::error::PortalError;
use super::fields::{Fields, Post};
use super::reader::Reader;
use crate::domain::auth::web_session::{WebSessionSecret, WebUser};
use crate::http::state::ApiState;
use crate::ids::{NetworkId, UserId};

/// A signed-in user; else 401 code 2, or the page to sign in.
#[derive(Clone, Copy, Debug)]
pub struct PortalUser {
    /// The user.
    pub user_id: UserId,
    /// Their network.
    pub network_id: NetworkId,
    /// The key of their session.
    pub session: [u8; 32],
}

impl From<WebUser> for PortalUser {
    fn from(user: WebUser) -> Self {
        let WebUser { user_id, network_id, session } = user;
        Self { user_id, network_id, session }
    }
}

impl FromRequestParts<ApiState> for PortalUser {
    type Rejection = PortalError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, PortalError> {
        let reader = Reader::from_request_parts(parts, state).await?;
        reader.user().map(Self::from).ok_or_else(PortalError::session_expired)
    }
}

/// The body of a request of a signed-in user. A form that a page has sent must hold the token of the session.
#[derive(Clone, Debug)]
pub struct SignedPost {
    /// The user.
    pub user: PortalUser,
    /// The fields.
    pub fields: Fields,
}

impl FromRequest<ApiState> for SignedPost {
    type Rejection = PortalError;
    async fn from_request(request: Request, state: &ApiState) -> Result<Self, PortalError> {
        read(request, state, false).await
    }
}

/// As [`SignedPost`], and whoever sends it, program or page, must send the token.
#[derive(Clone, Debug)]
pub struct TokenPost(pub SignedPost);

impl FromRequest<ApiState> for TokenPost {
    type Rejection = PortalError;
    async fn from_request(request: Request, state: &ApiState) -> Result<Self, PortalError> {
        read(request, state, true).await.map(Self)
    }
}

async fn read(request: Request, state: &ApiState, is_strict: bool) -> Result<SignedPost, PortalError> {
    let (mut parts, body) = request.into_parts();
    let reader = Reader::from_request_parts(&mut parts, state).await?;
    let user = PortalUser::from_request_parts(&mut parts, state).await?;
    let Post(fields) = Post::from_request(Request::from_parts(parts, body), state).await?;
    // Pages send forms; programs hold the cookie because they signed in themselves.
    let is_asked = is_strict || reader.wants_html() || reader.is_cross_site();
    if is_asked && !csrf::matches(reader.csrf(), fields.raw(csrf::FIELD)) {
        return Err(PortalError::status(StatusCode::FORBIDDEN, "error.forged_form"));
    }
    Ok(SignedPost { user, fields })
}

/// What a response does to the session; noted in it, made a cookie on the way out.
#[derive(Clone, Debug)]
pub enum SessionChange {
    /// A session begins.
    Begin(WebSessionSecret),
    /// The session is over.
    End,
}

/// The response, with which a session begins.
pub fn begin(mut response: Response, secret: WebSessionSecret) -> Response {
    response.extensions_mut().insert(SessionChange::Begin(secret));
    response
}

/// The response, with which the session ends.
pub fn end(mut response: Response) -> Response {
    response.extensions_mut().insert(SessionChange::End);
    response
}
