//! What benches that load the real binary share: the server, and parties that call its API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use warren::client::api::{Api, AuthClient, NetworkCreate};
use warren::client::tls::Trust;
use warren::ids::ClientId;
use warren::wire::control_message::Request;
use warren::wire::messages::{Provide, ProvideKey, ProvideMode};

/// The binary under load, in a temporary folder; killed when dropped.
pub struct Server {
    pub child: Child,
    addresses: serde_json::Value,
    pub tls: bool,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts it; `is_pinned` keeps it on the first core, so that the load has the others to itself.
    pub fn start(tls: bool, is_pinned: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready.json");
        let binary = env!("CARGO_BIN_EXE_warren");
        let is_pinned = is_pinned && std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let mut command = if is_pinned { Command::new("taskset") } else { Command::new(binary) };
        if is_pinned {
            command.args(["-c", "0", binary]);
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command
            .args(["serve", "--data"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(log)
            .env("WARREN__HTTP__LISTEN", "127.0.0.1:0")
            .env("WARREN__RELAY__QUIC_LISTEN", "127.0.0.1:0")
            .env("WARREN__TELEMETRY__LISTEN", "127.0.0.1:0")
            .env("WARREN__TLS__MODE", if tls { "self_signed" } else { "off" })
            .env("WARREN__AUTH__VERIFY", "auto")
            .env("WARREN__AUTH__ATTEMPT_LIMITS", "false")
            .env("WARREN__TELEMETRY__LOG_FILTER", "warn");
        let child = command.spawn().unwrap();
        let addresses = wait_for(&ready, folder.path());
        Self { child, addresses, tls, _folder: folder }
    }

    /// Where a listener is bound, by its name in the ready file.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener].as_str().unwrap().parse().unwrap()
    }

    /// A new network; calls are made as its user.
    pub async fn network(&self) -> Api {
        let scheme = if self.tls { "https" } else { "http" };
        let api = Api::new(&format!("{scheme}://localhost:{}", self.address("http").port()), &Trust::Any).unwrap();
        let created = api.network_create(&NetworkCreate { terms: true, ..NetworkCreate::default() }).await.unwrap();
        api.with_token(&created.network.by_jwt.unwrap())
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }
}

/// User and system time of a process.
pub fn cpu_of(process: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let spent = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A client with its token.
pub struct Party {
    pub id: ClientId,
    pub api: Api,
    pub token: String,
}

impl Party {
    pub async fn new(user: &Api) -> Self {
        let client = user.auth_client(&AuthClient::default()).await.unwrap();
        Self { id: client.client_id, api: user.with_token(&client.by_client_jwt), token: client.by_client_jwt }
    }

    pub async fn provide(&self, mode: ProvideMode) {
        let key = ProvideKey { mode: mode.into(), provide_secret_key: Bytes::from_static(&[7; 32]) };
        let frame = Request::Provide(Provide { keys: vec![key] }).to_frame();
        self.api.connect_control(vec![frame]).await.unwrap();
    }
}

fn wait_for(ready: &PathBuf, folder: &Path) -> serde_json::Value {
    for _ in 0..200 {
        if let Ok(text) = std::fs::read_to_string(ready)
            && let Ok(addresses) = serde_json::from_str(&text)
        {
            return addresses;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the server is not ready: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
}
