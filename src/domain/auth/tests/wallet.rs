use std::time::Duration;

use crate::domain::account::create::{CreateNetwork, CreateNetworkOutcome, CreateRefusal};
use crate::domain::auth::login::{LoginOutcome, LoginRequest};
use crate::domain::auth::method_change::{AddMethodRequest, ChangeRefusal};
use crate::domain::auth::outside::OutsideProof;
use crate::domain::auth::testing::*;
use crate::domain::auth::wallet::{Challenge, WalletProof};
use crate::domain::error::DomainError;
use crate::domain::wallet::account_wallet::{ListWallets, ReadPayoutWallet};

fn accounts() -> TestAccounts {
    TestAccounts::with(|config| config.auth.wallet_sign_in = true)
}

fn challenge(accounts: &TestAccounts) -> Challenge {
    accounts.wallet_challenge(&here(), "", "").unwrap()
}

fn proof(proof: &WalletProof) -> Option<OutsideProof> {
    Some(OutsideProof::Wallet(proof.clone()))
}

async fn login(accounts: &TestAccounts, with: &WalletProof) -> Result<LoginOutcome, DomainError> {
    accounts.login(&here(), &LoginRequest { proof: proof(with), ..LoginRequest::default() }).await
}

async fn create(accounts: &TestAccounts, with: &WalletProof, name: &str) -> CreateNetworkOutcome {
    let network_name = name.to_owned();
    let request = CreateNetwork { proof: proof(with), network_name, terms: true, ..CreateNetwork::default() };
    accounts.create_network(&here(), &request).await.unwrap()
}

/// The status and text of a refused login.
async fn refusal(accounts: &TestAccounts, with: &WalletProof) -> (u16, String) {
    match login(accounts, with).await {
        Err(error @ DomainError::BadRequest(_)) => (400, error.to_string()),
        Err(error @ DomainError::Unauthorized) => (401, error.to_string()),
        Err(error @ DomainError::Forbidden(_)) => (403, error.to_string()),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_wallet_signs_up_and_then_in_with_a_challenge_for_each() {
    let accounts = accounts();
    let wallet = TestWallet::new(1);
    let first = wallet.sign(&challenge(&accounts));
    assert_eq!(login(&accounts, &first).await.unwrap(), LoginOutcome::UnknownWallet { proof: first.clone() });
    let used = create(&accounts, &first, "wallet-lab").await;
    assert_eq!(used, CreateNetworkOutcome::Refused(CreateRefusal::InvalidCredentials));

    let second = wallet.sign(&challenge(&accounts));
    let invalid = create(&accounts, &second, "x").await;
    assert_eq!(invalid, CreateNetworkOutcome::Refused(CreateRefusal::InvalidName { min_bytes: 5 }));
    let CreateNetworkOutcome::Created(created) = create(&accounts, &second, "wallet-lab").await else { panic!() };
    assert_eq!((created.user_auth, created.seedphrase), (None, None));
    let third = wallet.sign(&challenge(&accounts));
    let LoginOutcome::LoggedIn { by_jwt } = login(&accounts, &third).await.unwrap() else { panic!() };
    assert_eq!(accounts.caller(&by_jwt).user_id, created.user_id);

    let again = create(&accounts, &wallet.sign(&challenge(&accounts)), "other-lab").await;
    assert_eq!(again, CreateNetworkOutcome::Refused(CreateRefusal::IdentityTaken));
}

#[tokio::test]
async fn a_challenge_counts_once_and_for_five_minutes() {
    let accounts = accounts();
    let wallet = TestWallet::new(1);
    let signed = wallet.sign(&challenge(&accounts));
    login(&accounts, &signed).await.unwrap();
    assert_eq!(refusal(&accounts, &signed).await, (403, "The challenge was used already.".into()));
    let other = TestWallet::new(2).sign_text(&signed.message);
    assert_eq!(refusal(&accounts, &other).await.0, 403, "not for another wallet either");

    let (late, later) = (wallet.sign(&challenge(&accounts)), wallet.sign(&challenge(&accounts)));
    accounts.advance(Duration::from_secs(299));
    login(&accounts, &late).await.unwrap();
    accounts.advance(Duration::from_secs(1));
    assert_eq!(refusal(&accounts, &later).await, (403, "The challenge has expired.".into()));
    assert_eq!(refusal(&accounts, &signed).await, (403, "The challenge has expired.".into()), "forgotten, not open");
}

#[tokio::test]
async fn a_challenge_for_an_address_counts_for_no_other() {
    let accounts = accounts();
    let (wallet, other) = (TestWallet::new(1), TestWallet::new(2));
    let bound = accounts.wallet_challenge(&here(), &wallet.address, "SOL").unwrap();
    assert_eq!(refusal(&accounts, &other.sign(&bound)).await.0, 400);
    login(&accounts, &wallet.sign(&bound)).await.unwrap();
}

#[tokio::test]
async fn proofs_that_do_not_hold_are_refused() {
    let accounts = TestAccounts::with(|config| {
        config.auth.wallet_sign_in = true;
        config.auth.attempt_limits = false;
    });
    let wallet = TestWallet::new(1);
    let good = wallet.sign(&challenge(&accounts));
    let other_time = good.message.replace("Timestamp: ", "Timestamp: 1");
    let lines: Vec<&str> = good.message.lines().collect();
    let cases = [
        (400, WalletProof { blockchain: "tao".into(), ..good.clone() }),
        (400, WalletProof { address: "nobody".into(), ..good.clone() }),
        (400, WalletProof { address: String::new(), ..good.clone() }),
        (400, wallet.sign_text("Hello")),
        (400, wallet.sign_text(&format!("{}\n", good.message))),
        (400, wallet.sign_text(&lines[..2].join("\n"))),
        (400, wallet.sign_text(&good.message.replace('\n', "\r\n"))),
        (400, wallet.sign_text(&other_time)),
        (401, WalletProof { signature: String::new(), ..good.clone() }),
        (401, WalletProof { signature: TestWallet::new(2).sign_text(&good.message).signature, ..good.clone() }),
        (401, WalletProof { address: TestWallet::new(2).address, ..good.clone() }),
        (401, WalletProof { message: challenge(&accounts).message, ..good.clone() }),
        (401, wallet.sign_text(&good.message.replace(lines[1], "Challenge: AAAA"))),
        (401, wallet.sign(&challenge(&self::accounts()))),
    ];
    for (at, (status, proof)) in cases.iter().enumerate() {
        assert_eq!(refusal(&accounts, proof).await.0, *status, "case {at}: {proof:?}");
    }
    login(&accounts, &good).await.expect("none of these has used the challenge up");
}

#[tokio::test]
async fn bad_proofs_and_bad_questions_are_limited_and_good_ones_are_not() {
    let accounts = accounts();
    let wallet = TestWallet::new(1);
    for _ in 0..10 {
        login(&accounts, &wallet.sign(&challenge(&accounts))).await.unwrap();
    }
    for _ in 0..3 {
        assert!(login(&accounts, &wallet.sign_text("Hello")).await.is_err());
    }
    for chain in ["tao", "ethereum"] {
        let refused = accounts.wallet_challenge(&here(), "", chain);
        assert!(matches!(refused, Err(DomainError::BadRequest(_))));
    }
    assert!(is_too_many(accounts.wallet_challenge(&here(), "", "")));
    assert!(is_too_many(login(&accounts, &wallet.sign_text("Hello")).await));
    accounts.wallet_challenge(&from("198.51.100.1"), "", "").unwrap();
    accounts.advance(Duration::from_secs(300));
    challenge(&accounts);
}

#[tokio::test]
async fn an_account_gains_one_wallet_that_is_nobody_elses() {
    let accounts = accounts();
    let (wallet, other) = (TestWallet::new(1), TestWallet::new(2));
    let create = create(&accounts, &other.sign(&challenge(&accounts)), "other-lab").await;
    assert!(matches!(create, CreateNetworkOutcome::Created(_)));
    let created = accounts.anonymous().await;
    let caller = accounts.caller(&created.by_jwt);
    let add = async |with: WalletProof| {
        let request = AddMethodRequest { proof: proof(&with), ..AddMethodRequest::default() };
        accounts.add_method(&here(), &caller, &request).await.unwrap()
    };
    assert_eq!(add(wallet.sign_text("Hello")).await, Err(ChangeRefusal::InvalidCredentials));
    assert_eq!(add(other.sign(&challenge(&accounts))).await, Err(ChangeRefusal::IdentityTaken));
    assert_eq!(add(wallet.sign(&challenge(&accounts))).await, Ok(()));
    assert_eq!(add(TestWallet::new(3).sign(&challenge(&accounts))).await, Err(ChangeRefusal::KindPresent));
    let signed = wallet.sign(&challenge(&accounts));
    let LoginOutcome::LoggedIn { by_jwt } = login(&accounts, &signed).await.unwrap() else { panic!() };
    assert_eq!(accounts.caller(&by_jwt).user_id, created.user_id);

    assert_eq!(accounts.remove_method(&here(), &caller, "solana").await.unwrap(), Ok(()));
    let signed = wallet.sign(&challenge(&accounts));
    assert!(matches!(login(&accounts, &signed).await.unwrap(), LoginOutcome::UnknownWallet { .. }));
}

#[tokio::test]
async fn switched_off_no_wallet_signs_in() {
    let accounts = TestAccounts::new();
    assert!(matches!(accounts.wallet_challenge(&here(), "", ""), Err(DomainError::NotFound(_))));
    assert!(matches!(accounts.wallet_nonce(), Err(DomainError::NotFound(_))));
    let signed = TestWallet::new(1).sign(&challenge(&self::accounts()));
    assert_eq!(login(&accounts, &signed).await.unwrap(), LoginOutcome::InvalidCredentials);
    let refused = create(&accounts, &signed, "wallet-lab").await;
    assert_eq!(refused, CreateNetworkOutcome::Refused(CreateRefusal::InvalidCredentials));
}

#[test]
fn nonces_are_26_letters_and_never_the_same() {
    let accounts = accounts();
    let (one, another) = (accounts.wallet_nonce().unwrap(), accounts.wallet_nonce().unwrap());
    assert_eq!(one.len(), 26);
    assert!(one.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
    assert_ne!(one, another);
}

#[tokio::test]
async fn a_sign_up_that_arrives_twice_is_answered_as_the_first_and_makes_a_wallet_to_be_paid_at() {
    let accounts = accounts();
    let wallet = TestWallet::new(1);
    let signed = wallet.sign(&challenge(&accounts));
    let CreateNetworkOutcome::Created(first) = create(&accounts, &signed, "wallet-lab").await else { panic!() };
    let CreateNetworkOutcome::Created(again) = create(&accounts, &signed, "Wallet Lab").await else { panic!() };
    assert_eq!((again.network_id, again.user_id), (first.network_id, first.user_id));
    assert_eq!(accounts.caller(&again.by_jwt).user_id, first.user_id);
    let taken = CreateNetworkOutcome::Refused(CreateRefusal::NameTaken);
    let other = TestWallet::new(2);
    assert_eq!(create(&accounts, &other.sign(&challenge(&accounts)), "wallet-lab").await, taken, "somebody else's");
    let forged = WalletProof { address: wallet.address.clone(), ..other.sign_text(&signed.message) };
    assert_eq!(create(&accounts, &forged, "wallet-lab").await, taken);
    assert_eq!(refusal(&accounts, &signed).await.0, 403, "it signs in no second time");
    let listed = accounts.domain.run(&ListWallets { network_id: first.network_id }).await.unwrap();
    let [(wallet_id, only)] = &listed[..] else { panic!("one wallet: {listed:?}") };
    assert_eq!((only.blockchain.as_str(), &only.address), ("SOL", &wallet.address));
    let payout = accounts.domain.run(&ReadPayoutWallet { network_id: first.network_id }).await.unwrap();
    assert_eq!(payout, Some(*wallet_id));
    accounts.advance(Duration::from_secs(601));
    assert_eq!(create(&accounts, &wallet.sign(&challenge(&accounts)), "wallet-lab").await, taken, "much later");
}
