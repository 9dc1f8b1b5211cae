use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_770_091_506);

fn claims() -> Claims {
    let user_id: UserId = "019c21ac-e9c8-1a77-83d2-6f1e0b9c2d35".parse().unwrap();
    Claims {
        network_id: "019c21ac-e9c8-4f2b-9a63-5be0d2c4a811".parse().unwrap(),
        network_name: "hilltop-lab".into(),
        user_id,
        create_time: Timestamp::parse_rfc3339("2026-02-03T04:05:06.120Z").unwrap(),
        client_id: None,
        device_id: None,
        guest_mode: false,
        pro: false,
        roles: vec![],
        principal: String::new(),
        session_id: Some("019c21ac-e9c9-70aa-b1c4-2290f6de1b07".parse().unwrap()),
        iss: Some(ISSUER.into()),
        sub: Some(user_id),
        aud: Some(vec![AUDIENCE_API.into(), AUDIENCE_CONNECT.into()]),
        iat: Some(NOW.as_secs()),
        nbf: Some(NOW.as_secs()),
        exp: Some(NOW.as_secs() + 3600),
        jti: Some("019c21ac-e9ca-3d5e-9f00-8acb64e7d1f2".parse().unwrap()),
    }
}

fn client_claims() -> Claims {
    Claims {
        client_id: Some("019c21ad-8609-2e19-8db5-41c87a06fe93".parse().unwrap()),
        device_id: Some("019c21ad-8608-6c44-a7e1-d90f37b2c650".parse().unwrap()),
        pro: true,
        roles: vec!["ops".into()],
        principal: "svc".into(),
        ..claims()
    }
}

fn part(token: &str, at: usize) -> serde_json::Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

/// A token of any header and payload, signed by `keys` under ES256.
fn sign(keys: &TokenKeys, header: serde_json::Value, payload: serde_json::Value) -> String {
    let body =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
    let signature = jsonwebtoken::crypto::sign(body.as_bytes(), &keys.keys[0].signing, Algorithm::ES256).unwrap();
    format!("{body}.{signature}")
}

#[test]
fn a_user_token_has_exactly_the_published_claims() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&claims());
    assert_eq!(part(&token, 0), serde_json::json!({"typ": "JWT", "alg": "ES256", "kid": keys.keys[0].id}), "header");
    assert_eq!(
        part(&token, 1),
        serde_json::json!({
            "network_id": "019c21ac-e9c8-4f2b-9a63-5be0d2c4a811",
            "network_name": "hilltop-lab",
            "user_id": "019c21ac-e9c8-1a77-83d2-6f1e0b9c2d35",
            "create_time": "2026-02-03T04:05:06.12Z",
            "sid": "019c21ac-e9c9-70aa-b1c4-2290f6de1b07",
            "iss": "urnetwork:byjwt",
            "sub": "019c21ac-e9c8-1a77-83d2-6f1e0b9c2d35",
            "aud": ["urnetwork:api", "urnetwork:connect"],
            "iat": 1770091506, "nbf": 1770091506, "exp": 1770095106,
            "jti": "019c21ac-e9ca-3d5e-9f00-8acb64e7d1f2"
        })
    );
    assert!(token.len() < 2048);
}

#[test]
fn a_client_token_round_trips() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&client_claims());
    assert_eq!(keys.verify(&token, NOW, true, AUDIENCE_CONNECT), Ok(client_claims()));
    let caller = client_claims().to_caller();
    assert_eq!(caller.client_id(), client_claims().client_id);
    assert_eq!(part(&token, 1)["pro"], true);
}

#[test]
fn every_accepted_kind_of_key_signs_and_verifies() {
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let rsa: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    for (der, algorithm) in [(p384.as_ref(), "ES384"), (rsa.as_ref(), "RS512")] {
        let pem = format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(der));
        let keys = TokenKeys::from_pem(&pem).unwrap();
        let token = keys.issue(&claims());
        assert_eq!(part(&token, 0)["alg"], algorithm);
        assert_eq!(keys.verify_signature(&token), Ok(claims()), "{algorithm}");
    }
}

#[test]
fn the_first_key_signs_and_all_verify() {
    let (old, new) = (generate_pem(), generate_pem());
    let before = TokenKeys::from_pem(&old).unwrap();
    let after = TokenKeys::from_pem(&format!("{new}{old}")).unwrap();
    assert_eq!(after.verify_signature(&before.issue(&claims())), Ok(claims()));
    assert_eq!(before.verify_signature(&after.issue(&claims())), Err(TokenError::Signature));
}

#[test]
fn a_kid_only_chooses_where_to_look() {
    let keys = TokenKeys::generate();
    let payload = serde_json::to_value(claims()).unwrap();
    for header in [serde_json::json!({"alg": "ES256"}), serde_json::json!({"alg": "ES256", "kid": "never-seen"})] {
        assert_eq!(keys.verify_signature(&sign(&keys, header, payload.clone())), Ok(claims()));
    }
    let foreign = TokenKeys::generate();
    let header = serde_json::json!({"alg": "ES256", "kid": keys.keys[0].id});
    assert_eq!(keys.verify_signature(&sign(&foreign, header, payload)), Err(TokenError::Signature));
}

#[test]
fn other_algorithms_are_refused_before_any_key_is_tried() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&claims());
    let payload = token.split('.').nth(1).unwrap();
    for algorithm in ["none", "None", "HS256", "RS256", "ES384", "EdDSA", "ES512"] {
        let header = URL_SAFE_NO_PAD.encode(serde_json::json!({"alg": algorithm}).to_string());
        for signature in ["", "AAAA"] {
            let forged = format!("{header}.{payload}.{signature}");
            assert_eq!(keys.verify_signature(&forged), Err(TokenError::Algorithm), "{algorithm}");
        }
    }
    // The public key as an HMAC secret: the classic confusion.
    let public = keys.keys[0].verifying.as_ref();
    let forged = jsonwebtoken::encode(&Header::default(), &claims(), &EncodingKey::from_secret(public)).unwrap();
    assert_eq!(keys.verify_signature(&forged), Err(TokenError::Algorithm));
}

#[test]
fn a_changed_payload_or_signature_is_refused() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&claims());
    let other = keys.issue(&client_claims());
    let parts: Vec<&str> = token.split('.').collect();
    let swapped = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
    assert_eq!(keys.verify_signature(&swapped), Err(TokenError::Signature));
    assert_eq!(keys.verify_signature(&format!("{}.{}.", parts[0], parts[1])), Err(TokenError::Signature));
}

#[test]
fn what_is_no_token_is_malformed() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&claims());
    let without_signature = token.rsplit_once('.').unwrap().0.to_owned();
    for text in ["", ".", "..", "a.b.c", "urn_XYZ", "ÄÖ.ü.ß", &without_signature, &format!("{token}.x")] {
        assert_eq!(keys.verify_signature(text), Err(TokenError::Malformed), "{text}");
    }
}

#[test]
fn missing_and_mistyped_claims_are_told_apart_from_bad_signatures() {
    let keys = TokenKeys::generate();
    let header = serde_json::json!({"alg": "ES256"});
    for (claim, value) in [("user_id", serde_json::json!(7)), ("network_id", serde_json::Value::Null)] {
        let mut payload = serde_json::to_value(claims()).unwrap();
        payload[claim] = value;
        assert_eq!(keys.verify_signature(&sign(&keys, header.clone(), payload)), Err(TokenError::Claims), "{claim}");
    }
}

#[test]
fn times_have_thirty_seconds_of_leeway() {
    let expires = Claims { exp: Some(NOW.as_secs()), iat: None, nbf: None, ..claims() };
    assert_eq!(expires.check(NOW + Duration::from_secs(29), true, AUDIENCE_API), Ok(()));
    assert_eq!(expires.check(NOW + Duration::from_secs(31), true, AUDIENCE_API), Err(TokenError::Time));
    assert_eq!(expires.check(NOW + Duration::from_secs(31), false, AUDIENCE_API), Ok(()));
    let early = |by: u64| NOW.before(Duration::from_secs(by));
    for claims in [Claims { nbf: None, ..claims() }, Claims { iat: None, ..claims() }] {
        assert_eq!(claims.check(early(29), false, AUDIENCE_API), Ok(()));
        assert_eq!(claims.check(early(31), false, AUDIENCE_API), Err(TokenError::Time));
    }
}

#[test]
fn issuer_subject_and_audience_must_fit_when_present() {
    let wrong = [
        Claims { iss: Some("someone".into()), ..claims() },
        Claims { sub: Some(UserId::new([1; 16])), ..claims() },
        Claims { aud: Some(vec![AUDIENCE_CONNECT.into()]), ..claims() },
        Claims { aud: Some(vec![]), ..claims() },
    ];
    for claims in wrong {
        assert_eq!(claims.check(NOW, true, AUDIENCE_API), Err(TokenError::Claims));
    }
    let bare = Claims { iss: None, sub: None, aud: None, exp: None, nbf: None, iat: None, ..claims() };
    assert_eq!(bare.check(NOW, true, AUDIENCE_API), Ok(()));
}

#[test]
fn keys_are_made_once_and_other_content_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = TokenKeys::load_or_create(folder.path()).unwrap();
    let again = TokenKeys::load_or_create(folder.path()).unwrap();
    assert_eq!(again.verify_signature(&first.issue(&claims())), Ok(claims()));
    std::fs::write(folder.path().join(KEY_FILE), "nothing").unwrap();
    assert!(matches!(TokenKeys::load_or_create(folder.path()), Err(SecretFileError::Damaged(..))));
    assert_eq!(
        TokenKeys::from_pem(&format!("{PEM_BEGIN}\nAAAA\n{PEM_END}")).map(|_| ()),
        Err(KeyError::NotAccepted(1))
    );
}
