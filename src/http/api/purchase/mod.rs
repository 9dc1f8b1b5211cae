//! Purchases: the routes that apps call.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::purchase::checkout::{Appearance, CheckoutError, Intents};
use crate::domain::purchase::item::Item;
use crate::domain::purchase::order::CreateOrder;
use crate::domain::purchase::shop::ReceiptError;
use crate::domain::purchase::solana::CreateIntent;
use crate::domain::purchase::store_report::ReportStatus;
use crate::domain::wallet::journal::WalletOwner;
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::time::Timestamp;

mod order;
#[cfg(test)]
mod tests;
mod webhook;
mod x402;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(create_checkout_session))
        .routes(routes!(payment_intent))
        .routes(routes!(customer_portal))
        .routes(routes!(solana_payment_intent))
        .routes(routes!(verify_play_purchase))
        .routes(routes!(verify_apple_transaction))
        .merge(order::routes())
        .merge(webhook::routes())
        .merge(x402::routes())
}

/// Something to buy.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct CheckoutSessionArgs {
    /// `pro_monthly`, `pro_yearly`, `data_1tib` or `data_10tib`.
    #[schema(required)]
    item_id: String,
    /// `hosted`, which is meant when absent, or `embedded`.
    ui_mode: String,
    /// `never`, for an embedded one that stays where it is.
    redirect_on_completion: String,
}

/// A session in which something is bought.
#[derive(Default, Serialize, ToSchema)]
struct CheckoutSessionResult {
    /// `hosted` or `embedded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ui_mode: Option<&'static str>,
    /// Names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    /// The page of a hosted one.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkout_url: Option<String>,
    /// What an embedded one is opened with.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// The shop's key for apps.
    #[serde(skip_serializing_if = "Option::is_none")]
    publishable_key: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

fn no_session(message: &str) -> ApiResult<CheckoutSessionResult> {
    Ok(Json(CheckoutSessionResult { error: Some(message.into()), ..CheckoutSessionResult::default() }))
}

fn not_for_sale(item: Item) -> &'static str {
    if item.is_pro() { "That plan is not available." } else { "That data pack is not available." }
}

/// Begins to buy something; what was bought shows in the balance once it is paid.
///
/// Without a shop for cards the page is this server's own.
#[utoipa::path(
    post,
    path = "/stripe/create-checkout-session",
    tag = "subscription",
    security(("bearer" = [])),
    request_body = CheckoutSessionArgs,
    responses((status = 200, body = CheckoutSessionResult))
)]
async fn create_checkout_session(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<CheckoutSessionArgs>,
) -> ApiResult<CheckoutSessionResult> {
    let stays = args.redirect_on_completion == "never";
    let appearance = match args.ui_mode.as_str() {
        "" | "hosted" if stays => {
            return no_session(r#"redirect_on_completion "never" requires ui_mode "embedded"."#);
        }
        "" | "hosted" => Appearance::Hosted,
        "embedded" => Appearance::Embedded { stays },
        _ => return no_session("Unknown ui mode."),
    };
    let Some(item) = Item::parse(&args.item_id) else { return no_session("Unknown item.") };
    let Some(checkout) = state.shop.checkout() else {
        if appearance != Appearance::Hosted {
            return no_session("Embedded checkout is not available on this server.");
        }
        let owner = WalletOwner { network_id: caller.network_id, user_id: caller.user_id };
        let Some(id) = state.service.run(&CreateOrder { owner, item }).await? else {
            return no_session(not_for_sale(item));
        };
        let config = state.config();
        let base = match config.purchase.public_url.as_str() {
            "" => &config.auth.web_base,
            base => base,
        };
        let checkout_url = Some(format!("{}/pay/local/{id}", base.trim_end_matches('/')));
        let ui_mode = Some("hosted");
        return Ok(Json(CheckoutSessionResult { ui_mode, session_id: Some(id), checkout_url, ..Default::default() }));
    };
    match checkout.create_session(caller.network_id, item, appearance).await {
        Ok(session) => {
            let is_hosted = appearance == Appearance::Hosted;
            Ok(Json(CheckoutSessionResult {
                ui_mode: Some(if is_hosted { "hosted" } else { "embedded" }),
                session_id: Some(session.id),
                checkout_url: session.url,
                client_secret: session.client_secret,
                publishable_key: (!is_hosted).then(|| checkout.publishable_key().into()),
                error: None,
            }))
        }
        Err(CheckoutError::NotForSale) => no_session(not_for_sale(item)),
        Err(error @ CheckoutError::Unreachable) => no_session(&error.to_string()),
    }
}

/// No arguments.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct NoArgs {}

/// What an app needs to take a card.
#[derive(Default, Serialize, ToSchema)]
struct PaymentIntentResult {
    /// One for each plan for sale.
    payment_intents: Vec<PaymentIntent>,
    /// Lets the app act for the customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral_key: Option<String>,
    /// The customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<String>,
    /// The shop's key for apps.
    #[serde(skip_serializing_if = "Option::is_none")]
    publishable_key: Option<String>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// A subscription that waits for its first payment.
#[derive(Serialize, ToSchema)]
struct PaymentIntent {
    /// `monthly` or `yearly`.
    subscription_type: &'static str,
    /// What the payment is made with.
    client_secret: String,
}

/// Prepares subscriptions for an app that takes the card itself.
#[utoipa::path(
    post,
    path = "/stripe/payment-intent",
    tag = "subscription",
    security(("bearer" = [])),
    request_body = NoArgs,
    responses((status = 200, body = PaymentIntentResult))
)]
async fn payment_intent(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(NoArgs {}): Body<NoArgs>,
) -> ApiResult<PaymentIntentResult> {
    let refused =
        |message: &str| Ok(Json(PaymentIntentResult { error: Some(message.into()), ..PaymentIntentResult::default() }));
    let Some(checkout) = state.shop.checkout() else {
        return refused("Card payments are not configured on this server.");
    };
    let Intents { customer_id, ephemeral_key, intents } =
        match state.shop.payment_intents(checkout, caller.network_id).await? {
            Ok(intents) => intents,
            Err(error) => return refused(&error.to_string()),
        };
    let entry = |(item, client_secret): (Item, String)| PaymentIntent {
        subscription_type: if item == Item::ProMonthly { "monthly" } else { "yearly" },
        client_secret,
    };
    Ok(Json(PaymentIntentResult {
        payment_intents: intents.into_iter().map(entry).collect(),
        ephemeral_key: Some(ephemeral_key),
        customer_id: Some(customer_id),
        publishable_key: Some(checkout.publishable_key().into()),
        error: None,
    }))
}

/// Where subscriptions are managed.
#[derive(Default, Serialize, ToSchema)]
struct CustomerPortalResult {
    /// The page.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Gives the page on which the caller's network manages its subscriptions by card.
#[utoipa::path(
    post,
    path = "/stripe/customer-portal",
    tag = "subscription",
    security(("bearer" = [])),
    request_body = NoArgs,
    responses((status = 200, body = CustomerPortalResult))
)]
async fn customer_portal(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(NoArgs {}): Body<NoArgs>,
) -> ApiResult<CustomerPortalResult> {
    let (url, error) = match state.shop.portal(caller.network_id).await? {
        None => (None, Some("No stripe customer found".into())),
        Some(Ok(url)) => (Some(url), None),
        Some(Err(error)) => (None, Some(error.to_string().as_str().into())),
    };
    Ok(Json(CustomerPortalResult { url, error }))
}

/// A payment to be made on Solana.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct SolanaIntentArgs {
    /// What the payment will carry: base58 of 32 bytes.
    #[schema(required)]
    reference: String,
    /// `monthly` or `yearly`.
    #[schema(required)]
    plan: String,
}

/// The price of a payment on Solana.
#[derive(Default, Serialize, ToSchema)]
struct SolanaIntentResult {
    /// In USDC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    amount_usd: Option<serde_json::Number>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// USD without a fraction where there is none, because old clients read whole numbers.
fn usd(nano: i64) -> serde_json::Number {
    let whole = nano % 1_000_000_000 == 0;
    let number = if whole { None } else { serde_json::Number::from_f64(nano as f64 / 1e9) };
    number.unwrap_or_else(|| (nano / 1_000_000_000).into())
}

/// Announces a payment on Solana.
#[utoipa::path(
    post,
    path = "/solana/payment-intent",
    tag = "subscription",
    security(("bearer" = [])),
    request_body = SolanaIntentArgs,
    responses((status = 200, body = SolanaIntentResult))
)]
async fn solana_payment_intent(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(SolanaIntentArgs { reference, plan }): Body<SolanaIntentArgs>,
) -> ApiResult<SolanaIntentResult> {
    let refused =
        |message: &str| Ok(Json(SolanaIntentResult { error: Some(message.into()), ..SolanaIntentResult::default() }));
    if state.config().solana.receiver.is_empty() {
        return refused("Solana payments are not configured on this server.");
    }
    let item = Item::of_plan(&plan).filter(|item| item.price(state.config()).is_some());
    let Some(item) = item else { return refused("Unknown plan.") };
    let intent = CreateIntent { network_id: caller.network_id, reference, item };
    match state.service.run(&intent).await? {
        Some(price) => Ok(Json(SolanaIntentResult { amount_usd: Some(usd(price)), error: None })),
        None => refused("Could not start the payment. Please try again."),
    }
}

/// A purchase in Google Play.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct PlayPurchaseArgs {
    /// The app.
    package_name: String,
    /// What was bought.
    product_id: String,
    /// The store's token, or a voucher of the operator.
    #[schema(required)]
    purchase_token: String,
}

/// A purchase in the App Store.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct AppleTransactionArgs {
    /// The store's signed transaction, or a voucher of the operator.
    #[schema(required)]
    signed_transaction: String,
}

/// What became of a purchase.
#[derive(Serialize, ToSchema)]
struct StoreReportResult {
    /// `credited`, `already_credited`, `pending`, `invalid` or `wrong_network`; all but `pending` are final.
    status: &'static str,
    /// When what was credited ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_time: Option<Timestamp>,
}

impl From<ReportStatus> for StoreReportResult {
    fn from(status: ReportStatus) -> Self {
        let expiry_time = match status {
            ReportStatus::Credited(end) => Some(end),
            _ => None,
        };
        Self { status: status.name(), expiry_time }
    }
}

impl From<ReceiptError> for ApiError {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::Unreachable => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            ReceiptError::Domain(error) => error.into(),
        }
    }
}

/// Takes the receipt of a purchase in Google Play.
///
/// 503 while the store cannot be asked, or is not configured: the phone keeps its proof and comes again.
#[utoipa::path(
    post,
    path = "/subscription/verify-play-purchase",
    tag = "subscription",
    security(("bearer" = [])),
    request_body = PlayPurchaseArgs,
    responses((status = 200, body = StoreReportResult))
)]
async fn verify_play_purchase(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<PlayPurchaseArgs>,
) -> ApiResult<StoreReportResult> {
    let receipt = (args.package_name.as_str(), args.product_id.as_str(), args.purchase_token.trim());
    Ok(Json(state.shop.take_play_receipt(&caller, receipt).await?.into()))
}

/// Takes the receipt of a purchase in the App Store.
///
/// 503 while the store is not configured: the phone keeps its proof and comes again.
#[utoipa::path(
    post,
    path = "/subscription/verify-apple-transaction",
    tag = "subscription",
    security(("bearer" = [])),
    request_body = AppleTransactionArgs,
    responses((status = 200, body = StoreReportResult))
)]
async fn verify_apple_transaction(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(AppleTransactionArgs { signed_transaction }): Body<AppleTransactionArgs>,
) -> ApiResult<StoreReportResult> {
    Ok(Json(state.shop.take_apple_receipt(&caller, signed_transaction.trim()).await?.into()))
}
