//! One thing at a time.

use super::*;
use crate::domain::contract::payout::{Payer, PaymentRecord, PaymentRefusal, PaymentState};
use crate::domain::wallet::challenge::{ChallengeStatus, ReadChallenge};
use crate::domain::wallet::confirm::Confirm;
use crate::domain::wallet::custody::TransferRequest;
use crate::domain::wallet::local::TransferOut;
use crate::domain::wallet::operator::{CreditWallet, RejectTransfer};
use crate::domain::wallet::sending::ListSendings;
use crate::ids::ChallengeId;

const USD: i64 = 1_000_000_000;

async fn plan(machine: &Machine) -> usize {
    machine.ledger.plan_payout(RUN).await.unwrap().payments
}

fn state(machine: &Machine, network: u8) -> PaymentState {
    machine.payments(network)[0].1.state()
}

#[tokio::test]
async fn a_wallet_of_this_server_is_paid_at_once_and_others_wait_for_the_operator() {
    let (world, machine) = World::new().await;
    machine.ledger.earn(id(HERE), 7, 5 * USD + 1).await;
    machine.ledger.earn(id(NOWHERE), 7, 3 * USD).await;
    assert_eq!(plan(&machine).await, 2);
    machine.rounds(&world, 3).await;
    assert_eq!(world.received(&machine, HERE), 5 * USD + 1);
    let (payment_id, payment) = machine.payments(HERE).remove(0);
    assert_eq!(payment.state(), PaymentState::Completed);
    let record = payment.record.unwrap();
    assert_eq!((record.payer, record.token_type.as_str(), record.blockchain.as_str()), (Payer::Ledger, "USDC", "SOL"));
    assert_eq!(record.reference, payment_id.to_string());
    assert!(record.wallet_address.starts_with("urledger:"));
    assert_eq!(machine.credit(HERE).await, (5 * USD + 1, 5 * USD + 1));
    assert_eq!(state(&machine, NOWHERE), PaymentState::Planned, "it has named no wallet");
    // A wallet that is named later is paid then.
    machine.service.run(&InitWallet { owner: owner(NOWHERE) }).await.unwrap();
    machine.rounds(&world, 1).await;
    assert_eq!(world.received(&machine, NOWHERE), 3 * USD);
}

#[tokio::test]
async fn a_chain_is_paid_through_the_company_which_is_asked_until_it_is_done() {
    let (world, machine) = World::new().await;
    machine.ledger.earn(id(THERE), 7, 5 * USD + 999).await;
    plan(&machine).await;
    machine.rounds(&world, 2).await;
    assert_eq!(state(&machine, THERE), PaymentState::Recorded);
    assert_eq!(machine.credit(THERE).await.1, 0, "not before it has arrived");
    let cancelled = machine.ledger.cancel_payment(machine.payments(THERE)[0].0).await.unwrap();
    assert_eq!(cancelled, Err(PaymentRefusal::UnderWay(machine.payments(THERE)[0].0)));
    machine.rounds(&world, 2).await;
    let (payment_id, payment) = machine.payments(THERE).remove(0);
    assert_eq!(payment.state(), PaymentState::Completed);
    assert_eq!(payment.tx_hash, format!("hash of {payment_id}"));
    assert_eq!(world.sender.delivered(), 5 * USD, "in units of the chain");
    assert!(read(&machine, &ListSendings).is_empty());
}

#[tokio::test]
async fn what_failed_or_was_refused_comes_back_and_the_next_run_pays_it() {
    let (world, machine) = World::new().await;
    machine.ledger.earn(id(THERE), 7, 5 * USD).await;
    for mood in [Mood::Fail, Mood::Refuse] {
        world.sender.next(mood);
        assert_eq!(plan(&machine).await, 1, "it is unpaid");
        machine.rounds(&world, 4).await;
        assert_eq!(state(&machine, THERE), PaymentState::Cancelled, "{mood:?}");
        assert_eq!(world.sender.delivered(), 0);
    }
    plan(&machine).await;
    machine.rounds(&world, 4).await;
    assert_eq!((state(&machine, THERE), world.sender.delivered()), (PaymentState::Completed, 5 * USD));
}

#[tokio::test]
async fn an_answer_that_got_lost_pays_nothing_twice_and_gives_nothing_back() {
    let (world, machine) = World::new().await;
    machine.ledger.earn(id(THERE), 7, 5 * USD).await;
    plan(&machine).await;
    for mood in [Mood::Lose, Mood::SendUnheard, Mood::Lose, Mood::Refuse] {
        world.sender.next(mood);
        machine.rounds(&world, 1).await;
        assert_eq!(state(&machine, THERE), PaymentState::Recorded, "{mood:?}");
    }
    machine.rounds(&world, 4).await;
    assert_eq!((state(&machine, THERE), world.sender.delivered()), (PaymentState::Completed, 5 * USD));
}

#[tokio::test]
async fn what_may_have_left_waits_for_a_person() {
    let (world, machine) = World::new().await;
    machine.ledger.earn(id(THERE), 7, 5 * USD).await;
    plan(&machine).await;
    machine.rounds(&world, 1).await;
    let payment_id = machine.payments(THERE)[0].0;
    world.sender.0.lock().taken.get_mut(&payment_id.to_string()).unwrap().is_unclear = true;
    machine.rounds(&world, 5).await;
    assert_eq!(state(&machine, THERE), PaymentState::Recorded);
    machine.ledger.return_payment(payment_id).await.unwrap().unwrap();
    assert_eq!(state(&machine, THERE), PaymentState::Cancelled);
}

#[tokio::test]
async fn a_company_that_is_down_holds_nobody_else_up() {
    let (world, machine) = World::new().await;
    for network in [HERE, THERE] {
        machine.ledger.earn(id(network), 7, 5 * USD).await;
    }
    plan(&machine).await;
    for _ in 0..3 {
        world.sender.next(Mood::Lose);
    }
    machine.payouts.round().await.unwrap();
    assert_eq!((state(&machine, HERE), state(&machine, THERE)), (PaymentState::Completed, PaymentState::Recorded));
    machine.payouts.round().await.unwrap();
    assert_eq!(world.sender.0.lock().moods.len(), 2, "tries have pauses between them");
}

#[tokio::test]
async fn what_the_operator_records_the_server_leaves_alone() {
    let (world, machine) = World::new().await;
    machine.ledger.earn(id(HERE), 7, 5 * USD).await;
    plan(&machine).await;
    let payment_id = machine.payments(HERE)[0].0;
    let record = PaymentRecord { reference: "by hand".into(), ..PaymentRecord::default() };
    machine.ledger.record_payment(payment_id, record).await.unwrap().unwrap();
    machine.rounds(&world, 3).await;
    assert_eq!((state(&machine, HERE), world.received(&machine, HERE)), (PaymentState::Recorded, 0));
    machine.ledger.cancel_payment(payment_id).await.unwrap().unwrap();
}

#[tokio::test]
async fn runs_are_planned_when_they_are_due_also_after_a_restart() {
    let mut config = Config::default();
    config.payout.interval = crate::time::DAY;
    config.payout.usd_per_gib = "0.5".parse().unwrap();
    let (world, machine) = World::with_config(config).await;
    machine.rounds(&world, 1).await;
    machine.ledger.earn(id(HERE), 4 << 30, 1).await;
    machine.rounds(&world, 22).await;
    assert_eq!(machine.payments(HERE).len(), 0, "not before its time");
    let machine = world.start();
    machine.rounds(&world, 3).await;
    assert_eq!(world.received(&machine, HERE), 2 * USD + 1);
    machine.ledger.earn(id(HERE), 1, 1).await;
    machine.rounds(&world, 30).await;
    assert_eq!(machine.payments(HERE).len(), 1, "less than the least amount waits");
}

/// A confirmed transfer of 4 USD to a chain.
async fn transfer(machine: &Machine) -> ChallengeId {
    machine.service.run(&CreditWallet { network_id: id(HERE), amount: 4 * USD, memo: String::new() }).await.unwrap();
    let request = TransferRequest { to_address: SOLANA.into(), amount: 4 * USD, has_accepted_terms: true };
    let issued = machine.service.run(&TransferOut { owner: owner(HERE), request }).await.unwrap().unwrap();
    let id = issued.challenge_id.parse().unwrap();
    let confirm = Confirm { network_id: None, id, user_token: issued.user_token };
    machine.service.run(&confirm).await.unwrap().unwrap();
    id
}

#[tokio::test]
async fn a_confirmed_transfer_is_sent_or_its_amount_is_back() {
    let (world, machine) = World::new().await;
    for (mood, status, left) in
        [(Mood::Send, ChallengeStatus::Complete, 0), (Mood::Fail, ChallengeStatus::Failed, 4 * USD)]
    {
        let challenge_id = transfer(&machine).await;
        world.sender.next(mood);
        machine.rounds(&world, 1).await;
        let reject = RejectTransfer { id: challenge_id, is_forced: false };
        assert!(machine.service.run(&reject).await.is_err(), "it may have left");
        machine.rounds(&world, 3).await;
        let challenge = read(&machine, &ReadChallenge { network_id: id(HERE), id: challenge_id }).unwrap();
        assert_eq!(challenge.status, status);
        assert_eq!((world.received(&machine, HERE), world.sender.delivered()), (left, 4 * USD));
        assert!(read(&machine, &ListSendings).is_empty());
    }
    let challenge_id = transfer(&machine).await;
    machine.service.run(&RejectTransfer { id: challenge_id, is_forced: false }).await.unwrap();
    machine.rounds(&world, 3).await;
    assert_eq!(world.sender.delivered(), 4 * USD, "what the operator refused first is not sent");
}
