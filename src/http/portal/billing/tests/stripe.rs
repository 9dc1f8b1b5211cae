//! Stripe as who bills, played by recorded exchanges.

use aws_lc_rs::hmac;

use super::*;
use crate::domain::account::delete::DeleteNetwork;
use crate::domain::network::{NETWORKS, NetworkRecord};
use crate::ids::{Id, NetworkId};
use crate::vendor::testing::Mock;

fn stripe(mock: &Mock) -> Config {
    let mut config = config();
    let stripe = &mut config.stripe;
    stripe.secret_key = "sk_test_1".into();
    stripe.publishable_key = "pk_test_1".into();
    stripe.signing_secret = "whsec_1".into();
    stripe.price_monthly = "price_month".into();
    stripe.price_yearly = "price_year".into();
    stripe.success_url = "https://app.example/thanks".into();
    stripe.cancel_url = "https://app.example/back".into();
    stripe.base_url = mock.base_url.clone();
    config
}

/// A report of Stripe, signed.
async fn report(api: &TestApi, kind: &str, object: Value) {
    let body = json!({"id": "evt_1", "type": kind, "data": {"object": object}});
    let seconds = api.clock.now().as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec_1");
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let signature = format!("t={seconds},v1={}", hex::encode(tag));
    api.post("/pay/stripe", body).header("stripe-signature", &signature).await.expect(200);
}

#[tokio::test]
async fn cards_are_taken_on_stripes_own_page_and_kept_there() {
    let mock = Mock::start("stripe/cards", &[]).await;
    let api = TestApi::with_config(stripe(&mock));
    let mut program = program(&api).await;
    program.get("/payment-methods").await.expect(200);
    assert_eq!(program.get("/add-new-card").await.location(), "https://checkout.stripe.example/c/1");
    program.post("/add-new-card", json!({"source": "tok_visa"})).await.expect(200);
    let declined = program.post("/add-new-card", json!({"source": "tok_chargeDeclined"})).await;
    assert_eq!((declined.status.as_u16(), code(&declined)), (400, 108));
    assert_eq!(declined.body["message"], "Your card was declined.");
    assert_eq!(code(&program.post("/delete-card", json!({"cardId": "pm_1"})).await), 82);
    program.post("/add-new-card", json!({"source": "pm_2"})).await.expect(200);
    assert_eq!(code(&program.post("/delete-card", json!({"cardId": "pm_1"})).await), 81);
    assert_eq!(code(&program.post("/set-default-card", json!({"cardId": "pm_9"})).await), 109);
    program.post("/set-default-card", json!({"cardId": "pm_2"})).await.expect(200);
    program.post("/delete-card", json!({"cardId": "pm_2"})).await.expect(200);
    let typed = json!({"source": "new", "number": "4242424242424242", "expiry": "12/40"});
    assert_eq!(mock.finish().len(), 9, "each change has a key of its own");
    // No number is sent anywhere.
    assert_eq!(code(&program.post("/add-new-card", typed).await), 108);
    mock.finish();
}

fn subscription(api: &TestApi, changes: Value) -> Value {
    let now = START.as_secs();
    let mut object = json!({
        "id": "sub_1", "status": "active", "created": now, "current_period_start": now,
        "current_period_end": now + 30 * 86_400, "cancel_at_period_end": false, "ended_at": null,
        "metadata": {"network_id": api.user.network_id}, "items": {"data": [{"price": {"id": "price_month"}}]},
    });
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

fn invoice(api: &TestApi, start: u64) -> Value {
    json!({
        "id": format!("in_{start}"), "subscription": "sub_1", "amount_paid": 500, "charge": format!("ch_{start}"),
        "subscription_details": {"metadata": {"network_id": api.user.network_id}},
        "lines": {"data": [{"price": {"id": "price_month"}, "period": {"start": start, "end": start + 30 * 86_400}}]},
    })
}

#[tokio::test]
async fn a_plan_is_begun_renewed_by_reports_and_ended() {
    let mock = Mock::start("stripe/plan", &[]).await;
    let api = TestApi::with_config(stripe(&mock));
    let mut program = program(&api).await;
    let buy = |trial: bool| json!({"source": "pm_1", "trial": trial, "plan": "all-monthly", "browser": true});
    let refused = program.post("/new-subscription", buy(false)).await;
    assert_eq!((code(&refused), &refused.body["message"]), (108, &json!("Your card has insufficient funds.")));
    assert!(plans(&mut program).await.is_empty());
    assert_eq!(program.post("/new-subscription", buy(true)).await.location(), "/clients");
    let plan = plans(&mut program).await.remove(0);
    assert_eq!(
        (&plan["receiptId"], &plan["inTrial"], &plan["receiptType"]),
        (&json!("sub_1"), &json!(true), &json!("stripe"))
    );
    assert!(!is_pro(&api).await, "what it brings comes with the report of the payment");

    // The trial is over, and the first month is paid.
    api.clock.advance(DAY * 7);
    let now = api.clock.now().as_secs();
    report(&api, "invoice.paid", invoice(&api, now)).await;
    for _ in 0..2 {
        report(
            &api,
            "customer.subscription.updated",
            subscription(&api, json!({"current_period_end": now + 30 * 86_400})),
        )
        .await;
    }
    assert!(is_pro(&api).await);
    let plan = plans(&mut program).await.remove(0);
    assert_eq!((&plan["inTrial"], &plan["expirationDateMs"]), (&json!(false), &json!(now + 30 * 86_400)));
    // A month that is not paid does not count.
    let late = json!({"status": "past_due", "current_period_start": now + 30 * 86_400, "current_period_end": now + 60 * 86_400});
    report(&api, "customer.subscription.updated", subscription(&api, late)).await;
    assert_eq!(plans(&mut program).await[0]["expirationDateMs"], json!(now + 30 * 86_400));

    let body = json!({"receiptId": "sub_1", "reason": "too dear"});
    assert_eq!(program.post("/cancel-subscription", body).await.location(), "/account");
    assert_eq!(plans(&mut program).await[0]["renewEnabled"], false);
    let page = program.get("/invoices").await;
    assert!(page.text.contains("8.99 USD") && page.text.contains("Pro, one month"), "{}", page.text);
    let page = program.get("/invoices?id=in_1").await;
    assert!(page.text.contains("invoice.stripe.example") && page.text.contains("9.99 USD"));
    assert_eq!(program.get("/invoices?id=in_2").await.status, 404, "somebody else's");
    assert_eq!(program.get("/invoices?id=in_3").await.status, 404);
    let ended = json!({"status": "canceled", "ended_at": now + 86_400, "current_period_end": now + 30 * 86_400});
    report(&api, "customer.subscription.deleted", subscription(&api, ended)).await;
    let plan = plans(&mut program).await.remove(0);
    assert_eq!((&plan["cancellationDateMs"], &plan["renewEnabled"]), (&json!(now + 86_400), &json!(false)));
    // What is not of here changes nothing.
    let foreign = json!({"metadata": {"network_id": NetworkId::from_bytes([9; 16])}});
    report(&api, "customer.subscription.updated", subscription(&api, foreign)).await;
    report(&api, "customer.subscription.updated", subscription(&api, json!({"items": {"data": []}}))).await;
    assert_eq!(plans(&mut program).await.len(), 1);
    report(&api, "customer.subscription.updated", subscription(&api, json!({"id": "sub_1", "ended_at": null}))).await;

    // With the account the plan ends at Stripe too. It was cancelled here, so it is made to run first.
    let running = crate::domain::subscription::record::SUBSCRIPTIONS;
    let key = (api.user.user_id, "sub_1".to_owned());
    let row = crate::store::Store::get(&*api.store, &running.key(&key)).unwrap().unwrap();
    let plan = running.decode_value(&row.value).unwrap();
    let plan = crate::domain::subscription::record::Subscription { cancellation: None, ..plan };
    api.put(&running, &key, &plan).await;
    api.state.service.run(&DeleteNetwork { network_id: api.user.network_id }).await.unwrap();
    api.state.subscriptions.once().await.unwrap();
    mock.finish();
}

#[tokio::test]
async fn a_payment_that_the_bank_has_confirmed_pays_the_first_period() {
    let mock = Mock::start("stripe/confirmed", &[]).await;
    let api = TestApi::with_config(stripe(&mock));
    // Somebody has brought them.
    let stranger =
        api.state.authenticator.authenticate(&api.stranger().await, crate::domain::auth::authenticate::Audience::User);
    let key = NETWORKS.key(&api.user.network_id);
    let row = crate::store::Store::get(&*api.store, &key).unwrap().unwrap();
    let network = NETWORKS.decode_value(&row.value).unwrap();
    let network = NetworkRecord { referred_by: Some(stranger.unwrap().network_id), ..network };
    api.put(&NETWORKS, &api.user.network_id, &network).await;
    let mut program = program(&api).await;
    let body = json!({"source": "src_1", "trial": true, "is3ds": true, "plan": "all-annual", "upgrade": "ios-monthly"});
    let answer = program.post("/new-subscription", body).await;
    assert_eq!(answer.location(), "/account");
    assert!(answer.flash().unwrap().contains("iTunes"), "{:?}", answer.flash());
    let plan = plans(&mut program).await.remove(0);
    assert_eq!((&plan["planType"], &plan["inTrial"]), (&json!("all-annual"), &json!(false)));
    assert!(is_pro(&api).await);
    // What Stripe calls a trial is none, and its first invoice was paid apart.
    let first = json!({"id": "in_0", "subscription": "sub_2", "amount_paid": 0, "billing_reason": "subscription_create",
                       "subscription_details": {"metadata": {"network_id": api.user.network_id, "paid_first": "true"}}});
    report(&api, "invoice.paid", first).await;
    let object = json!({"id": "sub_2", "status": "trialing", "items": {"data": [{"price": {"id": "price_year"}}]},
                        "metadata": {"network_id": api.user.network_id, "paid_first": "true"}});
    report(&api, "customer.subscription.created", subscription(&api, object)).await;
    assert_eq!(plans(&mut program).await[0]["inTrial"], false);
    report(&api, "charge.refunded", json!({"id": "ch_1", "refunded": true})).await;
    assert!(!is_pro(&api).await);
    mock.finish();
}

#[tokio::test]
async fn a_company_that_does_not_answer_is_a_failure_without_details() {
    let mock = Mock::start("stripe/nothing", &[]).await;
    let mut settings = stripe(&mock);
    settings.stripe.base_url = "http://127.0.0.1:9".into();
    let api = TestApi::with_config(settings);
    let answer = program(&api).await.get("/payment-methods").await;
    answer.portal_golden(500, "unreachable");
    assert_eq!(code(&answer), -1);
}
