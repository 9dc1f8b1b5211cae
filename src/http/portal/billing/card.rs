//! Cards: list them, add one, choose the one that is charged, delete one.
//!
//! Where a company takes the cards, adding one leads to its page; no number comes here. This server's own billing takes
//! test cards, typed into a plain form.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;

use super::{CARD, DEFAULT_CARD, member, refusal};
use crate::domain::subscription::billing::{Card, Source, TypedCard};
use crate::http::portal::error::{PortalError, PortalResult};
use crate::http::portal::fields::Fields;
use crate::http::portal::page::Page;
use crate::http::portal::rate::Limit;
use crate::http::portal::reader::Reader;
use crate::http::portal::session::{PortalUser, SignedPost};
use crate::http::portal::{Route, go};
use crate::http::state::ApiState;

const LIST: &str = "/payment-methods";
const FORM: &str = "/add-new-card";

/// What the source of a card that is typed into the form is called.
const TYPED: &str = "new";

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let added = Limit::new("add_card", |limits| limits.add_card).on(state, post(add));
    vec![
        (LIST, Limit::new("payment_methods", |limits| limits.payment_methods).on(state, get(list))),
        (FORM, get(form).merge(added)),
        ("/set-default-card", Limit::new("default_card", |limits| limits.default_card).on(state, post(set_default))),
        ("/delete-card", Limit::new("delete_card", |limits| limits.delete_card).on(state, post(delete))),
    ]
}

/// A card as pages show it.
#[derive(Debug, Default, Serialize)]
pub struct ShownCard {
    /// Names it.
    pub id: String,
    /// Who issued it.
    pub brand: String,
    /// The last four digits.
    pub last4: String,
    /// Month and year after which it is worthless, `02/2030`.
    pub expiry: String,
    /// Whether it is the one that is charged.
    pub is_default: bool,
}

impl From<Card> for ShownCard {
    fn from(card: Card) -> Self {
        let (year, month) = card.expiry;
        let Card { id, brand, last4, is_default, .. } = card;
        Self { id, brand, last4, expiry: format!("{month:02}/{year}"), is_default }
    }
}

/// The cards of a user.
#[derive(Debug, Default, Serialize)]
pub struct PaymentMethodsPage {
    /// The cards, the default first.
    pub cards: Vec<ShownCard>,
}

impl Page for PaymentMethodsPage {
    const TEMPLATE: &'static str = "payment-methods.html";
}

/// The form for a card.
#[derive(Debug, Default, Serialize)]
pub struct AddCardPage {}

impl Page for AddCardPage {
    const TEMPLATE: &'static str = "add-new-card.html";
}

/// The cards of a user, for pages.
pub(super) async fn shown_cards(state: &ApiState, user: &PortalUser) -> Result<Vec<ShownCard>, PortalError> {
    let cards = state.subscriptions.cards(member(user)).await.map_err(|error| refusal(error, CARD))?;
    Ok(cards.into_iter().map(ShownCard::from).collect())
}

async fn list(State(state): State<ApiState>, reader: Reader, user: PortalUser) -> PortalResult {
    let cards = shown_cards(&state, &user).await?;
    reader.page(&state, &PaymentMethodsPage { cards })
}

async fn form(State(state): State<ApiState>, reader: Reader, user: PortalUser) -> PortalResult {
    let back = format!("{}{LIST}", state.config().portal_base());
    let page = state.subscriptions.card_page(member(&user), back).await.map_err(|error| refusal(error, CARD))?;
    match page {
        Some(url) => Ok(go::to(&url)),
        None => reader.page(&state, &AddCardPage {}),
    }
}

/// What pays: a card that is known, what a company's page gave, or a card that was typed.
pub(super) fn source(fields: &Fields) -> Result<Source, PortalError> {
    match fields.text("source") {
        "" if !fields.has("number") => Err(PortalError::field("error.missing_source")),
        "" | TYPED => {
            let expiry = expiry(fields.text("expiry")).ok_or_else(|| PortalError::field("error.card_expiry"))?;
            Ok(Source::Typed(TypedCard { number: fields.text("number").to_owned(), expiry }))
        }
        named => Ok(Source::Named(named.to_owned())),
    }
}

/// Year and month of `02/30` or `02/2030`.
fn expiry(text: &str) -> Option<(u16, u8)> {
    let (month, year) = text.split_once(['/', '-'])?;
    let (month, year) = (month.trim().parse().ok()?, year.trim());
    let full = year.parse::<u16>().ok()?;
    match year.len() {
        2 => Some((2000 + full, month)),
        4 => Some((full, month)),
        _ => None,
    }
}

async fn add(State(state): State<ApiState>, reader: Reader, post: SignedPost) -> PortalResult {
    let source = source(&post.fields).map_err(|error| error.at(FORM))?;
    let added = state.subscriptions.add_card(member(&post.user), source).await;
    added.map_err(|error| refusal(error, CARD).at(FORM))?;
    Ok(match reader.wants_html() {
        true => go::saying(LIST, "cards.added"),
        false => Json(json!({"message": "Card added successfully."})).into_response(),
    })
}

/// Programs are told; the page's own forms, which say `browser`, lead back to it.
fn done(fields: &Fields, text: &'static str, message: &str) -> Response {
    match fields.flag("browser") {
        true => go::saying(LIST, text),
        false => Json(json!({"message": message})).into_response(),
    }
}

fn card_id(fields: &Fields) -> Result<String, PortalError> {
    match fields.text("cardId") {
        "" => Err(PortalError::field("error.missing_card").at(LIST)),
        id => Ok(id.to_owned()),
    }
}

async fn set_default(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    let chosen = state.subscriptions.set_default_card(member(&post.user), card_id(&post.fields)?).await;
    chosen.map_err(|error| refusal(error, DEFAULT_CARD).at(LIST))?;
    Ok(done(&post.fields, "cards.chosen", "New default set successfully"))
}

async fn delete(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    let deleted = state.subscriptions.delete_card(member(&post.user), card_id(&post.fields)?).await;
    deleted.map_err(|error| refusal(error, super::super::error::FIELD).at(LIST))?;
    Ok(done(&post.fields, "cards.deleted", "Card deleted successfully"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_read_as_people_write_it() {
        for text in ["02/30", "2/2030", "02 / 30", "02-30"] {
            assert_eq!(expiry(text), Some((2030, 2)), "{text}");
        }
        for text in ["", "0230", "02/3", "x/30", "02/30/1", "300/30"] {
            assert_eq!(expiry(text), None, "{text}");
        }
    }
}
