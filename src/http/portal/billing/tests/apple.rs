//! Old receipts of the App Store, which Apple is asked about; played by recorded exchanges.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::vendor::testing::Mock;

fn apple(mock: &Mock, folder: &tempfile::TempDir) -> Config {
    let mut config = config();
    let key = rcgen::KeyPair::generate().unwrap();
    let root = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let path = folder.path().join("roots.pem");
    std::fs::write(&path, root.pem()).unwrap();
    let apple = &mut config.apple;
    apple.roots = path;
    apple.bundle_id = "com.example.app".into();
    apple.product_monthly = "monthly".into();
    apple.product_yearly = "yearly".into();
    apple.product_ios_monthly = "ios_monthly".into();
    apple.shared_secret = "shared".into();
    apple.verify_url = format!("{}/verifyReceipt", mock.base_url);
    apple.sandbox_verify_url = format!("{}/sandbox", mock.base_url);
    config
}

async fn report(program: &mut Browser<'_>, receipt: &str) -> Answer {
    program.post("/subscription-event", json!({"authtype": "ios", "authreceipt": receipt})).await
}

fn receipt() -> String {
    BASE64_STANDARD.encode("an opaque receipt")
}

#[tokio::test]
async fn a_plan_is_asked_about_again_when_its_period_ends() {
    let mock = Mock::start("apple/life", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let api = TestApi::with_config(apple(&mock, &folder));
    let mut program = program(&api).await;
    report(&mut program, &receipt()).await.expect(200);
    let plan = plans(&mut program).await.remove(0);
    assert_eq!((&plan["planType"], &plan["receiptId"]), (&json!("ios-monthly"), &json!("100")));
    assert_eq!((&plan["inTrial"], &plan["renewEnabled"]), (&json!(true), &json!(true)));
    assert!(is_pro(&api).await);
    let round = async || api.state.subscriptions.once().await.unwrap();
    round().await;
    // The store has not renewed it yet; six hours later it has.
    api.clock.advance(DAY * 30 + std::time::Duration::from_secs(300));
    round().await;
    assert_eq!(program.post("/active-subscriptions", json!({})).await.body, json!([]));
    round().await;
    api.clock.advance(DAY / 4);
    round().await;
    let plan = program.post("/active-subscriptions", json!({})).await.body[0].clone();
    assert_eq!((&plan["receiptId"], &plan["inTrial"]), (&json!("100"), &json!(false)));
    // Apple has paid it back, when nothing is left of the period before.
    api.clock.advance(DAY);
    report(&mut program, &receipt()).await.expect(200);
    assert_eq!(program.post("/active-subscriptions", json!({})).await.body, json!([]));
    assert!(plans(&mut program).await[0]["cancellationDate"].is_string());
    assert!(!is_pro(&api).await);
    mock.finish();
}

#[tokio::test]
async fn each_of_apples_refusals_has_its_code() {
    let mock = Mock::start("apple/problems", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let api = TestApi::with_config(apple(&mock, &folder));
    let mut program = program(&api).await;
    for (case, status, number) in [
        ("apple_refuses", 400, 10),
        ("apple_sandbox", 400, 10),
        ("apple_user_gone", 200, 995),
        ("apple_final", 200, 995),
        ("apple_empty_after_a_retry", 400, 9),
        ("apple_never_ready", 400, 10),
        ("apple_no_subscription", 400, 9),
        ("apple_other_app", 400, 9),
        ("apple_unknown_product", 400, 49),
        ("apple_no_end", 400, 9),
        ("apple_no_trial_flag", 400, 9),
        ("apple_no_renewal", 400, 9),
        ("apple_no_latest", 400, 9),
        ("apple_test_suite", 400, 57),
        ("apple_http_error", 400, 10),
    ] {
        let answer = report(&mut program, &receipt()).await;
        answer.portal_golden(status, case);
        assert_eq!(code(&answer), number, "{case}");
    }
    assert!(plans(&mut program).await.is_empty());
    mock.finish();
    // Neither base64 nor signed: nobody is asked.
    assert_eq!(code(&report(&mut program, "%%%").await), 9);
    assert_eq!(code(&report(&mut program, "a.b.c").await), 9);
    mock.finish();
}

#[tokio::test]
async fn receipts_of_the_sandbox_count_only_where_they_are_allowed() {
    let mock = Mock::start("apple/sandbox", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = apple(&mock, &folder);
    config.apple.sandbox = true;
    let api = TestApi::with_config(config);
    let mut program = program(&api).await;
    report(&mut program, &receipt()).await.expect(200);
    assert_eq!(plans(&mut program).await[0]["planType"], "all-monthly");
    mock.finish();
}
