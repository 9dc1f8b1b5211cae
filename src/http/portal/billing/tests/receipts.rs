//! Receipts that this server signs itself.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::domain::portal::profile::PROFILES;
use crate::domain::subscription::record::SUBSCRIPTION_USERS;
use crate::store::Store;

/// The operator's command, and what it prints.
async fn sign(api: &TestApi, change: Value) -> String {
    let mut body = json!({"store": "android", "plan": "android-monthly", "receipt_id": "GPA.7"});
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    operator(api, "/receipt/sign", body).await.expect(200)["receipt"].as_str().unwrap().to_owned()
}

/// Signs in with a receipt.
async fn open(program: &mut Browser<'_>, store: &str, receipt: &str) -> Answer {
    program.post("/signin", json!({"authtype": store, "authreceipt": receipt, "partner": "acme"})).await
}

#[tokio::test]
async fn a_receipt_of_the_operator_refreshes_a_plan() {
    let api = TestApi::with_config(config());
    let mut program = program(&api).await;
    let receipt = sign(&api, json!({})).await;
    let body = json!({"authtype": "android", "authreceipt": receipt});
    program.post("/subscription-event", body.clone()).await.portal_golden(200, "taken");
    program.post("/subscription-event", body).await.expect(200);
    let listed = program.post("/active-subscriptions", json!({})).await;
    listed.portal_golden(200, "android");
    assert_eq!(
        (&listed.body[0]["planType"], &listed.body[0]["receiptId"]),
        (&json!("android-monthly"), &json!("GPA.7"))
    );
    assert!(is_pro(&api).await);
    // A plan for phones of one kind leaves something to wish for.
    program.get("/new-subscription?upgrade=android-monthly").await.portal_golden(200, "upgrade");
    let body = json!({"source": "tok_visa", "trial": false, "plan": "all-monthly", "upgrade": "android-monthly"});
    assert_eq!(program.post("/new-subscription", body).await.location(), "/account");
}

#[tokio::test]
async fn each_flaw_of_a_receipt_has_its_code() {
    let api = TestApi::with_config(config());
    let mut program = program(&api).await;
    let ios = json!({"store": "ios", "plan": "ios-monthly"});
    let fine_ios = sign(&api, ios).await;
    let pending = sign(&api, json!({"pending": true})).await;
    let test = sign(&api, json!({"receipt_id": "GPA.3330-7836-8005-98670"})).await;
    let unknown = |store| {
        api.state.subscriptions.receipt_key().sign(SignedReceipt {
            receipt_type: store,
            receipt_id: "r".into(),
            plan: "free".into(),
            start: START,
            end: START + DAY,
            in_trial: false,
            renews: true,
            is_pending: false,
        })
    };
    let foreign = sign(&TestApi::with_config(config()), json!({})).await;
    for (case, status, number, store, receipt) in [
        ("bad_type", 400, 3, "stripe", fine_ios.clone()),
        ("no_type", 400, 3, "", fine_ios.clone()),
        ("empty", 400, 5, "ios", String::new()),
        ("ios_unreadable", 400, 9, "ios", "x".into()),
        ("ios_unknown_product", 400, 49, "ios", unknown(ReceiptType::Ios)),
        ("test_suite", 400, 57, "android", test),
        ("foreign_signature", 400, 63, "android", foreign),
        ("android_unreadable", 400, 65, "android", "%".into()),
        ("other_store", 400, 66, "android", fine_ios),
        ("pending", 400, 67, "android", pending),
        ("android_unknown_product", 400, 68, "android", unknown(ReceiptType::Android)),
    ] {
        let answer = program.post("/subscription-event", json!({"authtype": store, "authreceipt": receipt})).await;
        answer.portal_golden(status, case);
        assert_eq!(code(&answer), number, "{case}");
        let refused = open(&mut Browser::program(&api), store, &receipt).await;
        refused.portal_golden(status, &format!("receipt_{case}"));
        assert_eq!((code(&refused), refused.headers.get("set-cookie")), (number, None), "{case}");
    }
}

#[tokio::test]
async fn a_receipt_signs_its_user_in_whom_a_new_one_makes() {
    let api = TestApi::with_config(config());
    let receipt = sign(&api, json!({})).await;
    let mut phone = Browser::program(&api);
    open(&mut phone, "android", &receipt).await.portal_golden(200, "receipt");
    let first = phone.cookie("confirmedid").unwrap().to_owned();
    let plan = plans(&mut phone).await.remove(0);
    assert_eq!((&plan["receiptId"], &plan["planType"]), (&json!("GPA.7"), &json!("android-monthly")));
    assert_ne!(plan["userId"], hex::encode(api.user.user_id.as_bytes()));
    // Again, on another phone: the same user, another session.
    let mut other = Browser::program(&api);
    open(&mut other, "android", &receipt).await.expect(200);
    assert_eq!(plans(&mut other).await[0]["userId"], plan["userId"]);
    assert_ne!(other.cookie("confirmedid").unwrap(), first);
    let row = api.store.get(&SUBSCRIPTION_USERS.key(&"GPA.7".to_owned())).unwrap().unwrap();
    let user_id = SUBSCRIPTION_USERS.decode_value(&row.value).unwrap().user_id;
    let row = api.store.get(&PROFILES.key(&user_id)).unwrap().unwrap();
    assert_eq!(PROFILES.decode_value(&row.value).unwrap().partner.as_deref(), Some("acme-"));
    // A new session takes the place of the one before.
    open(&mut phone, "android", &receipt).await.expect(200);
    phone.cookies = vec![("confirmedid".into(), first)];
    assert_eq!(code(&phone.post("/subscriptions", json!({})).await), 2);
    // Whoever else has it is told so.
    let mut program = program(&api).await;
    let answer = program.post("/subscription-event", json!({"authtype": "android", "authreceipt": receipt})).await;
    answer.portal_golden(400, "of_somebody_else");
    assert_eq!(code(&answer), 26);
}

#[tokio::test]
async fn a_key_is_given_for_the_devices_that_the_plan_opens() {
    let api = TestApi::with_config(config());
    let mut program = program(&api).await;
    let unknown = program.post("/get-key", json!({"platform": "amiga"})).await;
    unknown.portal_golden(400, "unknown_platform");
    assert_eq!(code(&unknown), 3);
    let none = program.post("/get-key", json!({"platform": "mac"})).await;
    none.portal_golden(200, "no_plan");
    assert_eq!(code(&none), 6);
    Browser::program(&api).post("/get-key", json!({"platform": "mac"})).await.portal_golden(401, "signed_out");

    let receipt = sign(&api, json!({"store": "ios", "plan": "ios-annual"})).await;
    program.post("/subscription-event", json!({"authtype": "ios", "authreceipt": receipt})).await.expect(200);
    let mut given = program.post("/get-key", json!({"platform": "ios"})).await;
    let bundle = BASE64_STANDARD.decode(given.body["b64"].as_str().unwrap()).unwrap();
    assert_eq!((bundle[0], bundle.len() > 1000), (0x30, true), "a PKCS#12");
    assert_eq!(given.body["id"], hex::encode(api.user.user_id.as_bytes()));
    given.body["b64"] = "<pkcs12>".into();
    given.portal_golden(200, "ios");
    for (platform, number) in [("android", 51), ("mac", 38), ("windows", 38)] {
        let refused = program.post("/get-key", json!({"platform": platform})).await;
        refused.portal_golden(400, &format!("ios_plan_on_{platform}"));
        assert_eq!(code(&refused), number);
    }
    let receipt = sign(&api, json!({"receipt_id": "GPA.8"})).await;
    let mut phone = Browser::program(&api);
    open(&mut phone, "android", &receipt).await.expect(200);
    assert!(phone.post("/get-key", json!({"platform": "android"})).await.expect(200)["b64"].is_string());
    let refused = phone.post("/get-key", json!({"platform": "ios"})).await;
    refused.portal_golden(400, "android_plan_on_ios");
    assert_eq!(code(&refused), 52);
    let receipt = sign(&api, json!({"receipt_id": "GPA.9", "plan": "all-monthly"})).await;
    phone.post("/subscription-event", json!({"authtype": "android", "authreceipt": receipt})).await.expect(200);
    for platform in ["ios", "android", "windows", "mac"] {
        assert!(phone.post("/get-key", json!({"platform": platform})).await.expect(200)["b64"].is_string());
    }
}

#[tokio::test]
async fn a_browser_gets_the_key_as_a_file() {
    let api = TestApi::with_config(config());
    let mut browser = browser(&api).await;
    let fields = [("platform", "mac"), ("browser", "true")];
    assert_eq!(browser.signed_form("/get-key", &fields).await.location(), "/clients");
    browser.form("/get-key", &fields).await.expect(403);

    let receipt = sign(&api, json!({})).await;
    browser
        .as_program()
        .post("/subscription-event", json!({"authtype": "android", "authreceipt": receipt}))
        .await
        .expect(200);
    let file = browser.signed_form("/get-key", &[("platform", "android"), ("browser", "true")]).await;
    assert_eq!(file.headers["content-type"], "application/x-pkcs12");
    assert_eq!(file.headers["content-disposition"], "attachment; filename=\"certificate.p12\"");
}

#[tokio::test]
async fn the_account_shows_what_is_paid_for() {
    let api = TestApi::with_config(config());
    let mut browser = browser(&api).await;
    let page = browser.get("/account").await;
    assert!(page.text.contains("/new-subscription?browser=true") && page.text.contains("/payment-methods"));
    let receipt = sign(&api, json!({})).await;
    let body = json!({"authtype": "android", "authreceipt": receipt});
    program(&api).await.post("/subscription-event", body).await.expect(200);
    let page = browser.get("/account").await;
    assert!(page.text.contains("Android, monthly") && page.text.contains("renewed on 2026-03-03"), "{}", page.text);
    assert!(page.text.contains("upgrade=android-monthly"));
    let form = [("source", "tok_visa"), ("trial", "false"), ("plan", "all-annual"), ("upgrade", "android-monthly")];
    assert_eq!(browser.signed_form("/new-subscription", &form).await.location(), "/account");
    let page = browser.get("/account").await;
    assert!(page.text.contains("All devices, yearly") && !page.text.contains("/new-subscription"));
    assert!(page.text.contains("receiptType=stripe"));
}

#[tokio::test]
async fn only_the_operator_signs_and_only_what_makes_sense() {
    let api = TestApi::new();
    api.post("/receipt/sign", json!({"store": "ios", "plan": "all-monthly"})).await.expect(404);
    let refused = operator(&api, "/receipt/sign", json!({"store": "ios", "plan": "free"})).await.expect(400);
    assert!(refused["error"]["message"].as_str().unwrap().contains("ios-annual"));
    for wrong in ["", "a b", &"x".repeat(65)] {
        let body = json!({"store": "ios", "plan": "all-monthly", "receipt_id": wrong});
        operator(&api, "/receipt/sign", body).await.expect(400);
    }
    let body = json!({"store": "ios", "plan": "all-annual", "days": 3, "last": true, "trial": true});
    let made = operator(&api, "/receipt/sign", body).await.expect(200);
    assert_eq!(made["end"], (START + DAY * 3).to_rfc3339());
}
