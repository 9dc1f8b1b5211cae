//! What a person has beside their network: names, preferences, API keys, referrals, and what they tell the operator.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::state::ApiState;

mod api_key;
mod feedback;
mod log;
mod name;
mod news;
mod preferences;
mod referral;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(name::network_user))
        .routes(routes!(name::update_user))
        .routes(routes!(name::change_name))
        .routes(routes!(name::claim_name))
        .routes(routes!(preferences::preferences))
        .routes(routes!(preferences::set_preferences))
        .routes(routes!(news::brevo))
        .routes(routes!(api_key::create))
        .routes(routes!(api_key::list))
        .routes(routes!(api_key::remove))
        .routes(routes!(referral::referral_code))
        .routes(routes!(referral::validate))
        .routes(routes!(referral::referral_network))
        .routes(routes!(referral::set_referral))
        .routes(routes!(referral::unlink))
        .routes(routes!(feedback::send_feedback))
        .routes(routes!(log::upload))
}

#[cfg(test)]
mod tests;
