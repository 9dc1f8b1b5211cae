//! Letters to people: sending them again to somebody who wanted none.

use axum::Router;
use axum::http::StatusCode;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, not_found, route};
use crate::domain::auth::method::MethodKind;
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::portal::opt_out::AllowLetters;
use crate::http::error::ApiError;
use crate::http::state::ApiState;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new().merge(route::<AllowMail>())
}

/// Sends letters of the account website again to somebody who wanted no more, newsletters included. For those who ask:
/// without letters nobody can set a new password.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct AllowMail {
    /// Mail address of the one who asks
    pub address: String,
}

/// Who gets letters again.
#[derive(Debug, Serialize, Deserialize)]
pub struct AllowedMail {
    /// The address.
    pub address: String,
}

impl Command for AllowMail {
    const PATH: &'static str = "/mail/allow";
    type Answer = AllowedMail;

    async fn run(self, state: &ApiState) -> Result<AllowedMail, ApiError> {
        let Some(address) = UserAuth::parse(&self.address).filter(|auth| auth.kind() == MethodKind::Email) else {
            let complaint = format!("{:?} is not a mail address", self.address);
            return Err(ApiError::new(StatusCode::BAD_REQUEST, complaint));
        };
        match state.service.run(&AllowLetters { address: address.as_str() }).await? {
            true => Ok(AllowedMail { address: address.as_str().to_owned() }),
            false => Err(not_found(format!("{} gets letters: they have not asked for none", address.as_str()))),
        }
    }
}
