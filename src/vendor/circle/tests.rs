use std::collections::BTreeSet;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::payout::CirclePayouts;
use super::report::compacted;
use super::*;
use crate::domain::payout::{ChainTransfer, PayoutSender, SendOutcome, SenderUnreachable, SentState};
use crate::vendor::testing::Mock;

#[test]
fn amounts_are_read_and_written_exactly() {
    for (text, amount) in
        [("0", 0), ("5", 5 * USD), ("12.345678", 12_345_678_000), ("0.0000000019", 1), ("3.", 3 * USD)]
    {
        assert_eq!(parse_usd(text), Some(amount), "{text}");
    }
    for wrong in ["", ".5", "-1", "1e3", "1,5", "9223372037", "99999999999999999999"] {
        assert_eq!(parse_usd(wrong), None, "{wrong}");
    }
    assert_eq!(write_usd(4_500_001_000), "4.500001");
    assert_eq!(write_usd(1000), "0.000001");
}

#[test]
fn white_space_goes_except_within_texts() {
    let loose = b" { \"a b\" :\t[ 1 , \"c \\\" d\\\\\" ] ,\r\n \"e\" : null } ";
    assert_eq!(compacted(loose), br#"{"a b":[1,"c \" d\\"],"e":null}"#);
    assert_eq!(compacted(b"\xff \x00"), b"\xff\x00");
}

fn payouts(base_url: &str) -> CirclePayouts {
    CirclePayouts::new(&Settings {
        api_token: "token-1".into(),
        entity_secret: "ab".repeat(32),
        solana_wallet_id: "purse-1".into(),
        base_url: base_url.into(),
        ..Settings::default()
    })
    .unwrap()
}

#[tokio::test]
async fn a_payment_is_sent_under_one_key_with_the_secret_sealed_anew_each_time() {
    let secret = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = secret.public_key().as_der().unwrap();
    let text = BASE64_STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\\n{text}\\n-----END PUBLIC KEY-----");
    let mock = Mock::start("circle/payout", &[("$pem", &pem)]).await;
    let circle = payouts(&mock.base_url);
    assert!(circle.pays_on(Chain::Solana) && !circle.pays_on(Chain::Polygon) && !circle.pays_on(Chain::Ethereum));
    let address = "DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73".to_owned();
    let transfer = ChainTransfer { key: "payment 1".into(), chain: Chain::Solana, address, amount: 4_500_001_000 };
    let send = || circle.send(transfer.clone());
    assert_eq!(send().await, Err(SenderUnreachable), "it may have been taken");
    assert_eq!(send().await, Ok(SendOutcome::Sent("tx/1".into())));
    assert_eq!(send().await, Ok(SendOutcome::Refused));
    assert_eq!(send().await, Err(SenderUnreachable), "keys that are wrong refuse nothing for good");
    for _ in 0..7 {
        assert_eq!(circle.state("tx/1".into()).await, Ok(SentState::UnderWay));
    }
    assert_eq!(circle.state("tx/1".into()).await, Ok(SentState::Complete("5Kd3".into())));
    for _ in 0..3 {
        assert_eq!(circle.state("tx/1".into()).await, Ok(SentState::Failed));
    }
    assert_eq!(circle.state("tx/1".into()).await, Ok(SentState::Unclear), "it has a transaction");
    assert_eq!(circle.state("tx/1".into()).await, Err(SenderUnreachable));
    let elsewhere = ChainTransfer { chain: Chain::Polygon, ..transfer };
    assert_eq!(circle.send(elsewhere).await, Ok(SendOutcome::Refused));
    mock.finish();

    let bodies = mock.bodies();
    let distinct = |name: &str| bodies.iter().map(|body| body[name].to_string()).collect::<BTreeSet<_>>().len();
    assert_eq!((bodies.len(), distinct("idempotencyKey"), distinct("entitySecretCiphertext")), (4, 1, 4));
    let key = bodies[0]["idempotencyKey"].as_str().unwrap();
    assert_eq!((key.len(), &key[14..15]), (36, "4"));
    let key = OaepPrivateDecryptingKey::new(secret).unwrap();
    for body in &bodies {
        let sealed = BASE64_STANDARD.decode(body["entitySecretCiphertext"].as_str().unwrap()).unwrap();
        let mut opened = vec![0; key.min_output_size()];
        let opened = key.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed, &mut opened, None).unwrap();
        assert_eq!(opened, [0xab; 32]);
    }
}
