//! More connections than there is room for, and no descriptors left.

use std::time::{Duration, Instant};

use signet::server::Settings;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test]
async fn beyond_the_cap_a_connection_waits_for_a_place() {
    let server = Server::plain(Settings {
        max_connections: 1,
        ..patient()
    });
    let mut first = server.connect().await;
    ask(&mut first, "/held").await;
    server.until_held(1).await;
    let mut second = server.connect().await;
    ask(&mut second, "/").await;
    let waited = tokio::time::timeout(2 * SHORT, second.read_u8()).await;
    assert!(waited.is_err(), "the second was served beside the first");
    assert_eq!(server.gauges.open(), 1);
    server.release.add_permits(1);
    assert_eq!(hear(&mut first).await.1, "held");
    drop(first);
    assert_eq!(hear(&mut second).await.1, "hello");
    assert_eq!(server.gauges.accepted(), 2);
}

#[tokio::test]
async fn idle_connections_make_room_for_one_that_waits() {
    let server = Server::plain(Settings {
        max_connections: 2,
        ..patient()
    });
    let mut idle = server.connect().await;
    ask(&mut idle, "/").await;
    hear(&mut idle).await;
    let silent = server.connect().await;
    let mut newcomer = server.connect().await;
    ask(&mut newcomer, "/").await;
    assert_eq!(hear(&mut newcomer).await.1, "hello");
    drop(silent);
}

/// Run by the test below in a process with few descriptors.
#[tokio::test]
#[ignore = "wants a process of its own, with few file descriptors"]
async fn with_few_descriptors_the_door_waits_and_recovers() {
    let server = Server::plain(patient());
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(server.address).await {
        clients.push(client);
    }
    let start = Instant::now();
    soon(async {
        while server.gauges.accept_errors() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // The idle are closed to make room: in the end even the last one comes in and is served.
    let last = clients.last_mut().unwrap();
    ask(last, "/").await;
    assert_eq!(hear(last).await.1, "hello");
    let tries = u128::from(server.gauges.accept_errors());
    let most = 5 + start.elapsed().as_millis() / 50;
    assert!(tries <= most, "{tries} tries are a busy loop");
}

#[test]
fn when_descriptors_run_out_idle_connections_are_reaped_and_service_returns() {
    let output = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -n 48; exec "$0" --ignored --exact "$1""#])
        .arg(std::env::current_exe().unwrap())
        .arg("room::with_few_descriptors_the_door_waits_and_recovers")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
