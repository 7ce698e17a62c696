//! `signet serve` from its first line to its last: starts, refusals, reloads, the drain.

use std::net::TcpStream;

use base64::Engine;
use serde_json::json;

use crate::running::{ACME_SECRET, Folder, SHOP_KEY, Serving, body, run};

const HEAD: &str = "POST /token HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\n";
const ASKED: &str = r#"{"userId":"usr_1"}"#;

/// Begins a request and waits until the service wants its body.
fn begin(serving: &Serving) -> crate::running::Connection {
    let mut connection = serving.connect();
    let length = ASKED.len();
    connection.send(&format!(
        "{HEAD}Authorization: Bearer {SHOP_KEY}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(connection.line(), "HTTP/1.1 100 Continue");
    assert_eq!(connection.line(), "");
    connection
}

#[test]
fn every_line_is_json_from_the_first_to_the_last() {
    let mut serving = Folder::small().serve();
    assert!(serving.issue(SHOP_KEY).starts_with("HTTP/1.1 200 "));
    assert!(serving.issue("wrong-key").starts_with("HTTP/1.1 401 "));
    let line = serving.wait_for("issued a token");
    assert_eq!(
        (&line["user"], &line["outcome"]),
        (&json!("usr_1"), &json!("issued"))
    );
    serving.signal("TERM");
    let (code, stderr) = serving.wait();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for line in &serving.log {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        for member in ["timestamp", "level", "message"] {
            assert!(value[member].is_string(), "{line}");
        }
    }
}

#[test]
fn a_refusal_to_start_is_json_too() {
    let folder = Folder::small();
    folder.write("acme.secret", "short");
    let mut broken = vec![folder.run(&["serve"])];
    broken.push(run(&["serve", "--config", "nowhere.toml"], &[], ""));
    broken.push(run(&["serve"], &[], ""));
    folder.write("signet.toml", "[server\n");
    broken.push(folder.run(&["serve"]));
    // A port that somebody else has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::small();
    broken.push(folder.run_with(&["serve"], &[("SIGNET__SERVER__LISTEN", &address)], ""));
    assert!(
        broken[4].stdout.contains("can't listen on"),
        "{}",
        broken[4].stdout
    );
    for ran in broken {
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
        assert!(!ran.stdout.is_empty());
        for line in ran.stdout.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let message = value["message"].as_str().unwrap();
            assert!(message.starts_with("refused to start: "), "{line}");
        }
    }
}

#[test]
fn a_wrong_key_is_refused_before_the_body_is_sent() {
    let serving = Folder::small().serve();
    let mut connection = serving.connect();
    connection.send(&format!(
        "{HEAD}Authorization: Bearer wrong-key\r\nContent-Length: 18\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(connection.line(), "HTTP/1.1 401 Unauthorized");
    // The right one is told to go on.
    let mut connection = begin(&serving);
    connection.send(ASKED);
    assert_eq!(connection.line(), "HTTP/1.1 200 OK");
}

#[test]
fn what_is_in_flight_is_finished_and_nothing_new_let_in() {
    for signal in ["TERM", "INT"] {
        let folder = Folder::small();
        let mut serving = folder.serve();
        let admin = serving.admin.to_string();
        let healthy = |code| {
            let ran = folder.run_with(&["healthcheck"], &[("SIGNET__ADMIN__LISTEN", &admin)], "");
            assert_eq!(ran.code, code, "{}", ran.stderr);
        };
        healthy(0);
        let mut in_flight = begin(&serving);
        serving.signal(signal);
        serving.wait_for("stopping");
        healthy(1);
        let readiness = serving.ask_admin("/readyz");
        assert!(readiness.starts_with("HTTP/1.1 503 "), "{readiness}");
        // The door closes a moment after the line.
        while TcpStream::connect(serving.address).is_ok() {
            std::thread::yield_now();
        }
        in_flight.send(ASKED);
        let answer = in_flight.rest();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        serving.wait_for("everything in flight was finished");
        assert_eq!(serving.wait(), (Some(0), String::new()));
    }
}

#[test]
fn what_does_not_finish_within_the_grace_is_told_so() {
    let grace = ("SIGNET__SERVER__SHUTDOWN_GRACE", "1s");
    let mut serving = Folder::small().serve_with(&[grace]);
    let in_flight = begin(&serving);
    serving.signal("TERM");
    let answer = in_flight.rest();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(body(&answer)["code"], "shutting_down");
    assert_eq!(serving.wait(), (Some(0), String::new()));
}

/// Whether a token of this instance was signed with the secret.
fn signs_with(serving: &Serving, secret: &str) -> bool {
    let answer = serving.issue(SHOP_KEY);
    let token = body(&answer)["token"].as_str().unwrap().to_owned();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = engine.decode(signature).unwrap();
    aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
}

const NEXT_SECRET: &str = "Zt4xW8qLr2NvB6mKc9JhG3fDs7PaY5uE";

#[test]
fn sighup_puts_a_changed_file_to_work_and_a_broken_one_aside() {
    let folder = Folder::small();
    let mut serving = folder.serve();
    assert!(signs_with(&serving, ACME_SECRET));

    folder.write("acme.secret", NEXT_SECRET);
    serving.signal("HUP");
    serving.wait_for("reloaded the configuration");
    assert!(signs_with(&serving, NEXT_SECRET));

    folder.write("acme.secret", "short");
    serving.signal("HUP");
    let line = serving.wait_for("not reloaded, the last good state goes on");
    let message = line["message"].as_str().unwrap();
    assert!(
        message.contains("apps.acme.secret: the secret has 5 bytes"),
        "{message}"
    );
    assert!(signs_with(&serving, NEXT_SECRET));
    let metrics = serving.ask_admin("/metrics");
    assert!(
        metrics.contains("signet_reloads_total{result=\"refused\"}"),
        "{metrics}"
    );

    folder.write("acme.secret", ACME_SECRET);
    serving.signal("HUP");
    serving.wait_for("reloaded the configuration");
    assert!(signs_with(&serving, ACME_SECRET));
    serving.signal("TERM");
    assert_eq!(serving.wait().0, Some(0));
}

#[test]
fn a_changed_file_is_seen_without_a_signal() {
    let folder = Folder::small();
    let mut serving = folder.serve();
    assert!(signs_with(&serving, ACME_SECRET));
    folder.write("acme.secret", NEXT_SECRET);
    serving.wait_for("reloaded the configuration");
    assert!(signs_with(&serving, NEXT_SECRET));
}

#[test]
fn the_smallest_deployment_serves() {
    let serving = Serving::start(&[
        ("SIGNET_CLIENT_ID", "ten_acme"),
        ("SIGNET_CLIENT_SECRET", ACME_SECRET),
        ("SIGNET_API_KEY", SHOP_KEY),
        ("SIGNET__SERVER__LISTEN", "127.0.0.1:0"),
        ("SIGNET__ADMIN__LISTEN", "127.0.0.1:0"),
        ("SIGNET__SERVER__REQUIRE_HTTPS", "false"),
    ]);
    assert!(signs_with(&serving, ACME_SECRET));
}
