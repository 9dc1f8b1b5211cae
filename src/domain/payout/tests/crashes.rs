//! Power that fails at any commit, and random runs of all of it.

use proptest::prelude::*;

use super::*;
use crate::domain::contract::payout::{Payer, PaymentState};

const MOODS: [Mood; 5] = [Mood::Send, Mood::Fail, Mood::SendUnheard, Mood::Lose, Mood::Refuse];

/// What a network has was paid to it, or is in a payment that is being made.
async fn check(world: &World, machine: &Machine) {
    for network in [HERE, THERE, NOWHERE] {
        let (earned, paid) = machine.credit(network).await;
        let received = world.received(machine, network);
        let payments = machine.payments(network);
        let under_way = |payment: &&Payment| {
            let record = payment.record.as_ref();
            payment.state() == PaymentState::Recorded && record.is_some_and(|record| record.payer != Payer::Operator)
        };
        let (all, open) = payments.iter().map(|(_, payment)| payment).fold((0, 0), |(all, open), payment| {
            let is_live = payment.state() != PaymentState::Cancelled;
            let amount = payment.amount();
            (all + i64::from(is_live) * amount, open + i64::from(under_way(&payment)) * amount)
        });
        assert!(all <= earned, "network {network} is in payments of {all} and has earned {earned}");
        assert!(received >= paid, "network {network} was told of {paid} and has {received}");
        assert!(received <= paid + open, "network {network} has {received}, was due {paid} and {open}");
    }
}

/// Everything that is under way ends.
async fn settle(world: &World) -> Machine {
    world.sender.0.lock().moods.clear();
    let machine = world.start();
    machine.rounds(world, 4).await;
    check(world, &machine).await;
    for network in [HERE, THERE, NOWHERE] {
        assert_eq!(world.received(&machine, network), machine.credit(network).await.1, "network {network}");
    }
    machine
}

#[tokio::test]
async fn power_that_fails_at_any_commit_loses_nothing_and_pays_nothing_twice() {
    let mut moments = 0;
    for mood in MOODS {
        for is_last_kept in [false, true] {
            for commits in 0.. {
                let (world, machine) = World::new().await;
                for network in [HERE, THERE, NOWHERE] {
                    machine.ledger.earn(id(network), 7, 5_000_000_000).await;
                }
                machine.ledger.plan_payout(RUN).await.unwrap();
                machine.ledger.shutdown().await;
                world.sender.next(mood);
                let failing = world.start_failing(commits, is_last_kept);
                let mut has_failed = false;
                for _ in 0..4 {
                    has_failed |= failing.payouts.round().await.is_err();
                    world.clock.advance(Duration::from_secs(3600));
                }
                failing.ledger.shutdown().await;
                let machine = world.start();
                check(&world, &machine).await;
                machine.ledger.shutdown().await;
                let machine = settle(&world).await;
                assert_eq!(world.received(&machine, HERE), 5_000_000_000);
                let is_back = machine.payments(THERE)[0].1.state() == PaymentState::Cancelled;
                assert_eq!(world.sender.delivered(), if is_back { 0 } else { 5_000_000_000 }, "{mood:?} {commits}");
                machine.ledger.shutdown().await;
                moments += 1;
                if !has_failed {
                    assert!(commits > 3, "there is something to interrupt");
                    break;
                }
            }
        }
    }
    assert!(moments > 50, "{moments}");
}

#[derive(Clone, Debug)]
enum Step {
    Earn(u8, i64),
    Plan,
    Round,
    Mood(Mood),
    /// The operator gives up the payment at this place.
    Cancel(usize),
    /// A round that loses power after so many commits, and a start after it.
    Crash {
        commits: usize,
        is_last_kept: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..=3u8, 1..50i64).prop_map(|(network, units)| Step::Earn(network, units * 1000)),
        3 => Just(Step::Plan),
        5 => Just(Step::Round),
        3 => prop::sample::select(&MOODS[..]).prop_map(Step::Mood),
        1 => any::<usize>().prop_map(Step::Cancel),
        3 => (0..8usize, any::<bool>()).prop_map(|(commits, is_last_kept)| Step::Crash { commits, is_last_kept }),
    ]
}

async fn take(world: &World, machine: Machine, step: &Step) -> Machine {
    match step {
        Step::Earn(network, amount) => machine.ledger.earn(id(*network), 1, *amount).await,
        Step::Plan => drop(machine.ledger.plan_payout(RUN).await.unwrap()),
        Step::Round => machine.rounds(world, 1).await,
        Step::Mood(mood) => world.sender.next(*mood),
        Step::Cancel(at) => {
            let open = machine.ledger.open_payments().await.unwrap();
            if let Some((payment, _, _)) = open.get(at % open.len().max(1)) {
                let _ = machine.ledger.cancel_payment(*payment).await.unwrap();
            }
        }
        Step::Crash { commits, is_last_kept } => {
            machine.ledger.shutdown().await;
            let failing = world.start_failing(*commits, *is_last_kept);
            let _ = failing.payouts.round().await;
            failing.ledger.shutdown().await;
            world.clock.advance(Duration::from_secs(3600));
            return world.start();
        }
    }
    machine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_run_pays_each_payment_once_or_gives_it_back(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (world, mut machine) = World::new().await;
            for step in &steps {
                machine = take(&world, machine, step).await;
                check(&world, &machine).await;
            }
            machine.ledger.shutdown().await;
            settle(&world).await;
        });
    }
}
