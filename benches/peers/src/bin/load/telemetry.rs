//! What Warren says of itself: clients are let in before they are counted, so only the relay knows when all are.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Longest wait for all to be counted.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the relay counts so many clients; how many it counts then.
pub async fn wait_for_clients(address: SocketAddr, clients: u64) -> io::Result<u64> {
    let began = Instant::now();
    loop {
        let counted = series(address, "warren_clients_connected").await?;
        if counted >= clients || began.elapsed() > PATIENCE {
            return Ok(counted);
        }
        sleep(PAUSE).await;
    }
}

/// The value of one series of `/metrics`.
async fn series(address: SocketAddr, name: &str) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| io::Error::other(format!("no {name}")))
}
