use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

use futures_util::{SinkExt, StreamExt};

use super::*;
use crate::client::dial::{Credentials, Route};
use crate::client::tls::Trust;
use crate::client::transport;
use crate::ids::InstanceId;

fn dialer(route: Route) -> Dialer {
    let credentials = Credentials::of_token("a.b.c", InstanceId::new([7; 16]));
    Dialer::new(route, credentials, &Trust::Any).unwrap()
}

/// A client's transport and the server's end of it, in memory, so that time can stand still.
fn pair() -> ((Reader, Writer), WebSocketStream<DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let ours: std::pin::Pin<Box<dyn transport::Io>> = Box::pin(ours);
    let client = tokio_websockets::ClientBuilder::new().take_over(ours);
    (transport::over_websocket(client), ServerBuilder::new().serve(theirs))
}

#[test]
fn pauses_double_up_to_the_longest_and_are_never_below_half() {
    let backoff = Backoff::default();
    assert_eq!(backoff.pause(0, 1.0), Duration::ZERO);
    assert_eq!(backoff.pause(1, 1.0), Duration::from_millis(100));
    assert_eq!(backoff.pause(3, 0.0), Duration::from_millis(200));
    for failures in [7, 40, u32::MAX] {
        assert_eq!(backoff.pause(failures, 1.0), backoff.longest);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_empty_messages() {
    let ((_reader, mut writer), mut server) = pair();
    let (_outbox, mut frames) = mpsc::channel(1);
    let (_echo, echoes) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let started = Instant::now();
    tokio::select! {
        _ = write(&mut frames, echoes, &mut writer, &stop) => panic!("the writer ended"),
        message = server.next() => assert!(message.unwrap().unwrap().as_payload().is_empty()),
    }
    assert_eq!(started.elapsed(), KEEPALIVE);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_the_transport_and_a_keepalive_keeps_it() {
    let ((mut reader, _writer), mut server) = pair();
    let started = Instant::now();
    tokio::spawn(async move {
        sleep(Duration::from_secs(20)).await;
        server.send(Message::binary(Bytes::new())).await.unwrap();
        std::future::pending::<()>().await;
    });
    assert!(matches!(reader.next().await, Err(TransportError::Silent)));
    assert_eq!(started.elapsed(), Duration::from_secs(20) + transport::READ_TIMEOUT);
}

#[tokio::test]
async fn a_link_dials_again_and_carries_frames_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (inbox, mut received) = mpsc::channel(8);
    let link = Link::start(dialer(Route::WebSocket(url)), Backoff::default(), inbox, Arc::default());
    for round in 0..3u8 {
        let (stream, _) = listener.accept().await.unwrap();
        let (request, mut server) = ServerBuilder::new().accept(stream).await.unwrap();
        assert_eq!(request.headers()["authorization"], "Bearer a.b.c");
        assert_eq!(request.headers()["x-ur-instanceid"], "07070707-0707-0707-0707-070707070707");
        assert_eq!(request.headers()["x-ur-transportversion"], "2");
        link.state().wait_for(|state| *state == LinkState::Up).await.unwrap();

        let frame = Bytes::from(vec![round; 100]);
        server.send(Message::binary(frame.clone())).await.unwrap();
        assert_eq!(received.recv().await, Some(frame.clone()));
        link.outbox().send(frame.clone()).await.unwrap();
        assert_eq!(Bytes::from(server.next().await.unwrap().unwrap().into_payload()), frame);

        server.send(Message::binary(vec![9; 16])).await.unwrap();
        assert_eq!(server.next().await.unwrap().unwrap().as_payload()[..], [9; 16], "the probe comes back");
        match round {
            0 => drop(server),
            1 => link.cut(),
            _ => {}
        }
        if round < 2 {
            link.state().wait_for(|state| *state != LinkState::Up).await.unwrap();
        }
    }
    link.close().await;
}

#[tokio::test]
async fn a_refused_upgrade_is_the_reason_of_the_link() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let router = axum::Router::new();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let link = Link::start(dialer(Route::WebSocket(url)), Backoff::default(), mpsc::channel(1).0, Arc::default());
    let refused = |state: &LinkState| matches!(state, LinkState::Down(reason) if reason.contains("404"));
    link.state().wait_for(refused).await.unwrap();
}
