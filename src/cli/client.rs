//! `warren client`: goes out through a provider with an access key and says what it found, step by step.

use std::io::Write as _;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use serde::Serialize;

use crate::client::datagram::MAX_PAYLOAD_BYTES;
use crate::client::key::AccessKey;
use crate::client::tls::Trust;
use crate::client::tunnel::Tunnel;
use crate::ids::ClientId;

/// Connects with an access key, finds a provider where the key says, and proves the way to it. It carries no traffic of
/// this machine.
#[derive(Clone, Debug, clap::Args)]
pub struct ClientArgs {
    /// Access key, as /api/key gives it
    #[arg(long, value_name = "KEY")]
    key: AccessKey,
    /// Send one datagram through the provider to this address, and print the answer
    #[arg(long, value_name = "HOST:PORT", requires = "message")]
    udp: Option<String>,
    /// What the datagram says
    #[arg(long, value_name = "TEXT", requires = "udp", value_parser = payload)]
    message: Option<Bytes>,
    /// Accept any certificate of the server: only for one of your own that signs itself
    #[arg(long)]
    insecure: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn payload(text: &str) -> Result<Bytes, String> {
    match text.len() {
        0..=MAX_PAYLOAD_BYTES => Ok(Bytes::copy_from_slice(text.as_bytes())),
        bytes => Err(format!("it has {bytes} bytes, and {MAX_PAYLOAD_BYTES} fit a packet")),
    }
}

/// What was found.
#[derive(Serialize)]
struct ClientReport {
    server: String,
    client_id: ClientId,
    provider_id: ClientId,
    /// City and country of the provider, as far as known.
    place: String,
    /// The first ping, contract included.
    first_ping_ms: f64,
    ping_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp: Option<UdpReport>,
    /// Bytes carried under contracts, both ways.
    bytes: u64,
    contracts: u64,
}

#[derive(Serialize)]
struct UdpReport {
    to: SocketAddrV4,
    answer: String,
    answer_bytes: usize,
    milliseconds: f64,
}

/// Runs the command; an error when a step fails.
pub async fn run(arguments: ClientArgs) -> anyhow::Result<()> {
    let ClientArgs { key, udp, message, insecure, json } = arguments;
    let to = match &udp {
        Some(host) => Some(resolve(host).await?),
        None => None,
    };
    let trust = if insecure { Trust::Any } else { Trust::System };
    let report = tokio::select! {
        report = report(&key, &trust, to.zip(message)) => report,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    }?;
    let text = if json { serde_json::to_string(&report)? } else { text(&report) };
    writeln!(std::io::stdout(), "{text}").context("the report cannot be printed")
}

/// The first IPv4 address of a host: providers carry no other packets yet.
async fn resolve(host: &str) -> anyhow::Result<SocketAddrV4> {
    let found = tokio::net::lookup_host(host).await;
    let mut found = found.with_context(|| format!("--udp {host} is not HOST:PORT, or the host has no address"))?;
    let address = found.find_map(|address| match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    });
    address.with_context(|| format!("--udp {host} has no IPv4 address"))
}

async fn report(
    key: &AccessKey,
    trust: &Trust,
    question: Option<(SocketAddrV4, Bytes)>,
) -> anyhow::Result<ClientReport> {
    let server = key.api_url();
    let mut tunnel = Tunnel::open(key, trust).await.with_context(|| format!("no way out through {server}"))?;
    let (provider, first_ping) = (tunnel.provider().clone(), tunnel.first_ping());
    let proven = prove(&mut tunnel, question).await;
    // Also when something failed: what was reserved returns, and the client does not stay behind.
    let totals = tunnel.close().await?;
    let (ping, udp) = proven?;
    let place = provider.location.map(|location| match location.city.as_str() {
        "" => location.country,
        city => format!("{city}, {}", location.country),
    });
    Ok(ClientReport {
        server,
        client_id: key.client_id,
        provider_id: provider.client_id,
        place: place.unwrap_or_else(|| "unknown".into()),
        first_ping_ms: milliseconds(first_ping),
        ping_ms: milliseconds(ping),
        udp,
        bytes: totals.bytes,
        contracts: totals.contracts,
    })
}

async fn prove(
    tunnel: &mut Tunnel,
    question: Option<(SocketAddrV4, Bytes)>,
) -> anyhow::Result<(Duration, Option<UdpReport>)> {
    let ping = tunnel.ping().await?;
    let Some((to, message)) = question else { return Ok((ping, None)) };
    let (answer, took) = tunnel.ask(to, message).await?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    Ok((ping, Some(UdpReport { to, answer: text, answer_bytes: answer.len(), milliseconds: milliseconds(took) })))
}

/// With two digits behind the point.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

/// A line for each thing that was found. What came from outside is shown without control characters.
fn text(report: &ClientReport) -> String {
    let clean = |text: &str| -> String { text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect() };
    let mut lines = vec![
        format!("connected   {} as client {}", report.server, report.client_id),
        format!("provider    {} in {}", report.provider_id, clean(&report.place)),
        format!("path open   first ping {} ms, then {} ms", report.first_ping_ms, report.ping_ms),
    ];
    if let Some(udp) = &report.udp {
        lines.push(format!("udp {}   answered {} bytes after {} ms", udp.to, udp.answer_bytes, udp.milliseconds));
        lines.push(format!("answer      {}", clean(&udp.answer)));
    }
    lines.push(format!("carried     {} bytes under {} contracts", report.bytes, report.contracts));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_from_outside_cannot_command_the_terminal() {
        let report = ClientReport {
            server: "https://vpn.example".into(),
            client_id: ClientId::new([1; 16]),
            provider_id: ClientId::new([2; 16]),
            place: "Ber\u{1b}lin, Germany".into(),
            first_ping_ms: 12.5,
            ping_ms: 3.0,
            udp: Some(UdpReport {
                to: "8.8.8.8:53".parse().unwrap(),
                answer: "a\nb".into(),
                answer_bytes: 3,
                milliseconds: 4.25,
            }),
            bytes: 99,
            contracts: 2,
        };
        let text = text(&report);
        assert!(text.contains("Ber\u{fffd}lin") && text.contains("answer      a\u{fffd}b"), "{text}");
        assert_eq!(text.lines().count(), 6, "{text}");
    }

    #[test]
    fn a_message_that_fits_no_packet_is_wrong_usage() {
        assert!(payload(&"x".repeat(MAX_PAYLOAD_BYTES)).is_ok());
        assert!(payload(&"x".repeat(MAX_PAYLOAD_BYTES + 1)).is_err());
    }
}
