//! `signet serve`: loads, binds, serves, reloads, drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use super::{Configuration, Trouble};
use crate::config::{Config, LogFormat, LogLevel};
use crate::server::{self, Drained, Gauges, TlsSlot};
use crate::service::{self, Loaded, Reloader, Running, Sources};
use crate::telemetry::{self, Audit, Format, Sink, Traces};

/// How often the limits' tables are swept.
const SWEEP: Duration = Duration::from_secs(60);
/// How long before the end of the grace requests are answered that are still in flight.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a start waits for secrets that are fetched.
const SECRETS_PATIENCE: Duration = Duration::from_secs(30);
/// How long a start waits for the limits' shared store.
const STORE_PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn run(configuration: Configuration) -> Result<(), Trouble> {
    let sink = Sink::new(std::io::stdout())?;
    let mut traces = None;
    let sources = configuration.sources();
    let ended = sources
        .load_patiently(SECRETS_PATIENCE)
        .map_err(|problems| {
            // Nothing is configured yet, so the refusal is told in the default form.
            start_log(&sink, Format::for_stdout(), LevelFilter::INFO, None);
            for problem in problems {
                tracing::error!(
                    origin = problem.origin,
                    path = problem.path,
                    "refused to start: {problem}"
                );
            }
            Trouble::Refused(String::new())
        })
        .and_then(|loaded| {
            let format = format(loaded.config.log.format);
            if sources.environment.wants_traces() {
                traces = Some(Traces::new().map_err(|error| Trouble::Refused(error.to_string()))?);
            }
            start_log(
                &sink,
                format,
                level(loaded.config.log.level),
                traces.as_ref(),
            );
            serve(sources, loaded, Audit::new(sink.clone(), format))
        });
    if let Some(traces) = traces {
        traces.stop();
    }
    sink.flush();
    match ended {
        Err(Trouble::Refused(reason)) if !reason.is_empty() => {
            start_log(&sink, Format::for_stdout(), LevelFilter::INFO, None);
            tracing::error!("refused to start: {reason}");
            sink.flush();
            Err(Trouble::Refused(String::new()))
        }
        ended => ended,
    }
}

/// Starts the log; where one is running already, it goes on.
fn start_log(sink: &Sink, format: Format, level: LevelFilter, traces: Option<&Traces>) {
    // An error only says that one is running.
    let _ = telemetry::start(sink, format, level, traces);
}

fn format(configured: LogFormat) -> Format {
    match configured {
        LogFormat::Auto => Format::for_stdout(),
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    }
}

fn level(configured: LogLevel) -> LevelFilter {
    match configured {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[tokio::main]
async fn serve(sources: Sources, loaded: Loaded, audit: Audit) -> Result<(), Trouble> {
    let Loaded {
        config,
        snapshot,
        tls,
        seen,
        secrets,
    } = loaded;
    let tls = tls.map(|identity| Arc::new(TlsSlot::new(identity)));
    let public = bind(config.server.listen)?;
    let admin = bind(config.admin.listen)?;
    let mut signals = Signals::new()?;
    let service = service::start(snapshot, sources.clock.clone(), audit);
    if !service.snapshot.load().limits.connect(STORE_PATIENCE).await {
        tracing::warn!(
            "the limits' shared store does not answer; `on_outage` decides until it does"
        );
    }
    // Where port 0 was configured, only the sockets know.
    let (address, admin_address) = (public.local_addr()?, admin.local_addr()?);
    tracing::info!(
        %address,
        admin = %admin_address,
        tls = tls.is_some(),
        apps = config.apps.len(),
        "serving tokens on {address} ({}), admin on {admin_address}",
        if tls.is_some() { "HTTPS" } else { "HTTP" },
    );
    let grace = config.server.shutdown_grace;
    let stopping = CancellationToken::new();
    let stopped = CancellationToken::new();
    let settings = settings(&config);
    let gauges = Arc::clone(&service.gauges);
    let door = service::public(&service);
    let serving = tokio::spawn(server::serve(
        public,
        tls.clone(),
        move |peer| door.service(peer),
        settings.clone(),
        gauges,
        stopping.clone(),
    ));
    let administering = tokio::spawn(server::serve(
        admin,
        None,
        service::admin(Arc::clone(&service)),
        settings,
        Arc::new(Gauges::default()),
        stopped.clone(),
    ));
    let reloader = Reloader::new(sources, config, seen, secrets, Arc::clone(&service), tls);
    let reload = Arc::new(tokio::sync::Notify::new());
    let reloading = tokio::spawn(reloader.run(Arc::clone(&reload)));
    let sweeping = tokio::spawn(sweep(Arc::clone(&service)));
    let watching = tokio::spawn(service::watch_clock(service.clock.clone()));
    signals.wait_for_stop(&reload).await;
    tracing::info!("stopping: finishing what is in flight");
    service.draining.store(true, Ordering::Relaxed);
    stopping.cancel();
    let closing = tokio::spawn(close(Arc::clone(&service), grace));
    let drained = serving.await.context("the public listener failed")?;
    stopped.cancel();
    let _ = administering.await;
    closing.abort();
    reloading.abort();
    sweeping.abort();
    watching.abort();
    report(drained);
    Ok(())
}

fn bind(address: SocketAddr) -> Result<TcpListener, Trouble> {
    server::bind(address)
        .map_err(|error| Trouble::Refused(format!("can't listen on {address}: {error}")))
}

fn settings(config: &Config) -> server::Settings {
    server::Settings {
        max_connections: config.server.max_connections,
        shutdown_grace: config.server.shutdown_grace,
        ..server::Settings::default()
    }
}

/// The sweeper of whatever limits are in use: a reload brings new ones.
async fn sweep(service: Arc<Running>) {
    loop {
        let limits = Arc::clone(&service.snapshot.load().limits);
        let sweeping = limits.sweep_forever(SWEEP);
        drop(limits);
        sweeping.await;
    }
}

/// Answers what would be cut at the end of the grace, while there is still time to write the answer.
async fn close(service: Arc<Running>, grace: Duration) {
    tokio::time::sleep(grace.saturating_sub(LAST_WORDS.min(grace / 4))).await;
    service.closing.cancel();
}

fn report(drained: Drained) {
    if drained.finished {
        tracing::info!("stopped: everything in flight was finished");
    } else {
        tracing::warn!(
            cut = drained.cut,
            "stopped: {} connections were cut after the grace",
            drained.cut
        );
    }
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Trouble> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for SIGTERM or SIGINT; SIGHUP asks for a reload.
    async fn wait_for_stop(&mut self, reload: &tokio::sync::Notify) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload.notify_one(),
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
            }
        }
    }
}
