//! Setting up the log: JSON lines, or a readable form on a terminal, and panics among them.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::traces::TARGET as SPANS;
use super::{Sink, Traces};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl Format {
    /// Text on a terminal, JSON anywhere else.
    #[must_use]
    pub fn for_stdout() -> Self {
        if io::stdout().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// Sends everything that is logged at `level` or above through `sink`, panics
/// included, for the rest of the process; and spans through `traces`, where there are any.
///
/// # Errors
/// When a log was set up before.
pub fn start(
    sink: &Sink,
    format: Format,
    level: LevelFilter,
    traces: Option<&Traces>,
) -> Result<(), TryInitError> {
    // Other crates speak up from `warn` on; at `trace` the TLS and HTTP libraries would log what they carry.
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("signet", level)
        .with_target(SPANS, LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_writer(sink.clone());
    let lines = match format {
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        Format::Text => lines.with_target(false).boxed(),
    };
    let registry = tracing_subscriber::registry();
    match traces {
        // One filter for all: what it turns off costs a branch.
        None => registry.with(lines).with(filter).try_init(),
        Some(traces) => registry
            .with(lines.with_filter(filter))
            .with(traces.layer())
            .try_init(),
    }?;
    log_panics(sink.clone());
    Ok(())
}

fn log_panics(sink: Sink) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        // The message may quote a value, so only the place is logged.
        tracing::error!(
            place,
            "a panic at {place}; this is a bug in signet, please report it"
        );
        sink.flush();
    }));
}
