//! The small `/api` of phone apps and browser extensions: bearer tokens, and answers in a shape of its own.
//!
//! Errors are `{"message": …}`, in Russian unless the caller prefers English; nothing may be cached, and any origin may
//! call. A request body is read as its apps' framework does it: what is missing or malformed is named field by field, and
//! a body that cannot be read has no fields.

use axum::Router;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use axum::routing::any;
use utoipa_axum::router::OpenApiRouter;

use super::state::ApiState;
use error::AppError;
use extract::Visitor;

pub mod error;
pub mod extract;
pub mod fields;
pub mod key;
pub mod login;
pub mod servers;
pub mod user;
pub mod words;

#[cfg(test)]
mod tests;

/// What all paths begin with.
const PREFIX: &str = "/api/";

const NOT_CACHED: HeaderValue = HeaderValue::from_static("no-cache, private");

/// Whether a path, cleaned, is of this surface.
pub fn is_path(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Every route of the client API and its description.
pub fn routes() -> OpenApiRouter<ApiState> {
    let (routes, document) = OpenApiRouter::default()
        .merge(login::routes())
        .merge(user::routes())
        .merge(servers::routes())
        .merge(key::routes())
        .split_for_parts();
    let routes: Router<ApiState> = routes
        .route("/api/{*rest}", any(unknown))
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::map_response(not_cached));
    OpenApiRouter::with_openapi(document).merge(routes.into())
}

async fn not_cached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, NOT_CACHED);
    response
}

async fn unknown(visitor: Visitor) -> AppError {
    AppError::no_route(visitor.language)
}

/// The `Allow` header is added by the router.
async fn wrong_method(visitor: Visitor, method: Method) -> AppError {
    AppError::wrong_method(visitor.language, &method)
}
