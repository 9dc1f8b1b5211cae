//! Loads one relay and prints one line of JSON per measurement.
//!
//! load CELL --proto ws|quic|iroh|nats|warren-ws|warren-quic --to ADDRESS --pid RELAY
//!     [--parties FILE] [--telemetry ADDRESS] ...
//!
//! | cell | measures | options |
//! |---|---|---|
//! | `frames` | CPU of the relay per frame | `--size`, `--pairs`, `--window` frames on their way, `--batch` per write |
//! | `lone` | the same and the latency of frames that come alone | `--size`, `--rate` |
//! | `fairness` | latency of a pair, alone and beside others | `--beside` flood, same, deaf, storm or restart, `--clients` of the storm |
//! | `idle` | memory per client, CPU per connect and per second | `--clients`, `--settle-ms`, `--watch-ms` |
//!
//! `size` is the whole message with the address in it. Warren's clients come from a file with a client id and a token
//! a line: the clients 2n and 2n + 1 have a contract. For `restart` the load says `standing` when everybody is connected,
//! and goes on when it is told the process of the relay that was started again.

mod beside;
mod cells;
mod connect;
mod idle;
mod protocol;
mod telemetry;

use std::sync::Arc;

use peers::Args;

fn main() {
    let args = Args::default();
    if args.mode() == "nats-key" {
        println!("{}", protocol::nats_public(&protocol::nats_key()));
        return;
    }
    // Timers of the lone frames must not be rounded.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let generator = Arc::new(connect::Generator::new(&args));
        match args.mode() {
            "frames" => cells::frames(generator, &args).await,
            "lone" => cells::lone(generator, &args).await,
            "idle" => idle::idle(generator, &args).await,
            "fairness" => beside::beside(generator, &args).await,
            other => panic!("cell {other:?}"),
        }
    });
}
