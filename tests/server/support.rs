//! Servers for tests: in this process, or as the real binary.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use warren::config::Config;
use warren::server::{Server, ServerOptions};

/// Longest that anything in these tests may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The defaults on free ports, with cheap password hashes.
pub fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    config.http.listen = any;
    config.relay.quic_listen = any;
    config.telemetry.listen = any;
    config.store.path = folder.to_owned();
    config.store.cache = "4MiB".parse().unwrap();
    config.auth.argon2_memory = "8KiB".parse().unwrap();
    config.auth.argon2_passes = 1;
    config
}

/// A server in this process and the folder it works in.
pub struct TestServer {
    /// The server.
    pub server: Server,
    /// Its data folder, removed with it.
    pub folder: TempDir,
}

impl TestServer {
    /// With the settings of [`config`].
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// With settings changed by the test.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let server = Server::start(Arc::new(config), ServerOptions::default()).await.unwrap();
        Self { server, folder }
    }

    /// The address of a route of the API.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.addresses().http)
    }

    /// The address of a route of the telemetry listener.
    pub fn telemetry_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.addresses().telemetry)
    }

    /// The value of one series of `/metrics`.
    pub async fn metric(&self, name: &str) -> u64 {
        metric(&self.telemetry_url("/metrics"), name).await
    }
}

/// The value of one series at the address of metrics.
pub async fn metric(url: &str, name: &str) -> u64 {
    let text = get(url).await.1;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("no series {name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// Status and body of a GET.
pub async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The provider that reqwest asks for.
pub fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Waits until `is_true`, which is asked often.
pub async fn eventually(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_true().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The binary under test with settings that use free ports; the environment of the test run does not reach it.
pub fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WARREN__")) {
        command.env_remove(name);
    }
    command
        .env("WARREN__HTTP__LISTEN", "127.0.0.1:0")
        .env("WARREN__RELAY__QUIC_LISTEN", "127.0.0.1:0")
        .env("WARREN__TELEMETRY__LISTEN", "127.0.0.1:0")
        .env("WARREN__STORE__PATH", data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running `warren serve`, killed when dropped.
pub struct Process {
    child: Child,
    ready_file: PathBuf,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it and waits for its ready file.
    pub fn start(folder: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let ready_file = folder.join("ready.json");
        // One of an earlier process would be taken for this one's.
        let _ = std::fs::remove_file(&ready_file);
        let mut command = command(&folder.join("data"));
        command.arg("serve").arg("--ready-file").arg(&ready_file);
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let (stderr, log) = (BufReader::new(child.stderr.take().unwrap()), Arc::new(Mutex::new(String::new())));
        let lines = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut process = Self { child, ready_file, log, reader: Some(reader) };
        let start = Instant::now();
        while !process.ready_file.exists() {
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", process.log());
            }
            assert!(start.elapsed() < PATIENCE, "it did not become ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        process
    }

    /// What the ready file says.
    pub fn addresses(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.ready_file).unwrap()).unwrap()
    }

    /// Sends it a signal by name, e.g. `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end and for the last of its log.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
