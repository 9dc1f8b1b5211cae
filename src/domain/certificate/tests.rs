use std::time::Duration;

use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::record::CERTIFICATES;
use super::revoke::{ListCertificates, RevokeCertificate};
use super::source::{AddSource, PageSources};
use super::*;
use crate::config::Config;
use crate::config::portal::P12Encryption;
use crate::domain::account::delete::DeleteNetwork;
use crate::domain::client::{CLIENTS, NETWORK_CLIENTS, RemoveClients};
use crate::domain::effect::Effect;
use crate::domain::network::{NETWORKS, NetworkRecord, USERS, UserRecord};
use crate::domain::testing::TestDomain;
use crate::ids::NetworkId;
use crate::time::DAY;

/// A domain with one user.
async fn with_user(config: Config) -> (TestDomain, ClientCertificates) {
    let domain = TestDomain::with_config(config);
    let now = domain.clock.now();
    let network = NetworkRecord {
        name: "hilltop-lab".into(),
        admin_user_id: USER,
        create_time: now,
        referral_code: "ABCDEF".into(),
        referred_by: None,
        former_names: Vec::new(),
    };
    domain.put(&NETWORKS, &NETWORK, &network).await;
    domain.put(&USERS, &USER, &user(now)).await;
    let certificates = ClientCertificates::new(domain.service.clone(), Authority::generate());
    (domain, certificates)
}

const USER: UserId = UserId::new([1; 16]);
const NETWORK: NetworkId = NetworkId::new([2; 16]);

fn user(credential_change_time: Timestamp) -> UserRecord {
    UserRecord { network_id: NETWORK, user_name: "Ada".into(), create_time: Timestamp::ZERO, credential_change_time }
}

/// The certificate inside a bundle.
fn leaf(bundle: &Bundle) -> Vec<u8> {
    let store = KeyStore::from_pkcs12(&bundle.pkcs12, "warren", Pkcs12ImportPolicy::Strict).unwrap();
    let (_, chain) = store.private_key_chain().unwrap();
    chain.certs()[0].as_der().to_vec()
}

async fn hand_out(certificates: &ClientCertificates) -> Bundle {
    certificates.hand_out(USER).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_user_gets_the_same_certificate_again_and_it_names_its_client() {
    let (domain, certificates) = with_user(Config::default()).await;
    let first = hand_out(&certificates).await;
    let der = leaf(&first);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let name = certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned();
    assert_eq!(name, first.client_id.to_string());
    let (_, authority) = X509Certificate::from_der(certificates.authority()).unwrap();
    certificate.verify_signature(Some(authority.public_key())).unwrap();
    let expires = domain.clock.now() + domain.service.config().auth.token_lifetime;
    assert_eq!(certificate.validity().not_after.timestamp() as u64, expires.as_secs());

    domain.clock.advance(Duration::from_secs(60));
    assert_eq!(leaf(&hand_out(&certificates).await), der);
    let client = certificates.authenticate(&der).unwrap();
    assert_eq!(client, CertificateClient { client_id: first.client_id, network_id: NETWORK });
}

#[tokio::test]
async fn both_forms_hold_the_key_and_the_chain_under_the_password() {
    for p12_encryption in [P12Encryption::Legacy, P12Encryption::Modern] {
        let mut config = Config::default();
        config.portal.p12_encryption = p12_encryption;
        let (_domain, certificates) = with_user(config).await;
        let bundle = hand_out(&certificates).await;
        assert!(KeyStore::from_pkcs12(&bundle.pkcs12, "wrong", Pkcs12ImportPolicy::Strict).is_err());
        let store = KeyStore::from_pkcs12(&bundle.pkcs12, "warren", Pkcs12ImportPolicy::Strict).unwrap();
        let (_, chain) = store.private_key_chain().unwrap();
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&chain.key().as_der().into(), &rcgen::PKCS_ECDSA_P256_SHA256);
        let (_, certificate) = X509Certificate::from_der(chain.certs()[0].as_der()).unwrap();
        assert_eq!(&*certificate.public_key().subject_public_key.data, key.unwrap().public_key_raw());
        assert_eq!(chain.certs()[1].as_der(), &certificates.authority()[..]);
    }
}

#[tokio::test]
async fn the_private_key_does_not_lie_open_in_the_store() {
    let (domain, certificates) = with_user(Config::default()).await;
    let bundle = hand_out(&certificates).await;
    let store = KeyStore::from_pkcs12(&bundle.pkcs12, "warren", Pkcs12ImportPolicy::Strict).unwrap();
    let key = store.private_key_chain().unwrap().1.key().as_der().to_vec();
    let record = domain.get(&CERTIFICATES, &(USER, "main".to_owned())).unwrap();
    let secret = &key[key.len() / 2..][..16];
    assert!(!record.sealed_key.0.windows(16).any(|bytes| bytes == secret));
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_the_next_is_for_the_same_client() {
    let (domain, certificates) = with_user(Config::default()).await;
    let first = hand_out(&certificates).await;
    let revoke = RevokeCertificate { user_id: USER, source_id: "main".into() };
    assert!(domain.run(&revoke).await.unwrap());
    assert_eq!(domain.take_effects(), [Effect::ProofEnded(first.client_id)]);
    assert!(matches!(certificates.authenticate(&leaf(&first)), Err(DomainError::Unauthorized)));
    assert!(!domain.run(&revoke).await.unwrap(), "once only");
    let listed = domain.run(&ListCertificates { user_id: USER }).await.unwrap();
    assert_eq!((listed.len(), listed[0].1.revoke_time), (1, Some(domain.clock.now())));

    let second = hand_out(&certificates).await;
    assert_eq!(second.client_id, first.client_id);
    assert!(certificates.authenticate(&leaf(&first)).is_err());
    certificates.authenticate(&leaf(&second)).unwrap();
    assert_eq!(domain.take_effects(), [], "there was nothing left to cut");
}

#[tokio::test]
async fn another_source_makes_the_certificates_of_the_one_before_worthless() {
    let (domain, certificates) = with_user(Config::default()).await;
    let first = hand_out(&certificates).await;
    certificates.move_to("second").await.unwrap();
    assert_eq!(domain.take_effects(), [Effect::ProofEnded(first.client_id)]);
    assert!(certificates.authenticate(&leaf(&first)).is_err());
    let second = hand_out(&certificates).await;
    assert_eq!((second.client_id, &*second.source_id), (first.client_id, "second"));
    assert!(certificates.authenticate(&leaf(&first)).is_err());
    certificates.authenticate(&leaf(&second)).unwrap();
    certificates.move_to("second").await.unwrap();
    assert_eq!(domain.take_effects(), [], "nothing moved");
    let sources = domain.run(&PageSources { after: None, count: 9 }).await.unwrap();
    assert_eq!(sources.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["second"]);
    assert!(!domain.run(&AddSource { source_id: "second".into() }).await.unwrap());
}

#[tokio::test]
async fn a_move_finds_every_certificate_of_the_former_source() {
    let (domain, certificates) = with_user(Config::default()).await;
    hand_out(&certificates).await;
    let record = domain.get(&CERTIFICATES, &(USER, "main".to_owned())).unwrap();
    for number in 0..600u32 {
        let mut user_id = [9; 16];
        user_id[..4].copy_from_slice(&number.to_be_bytes());
        domain.put(&CERTIFICATES, &(UserId::new(user_id), "main".into()), &record).await;
    }
    certificates.move_to("second").await.unwrap();
    assert_eq!(domain.take_effects().len(), 601);
}

#[tokio::test]
async fn the_end_of_the_client_or_of_the_network_is_the_end_of_the_certificate() {
    let (domain, certificates) = with_user(Config::default()).await;
    let first = hand_out(&certificates).await;
    domain.run(&RemoveClients { network_id: NETWORK, client_ids: vec![first.client_id] }).await.unwrap();
    assert!(certificates.authenticate(&leaf(&first)).is_err());
    assert_eq!(domain.get(&CERTIFICATES, &(USER, "main".to_owned())), None);
    let second = hand_out(&certificates).await;
    assert_ne!(second.client_id, first.client_id);
    domain.run(&DeleteNetwork { network_id: NETWORK }).await.unwrap();
    assert!(certificates.authenticate(&leaf(&second)).is_err());
    assert_eq!(domain.get(&CERTIFICATES, &(USER, "main".to_owned())), None);
    assert!(matches!(certificates.hand_out(USER).await, Err(DomainError::Unauthorized)));
}

#[tokio::test]
async fn a_new_password_ends_what_was_given_out_before_it() {
    let (domain, certificates) = with_user(Config::default()).await;
    let first = hand_out(&certificates).await;
    domain.clock.advance(Duration::from_secs(1));
    domain.put(&USERS, &USER, &user(domain.clock.now())).await;
    assert!(certificates.authenticate(&leaf(&first)).is_err());
    let second = hand_out(&certificates).await;
    certificates.authenticate(&leaf(&second)).unwrap();
    assert_eq!(domain.take_effects(), [Effect::ProofEnded(first.client_id)]);
}

#[tokio::test]
async fn a_certificate_near_its_end_is_replaced_and_one_past_it_is_refused() {
    let (domain, certificates) = with_user(Config::default()).await;
    let first = hand_out(&certificates).await;
    domain.clock.advance(DAY * 330);
    let second = hand_out(&certificates).await;
    assert_ne!(leaf(&second), leaf(&first));
    assert_eq!(second.client_id, first.client_id);
    assert!(domain.get(&CLIENTS, &first.client_id).unwrap().auth_time > Timestamp::from_secs(1_700_000_000));
    domain.clock.advance(DAY * 364);
    certificates.authenticate(&leaf(&second)).unwrap();
    domain.clock.advance(DAY);
    assert!(certificates.authenticate(&leaf(&second)).is_err());
}

#[tokio::test]
async fn what_another_authority_signed_is_refused_and_replaced() {
    let (domain, certificates) = with_user(Config::default()).await;
    let first = hand_out(&certificates).await;
    let others = ClientCertificates::new(domain.service.clone(), Authority::generate());
    let second = others.hand_out(USER).await.unwrap().unwrap();
    assert_eq!(second.client_id, first.client_id);
    assert!(certificates.authenticate(&leaf(&first)).is_err());
    for odd in [&b""[..], b"x", &others.authority()[..]] {
        assert!(certificates.authenticate(odd).is_err());
    }
}

#[tokio::test]
async fn its_client_counts_among_those_of_the_network() {
    let mut config = Config::default();
    config.limits.clients_per_network = 1;
    let (domain, certificates) = with_user(config).await;
    let first = hand_out(&certificates).await;
    assert!(certificates.hand_out(USER).await.unwrap().is_some(), "the same one again");
    domain.run(&RemoveClients { network_id: NETWORK, client_ids: vec![first.client_id] }).await.unwrap();
    domain.put(&NETWORK_CLIENTS, &(NETWORK, ClientId::new([7; 16])), &()).await;
    assert_eq!(certificates.hand_out(USER).await.unwrap(), None);
}
