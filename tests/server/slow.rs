//! Clients that take their time, and when they have had enough of it.

use std::time::{Duration, Instant};

use signet::server::Settings;
use tokio::io::AsyncWriteExt as _;

use crate::support::*;

#[tokio::test]
async fn a_head_that_trickles_in_ends_at_its_time_out() {
    let server = Server::plain(Settings {
        header_timeout: SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    let start = Instant::now();
    send(&mut client, "GET / HTTP/1.1\r\n").await;
    let (mut reader, mut writer) = client.split();
    let trickle = async {
        loop {
            tokio::time::sleep(SHORT / 8).await;
            if writer.write_all(b"x: y\r\n").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        rest = until_closed(&mut reader) => assert_eq!(rest, b""),
        () = trickle => {}
    }
    assert!(start.elapsed() >= SHORT);
    assert_eq!(server.gauges.header_timeouts(), 1);
}

#[tokio::test]
async fn a_connection_that_never_asks_ends_at_the_header_time_out() {
    let server = Server::plain(Settings {
        header_timeout: SHORT,
        ..patient()
    });
    assert_eq!(until_closed(&mut server.connect().await).await, b"");
}

#[tokio::test]
async fn between_requests_the_idle_time_out_holds_and_not_the_shorter_one_for_heads() {
    let server = Server::plain(Settings {
        header_timeout: SHORT,
        idle_timeout: 5 * SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    ask(&mut client, "/").await;
    hear(&mut client).await;
    let start = Instant::now();
    assert_eq!(until_closed(&mut client).await, b"");
    assert!(start.elapsed() >= 4 * SHORT, "{:?}", start.elapsed());

    // But the second request's head has no longer than the first one's, be it after a nap.
    let mut client = server.connect().await;
    ask(&mut client, "/").await;
    hear(&mut client).await;
    tokio::time::sleep(2 * SHORT).await;
    let start = Instant::now();
    send(&mut client, "GET / HT").await;
    assert_eq!(until_closed(&mut client).await, b"");
    assert!(start.elapsed() < 4 * SHORT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_body_that_trickles_in_ends_at_the_requests_deadline() {
    let server = Server::plain(Settings {
        request_deadline: SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    send(
        &mut client,
        "POST /body HTTP/1.1\r\nhost: example.com\r\ncontent-length: 100\r\n\r\nx",
    )
    .await;
    assert_eq!(until_closed(&mut client).await, b"");
    assert_eq!(server.gauges.request_timeouts(), 1);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_at_the_requests_deadline() {
    let server = Server::plain(Settings {
        request_deadline: SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    ask(&mut client, "/big").await;
    soon(async {
        while server.gauges.request_timeouts() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(until_closed(&mut client).await.len() < 64 << 20);
}

#[tokio::test]
async fn a_client_that_reads_gets_all_of_a_big_answer() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    ask(&mut client, "/big").await;
    assert_eq!(hear(&mut client).await.1.len(), 64 << 20);
}

#[tokio::test]
async fn a_connection_past_its_age_says_close_with_its_next_answer() {
    let server = Server::plain(Settings {
        max_age: Duration::ZERO,
        ..patient()
    });
    let mut client = server.connect().await;
    ask(&mut client, "/").await;
    assert!(hear(&mut client).await.0.contains("connection: close"));
    assert_eq!(until_closed(&mut client).await, b"");
}
