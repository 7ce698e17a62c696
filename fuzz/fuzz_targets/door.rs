//! Whole requests to the public port: `METHOD PATH`, header lines, an empty line and a body, from a trusted proxy.
//!
//! Here meet `Authorization`, `Origin` and `Sec-Fetch-*`, `X-Forwarded-*`, cookies, `Accept`, forms and JSON.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use http_body_util::BodyExt;
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use axum::http::{HeaderMap, Request};
use signet::clock::Clock;
use signet::config::Environment;
use signet::secrets::{Secret, Variables};
use signet::server::Peer;
use signet::service::{self, Running, Sources};
use signet::telemetry::{Audit, Format, Sink};
use signet_fuzz::{NOW, key};

const CONFIG: &str = include_str!("door.toml");
const PROXY: [u8; 4] = [192, 0, 2, 7];
const PAGE: &str = "https://app.example.com";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
});

static SERVICE: LazyLock<Arc<Running>> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("signet-fuzz-{}.toml", std::process::id()));
    std::fs::write(&file, CONFIG).expect("a file in a temporary folder");
    // The first is the key that `signet_fuzz::key` verifies with.
    let secrets = [
        ("WIDGET_SECRET", "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE"),
        ("KORE_SECRET", "Qz7LpT4wY8sBnC6dFgH3jK5aEkR9vQ2m"),
        ("SESSION_SECRET", "Vd8k2mQz7LpT4wY8sBnC6dFgH3jK5aEr"),
        ("SHOP_KEY", "sgn_T4wY8sBnC6dFgH3jK5aEkR9vQ2mXz7LpQz7u"),
    ]
    .map(|(name, secret)| (name.to_owned(), Secret::from(secret)));
    let clock = Clock::fixed(NOW);
    let sources = Sources::new(
        Some(file.clone()),
        Environment::default(),
        Variables::Given(secrets.into()),
        clock.clone(),
    );
    let loaded = sources.load(None);
    std::fs::remove_file(file).expect("the file is there");
    let snapshot = loaded
        .unwrap_or_else(|problems| panic!("{problems}"))
        .snapshot;
    let sink = Sink::new(std::io::sink()).expect("a thread");
    service::start(snapshot, clock, Audit::new(sink, Format::Json))
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(request) = read(data) else {
        return Corpus::Reject;
    };
    let (method, path) = (
        request.method().as_str().to_owned(),
        request.uri().path().to_owned(),
    );
    let headers = request.headers().clone();
    let names_client = data.windows(13).any(|it| it == b"client_secret");
    let _inside = RUNTIME.enter();
    let peer = Peer {
        address: SocketAddr::from((PROXY, 40_000)),
        encrypted: false,
    };
    let response = RUNTIME.block_on(service::public(&SERVICE).service(peer).oneshot(request));
    let (head, body) = response.unwrap_or_else(|never| match never {}).into_parts();
    let body = RUNTIME
        .block_on(body.collect())
        .expect("a body in memory")
        .to_bytes();

    // A panic inside is answered with 500.
    assert_ne!(head.status, 500);
    assert_eq!(head.headers.get_all("x-request-id").iter().count(), 1);
    assert!(!head.headers.contains_key("set-cookie"));
    let about_tokens = path == "/token" || path.ends_with("/token");
    if about_tokens {
        assert_eq!(head.headers["cache-control"], "no-store");
        if let Some(origin) = head.headers.get("access-control-allow-origin") {
            assert_eq!(origin, PAGE);
        }
    }
    if head.status.is_client_error() && method != "HEAD" {
        let problem: Value = serde_json::from_slice(&body).expect("an error is JSON");
        assert!(problem["code"].is_string() || problem["error"].is_string());
    }
    if head.status != 200 || !about_tokens || method == "OPTIONS" {
        return Corpus::Keep;
    }

    // Somebody got a token: who, and was it theirs?
    if path == "/token" {
        assert!(headers.contains_key("authorization") || names_client);
        return Corpus::Keep;
    }
    assert!(may_be_asked_from(&headers), "{headers:?}");
    let token = match serde_json::from_slice::<Value>(&body) {
        Ok(answer) => answer["token"]
            .as_str()
            .or(answer["jwt"].as_str())
            .map(str::to_owned),
        Err(_) => String::from_utf8(body.to_vec()).ok(),
    };
    if let Some(claims) = token.and_then(|token| key().verify(&token).ok()) {
        // The one session whose cookie is known, and what the proxy may say.
        let user = claims["userId"].as_str().expect("a user");
        let proxys = headers.get("x-forwarded-user").is_some_and(|it| it == user);
        assert!(
            user == "usr_1" && headers.contains_key("cookie") || proxys,
            "{user}"
        );
    }
    Corpus::Keep
});

/// Whether a page that sends these headers is the app's, the service's own, or none at all.
fn may_be_asked_from(headers: &HeaderMap) -> bool {
    let is = |name: &str, values: &[&str]| {
        let mut given = headers.get_all(name).iter();
        given
            .next()
            .is_some_and(|it| values.iter().any(|value| it == value))
            && given.next().is_none()
    };
    let is_listed = is("origin", &[PAGE]);
    if headers.contains_key("sec-fetch-site") {
        is_listed || is("sec-fetch-site", &["same-origin", "none"])
    } else {
        let host = headers
            .get("host")
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let own = ["http://", "https://"].map(|scheme| format!("{scheme}{host}").to_lowercase());
        let origin = headers
            .get("origin")
            .and_then(|origin| origin.to_str().ok());
        is_listed || origin.is_none_or(|origin| own.contains(&origin.to_lowercase()))
    }
}

fn read(data: &[u8]) -> Option<Request<Body>> {
    let end = data.windows(2).position(|it| it == b"\n\n")?;
    let (head, body) = (&data[..end], &data[end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, path) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(path);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        request = request.header(name, value.trim_ascii());
    }
    request.body(Body::from(body.to_vec())).ok()
}
