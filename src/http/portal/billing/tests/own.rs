//! This server's own billing.

use super::*;

/// Everything that is asked of somebody who is not signed in.
#[tokio::test]
async fn everything_here_is_for_those_who_are_signed_in() {
    let api = TestApi::with_config(config());
    for path in ["/invoices", "/payment-methods", "/add-new-card", "/new-subscription", "/cancel-subscription"] {
        Browser::program(&api).get(path).await.portal_golden(401, "signed_out");
        assert_eq!(Browser::new(&api).get(path).await.location(), "/signin");
    }
    for path in [
        "/add-new-card",
        "/set-default-card",
        "/delete-card",
        "/subscriptions",
        "/active-subscriptions",
        "/new-subscription",
        "/subscription-event",
        "/cancel-subscription",
    ] {
        let answer = Browser::program(&api).post(path, json!({})).await;
        answer.portal_golden(401, "posted_signed_out");
        let mut browser = browser(&api).await;
        assert_eq!(browser.form(path, &[]).await.status, 403, "{path}: a form without its token");
    }
}

#[tokio::test]
async fn cards_are_added_chosen_and_deleted() {
    let api = TestApi::with_config(config());
    let mut program = program(&api).await;
    program.get("/payment-methods").await.portal_golden(200, "none");
    program.get("/add-new-card").await.portal_golden(200, "form");
    let missing = program.post("/add-new-card", json!({})).await;
    missing.portal_golden(400, "no_source");
    assert_eq!(code(&missing), 3);
    let declined = program.post("/add-new-card", json!({"source": "tok_chargeDeclined"})).await;
    declined.portal_golden(400, "declined");
    assert_eq!(code(&declined), 108);
    program.post("/add-new-card", json!({"source": "tok_visa"})).await.portal_golden(200, "added");
    // The form of the page, with a number.
    let mut browser = browser(&api).await;
    for (case, number, expiry) in [
        ("typed_wrong_number", "4242424242424241", "12/40"),
        ("typed_real_number", "4012888888881881", "12/40"),
        ("typed_wrong_expiry", "4242424242424242", "1240"),
    ] {
        let form = [("source", "new"), ("number", number), ("expiry", expiry)];
        let answer = browser.signed_form("/add-new-card", &form).await;
        assert!(answer.text.is_empty() && !format!("{answer:?}").contains("Set-Cookie: 4242"), "{case}");
        assert_eq!(
            (answer.location(), answer.flash().unwrap().starts_with("bad: ")),
            ("/add-new-card", true),
            "{case}"
        );
    }
    let form = [("source", "new"), ("number", "5555 5555 5555 4444"), ("expiry", "12/40")];
    assert_eq!(browser.signed_form("/add-new-card", &form).await.location(), "/payment-methods");
    let page = browser.get("/payment-methods").await;
    page.portal_golden(200, "two");
    assert!(page.text.contains("Mastercard •••• 4444") && !page.text.contains("5555555555554444"));
    let ids: Vec<String> = page.text.split("name=\"cardId\" value=\"").skip(1).map(|rest| rest[..37].into()).collect();
    let second = ids[0].clone();
    let first = {
        let cards = api.state.subscriptions.cards((api.user.user_id, api.user.network_id)).await.unwrap();
        cards[0].id.clone()
    };
    let refused = program.post("/delete-card", json!({"cardId": first})).await;
    refused.portal_golden(400, "default");
    assert_eq!(code(&refused), 81);
    program.post("/set-default-card", json!({"cardId": second})).await.portal_golden(200, "chosen");
    let refused = program.post("/set-default-card", json!({"cardId": "card_1"})).await;
    refused.portal_golden(400, "unknown");
    assert_eq!(code(&refused), 109);
    assert_eq!(code(&program.post("/set-default-card", json!({})).await), 3);
    program.post("/delete-card", json!({"cardId": first})).await.portal_golden(200, "deleted");
    let refused = program.post("/delete-card", json!({"cardId": second})).await;
    refused.portal_golden(400, "last");
    assert_eq!(code(&refused), 82);
    assert_eq!(code(&program.post("/delete-card", json!({"cardId": "card_1"})).await), 3);
    // The page's own buttons lead back to the page.
    let form = [("browser", "true"), ("cardId", second.as_str())];
    let answer = browser.signed_form("/set-default-card", &form).await;
    assert_eq!((answer.location(), answer.flash().is_some()), ("/payment-methods", true));
}

#[tokio::test]
async fn a_plan_is_bought_listed_and_cancelled() {
    let api = TestApi::with_config(config());
    let mut program = program(&api).await;
    assert_eq!(plans(&mut program).await, Vec::<Value>::new());
    program.post("/active-subscriptions", json!({})).await.portal_golden(200, "none");
    let page = program.get("/new-subscription?browser=true").await;
    page.portal_golden(200, "offers");
    assert!(page.text.contains("5.00 USD") && page.text.contains("name=\"trial\" value=\"true\""));
    for (case, body) in [
        ("no_source", json!({"trial": true, "plan": "all-monthly"})),
        ("no_trial", json!({"source": "tok_visa", "plan": "all-monthly"})),
        ("no_plan", json!({"source": "tok_visa", "trial": false})),
        ("wrong_plan", json!({"source": "tok_visa", "trial": false, "plan": "ios-monthly"})),
        ("wrong_upgrade", json!({"source": "tok_visa", "trial": false, "plan": "all-annual", "upgrade": "all-annual"})),
    ] {
        let refused = program.post("/new-subscription", body).await;
        refused.portal_golden(400, case);
        assert_eq!(code(&refused), 3, "{case}");
    }
    for (case, source) in [("declined", "tok_chargeDeclined"), ("fails_later", "tok_chargeCustomerFail")] {
        let body = json!({"source": source, "trial": false, "plan": "all-monthly"});
        let refused = program.post("/new-subscription", body).await;
        refused.portal_golden(400, case);
        assert_eq!(code(&refused), 108);
    }
    let body = json!({"source": "tok_visa", "trial": true, "plan": "all-monthly"});
    let bought = program.post("/new-subscription", body.clone()).await;
    bought.portal_golden(302, "trial_in_an_app");
    assert_eq!(bought.location(), "tunnels://stripesuccess");
    assert!(is_pro(&api).await);
    let listed = program.post("/subscriptions", json!({})).await;
    listed.portal_golden(200, "trial");
    let plan = listed.body[0].clone();
    assert_eq!(plan["userId"], hex::encode(api.user.user_id.as_bytes()));
    assert_eq!(
        (&plan["inTrial"], &plan["renewEnabled"], &plan["cancellationDate"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    assert!(plan.as_object().unwrap().contains_key("cancellationDateMs"));
    assert_eq!(plan["expirationDateMs"], json!(START.as_secs() + 7 * 86_400));
    assert_eq!(
        program.post("/new-subscription", body).await.flash().unwrap(),
        "good: You already have a Pro subscription."
    );
    assert_eq!(program.get("/new-subscription").await.location(), "/account");

    let receipt = plan["receiptId"].as_str().unwrap();
    let asked = |kind: &str, id: &str| format!("/cancel-subscription?receiptId={id}&receiptType={kind}");
    program.get(&asked("stripe", receipt)).await.portal_golden(200, "form");
    program.get(&asked("ios", "x")).await.portal_golden(302, "at_the_store");
    assert_eq!(code(&program.get(&asked("other", receipt)).await), 3);
    assert_eq!(code(&program.get(&asked("stripe", "")).await), 3);
    let unknown = program.get(&asked("stripe", "sub_1")).await;
    unknown.portal_golden(400, "unknown");
    assert_eq!(code(&unknown), 26);
    let unknown = program.post("/cancel-subscription", json!({"receiptId": "sub_1"})).await;
    unknown.portal_golden(400, "post_unknown");
    assert_eq!(code(&unknown), 26);
    let body = json!({"receiptId": receipt, "reason": "too dear"});
    program.post("/cancel-subscription", body).await.portal_golden(302, "cancelled");
    let plan = plans(&mut program).await.remove(0);
    assert_eq!((&plan["renewEnabled"], &plan["cancellationDate"]), (&json!(false), &Value::Null));
    assert_eq!(program.post("/active-subscriptions", json!({})).await.body.as_array().unwrap().len(), 1);
    api.clock.advance(DAY * 8);
    api.state.subscriptions.once().await.unwrap();
    assert_eq!(program.post("/active-subscriptions", json!({})).await.body, json!([]));
    let body = json!({"source": "tok_visa", "trial": true, "plan": "all-monthly"});
    let second = program.post("/new-subscription", body).await;
    second.portal_golden(400, "second_trial");
    assert_eq!(code(&second), 29);
}

#[tokio::test]
async fn browsers_and_upgrades_are_led_on() {
    let api = TestApi::with_config(config());
    let mut browser = browser(&api).await;
    let declined = [("source", "tok_chargeDeclined"), ("trial", "false"), ("plan", "all-annual"), ("browser", "true")];
    let answer = browser.signed_form("/new-subscription", &declined).await;
    assert_eq!(answer.location(), "/new-subscription?browser=true");
    assert_eq!(answer.flash().unwrap(), "bad: Your card was declined.");
    let asks = browser.get("/new-subscription?browser=true&source=tok_threeDSecureRequired&client_secret=s").await;
    asks.portal_golden(200, "confirmed");
    assert!(asks.text.contains("name=\"is3ds\" value=\"true\"") && asks.text.contains("tok_threeDSecureRequired"));
    let form = [
        ("source", "tok_threeDSecureRequired"),
        ("is3ds", "true"),
        ("trial", "true"),
        ("plan", "all-annual"),
        ("upgrade", "android-monthly"),
        ("browser", "true"),
    ];
    let answer = browser.signed_form("/new-subscription", &form).await;
    answer.portal_golden(302, "upgraded");
    assert_eq!(answer.location(), "/account");
    let plan = plans(&mut program(&api).await).await.remove(0);
    assert_eq!((&plan["planType"], &plan["inTrial"]), (&json!("all-annual"), &json!(false)));

    let api = TestApi::with_config(config());
    let mut browser = super::browser(&api).await;
    let form =
        [("source", "tok_visa"), ("trial", "false"), ("trial", "true"), ("plan", "all-monthly"), ("browser", "1")];
    let answer = browser.signed_form("/new-subscription", &form).await;
    answer.portal_golden(302, "in_a_browser");
    assert_eq!(answer.location(), "/clients");
    let plan = plans(&mut program(&api).await).await.remove(0);
    assert_eq!(plan["inTrial"], true, "the box was ticked");
}

#[tokio::test]
async fn invoices_are_collected_by_the_operator() {
    let api = TestApi::with_config(config());
    let mut browser = browser(&api).await;
    browser.get("/invoices").await.portal_golden(200, "none");
    let form = [("source", "invoice"), ("trial", "false"), ("plan", "all-monthly"), ("browser", "true")];
    let answer = browser.signed_form("/new-subscription", &form).await;
    answer.portal_golden(302, "by_invoice");
    assert_eq!(answer.location(), "/invoices");
    assert!(!is_pro(&api).await);
    let page = browser.get("/invoices").await;
    page.portal_golden(200, "one");
    let id = page.text.split_once("/invoices?id=").unwrap().1[..35].to_owned();
    let page = browser.get(&format!("/invoices?id={id}")).await;
    page.portal_golden(200, "shown");
    assert!(page.text.contains("5.00 USD") && page.text.contains(&id));
    browser.get("/invoices?id=in_1").await.portal_golden(404, "unknown");

    let listed = operator(&api, "/invoice/list", json!({"limit": 10, "state": "open"})).await.expect(200);
    assert_eq!((&listed["invoices"][0]["invoice"], &listed["is_more"]), (&json!(id), &json!(false)));
    assert_eq!(listed["invoices"][0]["amount"], 5_000_000_000i64);
    let network = api.user.network_id.to_string();
    for _ in 0..2 {
        let paid = operator(&api, "/invoice/pay", json!({"invoice": id, "memo": "transfer 7"})).await.expect(200);
        assert_eq!((&paid["state"], &paid["paid_until"]), (&json!("paid"), &json!("2026-03-03T04:05:06Z")));
    }
    assert!(is_pro(&api).await);
    let listed = operator(&api, "/invoice/list", json!({"limit": 10, "network": network})).await.expect(200);
    assert_eq!(listed["invoices"][0]["paid_with"], "transfer 7");
    let refunded = operator(&api, "/invoice/refund", json!({"invoice": id})).await.expect(200);
    assert_eq!(refunded["state"], "refunded");
    assert!(!is_pro(&api).await);
    operator(&api, "/invoice/pay", json!({"invoice": id, "memo": ""})).await.expect(400);
    for unknown in ["in_1", "in_00000000000000000000000000000000"] {
        let refused = operator(&api, "/invoice/pay", json!({"invoice": unknown, "memo": ""})).await.expect(404);
        assert!(refused["error"]["message"].as_str().unwrap().contains("warren admin invoices list"));
        operator(&api, "/invoice/refund", json!({"invoice": unknown})).await.expect(404);
    }
    let plan = plans(&mut program(&api).await).await.remove(0);
    assert_eq!(plan["cancellationDateString"], "February 3, 2026");
}

#[tokio::test]
async fn what_is_not_for_sale_is_not_offered() {
    let api = TestApi::new();
    let mut program = program(&api).await;
    program.get("/new-subscription").await.portal_golden(200, "nothing_for_sale");
    let body = json!({"source": "tok_visa", "trial": false, "plan": "all-monthly"});
    program.post("/new-subscription", body).await.portal_golden(400, "not_for_sale");
}
