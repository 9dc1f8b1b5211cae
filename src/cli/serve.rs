//! `warren serve`: the server as a process, with its signals and its ready file.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::config::load::{self, Sources};
use crate::server::{Addresses, Server, ServerOptions};
use crate::telemetry::tracing::{LogHandle, start as start_log};

/// Runs until SIGTERM or SIGINT, which drain it; a second one stops at once. SIGHUP reads the settings again and
/// takes over the certificate files, the address tables, portal.current_source_id and telemetry.log_filter.
#[derive(Args)]
pub struct ServeArgs {
    /// File with settings; without it the defaults serve
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder (store.path): database, keys and certificates
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write the bound addresses to this file as JSON once the server is ready
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl ServeArgs {
    fn sources(&self) -> Sources {
        let mut sources = Sources::of_process(self.config.clone());
        if let Some(data) = &self.data {
            sources.command_line.push(("--data", "store.path", data.to_string_lossy().into_owned()));
        }
        sources
    }
}

/// Runs the command.
pub fn run(arguments: ServeArgs) -> anyhow::Result<()> {
    let config = Arc::new(load::load(&arguments.sources())?.config);
    let log = start_log(&config.telemetry)?;
    runtime()?.block_on(serve(arguments, config, log))
}

/// Tasks that a worker runs before it looks whether sockets have become ready, when it has no rest. A client that floods
/// keeps two of them ready, each for as long as 64 KiB take; whoever's frame has just come waits for so many.
const TASKS_BETWEEN_EVENTS: u32 = 16;

/// A runtime with one worker for each core this process may use.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .event_interval(TASKS_BETWEEN_EVENTS)
        .thread_name("warren")
        .enable_all()
        .build()
        .context("the threads of the server cannot be started")
}

async fn serve(arguments: ServeArgs, config: Arc<Config>, log: LogHandle) -> anyhow::Result<()> {
    if let Some(path) = &arguments.ready_file {
        // A file left by an earlier run would announce addresses that are gone.
        let _ = std::fs::remove_file(path);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let server = Server::start(config, ServerOptions::default()).await?;
    if let Some(path) = &arguments.ready_file {
        write_ready_file(path, &server.addresses())?;
    }
    let failure = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hang_up.recv() => reload(&arguments, &server, &log),
            reason = server.failed() => break Some(reason),
        }
    };
    tracing::info!("draining");
    tokio::select! {
        () = server.shutdown() => tracing::info!("stopped"),
        _ = terminate.recv() => anyhow::bail!("stopped by a second signal before the drain was over"),
        _ = interrupt.recv() => anyhow::bail!("stopped by a second signal before the drain was over"),
    }
    failure.map_or(Ok(()), |reason| Err(anyhow::anyhow!("the server had to stop: {reason}")))
}

/// Takes over what can change while the server runs; what cannot be used leaves the old in place.
fn reload(arguments: &ServeArgs, server: &Server, log: &LogHandle) {
    let attempt = || {
        let config = load::load(&arguments.sources())?.config;
        server.reload(&config)?;
        log.set_filter(&config.telemetry.log_filter)?;
        anyhow::Ok(())
    };
    match attempt() {
        Ok(()) => tracing::info!("reloaded certificates, address tables, source of client certificates and log filter"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "not everything was reloaded"),
    }
}

/// Writes through a temporary file, so that a reader sees all of it or nothing.
fn write_ready_file(path: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    let mut half = path.as_os_str().to_owned();
    half.push(".new");
    let attempt = || {
        std::fs::write(&half, serde_json::to_vec(addresses)?)?;
        std::fs::rename(&half, path)
    };
    attempt().with_context(|| format!("--ready-file {} cannot be written", path.display()))
}
