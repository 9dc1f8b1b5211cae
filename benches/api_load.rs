//! Loads the real binary over kept-alive HTTP connections: the routes that apps call most, and whole contracts over
//! `POST /connect/control`, each created, closed by both parties and settled, every answer durable.
//!
//! `cargo bench --bench api_load -- [routes] [contracts] [CONNECTIONS …] [--quick]`; without a name, both. Server and load
//! share the machine, all cores of it. The load writes prepared requests to plain sockets, so that it takes as little as it
//! can; what it takes is shown beside the server's own CPU (`/proc/PID/task/*/schedstat`). Linux only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench stops at a surprise"
)]

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren::client::dial::{Credentials, Dialer, Route};
use warren::client::tls::Trust;
use warren::ids::{Id, InstanceId};
use warren::wire::control_message::Request;
use warren::wire::messages::{
    CloseContract, Contract, CreateContract, CreateContractResult, Frame, Pack, ProvideMode, StoredContract,
};

mod support;

use support::{Party, Server, cpu_of};

/// Runs of each row; the median is shown.
const RUNS: usize = 5;

/// Providers that are connected while providers are searched.
const PROVIDERS: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test` also builds and starts benches; this one is only for `cargo bench`.
        return;
    }
    let mut sizes: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1, 16, 64, 256];
    }
    let named: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|name| ["routes", "contracts"].contains(name)).collect();
    let wanted = |name: &str| named.is_empty() || named.contains(&name);
    let time = Duration::from_secs(if arguments.iter().any(|argument| argument == "--quick") { 1 } else { 5 });
    println!("median of {RUNS} runs; CPU microseconds of the server and of the load for each");
    println!("{:<24} {:>12} {:>10} {:>10} {:>10}", "what", "connections", "per second", "server", "load");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if wanted("routes") {
            routes(time).await;
        }
        if wanted("contracts") {
            for connections in sizes {
                let mut runs = Vec::new();
                for _ in 0..RUNS {
                    runs.push(contracts(connections, time).await);
                }
                show("contract from end to end", connections, &runs);
            }
        }
    });
}

/// One line of the table: the medians.
fn show(what: &str, connections: usize, runs: &[[f64; 3]]) {
    let median = |column: usize| {
        let mut values: Vec<f64> = runs.iter().map(|run| run[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (rate, server, load) = (median(0), median(1), median(2));
    println!("{what:<24} {connections:>12} {rate:>10.0} {server:>10.1} {load:>10.1}");
}

/// The routes that apps call most, over 64 connections, with a hundred providers connected.
async fn routes(time: Duration) {
    const CONNECTIONS: usize = 64;
    let server = Server::start(false, false);
    let user = server.network().await;
    let mut providers = Vec::new();
    for _ in 0..PROVIDERS {
        let party = Party::new(&user).await;
        party.provide(ProvideMode::Public).await;
        let credentials = Credentials::of_token(party.token.clone(), InstanceId::from_bytes(rand::random()));
        let route = Route::WebSocket(format!("ws://{}/", server.address("http")));
        let (mut reader, writer) = Dialer::new(route, credentials, &Trust::Any).unwrap().dial().await.unwrap();
        providers.push((party, tokio::spawn(async move { while reader.next().await.is_ok() {} }), writer));
    }
    // They are offered once they have been there for a while.
    tokio::time::sleep(Duration::from_secs(6)).await;
    // Each connection calls as a client of its own.
    let requests = |method: &str, path: &str, body: &dyn Fn(&Party) -> String| -> Vec<Vec<u8>> {
        providers.iter().map(|(party, _, _)| request(method, path, &party.token, &body(party))).collect()
    };
    let renew = |party: &Party| format!(r#"{{"client_id":"{}","description":"a client of the bench"}}"#, party.id);
    let find = |_: &Party| r#"{"specs":[{"best_available":true}],"count":10}"#.to_owned();
    let calls = [
        ("GET /hello", requests("GET", "/hello", &|_| String::new())),
        ("auth-client", requests("POST", "/network/auth-client", &renew)),
        ("find-providers2", requests("POST", "/network/find-providers2", &find)),
    ];
    let mut connection = Connection::new(TcpStream::connect(server.address("http")).await.unwrap());
    assert!(connection.call(&calls[2].1[0]).await.contains("client_id"), "no provider is found");
    for (what, requests) in calls {
        let requests = Arc::new(requests);
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let requests = Arc::clone(&requests);
            let run = load(&server, CONNECTIONS, time, move |mut connection, at| {
                let requests = Arc::clone(&requests);
                async move {
                    connection.call(&requests[at % requests.len()]).await;
                    connection
                }
            });
            runs.push(run.await);
        }
        show(what, CONNECTIONS, &runs);
    }
}

/// Calls over so many connections for a while: rate, and CPU microseconds of server and load for each.
async fn load<F>(
    server: &Server,
    connections: usize,
    time: Duration,
    call: impl Fn(Connection, usize) -> F + Send + Sync + 'static,
) -> [f64; 3]
where
    F: Future<Output = Connection> + Send,
{
    let (server_cpu, load_cpu, began) = (server.cpu(), cpu_of(std::process::id()), Instant::now());
    let (until, call) = (began + time, Arc::new(call));
    let workers: Vec<_> = (0..connections)
        .map(|at| {
            let (call, address) = (Arc::clone(&call), server.address("http"));
            tokio::spawn(async move {
                let mut connection = Connection::new(TcpStream::connect(address).await.unwrap());
                let mut count = 0u64;
                while Instant::now() < until {
                    connection = call(connection, at).await;
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

/// Whole lives of contracts.
async fn contracts(connections: usize, time: Duration) -> [f64; 3] {
    let server = Server::start(false, false);
    let (payer, provider) = (server.network().await, server.network().await);
    let mut lives = Vec::new();
    for _ in 0..connections.min(16) {
        let (source, destination) = (Party::new(&payer).await, Party::new(&provider).await);
        destination.provide(ProvideMode::Public).await;
        lives.push(Arc::new(Life::new(&source, &destination)));
    }
    load(&server, connections, time, move |mut connection, at| {
        let life = Arc::clone(&lives[at % lives.len()]);
        async move {
            life.live(&mut connection).await;
            connection
        }
    })
    .await
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
        let create = control(&source.token, Request::CreateContract(create).to_frame());
        Self { source: source.token.clone(), destination: destination.token.clone(), create }
    }

    async fn live(&self, connection: &mut Connection) {
        let answer = pack(connection.call(&self.create).await);
        let frames = Pack::decode(Bytes::from(answer)).unwrap().frames;
        let result = CreateContractResult::decode(frames[0].message_bytes.clone()).unwrap();
        let contract: Contract = result.contract.unwrap_or_else(|| panic!("no contract: error {:?}", result.error));
        let contract_id = StoredContract::decode(contract.stored_contract_bytes).unwrap().contract_id;
        for token in [&self.source, &self.destination] {
            let close =
                CloseContract { contract_id: contract_id.clone(), acked_byte_count: 1000, ..CloseContract::default() };
            pack(connection.call(&control(token, Request::CloseContract(close).to_frame())).await);
        }
    }
}

/// A message to the control id.
fn control(token: &str, frame: Frame) -> Vec<u8> {
    let pack = Pack { frames: vec![frame], ..Pack::default() }.encode_to_vec();
    let body = format!("{{\"pack\":\"{}\"}}", BASE64_STANDARD.encode(pack));
    request("POST", "/connect/control", token, &body)
}

fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: text/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The pack of an answer, which must be free of errors.
fn pack(answer: &str) -> Vec<u8> {
    let pack = answer.strip_prefix("{\"pack\":\"").and_then(|rest| rest.strip_suffix("\",\"error\":null}"));
    BASE64_STANDARD.decode(pack.unwrap_or_else(|| panic!("{answer}"))).unwrap()
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

    /// Sends a request; returns the body of the answer.
    async fn call(&mut self, request: &[u8]) -> &str {
        self.stream.write_all(request).await.unwrap();
        self.answer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.answer).await.unwrap() > 0, "the server closed the connection");
            if let Some(range) = body(&self.answer) {
                return std::str::from_utf8(&self.answer[range]).unwrap();
            }
        }
    }
}

/// Where the body of an answer with status 200 is, once all of it is there.
fn body(answer: &[u8]) -> Option<Range<usize>> {
    let head_bytes = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..head_bytes]).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let end = head_bytes + length.parse::<usize>().unwrap();
    (answer.len() >= end).then_some(head_bytes..end)
}
