//! Loads the real binary with contracts over `POST /connect/control`, on kept-alive HTTP connections: each is created,
//! closed by both parties and settled, and every answer is durable.
//!
//! `cargo bench --bench contract_load -- [CONNECTIONS …] [--quick]`. Server and load share the machine, all cores of it. The load writes
//! prepared requests to plain sockets, so that it takes as little as it can; what it takes is shown beside the server's
//! own CPU (`/proc/PID/task/*/schedstat`). Linux only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench stops at a surprise"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren::wire::control_message::Request;
use warren::wire::messages::{
    CloseContract, Contract, CreateContract, CreateContractResult, Frame, Pack, ProvideMode, StoredContract,
};

mod support;

use support::{Party, Server, cpu_of};

/// Runs of each row; the median is shown.
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test` also builds and starts benches; this one is only for `cargo bench`.
        return;
    }
    let mut rows: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if rows.is_empty() {
        rows = vec![1, 16, 64, 256];
    }
    let time = Duration::from_secs(if arguments.iter().any(|argument| argument == "--quick") { 1 } else { 5 });
    println!("contracts created, closed by both parties and settled over HTTP; median of {RUNS} runs");
    println!("{:>12} {:>10} {:>18} {:>18}", "connections", "lives/s", "server CPU us each", "load CPU us each");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for connections in rows {
            let mut runs = Vec::new();
            for _ in 0..RUNS {
                runs.push(run(connections, time).await);
            }
            let median = |column: fn(&[f64; 3]) -> f64| {
                let mut values: Vec<f64> = runs.iter().map(column).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            let (lives, server, load) = (median(|run| run[0]), median(|run| run[1]), median(|run| run[2]));
            println!("{connections:>12} {lives:>10.0} {server:>18.1} {load:>18.1}");
        }
    });
}

/// Lives per second, and the CPU microseconds of server and load for each.
async fn run(connections: usize, time: Duration) -> [f64; 3] {
    let server = Server::start(false, false);
    let (payer, provider) = (server.network().await, server.network().await);
    let mut lives = Vec::new();
    for _ in 0..connections.min(16) {
        let (source, destination) = (Party::new(&payer).await, Party::new(&provider).await);
        destination.provide(ProvideMode::Public).await;
        lives.push(Arc::new(Life::new(&source, &destination)));
    }
    let (server_cpu, load_cpu, began) = (server.cpu(), cpu_of(std::process::id()), Instant::now());
    let until = began + time;
    let workers: Vec<_> = (0..connections)
        .map(|at| {
            let (life, address) = (Arc::clone(&lives[at % lives.len()]), server.address("http"));
            tokio::spawn(async move {
                let mut connection = Connection::new(TcpStream::connect(address).await.unwrap());
                let mut count = 0u64;
                while Instant::now() < until {
                    life.live(&mut connection).await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for worker in workers {
        count += worker.await.unwrap();
    }
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count as f64;
    let (server_cpu, load_cpu) = (server.cpu() - server_cpu, cpu_of(std::process::id()) - load_cpu);
    [count as f64 / began.elapsed().as_secs_f64(), each(server_cpu), each(load_cpu)]
}

/// The requests of a contract's life between two parties.
struct Life {
    source: String,
    destination: String,
    create: Vec<u8>,
}

impl Life {
    fn new(source: &Party, destination: &Party) -> Self {
        let create = CreateContract {
            destination_id: Some(destination.id.into()),
            transfer_byte_count: 1 << 20,
            ..CreateContract::default()
        };
        let create = request(&source.token, Request::CreateContract(create).to_frame());
        Self { source: source.token.clone(), destination: destination.token.clone(), create }
    }

    async fn live(&self, connection: &mut Connection) {
        let answer = connection.call(&self.create).await;
        let frames = Pack::decode(Bytes::from(answer)).unwrap().frames;
        let result = CreateContractResult::decode(frames[0].message_bytes.clone()).unwrap();
        let contract: Contract = result.contract.unwrap_or_else(|| panic!("no contract: error {:?}", result.error));
        let contract_id = StoredContract::decode(contract.stored_contract_bytes).unwrap().contract_id;
        for token in [&self.source, &self.destination] {
            let close =
                CloseContract { contract_id: contract_id.clone(), acked_byte_count: 1000, ..CloseContract::default() };
            connection.call(&request(token, Request::CloseContract(close).to_frame())).await;
        }
    }
}

fn request(token: &str, frame: Frame) -> Vec<u8> {
    let pack = Pack { frames: vec![frame], ..Pack::default() }.encode_to_vec();
    let body = format!("{{\"pack\":\"{}\"}}", BASE64_STANDARD.encode(pack));
    format!(
        "POST /connect/control HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: text/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A kept-alive connection with one request at a time.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, answer: Vec::with_capacity(8192) }
    }

    /// Sends a request; returns the pack of the answer, which must be free of errors.
    async fn call(&mut self, request: &[u8]) -> Vec<u8> {
        self.stream.write_all(request).await.unwrap();
        self.answer.clear();
        let body = loop {
            assert!(self.stream.read_buf(&mut self.answer).await.unwrap() > 0, "the server closed the connection");
            if let Some(body) = body(&self.answer) {
                break body;
            }
        };
        let text = std::str::from_utf8(body).unwrap();
        let pack = text.strip_prefix("{\"pack\":\"").and_then(|rest| rest.strip_suffix("\",\"error\":null}"));
        BASE64_STANDARD.decode(pack.unwrap_or_else(|| panic!("{text}"))).unwrap()
    }
}

/// The body of an answer with status 200, once all of it is there.
fn body(answer: &[u8]) -> Option<&[u8]> {
    let head_bytes = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..head_bytes]).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    answer.get(head_bytes..head_bytes + length.parse::<usize>().unwrap())
}
