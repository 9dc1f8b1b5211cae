use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

const BOTH: Wanted = Wanted { latency: true, speed: true };
const SPEED: Wanted = Wanted { latency: false, speed: true };
const IDLE: Situation = Situation { is_provider: true, has_waiting: false, reached: 0.0 };

struct Probed {
    prober: Prober,
    now: Instant,
    rng: StdRng,
}

impl Probed {
    fn new(wanted: Wanted) -> Self {
        let now = Instant::now();
        Self { prober: Prober::new(wanted, now), now, rng: StdRng::seed_from_u64(1) }
    }

    fn poll(&mut self, situation: Situation) -> Vec<ProbeStep> {
        self.prober.poll(self.now, situation, &mut self.rng)
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// Echoes latency probes, each after its time, until the measurement.
    fn latency(&mut self, times_ms: &[u64]) -> Duration {
        let mut actions = self.poll(IDLE);
        for time in times_ms {
            let [ProbeStep::Send(message)] = &actions[..] else { panic!("{actions:?}") };
            let message = message.clone();
            assert_eq!(message.len(), 16);
            self.now += Duration::from_millis(*time);
            actions = self.prober.handle_short(&message, self.now, &mut self.rng).into_iter().collect();
        }
        let [ProbeStep::Latency(latency)] = actions[..] else { panic!("{actions:?}") };
        latency
    }

    /// Echoes a speed probe with `round_trip` for each window, until its last action. Says how many chunks came back.
    fn speed(&mut self, round_trip: Duration, is_held_up: impl Fn(usize) -> bool) -> (Vec<ProbeStep>, usize) {
        let mut actions = self.poll(IDLE);
        let Some(ProbeStep::Hold(messages)) = actions.pop() else { panic!("no probe") };
        let (mut on_the_way, mut chunks) = (messages, 0);
        loop {
            assert!(on_the_way.len() <= WINDOW as usize);
            self.now += round_trip;
            let mut next = Vec::new();
            for message in std::mem::take(&mut on_the_way) {
                chunks += usize::from(message.len() == CHUNK_BYTES);
                for action in self.prober.handle_long(&message, self.now, is_held_up(chunks)).expect("its own") {
                    match action {
                        ProbeStep::Next(message) => on_the_way.push(message),
                        other => next.push(other),
                    }
                }
            }
            if !next.is_empty() {
                return (next, chunks);
            }
        }
    }
}

#[test]
fn the_shortest_of_some_round_trips_is_the_latency() {
    let mut probed = Probed::new(BOTH);
    assert_eq!(probed.latency(&[90, 40, 70, 80, 50, 60, 45, 99]), Duration::from_millis(40));
    assert_eq!(probed.poll(IDLE), [], "not again for hours");
    assert_eq!(probed.after(RETEST - Duration::from_secs(1)).poll(Situation { reached: FAST, ..IDLE }), []);
    assert!(matches!(probed.after(RETEST).poll(IDLE)[..], [ProbeStep::Send(_)]));
    let mut probed = Probed::new(Wanted { latency: false, speed: false });
    assert_eq!(probed.after(RETEST * 3).poll(IDLE), []);
}

#[test]
fn only_providers_are_measured_and_silence_ends_a_probe() {
    let mut probed = Probed::new(BOTH);
    assert_eq!(probed.poll(Situation { is_provider: false, ..IDLE }), []);
    assert_eq!(probed.poll(IDLE).len(), 1);
    assert_eq!(probed.poll(IDLE), [], "one at a time");
    assert_eq!(probed.prober.handle_short(&[7; 16], probed.now, &mut probed.rng), None, "not what was sent");
    probed.after(PATIENCE).poll(IDLE);
    assert!(probed.prober.latency.is_none());
}

#[test]
fn a_speed_is_measured_within_the_window_when_traffic_has_not_shown_it() {
    let mut probed = Probed::new(BOTH);
    probed.latency(&[10; 8]);
    probed.after(TRAFFIC_FIRST);
    // 16 messages come back in 100 ms, although the distance would allow ten times as many.
    let (actions, chunks) = probed.speed(Duration::from_millis(100), |_| false);
    assert_eq!(chunks, CHUNKS as usize);
    let [ProbeStep::Release, ProbeStep::Speed(speed)] = actions[..] else { panic!("{actions:?}") };
    assert!((140e3..165e3).contains(&speed), "{speed}");
    assert!(!probed.prober.is_echoing());
    assert_eq!(probed.poll(IDLE), []);
    let mut probed = Probed::new(SPEED);
    assert_eq!(probed.after(TRAFFIC_FIRST).poll(Situation { reached: FAST, ..IDLE }), [], "fast enough");
    let mut probed = Probed::new(SPEED);
    assert_eq!(probed.after(TRAFFIC_FIRST / 2).poll(IDLE), [], "too early");
    assert_eq!(probed.after(TRAFFIC_FIRST).poll(Situation { has_waiting: true, ..IDLE }), [], "busy");
}

#[test]
fn a_speed_that_the_window_allows_and_no_more_is_a_lower_bound() {
    let mut probed = Probed::new(BOTH);
    probed.latency(&[100; 8]);
    probed.after(TRAFFIC_FIRST);
    let (actions, _) = probed.speed(Duration::from_millis(100), |_| false);
    assert!(matches!(actions[..], [ProbeStep::Release, ProbeStep::SpeedFloor(_)]), "{actions:?}");
    let mut probed = Probed::new(SPEED);
    probed.after(TRAFFIC_FIRST);
    let (actions, _) = probed.speed(Duration::from_millis(100), |_| false);
    assert!(
        matches!(actions[..], [ProbeStep::Release, ProbeStep::SpeedFloor(_)]),
        "the distance is unknown: {actions:?}"
    );
}

#[test]
fn a_waiting_frame_ends_the_probe_within_a_window() {
    let mut probed = Probed::new(SPEED);
    probed.after(TRAFFIC_FIRST);
    let (actions, chunks) = probed.speed(Duration::from_millis(10), |chunks| chunks >= 20);
    assert_eq!(actions, [ProbeStep::Release], "too little was measured");
    assert!(chunks < 20 + 2 * WINDOW as usize, "{chunks}");
}

#[test]
fn the_clients_own_frames_pass_and_a_client_that_never_stops_is_not_asked_again() {
    let mut probed = Probed::new(SPEED);
    probed.after(TRAFFIC_FIRST);
    assert!(matches!(probed.poll(IDLE)[..], [ProbeStep::Hold(_)]));
    for own in [&[0x0a; 17][..], &[0x0a; CHUNK_BYTES], &[1; 17], &[3; 40]] {
        assert_eq!(probed.prober.handle_long(own, probed.now, false), None);
    }
    assert!(probed.prober.is_echoing());
    assert_eq!(probed.after(PATIENCE).poll(IDLE), [ProbeStep::Release]);
    assert_eq!(probed.after(RETEST * 3).poll(IDLE), []);
}
