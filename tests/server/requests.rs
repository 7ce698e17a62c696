//! HTTP/1.1 as it should go: one request after another on one connection.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use signet::server::{Peer, Settings, bind, serve};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::*;

#[tokio::test]
async fn a_connection_serves_requests_one_after_another_and_says_who_asks() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    for _ in 0..3 {
        ask(&mut client, "/").await;
        let (head, body) = hear(&mut client).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
        assert_eq!(body, "hello");
    }
    ask(&mut client, "/peer").await;
    let expected = format!("{} false", client.local_addr().unwrap());
    assert_eq!(hear(&mut client).await.1, expected);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_half_a_third_one_survives_a_nap() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    let one = "GET / HTTP/1.1\r\nhost: example.com\r\n\r\n";
    let two = "GET /body HTTP/1.1\r\nhost: example.com\r\n\r\n";
    let (half, rest) = one.split_at(20);
    send(&mut client, &format!("{one}{two}{half}")).await;
    assert_eq!(hear(&mut client).await.1, "hello");
    assert_eq!(hear(&mut client).await.1, "0 bytes");
    // The nap can't be seen from outside: it must just make no difference.
    tokio::time::sleep(Duration::from_millis(700)).await;
    send(&mut client, rest).await;
    assert_eq!(hear(&mut client).await.1, "hello");
    tokio::time::sleep(Duration::from_millis(700)).await;
    ask(&mut client, "/").await;
    assert_eq!(hear(&mut client).await.1, "hello");
}

#[tokio::test]
async fn a_refusal_before_the_body_sends_no_100_continue_and_reaches_a_client_that_goes_on_sending()
{
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    let head = "POST /refuse HTTP/1.1\r\nhost: example.com\r\ncontent-length: 100000\r\n";
    send(&mut client, &format!("{head}expect: 100-continue\r\n\r\n")).await;
    let (head_of_answer, _) = hear(&mut client).await;
    assert!(
        head_of_answer.starts_with("http/1.1 401"),
        "{head_of_answer}"
    );

    let mut client = server.connect().await;
    send(&mut client, &format!("{head}\r\n")).await;
    soon(client.peek(&mut [0])).await.unwrap();
    // Most clients look at the answer when they have sent it all, and never if they can't.
    for _ in 0..10 {
        client.write_all(&[b'x'; 10_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (head_of_answer, _) = hear(&mut client).await;
    assert!(
        head_of_answer.starts_with("http/1.1 401"),
        "{head_of_answer}"
    );
}

#[tokio::test]
async fn a_body_that_is_wanted_gets_its_100_continue() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    let head = "POST /body HTTP/1.1\r\nhost: example.com\r\ncontent-length: 5\r\n";
    send(&mut client, &format!("{head}expect: 100-continue\r\n\r\n")).await;
    assert!(hear(&mut client).await.0.starts_with("http/1.1 100"));
    send(&mut client, "12345").await;
    assert_eq!(hear(&mut client).await.1, "5 bytes");
}

#[tokio::test]
async fn an_axum_router_is_served_as_it_is() {
    let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let encrypted = |Extension(peer): Extension<Peer>| async move { peer.encrypted.to_string() };
    let router = axum::Router::new().route("/", axum::routing::get(encrypted));
    let shutdown = CancellationToken::new();
    let settings = Settings::default();
    let served = serve(
        listener,
        None,
        move |peer| router.clone().layer(Extension(peer)),
        settings,
        Arc::default(),
        shutdown.clone(),
    );
    let served = tokio::spawn(served);
    ask(&mut client, "/").await;
    assert_eq!(hear(&mut client).await.1, "false");
    shutdown.cancel();
    drop(client);
    assert!(soon(served).await.unwrap().finished);
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_no_other() {
    let server = Server::plain(patient());
    let (mut bystander, mut client) = (server.connect().await, server.connect().await);
    ask(&mut client, "/panic").await;
    assert_eq!(until_closed(&mut client).await, b"");
    ask(&mut bystander, "/").await;
    assert_eq!(hear(&mut bystander).await.1, "hello");
    assert_eq!(server.gauges.open(), 1);
}

#[tokio::test]
async fn a_head_of_more_than_32_kib_is_refused() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    let field = format!("x: {}\r\n", "y".repeat(40 * 1024));
    let request = format!("GET / HTTP/1.1\r\nhost: example.com\r\n{field}\r\n");
    let _ = client.write_all(request.as_bytes()).await;
    let (head, _) = hear(&mut client).await;
    assert!(head.starts_with("http/1.1 431"), "{head}");
}
