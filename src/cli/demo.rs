//! `warren demo`: the main job on this machine, start to finish, with numbers.
//!
//! A server of its own in a temporary folder, two networks and two clients made over the public API, a paid contract
//! between them, a file carried under it through the relay, the contract settled. Everything that both ends, the
//! payer and the receiver's network report is compared; the command succeeds only when it adds up.

mod report;
mod source;

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aws_lc_rs::digest;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::client::api::{Api, AuthClient, Balance, ClientToken, NetworkCreate};
use crate::client::dial::Route;
use crate::client::session::{Client, ClientOptions, Inbox};
use crate::client::tls::Trust;
use crate::config::Config;
use crate::config::auth::Verify;
use crate::server::{Server, ServerOptions};
use crate::transfer::output::SendOptions;
use crate::wire::messages::{Frame, MessageType, ProvideMode};

use report::{Latencies, Run};
use source::Source;

/// Bytes of the file in one frame: the largest round number that fits a pack beside a contract.
const FRAME_BYTES: usize = 2944;

/// Time for the contracts to be settled once both ends have reported.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two looks at the balance.
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// Share of a contract that a sender may use (`connect/transfer.go`).
const USABLE_SHARE: f64 = 0.8;

/// Carries a file between two networks through a relay of its own, and shows what it cost.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// File to carry; 64 MiB of random bytes when absent.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Transport of both clients; `both` carries the file once over each.
    #[arg(long, value_enum, default_value_t = DemoTransport::Both)]
    pub transport: DemoTransport,
}

/// Which transports the demo uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DemoTransport {
    /// WebSocket over TCP.
    Websocket,
    /// Raw QUIC over UDP.
    Quic,
    /// First one, then the other.
    Both,
}

/// Runs the demo; an error when anything fails or does not add up.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let folder = TemporaryFolder::create()?;
    let source = match &args.file {
        Some(path) => Source::open(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => Source::random(folder.0.join("random")).context("cannot write the random file")?,
    };
    say(&format!("starting a server in {}", folder.0.display()));
    let config = Arc::new(config(&folder.0));
    let _log = crate::telemetry::tracing::start(&config.telemetry)?;
    let server = Server::start(config, ServerOptions::default()).await.context("the server did not start")?;
    let outcome = tokio::select! {
        outcome = carry_all(&server, &source, args.transport) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    server.shutdown().await;
    let runs = outcome?;
    let mut mismatches = Vec::new();
    for run in &runs {
        print(&run.table())?;
        mismatches.extend(run.mismatches().into_iter().map(|text| format!("{}: {text}", run.transport)));
    }
    if !mismatches.is_empty() {
        bail!("the demo does not add up: {}", mismatches.join("; "));
    }
    Ok(())
}

/// Free ports on loopback, state in `folder`, accounts usable at once.
fn config(folder: &Path) -> Config {
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::default();
    config.http.listen = any_port;
    config.relay.quic_listen = any_port;
    config.telemetry.listen = any_port;
    config.store.path = folder.join("data");
    config.auth.verify = Verify::Auto;
    // The table is the output; only what goes wrong is worth a line beside it.
    config.telemetry.log_filter = "warn,warren::server::mail=error".into();
    config
}

async fn carry_all(server: &Server, source: &Source, transport: DemoTransport) -> anyhow::Result<Vec<Run>> {
    let addresses = server.addresses();
    let api = Api::new(&format!("http://{}", addresses.http), &Trust::Any)?;
    let payer = Party::create(&api, "demo-payer").await?;
    let receiver = Party::create(&api, "demo-receiver").await?;
    say(&format!("client {} of network demo-payer pays and sends", payer.client.client_id));
    say(&format!("client {} of network demo-receiver receives", receiver.client.client_id));

    let websocket = || ("websocket", Route::WebSocket(format!("ws://{}", addresses.http)));
    let quic =
        || anyhow::Ok(("quic", Route::Quic(addresses.quic.context("the server has no QUIC listener")?.to_string())));
    let routes = match transport {
        DemoTransport::Websocket => vec![websocket()],
        DemoTransport::Quic => vec![quic()?],
        DemoTransport::Both => vec![websocket(), quic()?],
    };
    let mut runs = Vec::new();
    for (name, route) in routes {
        runs.push(carry(&payer, &receiver, source, name, route).await.with_context(|| format!("over {name}"))?);
    }
    Ok(runs)
}

/// One network with one client.
struct Party {
    api: Api,
    client: ClientToken,
}

impl Party {
    async fn create(api: &Api, name: &str) -> anyhow::Result<Self> {
        let new = NetworkCreate {
            user_name: name.into(),
            user_auth: Some(format!("{name}@demo.example")),
            password: Some(format!("{name} password")),
            network_name: Some(name.into()),
            terms: true,
        };
        let created = api.network_create(&new).await?;
        let token = created.network.by_jwt.context("the new network is not usable at once")?;
        let api = api.with_token(&token);
        let client = AuthClient { description: name.into(), device_spec: "demo".into(), ..AuthClient::default() };
        let client = api.auth_client(&client).await?;
        Ok(Self { api, client })
    }

    async fn start(&self, route: Route, contract_bytes: u64) -> anyhow::Result<(Client, Inbox)> {
        let mut options = ClientOptions::new(self.api.with_token(&self.client.by_client_jwt), self.client.client_id);
        options.routes = vec![route];
        // The certificate of the server was made a moment ago, by itself.
        options.trust = Trust::Any;
        options.contract_bytes = Some(contract_bytes);
        // What is asked for ahead and never used would stay reserved for minutes and blur the balance.
        options.asks_ahead = false;
        Ok(Client::start(options)?)
    }
}

/// Carries the file once and waits until it is paid for.
async fn carry(
    payer: &Party,
    receiver: &Party,
    source: &Source,
    transport: &'static str,
    route: Route,
) -> anyhow::Result<Run> {
    let before = payer.api.balance().await?;
    let credit_before = receiver.api.transfer_stats().await?;
    let contract_bytes = (source.bytes() as f64 / USABLE_SHARE) as u64 + FRAME_BYTES as u64;
    let (sender, _) = payer.start(route.clone(), contract_bytes).await?;
    let (catcher, inbox) = receiver.start(route, contract_bytes).await?;
    catcher.provide(&[ProvideMode::Public]).await?;
    tokio::try_join!(sender.connected(), catcher.connected())?;

    let progress = progress(source.bytes(), transport);
    let started = Instant::now();
    let sent_at = Arc::new(Mutex::new(VecDeque::new()));
    let catching = catch(inbox, source.bytes(), sent_at.clone(), progress.clone());
    let sending = send(&sender, receiver, source, sent_at);
    let (digest_sent, mut caught) = tokio::try_join!(sending, catching)?;
    let elapsed = started.elapsed();
    progress.finish_and_clear();

    let by_sender = sender.close().await?;
    let by_receiver = catcher.close().await?;
    let after = settled(&payer.api).await?;
    let credit = receiver.api.transfer_stats().await?;
    Ok(Run {
        transport,
        file_bytes: source.bytes(),
        bytes: caught.bytes,
        frames: caught.frames,
        elapsed,
        latency_p50: caught.latencies.percentile(50),
        latency_p99: caught.latencies.percentile(99),
        contracts: by_sender.contracts,
        reported_by_sender: by_sender.bytes,
        reported_by_receiver: by_receiver.bytes,
        credited: credit.unpaid_bytes_provided - credit_before.unpaid_bytes_provided,
        balance_before: before.balance_byte_count,
        balance_after: after.balance_byte_count,
        digest_sent,
        digest_received: caught.digest,
    })
}

/// Reads the file and sends it, a frame at a time; gives its digest once everything has been acknowledged.
async fn send(
    sender: &Client,
    receiver: &Party,
    source: &Source,
    sent_at: Arc<Mutex<VecDeque<Instant>>>,
) -> anyhow::Result<String> {
    let to = receiver.client.client_id;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut pieces = source.pieces(FRAME_BYTES)?;
    while let Some(piece) = pieces.next().await? {
        hash.update(&piece);
        let frame = Frame { message_type: MessageType::TestSimpleMessage.into(), message_bytes: piece, raw: true };
        let slot = sender.reserve(to, vec![frame], SendOptions::default()).await?;
        // Frames of one lane arrive in order, so the times need no names.
        sent_at.lock().push_back(Instant::now());
        slot.send();
    }
    sender.flush(to).await.context("the receiver did not acknowledge everything")?;
    Ok(hex::encode(hash.finish()))
}

/// What the receiver saw.
struct Caught {
    bytes: u64,
    frames: u64,
    digest: String,
    latencies: Latencies,
}

async fn catch(
    mut inbox: Inbox,
    file_bytes: u64,
    sent_at: Arc<Mutex<VecDeque<Instant>>>,
    progress: ProgressBar,
) -> anyhow::Result<Caught> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let (mut bytes, mut frames, mut latencies) = (0, 0, Latencies::default());
    while bytes < file_bytes {
        let received = inbox.recv().await.context("the receiving client ended early")?;
        for frame in received.frames {
            hash.update(&frame.message_bytes);
            bytes += frame.message_bytes.len() as u64;
            frames += 1;
            if let Some(sent_at) = sent_at.lock().pop_front() {
                latencies.add(sent_at.elapsed());
            }
        }
        progress.set_position(bytes);
    }
    Ok(Caught { bytes, frames, digest: hex::encode(hash.finish()), latencies })
}

/// The balance once nothing is reserved any more.
async fn settled(api: &Api) -> anyhow::Result<Balance> {
    let give_up = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let balance = api.balance().await?;
        if balance.open_transfer_byte_count == 0 {
            return Ok(balance);
        }
        if Instant::now() >= give_up {
            bail!(
                "{} bytes are still reserved {SETTLE_TIMEOUT:?} after both ends reported",
                balance.open_transfer_byte_count
            );
        }
        tokio::time::sleep(SETTLE_POLL).await;
    }
}

/// A bar on a terminal; nothing elsewhere.
fn progress(bytes: u64, transport: &'static str) -> ProgressBar {
    let template = "{prefix:>9} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(bytes) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(transport)
}

/// A line on what happens now; for people, so it goes to stderr.
fn say(text: &str) {
    // A closed stderr is no reason to stop.
    drop(writeln!(std::io::stderr(), "{text}"));
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write the table")
}

/// A folder that goes away with the demo.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("warren-demo-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            say(&format!("{} could not be removed: {error}", self.0.display()));
        }
    }
}
