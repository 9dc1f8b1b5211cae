//! The transfer engine: a thousand messages from end to end in memory, under a contract and to the control id, over a
//! good link and a bad one. The link costs no time of its own; what is measured is both endpoints.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use warren::ids::{ClientId, IdGenerator};
use warren::transfer::endpoint::Endpoint;
use warren::transfer::output::SendOptions;
use warren::transfer::settings::EndpointConfig;
use warren::transfer::simulation::{LinkSettings, Side, Simulation};

const MESSAGES: u64 = 1000;
const SEED: u64 = 7;
/// No run takes longer on its own clock.
const HORIZON: Duration = Duration::from_secs(600);

fn client(of: u8) -> Endpoint {
    Endpoint::new(EndpointConfig::client(ClientId::new([of; 16]), Arc::new(IdGenerator::new())))
}

fn control() -> Endpoint {
    Endpoint::new(EndpointConfig::control(ClientId::new([1; 16]), Arc::new(IdGenerator::new())))
}

fn transfer(mut simulation: Simulation, message: &Bytes) -> usize {
    for _ in 0..MESSAGES {
        simulation.send(Side::Left, message.clone(), SendOptions::default()).expect("the queue holds them all");
    }
    while simulation.seen(Side::Left).acked.len() < MESSAGES as usize && simulation.step(HORIZON) {}
    simulation.seen(Side::Right).delivered.len()
}

fn transfers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transfer");
    group.throughput(Throughput::Elements(MESSAGES));
    group.sample_size(20);
    let good = LinkSettings::default();
    let bad = LinkSettings { loss: 13, jitter: Duration::from_millis(20), ..good };
    for (name, link) in [("good", good), ("5% loss", bad)] {
        for bytes in [100, 1100, 2800] {
            let message = Bytes::from(vec![7; bytes]);
            group.bench_with_input(
                BenchmarkId::new(format!("contract, {name}"), bytes),
                &message,
                |bencher, message| {
                    let setup = || Simulation::new(client(1), client(2), link, SEED);
                    bencher.iter_batched(setup, |simulation| transfer(simulation, message), BatchSize::SmallInput);
                },
            );
        }
        let message = Bytes::from(vec![7; 100]);
        group.bench_with_input(BenchmarkId::new(format!("control, {name}"), 100), &message, |bencher, message| {
            let setup = || Simulation::new(client(1), control(), link, SEED);
            bencher.iter_batched(setup, |simulation| transfer(simulation, message), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, transfers);
criterion_main!(benches);
