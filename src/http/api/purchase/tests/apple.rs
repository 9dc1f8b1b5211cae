//! Through the routes, with a chain of certificates made like Apple's.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::http::testing::{Answer, START, TestApi};

/// A root, and what signs under it.
struct Authority {
    root_pem: String,
    chain: Vec<String>,
    leaf: EcdsaKeyPair,
}

/// What is wrong with a chain.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    LeafMark,
    IntermediateMark,
    NoAuthority,
}

fn params(name: &str, mark: Option<&[u64]>, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    if let Some(mark) = mark {
        params.custom_extensions.push(CustomExtension::from_oid_content(mark, vec![5, 0]));
    }
    params
}

impl Authority {
    fn new(flaw: Flaw) -> Self {
        let [root_key, middle_key, leaf_key] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let root_params = params("Root", None, true);
        let root = root_params.self_signed(&root_key).unwrap();
        let mark: &[u64] = &[1, 2, 840, 113635, 100, 6, 2, 1];
        let mark = (flaw != Flaw::IntermediateMark).then_some(mark);
        let middle_params = params("Middle", mark, flaw != Flaw::NoAuthority);
        let root_issuer = Issuer::from_params(&root_params, &root_key);
        let middle = middle_params.signed_by(&middle_key, &root_issuer).unwrap();
        let mark: &[u64] = &[1, 2, 840, 113635, 100, 6, 11, 1];
        let mark = (flaw != Flaw::LeafMark).then_some(mark);
        let middle_issuer = Issuer::from_params(&middle_params, &middle_key);
        let leaf = params("Leaf", mark, false).signed_by(&leaf_key, &middle_issuer).unwrap();
        let chain = [leaf.der(), middle.der(), root.der()].map(|der| BASE64_STANDARD.encode(der)).into();
        let leaf = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &leaf_key.serialize_der()).unwrap();
        Self { root_pem: root.pem(), chain, leaf }
    }

    fn sign_with(&self, header: Value, payload: &Value) -> String {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(payload));
        let signature = self.leaf.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, payload: &Value) -> String {
        self.sign_with(json!({"alg": "ES256", "x5c": self.chain}), payload)
    }

    /// A server that trusts this root.
    fn api(&self) -> TestApi {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        std::fs::write(&path, &self.root_pem).unwrap();
        let mut config = TestApi::config();
        config.apple.roots = path;
        config.apple.bundle_id = "com.example.app".into();
        config.apple.product_monthly = "monthly".into();
        config.apple.product_yearly = "yearly".into();
        TestApi::with_config(config)
    }
}

fn transaction(id: &str, changes: Value) -> Value {
    let now = START.as_millis();
    let mut transaction = json!({
        "transactionId": id, "originalTransactionId": "1000", "bundleId": "com.example.app", "productId": "monthly",
        "purchaseDate": now, "expiresDate": now + 30 * 86_400_000, "environment": "Production", "signedDate": now,
    });
    for (name, value) in changes.as_object().unwrap() {
        transaction[name] = value.clone();
    }
    transaction
}

async fn report(api: &TestApi, signed: &str) -> Answer {
    api.post("/subscription/verify-apple-transaction", json!({"signed_transaction": signed}))
        .token(&api.user_token)
        .await
}

async fn status(api: &TestApi, signed: &str) -> Value {
    report(api, signed).await.expect(200)["status"].clone()
}

async fn is_pro(api: &TestApi) -> bool {
    let body = api.get("/subscription/balance").token(&api.user_token).await.expect(200);
    body.get("current_subscription").is_some()
}

#[tokio::test]
async fn a_signed_transaction_is_given_once() {
    let authority = Authority::new(Flaw::None);
    let api = authority.api();
    let signed = authority.sign(&transaction("1", json!({})));
    let answer = report(&api, &signed).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.body, json!({"status": "credited", "expiry_time": "2026-03-06T04:05:06Z"}));
    assert_eq!(report(&api, &signed).await.expect(200), json!({"status": "already_credited"}));
    assert_eq!(super::store(&api).await.as_deref(), Some("apple"));
}

#[tokio::test]
async fn a_purchase_with_a_payment_id_is_of_the_network_that_asked_for_it() {
    let authority = Authority::new(Flaw::None);
    let api = authority.api();
    let other = api.stranger().await;
    let asked = api.post("/subscription/create-payment-id", json!({})).token(&api.client_token).await.expect(200);
    let account = json!({"appAccountToken": asked["subscription_payment_id"]});
    let signed = authority.sign(&transaction("1", account));
    let body = json!({"signed_transaction": signed});
    let stranger = api.post("/subscription/verify-apple-transaction", body).token(&other).await;
    assert_eq!(stranger.expect(200), json!({"status": "wrong_network"}));
    assert_eq!(status(&api, &signed).await, "credited");
    // A store knows the buyer of a renewal that no phone has reported.
    let renewed = authority.sign(&transaction(
        "2",
        json!({"appAccountToken": asked["subscription_payment_id"],
                                                          "originalTransactionId": "2000"}),
    ));
    let payload = json!({"notificationType": "DID_RENEW", "signedDate": START.as_millis(),
                         "data": {"bundleId": "com.example.app", "signedTransactionInfo": renewed}});
    let notice = json!({"signedPayload": authority.sign(&payload)});
    api.post("/apple/notification", notice).await.expect(200);
    assert_eq!(status(&api, &renewed).await, "already_credited");
}

#[tokio::test]
async fn what_was_paid_back_cannot_be_reported_afterwards() {
    let authority = Authority::new(Flaw::None);
    let api = authority.api();
    // Nobody has reported it yet, and it names no account.
    let inner = authority.sign(&transaction("1", json!({})));
    let payload = json!({"notificationType": "REFUND", "signedDate": START.as_millis(),
                         "data": {"bundleId": "com.example.app", "signedTransactionInfo": inner}});
    let notice = json!({"signedPayload": authority.sign(&payload)});
    api.post("/apple/notification", notice).await.expect(200);
    assert_eq!(status(&api, &inner).await, "invalid");
    assert!(!is_pro(&api).await);
}

#[tokio::test]
async fn what_is_not_signed_by_the_store_or_not_of_this_app_is_invalid() {
    let authority = Authority::new(Flaw::None);
    let api = authority.api();
    let fine = transaction("1", json!({}));
    let signed = authority.sign(&fine);
    let (head, tail) = signed.rsplit_once('.').unwrap();
    let [header, payload] = head.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let other = BASE64_URL_SAFE_NO_PAD.encode(transaction("2", json!({})).to_string());
    let short = json!({"alg": "ES256", "x5c": authority.chain[..2]});
    let twice = [&authority.chain[..], &authority.chain[2..]].concat();
    let mut cases = vec![
        "x".into(),
        "a.b.c".into(),
        head.to_owned(),
        format!("{signed}.x"),
        format!("{header}.{other}.{tail}"),
        format!("{header}.{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 64])),
        authority.sign_with(json!({"alg": "none", "x5c": authority.chain}), &fine),
        authority.sign_with(json!({"alg": "ES256"}), &fine),
        authority.sign_with(short, &fine),
        authority.sign_with(json!({"alg": "ES256", "x5c": twice}), &fine),
        Authority::new(Flaw::None).sign(&fine),
    ];
    for changes in [
        json!({"bundleId": "com.other"}),
        json!({"productId": "car"}),
        json!({"environment": "Sandbox"}),
        json!({"revocationDate": 1}),
        json!({"expiresDate": START.as_millis()}),
        json!({"expiresDate": null}),
    ] {
        cases.push(authority.sign(&transaction("1", changes)));
    }
    for (at, case) in cases.iter().enumerate() {
        assert_eq!(status(&api, case).await, "invalid", "case {at}");
    }
    for flaw in [Flaw::LeafMark, Flaw::IntermediateMark, Flaw::NoAuthority] {
        let flawed = Authority::new(flaw);
        let api = flawed.api();
        assert_eq!(status(&api, &flawed.sign(&fine)).await, "invalid");
    }
    assert!(!is_pro(&api).await);
}

#[tokio::test]
async fn notifications_renew_and_revoke() {
    let authority = Authority::new(Flaw::None);
    let api = authority.api();
    let notify = |kind: &str, signed_time: u64, inner: &str| {
        let payload = json!({"notificationType": kind, "signedDate": signed_time,
                             "data": {"bundleId": "com.example.app", "signedTransactionInfo": inner}});
        api.post("/apple/notification", json!({"signedPayload": authority.sign(&payload)}))
    };
    let now = START.as_millis();
    let account = json!({"appAccountToken": api.user.network_id});
    let inner = authority.sign(&transaction("1", account));
    assert_eq!(notify("DID_RENEW", now - 86_400_001, &inner).await.status, 400, "too old");
    assert_eq!(notify("DID_RENEW", now + 300_001, &inner).await.status, 400, "too far ahead");
    assert_eq!(notify("DID_RENEW", now, "x.y.z").await.status, 400);
    assert_eq!(api.post("/apple/notification", json!({"signedPayload": "x"})).await.status, 400);
    assert_eq!(api.post("/apple/notification", json!([])).await.status, 400);
    assert!(!is_pro(&api).await);
    assert_eq!(notify("DID_CHANGE_RENEWAL_PREF", now, &inner).await.expect(200), json!({}));
    assert_eq!(notify("SUBSCRIBED", now, &inner).await.expect(200), json!({}));
    assert_eq!(notify("SUBSCRIBED", now, &inner).await.expect(200), json!({}));
    assert!(is_pro(&api).await);
    assert_eq!(status(&api, &inner).await, "already_credited");
    assert_eq!(notify("REFUND", now, &inner).await.expect(200), json!({}));
    assert!(!is_pro(&api).await);
    let nobody = authority.sign(&transaction("9", json!({"originalTransactionId": "9000"})));
    assert_eq!(notify("DID_RENEW", now, &nobody).await.expect(200), json!({}), "nothing to try again");
}

#[test]
fn a_file_without_roots_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, "nothing").unwrap();
    let settings = crate::config::purchase::Apple { roots, ..Default::default() };
    let error = crate::vendor::apple::Apple::open(&settings).err().unwrap().to_string();
    assert!(error.contains("holds no certificate"), "{error}");
}
