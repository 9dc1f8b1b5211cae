//! The log of the process: to stderr, as text or JSON, with a filter that can change while it runs.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::telemetry::{LogFormat, Telemetry};

/// Why the log could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("telemetry.log_filter is '{0}', which is not a filter: {1}")]
    BadFilter(String, String),
    /// The process has a log already, or has lost it.
    #[error("the log cannot be set up: {0}")]
    Unavailable(String),
}

/// Changes the filter of the process's log.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// Starts using another filter, e.g. `warren::relay=debug,info`.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse(filter)?;
        self.0.reload(parsed).map_err(|error| LogError::Unavailable(error.to_string()))
    }
}

/// Sets up the log of this process; once, at its start.
pub fn start(settings: &Telemetry) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(&settings.log_filter)?);
    let writer = std::io::stderr;
    let lines = match settings.log_format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(writer().is_terminal()).boxed(),
        LogFormat::Json => fmt::layer().with_writer(writer).json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| LogError::Unavailable(error.to_string()))?;
    Ok(LogHandle(handle))
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|error| LogError::BadFilter(filter.into(), error.to_string()))
}
