use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_websockets::{Message, ServerBuilder};

use super::*;
use crate::config::contracts::HmacForm;
use crate::ids::ContractId;
use crate::transfer::endpoint::Endpoint;
use crate::transfer::output::Output;
use crate::transfer::settings::EndpointConfig;
use crate::wire::contract_signature;
use crate::wire::control_message::Push;
use crate::wire::messages::{
    CloseContract, Contract, ContractError, CreateContract, CreateContractResult, MessageType, Pack, StoredContract,
};
use crate::wire::path::peek_path;

const SENDER: ClientId = ClientId::new([1; 16]);
const RECEIVER: ClientId = ClientId::new([2; 16]);

/// The least of a platform: it grants contracts, keeps votes and passes frames on. A client's token is its id.
#[derive(Default)]
struct Platform {
    ids: Arc<IdGenerator>,
    clock: Clock,
    outboxes: Mutex<HashMap<ClientId, mpsc::UnboundedSender<Bytes>>>,
    provides: Mutex<HashMap<ClientId, Provide>>,
    granted: Mutex<Vec<(ContractId, u64)>>,
    votes: Mutex<Vec<(ClientId, CloseContract)>>,
    /// Every so manieth relayed frame is lost; 0 for none.
    lose_every: AtomicU64,
    relayed: AtomicU64,
}

impl Platform {
    async fn start() -> (Arc<Self>, Api, Route) {
        let platform = Arc::new(Self::default());
        let router = axum::Router::new().route("/connect/control", post(control)).with_state(platform.clone());
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", api.local_addr().unwrap());
        let route = Route::WebSocket(format!("ws://{}", relay.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(api, router).await });
        let accepting = platform.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = relay.accept().await {
                tokio::spawn(accepting.clone().carry(stream));
            }
        });
        (platform, Api::new(&url, &Trust::Any).unwrap(), route)
    }

    async fn carry(self: Arc<Self>, stream: tokio::net::TcpStream) {
        let Ok((request, socket)) = ServerBuilder::new().accept(stream).await else { return };
        let client = client_of(request.headers());
        let (mut sink, mut frames) = socket.split();
        let (outbox, mut outgoing) = mpsc::unbounded_channel();
        self.outboxes.lock().insert(client, outbox.clone());
        let mut control = Endpoint::new(EndpointConfig::control(client, self.ids.clone()));
        control.attach(self.clock.now());
        loop {
            while let Some(output) = control.poll_output() {
                match output {
                    Output::Transmit(frame) => outbox.send(frame).unwrap(),
                    Output::Deliver(delivery) => {
                        self.apply(client, &delivery.frames);
                        control.confirm(self.clock.now(), delivery.id);
                    }
                    _ => {}
                }
            }
            let due = control.poll_timeout().map_or(Duration::from_secs(9), |due| due.since(self.clock.now()));
            tokio::select! {
                message = frames.next() => match message {
                    Some(Ok(message)) => self.route(client, message.into_payload().into(), &mut control),
                    _ => return,
                },
                Some(frame) = outgoing.recv() => drop(sink.send(Message::binary(frame)).await),
                () = tokio::time::sleep(due) => control.handle_timeout(self.clock.now()),
            }
        }
    }

    fn route(&self, client: ClientId, frame: Bytes, control: &mut Endpoint) {
        let Ok(path) = peek_path(&frame) else { return };
        assert_eq!(path.source, client);
        if path.destination.is_control() {
            let _ = control.handle_frame(self.clock.now(), frame);
            return;
        }
        let nth = self.relayed.fetch_add(1, Ordering::Relaxed) + 1;
        let every = self.lose_every.load(Ordering::Relaxed);
        if (every == 0 || !nth.is_multiple_of(every))
            && let Some(outbox) = self.outboxes.lock().get(&path.destination)
        {
            drop(outbox.send(frame));
        }
    }

    fn apply(&self, client: ClientId, frames: &[Frame]) -> Vec<Frame> {
        let mut answers = Vec::new();
        for frame in frames {
            match Request::decode(frame) {
                Ok(Request::Provide(provide)) => drop(self.provides.lock().insert(client, provide)),
                Ok(Request::CloseContract(close)) => self.votes.lock().push((client, close)),
                Ok(Request::CreateContract(create)) => {
                    answers.push(Push::CreateContractResult(Box::new(self.create(client, &create))).to_frame());
                }
                _ => {}
            }
        }
        answers
    }

    fn create(&self, source: ClientId, create: &CreateContract) -> CreateContractResult {
        let destination = create.destination_id.as_deref().and_then(ClientId::from_slice).unwrap();
        let mode = if create.companion { ProvideMode::Stream } else { ProvideMode::Public };
        let provides = self.provides.lock();
        let keys = provides.get(&destination).map(|provide| provide.keys.as_slice()).unwrap_or_default();
        let Some(key) = keys.iter().find(|key| key.mode == i32::from(mode)) else {
            let error = Some(ContractError::NoPermission.into());
            return CreateContractResult { error, ..CreateContractResult::default() };
        };
        let id: ContractId = self.ids.next_random(self.clock.now());
        self.granted.lock().push((id, create.transfer_byte_count));
        let stored = StoredContract {
            contract_id: id.into(),
            transfer_byte_count: create.transfer_byte_count,
            source_id: Some(source.into()),
            destination_id: Some(destination.into()),
            ..StoredContract::default()
        };
        let bytes: Bytes = stored.encode_to_vec().into();
        let hmac = contract_signature::sign(HmacForm::Standard, &key.provide_secret_key, &bytes);
        let contract = Contract {
            stored_contract_bytes: bytes,
            stored_contract_hmac: hmac.to_vec().into(),
            provide_mode: mode.into(),
            ..Contract::default()
        };
        CreateContractResult { contract: Some(contract), ..CreateContractResult::default() }
    }

    /// Bytes that a client voted for, and the contracts it closed for good.
    fn voted(&self, client: ClientId) -> (u64, Vec<Bytes>) {
        let votes = self.votes.lock();
        let own = || votes.iter().filter(|(voter, _)| *voter == client).map(|(_, close)| close);
        let closed = own().filter(|close| !close.checkpoint).map(|close| close.contract_id.clone()).collect();
        (own().map(|close| close.acked_byte_count).sum(), closed)
    }
}

fn client_of(headers: &HeaderMap) -> ClientId {
    headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().parse().unwrap()
}

async fn control(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
    Json(body): Json<serde_json::Value>,
) -> Json<serde_json::Value> {
    let pack = Pack::decode(&BASE64.decode(body["pack"].as_str().unwrap()).unwrap()[..]).unwrap();
    let frames = platform.apply(client_of(&headers), &pack.frames);
    let answer = Pack { frames, ..Pack::default() };
    Json(serde_json::json!({ "pack": BASE64.encode(answer.encode_to_vec()), "error": null }))
}

fn start(id: ClientId, api: &Api, route: &Route, set: impl FnOnce(&mut ClientOptions)) -> (Client, Inbox) {
    let mut options = ClientOptions::new(api.with_token(&id.to_string()), id);
    options.routes = vec![route.clone()];
    set(&mut options);
    Client::start(options).unwrap()
}

fn message(number: u32, bytes: usize) -> Vec<Frame> {
    let mut content = number.to_be_bytes().to_vec();
    content.resize(bytes, 0);
    vec![Frame { message_type: MessageType::TestSimpleMessage.into(), message_bytes: content.into(), raw: true }]
}

fn number(received: &Received) -> u32 {
    u32::from_be_bytes(*received.frames[0].message_bytes.first_chunk().unwrap())
}

async fn expect(inbox: &mut Inbox, numbers: std::ops::Range<u32>) {
    for expected in numbers {
        let received = inbox.recv().await.unwrap();
        assert_eq!((received.from, number(&received)), (SENDER, expected));
    }
}

#[tokio::test]
async fn messages_arrive_in_order_and_both_ends_report_the_same_bytes() {
    let (platform, api, route) = Platform::start().await;
    let (sender, _sender_inbox) = start(SENDER, &api, &route, |options| options.contract_bytes = Some(100_000));
    let (receiver, mut inbox) = start(RECEIVER, &api, &route, |_| {});
    receiver.provide(&[ProvideMode::Public]).await.unwrap();
    let sending = async {
        for nth in 0..400 {
            sender.send(RECEIVER, message(nth, 1000)).await.unwrap();
        }
        sender.flush(RECEIVER).await.unwrap();
    };
    tokio::join!(sending, expect(&mut inbox, 0..400));
    let sent = sender.close().await.unwrap();
    let received = receiver.close().await.unwrap();
    // 80 % of each contract is used: 79 messages and the byte for opening it.
    assert_eq!((sent.contracts, sent.bytes), (6, 400_006));
    assert_eq!((received.contracts, received.bytes), (6, 400_006));
    for client in [SENDER, RECEIVER] {
        assert_eq!(platform.voted(client).0, 400_006);
    }
    let (_, closed) = platform.voted(SENDER);
    assert_eq!(closed.len(), platform.granted.lock().len(), "what was asked ahead is given back");
    assert_eq!(closed.len(), 6 + sent.unused.len());
}

#[tokio::test]
async fn nothing_is_asked_ahead_when_told_so() {
    let (platform, api, route) = Platform::start().await;
    let (sender, _sender_inbox) = start(SENDER, &api, &route, |options| options.asks_ahead = false);
    let (receiver, mut inbox) = start(RECEIVER, &api, &route, |_| {});
    receiver.provide(&[ProvideMode::Public]).await.unwrap();
    sender.send_acked(RECEIVER, message(0, 100)).await.unwrap();
    expect(&mut inbox, 0..1).await;
    assert_eq!(sender.close().await.unwrap().unused, []);
    assert_eq!(platform.granted.lock().len(), 1);
}

#[tokio::test]
async fn a_lost_transport_and_lost_frames_lose_no_message() {
    let (platform, api, route) = Platform::start().await;
    platform.lose_every.store(50, Ordering::Relaxed);
    let (sender, _sender_inbox) = start(SENDER, &api, &route, |_| {});
    let (receiver, mut inbox) = start(RECEIVER, &api, &route, |_| {});
    receiver.provide(&[ProvideMode::Public]).await.unwrap();
    let sending = async {
        for nth in 0..600 {
            sender.send(RECEIVER, message(nth, 500)).await.unwrap();
            match nth {
                200 => sender.cut().await.unwrap(),
                400 => receiver.cut().await.unwrap(),
                _ => {}
            }
        }
        sender.flush(RECEIVER).await.unwrap();
    };
    tokio::join!(sending, expect(&mut inbox, 0..600));
    assert_eq!(sender.close().await.unwrap().bytes, receiver.close().await.unwrap().bytes);
}

#[tokio::test]
async fn an_answer_is_paid_by_the_one_who_asked() {
    let (platform, api, route) = Platform::start().await;
    let (sender, mut answers) = start(SENDER, &api, &route, |_| {});
    let (receiver, mut questions) = start(RECEIVER, &api, &route, |_| {});
    sender.provide(&[ProvideMode::Stream]).await.unwrap();
    receiver.provide(&[ProvideMode::Public]).await.unwrap();
    sender.send(RECEIVER, message(7, 10)).await.unwrap();
    let question = questions.recv().await.unwrap();
    receiver.reply(&question, message(8, 10)).await.unwrap();
    let answer = answers.recv().await.unwrap();
    assert_eq!((answer.from, number(&answer)), (RECEIVER, 8));
    assert!(answer.lane.companion_contract);
    assert_eq!(answer.contract.as_ref().unwrap().provide_mode, ProvideMode::Stream);
    assert!(platform.granted.lock().len() >= 2);
}

#[tokio::test]
async fn a_reader_that_sleeps_holds_messages_up_and_loses_none() {
    let (_platform, api, route) = Platform::start().await;
    let (sender, _sender_inbox) = start(SENDER, &api, &route, |_| {});
    let (receiver, mut inbox) = start(RECEIVER, &api, &route, |_| {});
    receiver.provide(&[ProvideMode::Public]).await.unwrap();
    let total = INBOX_MESSAGES as u32 + 500;
    for nth in 0..total {
        sender.send(RECEIVER, message(nth, 8)).await.unwrap();
    }
    expect(&mut inbox, 0..total).await;
    sender.flush(RECEIVER).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let (_platform, api, route) = Platform::start().await;
    let (sender, _inbox) = start(SENDER, &api, &route, |_| {});
    for bytes in [MAX_MESSAGE_BYTES, 10_000] {
        assert!(matches!(sender.send(RECEIVER, message(0, bytes)).await, Err(ClientError::BadSize(_))));
    }
    assert!(matches!(sender.send(RECEIVER, Vec::new()).await, Err(ClientError::BadSize(0))));
    sender.close().await.unwrap();
    assert!(matches!(sender.send(RECEIVER, message(0, 8)).await, Err(ClientError::Closed)));
    assert!(matches!(Client::start(ClientOptions::new(api, SENDER)), Err(ClientError::Incomplete)));
}
