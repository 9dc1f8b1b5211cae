//! Plans, cards, invoices and receipts through the website, with this server's own billing.

use serde_json::{Value, json};

use crate::config::Config;
use crate::domain::auth::web_session;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::subscription::record::ReceiptType;
use crate::domain::subscription::signed_receipt::SignedReceipt;
use crate::http::admin;
use crate::http::portal::testing::Browser;
use crate::http::testing::{Answer, START, TestApi};
use crate::ids::UserId;
use crate::time::DAY;

mod apple;
mod google;
mod own;
mod receipts;
mod stripe;

/// A month costs 5 USD, a year 50.
fn config() -> Config {
    let mut config = TestApi::config();
    config.purchase.monthly_usd = "5".parse().unwrap();
    config.purchase.yearly_usd = "50".parse().unwrap();
    // Months pass, and whoever is signed in stays so.
    config.portal.session_idle = DAY * 400;
    config
}

struct Start(UserId);

impl Operation for Start {
    type Output = String;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<String, DomainError> {
        Ok(web_session::start(tx, &self.0, None)?.as_str().to_owned())
    }
}

/// Signs the user of the tests in.
async fn sign_in(api: &TestApi, browser: &mut Browser<'_>) {
    let secret = api.state.service.run(&Start(api.user.user_id)).await.unwrap();
    browser.cookies.push(("confirmedid".into(), secret));
}

/// A program that is signed in.
async fn program(api: &TestApi) -> Browser<'_> {
    let mut program = Browser::program(api);
    sign_in(api, &mut program).await;
    program
}

/// A browser that is signed in.
async fn browser(api: &TestApi) -> Browser<'_> {
    let mut browser = Browser::new(api);
    sign_in(api, &mut browser).await;
    browser
}

async fn plans(program: &mut Browser<'_>) -> Vec<Value> {
    program.post("/subscriptions", json!({})).await.expect(200).as_array().unwrap().clone()
}

/// What the operator says.
async fn operator(api: &TestApi, path: &str, body: Value) -> Answer {
    api.post(path, body).to(admin::router(api.state.clone())).await
}

async fn is_pro(api: &TestApi) -> bool {
    api.state.ledger.balance(api.user.network_id).await.unwrap().is_pro
}

fn code(answer: &Answer) -> i64 {
    answer.body["code"].as_i64().unwrap_or_else(|| panic!("{}", answer.text))
}
