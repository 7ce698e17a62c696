//! Traces, as a collector of OpenTelemetry's protocol receives them from the program itself.
#![expect(clippy::unwrap_used, reason = "in a test, what fails should stop it")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(30);
const KEY: &str = "a-callers-key-of-tests-that-is-43-bytes-long";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What the collector has, and what the session URL was sent as `traceparent`.
#[derive(Clone, Default)]
struct Seen {
    exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    traceparents: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    fn spans(&self) -> Vec<Span> {
        let exports = self.exports.lock().unwrap();
        let resources = exports.iter().flat_map(|it| &it.resource_spans);
        let scopes = resources.flat_map(|it| &it.scope_spans);
        scopes.flat_map(|it| it.spans.clone()).collect()
    }

    async fn until_there_are(&self, requests: usize) -> Vec<Span> {
        let started = Instant::now();
        loop {
            let spans = self.spans();
            let whole = spans.iter().filter(|it| has(it, "http.route")).count();
            if whole >= requests {
                return spans;
            }
            assert!(started.elapsed() < PATIENCE, "only {spans:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn has(span: &Span, attribute: &str) -> bool {
    span.attributes.iter().any(|it| it.key == attribute)
}

fn text(span: &Span, attribute: &str) -> Option<String> {
    let found = span.attributes.iter().find(|it| it.key == attribute)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The collector and the application's session URL.
async fn neighbours(seen: &Seen) -> SocketAddr {
    let (exports, traceparents) = (Arc::clone(&seen.exports), Arc::clone(&seen.traceparents));
    let collect = move |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let export = ExportTraceServiceRequest::decode(body).unwrap();
        exports.lock().unwrap().push(export);
        StatusCode::OK
    };
    let session = move |headers: HeaderMap| async move {
        let sent = headers["traceparent"].to_str().unwrap().to_owned();
        traceparents.lock().unwrap().push(sent);
        r#"{ "user": "usr_secretive" }"#
    };
    let router = Router::new()
        .route("/v1/traces", post(collect))
        .route("/session", get(session));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The program, and where it listens.
struct Signet(Child, String);

impl Signet {
    async fn start(variables: &[(&str, String)]) -> Self {
        let port = || {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        };
        let (public, admin) = (port(), port());
        let child = Command::new(env!("CARGO_BIN_EXE_signet"))
            .arg("serve")
            .stdout(Stdio::null())
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .env("SIGNET__SERVER__LISTEN", public.to_string())
            .env("SIGNET__ADMIN__LISTEN", admin.to_string())
            .env("SIGNET__SERVER__REQUIRE_HTTPS", "false")
            .env("SIGNET_CLIENT_ID", "ten_acme")
            .env(
                "SIGNET_CLIENT_SECRET",
                "a-signing-secret-of-tests-of-44-random-bytes",
            )
            .env("SIGNET_API_KEY", KEY)
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .spawn()
            .unwrap();
        let signet = Self(child, format!("http://{public}"));
        let started = Instant::now();
        while reqwest_get(&format!("{}/healthz", signet.1)).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "signet didn't come up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        signet
    }

    async fn ask(&self, key: &str, traceparent: Option<&str>) -> u16 {
        let mut request = client()
            .post(format!("{}/token", self.1))
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(r#"{ "userId": "usr_secretive" }"#);
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// How long it takes to leave when told so.
    async fn stop(mut self) -> Duration {
        let started = Instant::now();
        let told = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        while self.0.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "signet doesn't leave");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(self.0.wait().unwrap().success());
        started.elapsed()
    }
}

impl Drop for Signet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plain HTTP to loopback; TLS must be set up all the same.
fn client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .unwrap()
}

async fn reqwest_get(url: &str) -> reqwest::Result<reqwest::Response> {
    client().get(url).send().await
}

#[tokio::test]
async fn a_request_is_a_child_of_its_callers_trace_and_says_nothing_of_the_user() {
    let seen = Seen::default();
    let collector = neighbours(&seen).await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"));
    let signet = Signet::start(&[endpoint]).await;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(signet.ask(KEY, Some(&traceparent)).await, 200);
    assert_eq!(signet.ask("wrong", None).await, 401);
    let spans = seen.until_there_are(2).await;

    let request = spans
        .iter()
        .find(|it| text(it, "signet.outcome").as_deref() == Some("issued"))
        .unwrap();
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(request.name, "POST /token");
    for (attribute, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/token"),
        ("http.response.status_code", "200"),
        ("signet.app", "default"),
        ("signet.caller", "default"),
    ] {
        assert_eq!(text(request, attribute).as_deref(), Some(value));
    }
    let mut children: Vec<_> = spans
        .iter()
        .filter(|it| it.parent_span_id == request.span_id)
        .map(|it| it.name.as_str())
        .collect();
    children.sort_unstable();
    assert_eq!(children, ["authenticate", "limits", "sign"]);

    let refused = spans
        .iter()
        .find(|it| text(it, "signet.outcome").as_deref() == Some("invalid_client"))
        .unwrap();
    assert_ne!(hex(&refused.trace_id), TRACE);
    assert!(refused.parent_span_id.is_empty());

    let everything = format!("{:?}", seen.exports.lock().unwrap());
    for private in ["usr_secretive", KEY, "eyJ", "127.0.0.1"] {
        assert!(!everything.contains(private), "{private} in {everything}");
    }
    assert!(everything.contains("signet"), "{everything}");
}

#[tokio::test]
async fn the_session_url_is_asked_as_a_child_of_the_session_span() {
    let seen = Seen::default();
    let neighbours = neighbours(&seen).await;
    let browser = |name: &str| format!("SIGNET__APPS__DEFAULT__BROWSER__SESSION__{name}");
    let (resolver, url, user) = (
        browser("RESOLVER"),
        browser("URL"),
        browser("IDENTITY__USER_ID"),
    );
    let signet = Signet::start(&[
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            format!("http://{neighbours}/v1/traces"),
        ),
        (&resolver, "introspect".to_owned()),
        (&url, format!("http://{neighbours}/session")),
        (&user, "/user".to_owned()),
    ])
    .await;
    let answer = client()
        .get(format!("{}/apps/default/token", signet.1))
        .header("cookie", "session=1")
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let spans = seen.until_there_are(1).await;
    let session = spans.iter().find(|it| it.name == "session").unwrap();
    assert_eq!(
        text(session, "signet.resolver").as_deref(),
        Some("introspect")
    );
    let told = seen.traceparents.lock().unwrap().clone();
    let span = hex(&session.span_id);
    assert_eq!(told, [format!("00-{TRACE}-{span}-01")]);
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_neither_requests_nor_the_end() {
    // It takes connections, and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hanging.local_addr().unwrap();
    let signet =
        Signet::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))]).await;
    for _ in 0..5 {
        assert_eq!(signet.ask(KEY, None).await, 200);
    }
    let took = signet.stop().await;
    assert!(took < Duration::from_secs(6), "it took {took:?} to leave");
}

#[tokio::test]
async fn without_an_endpoint_or_when_disabled_nothing_is_sent() {
    let seen = Seen::default();
    let collector = neighbours(&seen).await;
    let disabled = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}")),
        ("OTEL_SDK_DISABLED", "true".to_owned()),
    ];
    let without = [("OTEL_SERVICE_NAME", "signet".to_owned())];
    for variables in [&disabled[..], &without[..]] {
        let signet = Signet::start(variables).await;
        assert_eq!(signet.ask(KEY, None).await, 200);
        signet.stop().await;
    }
    assert!(seen.spans().is_empty());
}
