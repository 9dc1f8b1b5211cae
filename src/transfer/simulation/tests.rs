//! Two endpoints over links of every kind.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::ids::IdGenerator;
use crate::transfer::output::Ending;
use crate::transfer::settings::EndpointConfig;

/// Long enough for every resend and every end of a sequence.
const HORIZON: Duration = Duration::from_secs(3600);

fn client(of: u8) -> Endpoint {
    Endpoint::new(EndpointConfig::client(ClientId::new([of; 16]), Arc::new(IdGenerator::new())))
}

/// Two clients.
fn peers(link: LinkSettings, seed: u64) -> Simulation {
    Simulation::new(client(1), client(2), link, seed)
}

/// The server's side on the left, its client on the right.
fn control(link: LinkSettings, seed: u64) -> Simulation {
    let config = EndpointConfig::control(ClientId::new([2; 16]), Arc::new(IdGenerator::new()));
    Simulation::new(Endpoint::new(config), client(2), link, seed)
}

fn message(number: usize, bytes: usize) -> Bytes {
    let mut message = (number as u32).to_be_bytes().to_vec();
    message.resize(bytes.max(4), 0);
    message.into()
}

/// The numbers of the messages an end has received.
fn numbers(simulation: &Simulation, side: Side) -> Vec<u32> {
    let delivered = simulation.seen(side).delivered.iter().flat_map(|delivery| &delivery.frames);
    delivered.map(|frame| u32::from_be_bytes(*frame.message_bytes.first_chunk().unwrap())).collect()
}

fn send_all(simulation: &mut Simulation, from: Side, count: usize, bytes: usize, lane: Lane) {
    for number in 0..count {
        simulation.send(from, message(number, bytes), SendOptions { lane, ack: true }).unwrap();
    }
}

#[test]
fn a_transfer_under_contracts_is_counted_alike_at_both_ends() {
    let mut simulation = peers(LinkSettings::default(), 1);
    let (count, bytes) = (2000, 1000);
    let mut sent = 0;
    while sent < count {
        match simulation.send(Side::Left, message(sent, bytes), SendOptions::default()) {
            Ok(_) => sent += 1,
            Err(SendRefused::QueueFull) => assert!(simulation.step(HORIZON)),
            Err(refused) => panic!("{refused}"),
        }
    }
    while simulation.seen(Side::Left).acked.len() < count {
        assert!(simulation.step(HORIZON));
    }
    for side in [Side::Left, Side::Right] {
        simulation.act(side, |endpoint, now| endpoint.close(now, Ending::Final));
    }
    assert_eq!(numbers(&simulation, Side::Right), (0..count as u32).collect::<Vec<_>>());
    let used = |side| {
        let mut closed = simulation.seen(side).closed.clone();
        closed.retain(|used| used.acked_byte_count > 0);
        closed.sort_by_key(|used| used.contract_id);
        closed
    };
    assert_eq!(used(Side::Left), used(Side::Right));
    // Two contracts carried it: each counts one byte for the pack that opened it.
    let total: u64 = used(Side::Left).iter().map(|used| used.acked_byte_count).sum();
    assert_eq!(total, (count * bytes + 2) as u64);
    assert_eq!(simulation.seen(Side::Left).closed.len(), simulation.seen(Side::Left).granted);
}

#[test]
fn a_good_link_needs_no_resends_and_few_acks() {
    let mut simulation = peers(LinkSettings::default(), 1);
    send_all(&mut simulation, Side::Left, 500, 1000, Lane::default());
    simulation.run(Duration::from_secs(10));
    assert_eq!(simulation.seen(Side::Left).acked.len(), 500);
    assert_eq!(simulation.seen(Side::Left).transmitted, 501, "500 messages and the pack that opens the contract");
    assert!(simulation.seen(Side::Right).transmitted < 50, "{}", simulation.seen(Side::Right).transmitted);
}

#[test]
fn a_reply_under_a_companion_goes_its_own_lane() {
    let mut simulation = peers(LinkSettings::default(), 1);
    send_all(&mut simulation, Side::Left, 1, 10, Lane::default());
    simulation.run(Duration::from_secs(1));
    let reply = simulation.seen(Side::Right).delivered[0].lane.reply(true);
    send_all(&mut simulation, Side::Right, 3, 10, reply);
    simulation.run(Duration::from_secs(2));
    assert_eq!(numbers(&simulation, Side::Left), [0, 1, 2]);
    assert_eq!(simulation.seen(Side::Left).delivered[0].lane, reply);
}

#[test]
fn a_conversation_goes_on_when_the_receiver_has_forgotten_it() {
    let mut simulation = peers(LinkSettings::default(), 1);
    send_all(&mut simulation, Side::Left, 3, 10, Lane::default());
    simulation.run(Duration::from_secs(150));
    // The receiver has let go after 120 s and reported a checkpoint; the sender holds on.
    assert!(simulation.seen(Side::Right).closed.iter().all(|used| used.checkpoint && used.acked_byte_count == 31));
    assert!(simulation.seen(Side::Left).closed.iter().all(|used| used.acked_byte_count == 0));
    send_all(&mut simulation, Side::Left, 3, 10, Lane::default());
    simulation.run(Duration::from_secs(160));
    assert_eq!(numbers(&simulation, Side::Right), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_client_that_was_away_gets_the_rest_of_its_pushes_when_it_returns() {
    let mut simulation = control(LinkSettings::default(), 1);
    send_all(&mut simulation, Side::Left, 20, 10, Lane::default());
    // Sixteen are on their way and arrive; their acks find no transport.
    simulation.link.loss = u8::MAX;
    simulation.act(Side::Left, |endpoint, now| endpoint.detach(now));
    simulation.run(Duration::from_secs(100));
    simulation.link.loss = 0;
    simulation.act(Side::Left, |endpoint, now| endpoint.attach(now));
    simulation.run(Duration::from_secs(110));
    assert_eq!(numbers(&simulation, Side::Right), (0..20).collect::<Vec<_>>());
    assert_eq!(simulation.seen(Side::Left).snapshots, 1);
}

/// Links from good to bad, short of hopeless.
fn links() -> impl Strategy<Value = LinkSettings> {
    (1u64..200, 0u64..300, 0u8..50, 0u8..80, 0u64..2000, 0u64..100).prop_map(
        |(delay, jitter, loss, duplication, grant, confirm)| LinkSettings {
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
            loss,
            duplication,
            damage: 0,
            grant_delay: Duration::from_millis(grant),
            confirm_delay: Duration::from_millis(confirm),
        },
    )
}

/// Steps to the end, moving both clocks now and then.
fn run_with_jumps(simulation: &mut Simulation, jumps: &[(u16, i32)]) {
    let mut jumps = jumps.iter().copied().peekable();
    for step in 0.. {
        if let Some((_, millis)) = jumps.next_if(|(at, _)| u32::from(*at) <= step) {
            let now = simulation.now.as_millis().saturating_add_signed(millis.into());
            simulation.set_clock(Timestamp::from_millis(now));
        }
        assert!(step < 200_000, "it must come to an end");
        if !simulation.step(HORIZON) {
            return;
        }
    }
}

/// Jumps of up to a minute back and two seconds forward, at most five.
fn jumps() -> impl Strategy<Value = Vec<(u16, i32)>> {
    proptest::collection::vec((0u16..2000, -60_000i32..2000), 0..5).prop_map(|mut jumps| {
        jumps.sort_unstable();
        jumps
    })
}

/// In order and none twice, unless the sender started anew; everything acked was delivered; everything ended.
fn check(simulation: &Simulation, from: Side, count: usize) -> Result<(), TestCaseError> {
    let (sent, received) = (simulation.seen(from), numbers(simulation, from.other()));
    prop_assert_eq!(sent.acked.len() + sent.expired.len(), count);
    prop_assert!(received.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", received);
    prop_assert!(received.len() >= sent.acked.len());
    if sent.expired.is_empty() {
        prop_assert_eq!(received, (0..count as u32).collect::<Vec<_>>());
    }
    let delivered = simulation.seen(from.other()).closed.iter().map(|used| used.acked_byte_count).sum::<u64>();
    let acked = sent.closed.iter().map(|used| used.acked_byte_count).sum::<u64>();
    prop_assert!(acked <= delivered, "the sender counts at most what the receiver counts: {} {}", acked, delivered);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_between_clients_arrive_in_order_and_once(
        link in links(), seed: u64, count in 1usize..200, bytes in 1usize..1500, jumps in jumps(),
    ) {
        let mut simulation = peers(link, seed);
        send_all(&mut simulation, Side::Left, count, bytes, Lane::default());
        run_with_jumps(&mut simulation, &jumps);
        check(&simulation, Side::Left, count)?;
        prop_assert!(simulation.endpoint(Side::Left).poll_timeout().is_none());
    }

    #[test]
    fn control_and_client_talk_both_ways_over_any_link(
        link in links(), seed: u64, pushes in 1usize..60, requests in 1usize..60, jumps in jumps(),
    ) {
        let mut simulation = control(link, seed);
        send_all(&mut simulation, Side::Left, pushes, 100, Lane::default());
        send_all(&mut simulation, Side::Right, requests, 100, Lane::default());
        run_with_jumps(&mut simulation, &jumps);
        check(&simulation, Side::Left, pushes)?;
        check(&simulation, Side::Right, requests)?;
    }

    #[test]
    fn damaged_frames_end_nothing_but_themselves(link in links(), seed: u64, damage in 1u8..40) {
        let mut simulation = peers(LinkSettings { damage, ..link }, seed);
        send_all(&mut simulation, Side::Left, 100, 500, Lane::default());
        simulation.run(HORIZON);
        let sent = simulation.seen(Side::Left);
        prop_assert_eq!(sent.acked.len() + sent.expired.len(), 100);
    }
}
