//! Receipts of Google Play, signed with a licence key, then looked up; played by recorded exchanges.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::vendor::testing::Mock;

/// Purchases as the store signed them, and the key.
fn signed() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vendor/google/signed.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn google(mock: &Mock) -> Config {
    let mut config = config();
    let google = &mut config.google;
    google.package = "com.example.app".into();
    google.client_id = "client-1".into();
    google.client_secret = "secret-1".into();
    google.refresh_token = "refresh-1".into();
    google.product_monthly = "monthly".into();
    google.product_yearly = "yearly".into();
    google.product_android_monthly = "android_monthly".into();
    google.license_key = signed()["license_key"].as_str().unwrap().into();
    google.token_url = format!("{}/token", mock.base_url);
    google.base_url = mock.base_url.clone();
    config
}

/// What a phone hands in: its JSON is put together as text, since the data was signed as text.
fn handed(name: &str, change: impl FnOnce(&str) -> String) -> String {
    let purchase = signed()["purchases"][name].clone();
    let (data, signature) = (purchase["data"].as_str().unwrap(), purchase["signature"].as_str().unwrap());
    let json = format!(r#"{{"INAPP_PURCHASE_DATA":{data},"INAPP_DATA_SIGNATURE":"{signature}","RESPONSE_CODE":0}}"#);
    BASE64_STANDARD.encode(change(&json))
}

async fn report(program: &mut Browser<'_>, receipt: &str) -> Answer {
    program.post("/subscription-event", json!({"authtype": "android", "authreceipt": receipt})).await
}

#[tokio::test]
async fn a_purchase_is_looked_up_acknowledged_and_renewed() {
    let mock = Mock::start("google/plans", &[]).await;
    let api = TestApi::with_config(google(&mock));
    let mut program = program(&api).await;
    // Phones escape slashes and break the text into lines.
    let receipt = handed("android", |json| json.replace("a/b", "a\\/b"));
    let lines: Vec<&str> = receipt.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    report(&mut program, &lines.join("\n")).await.expect(200);
    let plan = plans(&mut program).await.remove(0);
    assert_eq!((&plan["planType"], &plan["receiptId"]), (&json!("android-monthly"), &json!("GPA.1-2")));
    assert!(is_pro(&api).await);
    api.clock.advance(DAY * 30 + std::time::Duration::from_secs(300));
    api.state.subscriptions.once().await.unwrap();
    let plan = plans(&mut program).await.remove(0);
    assert_eq!((&plan["receiptId"], &plan["renewEnabled"]), (&json!("GPA.1-2"), &json!(false)));
    assert_eq!(plan["expirationDateMs"], json!(START.as_secs() + 60 * 86_400));
    mock.finish();
}

#[tokio::test]
async fn each_flaw_of_a_purchase_has_its_code() {
    let mock = Mock::start("google/problems", &[]).await;
    let api = TestApi::with_config(google(&mock));
    let mut program = program(&api).await;
    let same = |json: &str| json.to_owned();
    let cut = |from: &'static str| move |json: &str| json.replace(from, "");
    let whole = |text: &str| BASE64_STANDARD.encode(text);
    for (case, status, number, receipt) in [
        ("google_no_base64", 400, 65, "%".to_owned()),
        ("google_no_json", 400, 65, whole("{")),
        ("google_failed_on_the_phone", 400, 64, handed("fine", |json| json.replace(":0}", ":7}"))),
        ("google_no_code", 400, 66, handed("fine", cut(",\"RESPONSE_CODE\":0"))),
        ("google_no_data", 400, 66, whole(r#"{"RESPONSE_CODE":0,"INAPP_DATA_SIGNATURE":""}"#)),
        ("google_no_signature", 400, 66, whole(r#"{"RESPONSE_CODE":0,"INAPP_PURCHASE_DATA":{}}"#)),
        ("google_changed", 400, 63, handed("fine", |json| json.replace("token-1", "token-2"))),
        ("google_no_order", 400, 66, handed("no_order", same)),
        ("google_no_token", 400, 66, handed("no_token", same)),
        ("google_other_package", 400, 66, handed("other_package", same)),
        ("google_other_product", 400, 68, handed("other_product", same)),
        // From here on the store is asked.
        ("google_other_order", 400, 69, handed("fine", same)),
        ("google_pending", 400, 67, handed("fine", same)),
        ("google_token_gone", 200, 62, handed("fine", same)),
        ("google_product_of_the_store", 400, 68, handed("fine", same)),
        ("google_test_suite", 400, 57, handed("fine", same)),
    ] {
        let answer = report(&mut program, &receipt).await;
        answer.portal_golden(status, case);
        assert_eq!(code(&answer), number, "{case}");
    }
    assert!(plans(&mut program).await.is_empty());
    mock.finish();
}
