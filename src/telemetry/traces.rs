//! Traces by OTLP: every span by name, W3C context in and out; nothing but a branch each while they are off.
//!
//! Attributes are bounded: methods, routes, apps, callers, resolvers, outcomes; never a user, a key or a token.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rustls::{ClientConfig, RootCertStore};
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// Spans alone have this target, so that the log's filter can leave them out, and the exporter's all else.
pub(super) const TARGET: &str = "signet::trace";

/// How long one call to the collector may take: OTLP's default.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the last spans to be sent.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Sends spans to the collector that the `OTEL_…` variables name.
pub struct Traces(SdkTracerProvider);

/// Why spans can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The HTTP client can't be made.
    #[error("the client for traces can't be set up: {0}")]
    Client(#[from] reqwest::Error),
    /// A variable says something that isn't understood.
    #[error("traces can't be sent, look at the OTEL_EXPORTER_OTLP_ variables: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// TLS refuses its own settings.
    #[error("TLS for traces can't be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Traces {
    /// Reads the `OTEL_…` variables and starts the thread that sends. Not from within a Tokio runtime.
    ///
    /// # Errors
    /// [`TracesError`] when a variable isn't understood, or there is no client to send with.
    pub fn new() -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client()?)
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        Ok(Self(provider))
    }

    /// The layer that takes spans, and nothing else, from the log's registry.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("signet"))
            .with_level(false)
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    }

    /// Sends what is left, for at most two seconds: a collector that hangs must not keep the process from ending.
    pub fn stop(self) {
        if let Err(error) = self.0.shutdown_with_timeout(STOP_WITHIN) {
            tracing::warn!(%error, "the last traces were not sent: {error}");
        }
    }
}

fn client() -> Result<reqwest::blocking::Client, TracesError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::blocking::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(CALL_WITHIN)
        .build()?;
    Ok(client)
}

/// Who sends: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, or `signet`.
fn resource() -> Resource {
    let named = Resource::builder().build();
    let name = named.get(&"service.name".into());
    let unknown = name.is_none_or(|name| name.as_str().starts_with("unknown_service"));
    let resource = if unknown {
        Resource::builder().with_service_name("signet")
    } else {
        Resource::builder()
    };
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    resource.with_attribute(version).build()
}

/// One request, from its head to its answer; the child of what `traceparent` names, where it does.
#[must_use]
pub fn request_span(method: &Method, route: &'static str, headers: &HeaderMap) -> Span {
    let method = known(method);
    let span = info_span!(
        target: TARGET,
        "request",
        "otel.kind" = "server",
        "otel.name" = %format_args!("{method} {route}"),
        "otel.status_code" = Empty,
        "http.request.method" = method,
        "http.route" = route,
        "http.response.status_code" = Empty,
        "signet.app" = Empty,
        "signet.caller" = Empty,
        "signet.outcome" = Empty,
    );
    if !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        if parent.span().span_context().is_valid() {
            // It only fails once a span has begun, and this one hasn't.
            let _ = span.set_parent(parent);
        }
    }
    span
}

/// Writes down how a request ended.
pub fn end_request(
    span: &Span,
    status: u16,
    app: Option<&str>,
    caller: Option<&str>,
    outcome: &'static str,
) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", status);
    span.record("signet.outcome", outcome);
    if let Some(app) = app {
        span.record("signet.app", app);
    }
    if let Some(caller) = caller {
        span.record("signet.caller", caller);
    }
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Finding out which caller asks.
#[must_use]
pub fn authentication_span() -> Span {
    info_span!(target: TARGET, "authenticate")
}

/// Asking the limits; with a shared store, a round trip to it.
#[must_use]
pub fn limits_span() -> Span {
    info_span!(target: TARGET, "limits")
}

/// Finding out who a browser's user is.
#[must_use]
pub fn session_span(resolver: &str) -> Span {
    info_span!(target: TARGET, "session", "otel.kind" = "client", "signet.resolver" = resolver)
}

/// Making and signing a token.
#[must_use]
pub fn signing_span(app: &str) -> Span {
    info_span!(target: TARGET, "sign", "signet.app" = app)
}

/// A `traceparent` that makes whoever is called next the span's child; none while traces are off.
#[must_use]
pub fn traceparent(span: &Span) -> Option<HeaderValue> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    let (trace, parent) = (context.trace_id(), context.span_id());
    let flags = context.trace_flags().to_u8();
    let text = format!("00-{trace}-{parent}-{flags:02x}");
    context
        .is_valid()
        .then(|| HeaderValue::try_from(text).ok())
        .flatten()
}

/// Methods are text that clients choose; others than these are one.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "_OTHER",
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
