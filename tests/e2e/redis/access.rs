//! TLS, users and passwords, and what of them is said in the log.

use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use signet::limits::{Limits, OnOutage};

use super::server::{Server, certificates, free_port};
use super::*;

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_outage_is_one_line_in_the_log_without_the_password() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let port = free_port();
    let server = Server::start_with(
        port,
        &[
            "--port",
            &port.to_string(),
            "--user",
            "default",
            "off",
            "--user",
            "signet",
            "on",
            ">hunter2-hunter2",
            "~signet:*",
            "+@all",
        ],
    );
    let url = |password: &str| format!("redis://signet:{password}@127.0.0.1:{port}");
    let wrong = Limits::new(settings(&url("wrong-wrong"), OnOutage::Open)).unwrap();
    assert!(!wrong.connect(Duration::from_secs(2)).await);
    let limits = connected(settings(&url("hunter2-hunter2"), OnOutage::Open)).await;
    server.kill();
    for _ in 0..100 {
        assert_eq!(request(&limits, "usr_1").await, Ok(()));
    }
    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = written
        .lines()
        .filter(|line| line.contains("signet"))
        .collect();
    assert_eq!(lines.len(), 2, "{written}");
    assert!(lines[0].contains("does not accept the user name and password"));
    assert!(lines[1].contains("WARN") && lines[1].contains("the shared limits are away"));
    for secret in ["hunter2", "wrong-wrong", "usr_1", "192.0.2.77"] {
        assert!(!written.contains(secret), "{secret}: {written}");
    }
}

#[test]
fn over_tls_an_acl_user_with_few_rights_suffices() {
    // The root certificate comes by a variable, which only a process of its own can have.
    let dir = tempfile::TempDir::new().unwrap();
    certificates(dir.path());
    let port = free_port();
    let _server = Server::start_with(
        port,
        &[
            "--port",
            "0",
            "--tls-port",
            &port.to_string(),
            "--tls-auth-clients",
            "no",
            "--tls-cert-file",
            dir.path().join("server.crt").to_str().unwrap(),
            "--tls-key-file",
            dir.path().join("server.key").to_str().unwrap(),
            "--tls-ca-cert-file",
            dir.path().join("root.crt").to_str().unwrap(),
            "--user",
            "default",
            "off",
            "--user",
            "signet",
            "on",
            ">hunter2-hunter2",
            "~signet:*",
            "+evalsha",
            "+script|load",
            "+time",
            "+get",
            "+set",
        ],
    );
    for (root, url, expected) in [
        (
            "root.crt",
            format!("rediss://signet:hunter2-hunter2@localhost:{port}"),
            "up",
        ),
        (
            "root.crt",
            format!("rediss://signet:hunter2-hunter2@127.0.0.1:{port}"),
            "down",
        ),
        (
            "root.crt",
            format!("rediss://signet:wrong@localhost:{port}"),
            "down",
        ),
        (
            "server.key",
            format!("rediss://signet:hunter2-hunter2@localhost:{port}"),
            "down",
        ),
    ] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "access::child_over_tls", "--ignored"])
            .env("SSL_CERT_FILE", dir.path().join(root))
            .env("TEST_REDIS_URL", &url)
            .env("TEST_EXPECTED", expected)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && said.contains("1 passed"),
            "{url}: {said}"
        );
    }
}

#[tokio::test]
#[ignore = "the other half of `over_tls_an_acl_user_with_few_rights_suffices`"]
#[expect(
    clippy::disallowed_methods,
    reason = "its parent tells it so what to do"
)]
async fn child_over_tls() {
    let url = std::env::var("TEST_REDIS_URL").unwrap();
    let limits = Limits::new(settings(&url, OnOutage::Closed)).unwrap();
    let up = limits.connect(Duration::from_secs(2)).await;
    assert_eq!(
        if up { "up" } else { "down" },
        std::env::var("TEST_EXPECTED").unwrap()
    );
    assert_eq!(request(&limits, "usr_1").await.is_ok(), up);
}
