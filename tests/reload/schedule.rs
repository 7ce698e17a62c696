//! A key takes over on its second, without a reload; operators see it come and can try it first.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use signet::clock::{Clock, Timestamp};
use signet::config::Environment;
use signet::secrets::Variables;
use signet::server::Peer;
use signet::service::{self, Running, Sources};
use signet::telemetry::{Audit, Format, Sink};
use tower::ServiceExt;

use crate::support::{SHOP_KEY, Site, secret, signed_by};

/// 2026-12-01T00:00:00Z.
const SWITCH: i64 = 1_796_083_200;

const TWO_KEYS: &str = r#"
[[apps.acme.keys]]
id = "2026-11"
secret = { file = "secret-0" }
[[apps.acme.keys]]
id = "2026-12"
secret = { file = "secret-1" }
activate_at = "2026-12-01T00:00:00Z"
"#;

async fn text<S, B>(make: impl Fn(Peer) -> S, request: Request<Body>) -> (StatusCode, String)
where
    S: tower::Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let peer = Peer {
        address: SocketAddr::from(([192, 0, 2, 1], 4711)),
        encrypted: true,
    };
    let (parts, body) = make(peer).oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8(body.to_vec()).unwrap())
}

async fn token(service: &Arc<Running>) -> String {
    let request = Request::post("/token")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {SHOP_KEY}"))
        .header("content-type", "application/json")
        .body(Body::from(r#"{"userId":"usr_1"}"#));
    let (status, body) = text(
        |peer| service::public(service).service(peer),
        request.unwrap(),
    )
    .await;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

async fn metrics(service: &Arc<Running>) -> String {
    let request = Request::get("/metrics").body(Body::empty());
    text(service::admin(Arc::clone(service)), request.unwrap())
        .await
        .1
}

#[tokio::test]
async fn the_next_key_signs_from_its_second_on_without_a_reload() {
    let site = Site::new();
    site.write("secret-1", &secret(1));
    site.write("signet.toml", &site.configuration(TWO_KEYS));
    let clock = Clock::fixed(Timestamp::from_seconds(SWITCH - 1));
    let sources = Sources::new(
        Some(site.path("signet.toml")),
        Environment::default(),
        Variables::default(),
        clock.clone(),
    );
    let loaded = sources
        .load(None)
        .unwrap_or_else(|problems| panic!("{problems}"));
    let audit = Audit::new(Sink::new(std::io::sink()).unwrap(), Format::Json);
    let service = service::start(loaded.snapshot, clock.clone(), audit);

    assert!(signed_by(&token(&service).await, &secret(0)));
    let told = metrics(&service).await;
    for line in [
        r#"signet_key_switch_seconds{app="acme"} 1"#,
        r#"signet_key_state{app="acme",key="2026-11",state="active"} 1"#,
        r#"signet_key_state{app="acme",key="2026-12",state="prepared"} 1"#,
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }

    clock.set(Timestamp::from_seconds(SWITCH));
    assert!(signed_by(&token(&service).await, &secret(1)));
    let told = metrics(&service).await;
    for line in [
        r#"signet_key_age_seconds{app="acme",key="2026-12"} 0"#,
        r#"signet_key_state{app="acme",key="2026-11",state="retiring"} 1"#,
        r#"signet_key_state{app="acme",key="2026-12",state="active"} 1"#,
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    assert!(!told.contains("signet_key_switch_seconds{"), "{told}");

    clock.set(Timestamp::from_seconds(SWITCH + 3600));
    let told = metrics(&service).await;
    let line = r#"signet_key_state{app="acme",key="2026-11",state="retired"} 1"#;
    assert!(told.contains(line), "{told}");
}

/// Runs a command on the site's configuration and gives what it prints.
fn signet(site: &Site, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_signet"))
        .args(arguments)
        .arg("--config")
        .arg(site.path("signet.toml"))
        .env_clear()
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn keys_are_listed_and_the_next_one_can_be_tried_before_its_time() {
    let site = Site::new();
    site.write("secret-1", &secret(1));
    let later = TWO_KEYS.replace("2026-12-01T", "2999-12-01T");
    site.write("signet.toml", &site.configuration(&later));

    let table = signet(&site, &["keys"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    for (line, expected) in [
        (
            lines[1],
            [
                "acme",
                "2026-11",
                "HS256",
                "active",
                "-",
                "signs until 2999-12-01T00:00:00Z",
            ],
        ),
        (
            lines[2],
            [
                "acme",
                "2026-12",
                "HS256",
                "prepared",
                "-",
                "signs from 2999-12-01T00:00:00Z",
            ],
        ),
    ] {
        assert!(expected.iter().all(|cell| line.contains(cell)), "{line}");
    }
    assert!(
        lines[1].contains("its tokens live until 2999-12-01T01:00:00Z"),
        "{table}"
    );

    let keys: Value = serde_json::from_str(&signet(&site, &["keys", "--json"])).unwrap();
    assert_eq!(
        keys[0],
        serde_json::json!({
            "app": "acme", "key": "2026-11", "algorithm": "HS256", "state": "active",
            "activateAt": null, "ageSeconds": null,
            "signsUntil": "2999-12-01T00:00:00Z", "tokensLiveUntil": "2999-12-01T01:00:00Z",
        })
    );
    assert_eq!(keys[1]["state"], "prepared");

    let canary = signet(
        &site,
        &["token", "issue", "--app", "acme", "--key", "2026-12"],
    );
    assert!(signed_by(&canary, &secret(1)));
    let usual = signet(&site, &["token", "issue", "--app", "acme"]);
    assert!(signed_by(&usual, &secret(0)));
}
