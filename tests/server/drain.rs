//! The shutdown: what is in flight is answered, what idles leaves, what takes too long is cut.

use signet::server::{Drained, Settings};
use tokio::net::TcpStream;

use crate::support::*;
use crate::tls::Certificate;

#[tokio::test]
async fn a_request_in_flight_is_answered_and_told_that_the_connection_closes() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    ask(&mut client, "/held").await;
    server.until_held(1).await;
    server.shutdown.cancel();
    soon(async {
        // The door is shut while the request is still being worked on.
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.release.add_permits(1);
    let (head, body) = hear(&mut client).await;
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, "held");
    assert_eq!(until_closed(&mut client).await, b"");
    let expected = Drained {
        finished: true,
        cut: 0,
    };
    assert_eq!(server.drained().await, expected);
}

#[tokio::test]
async fn a_request_that_crosses_the_shutdown_on_its_way_is_still_answered() {
    let server = Server::plain(patient());
    let mut idle = server.connect().await;
    ask(&mut idle, "/").await;
    hear(&mut idle).await;
    let mut fresh = server.connect().await;
    server.shutdown.cancel();
    for client in [&mut idle, &mut fresh] {
        ask(client, "/").await;
        let (head, body) = hear(client).await;
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(body, "hello");
    }
    drop((idle, fresh));
    assert!(server.drained().await.finished);
}

#[tokio::test]
async fn connections_at_rest_and_unfinished_handshakes_do_not_hold_up_the_drain() {
    let plain = Server::plain(patient());
    let mut idle = plain.connect().await;
    ask(&mut idle, "/").await;
    hear(&mut idle).await;
    let silent = plain.connect().await;
    plain.shutdown.cancel();
    assert!(plain.drained().await.finished);
    assert_eq!(until_closed(&mut idle).await, b"");
    drop(silent);

    let (tls, _) = Server::tls(patient(), Certificate::new().identity());
    let mut stalled = tls.connect().await;
    send(&mut stalled, "\x16\x03\x01").await;
    tls.shutdown.cancel();
    assert!(tls.drained().await.finished);
}

#[tokio::test]
async fn what_exceeds_the_grace_is_cut_and_counted() {
    let server = Server::plain(Settings {
        shutdown_grace: SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    ask(&mut client, "/held").await;
    server.until_held(1).await;
    server.shutdown.cancel();
    assert_eq!(until_closed(&mut client).await, b"");
    let expected = Drained {
        finished: false,
        cut: 1,
    };
    assert_eq!(server.drained().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_cuts_no_request() {
    let server = Server::plain(patient());
    let clients: Vec<_> = (0..40)
        .map(|_| tokio::spawn(ask_until_told_to_go(server.address)))
        .collect();
    soon(async {
        while server.gauges.accepted() < 80 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.shutdown.cancel();
    let mut connections = 0;
    for client in clients {
        connections += soon(client).await.unwrap();
    }
    assert_eq!(connections, server.gauges.accepted());
    assert!(server.drained().await.finished);
}

/// Asks over one connection after another, ten times each, until the server takes no more; gives
/// the number of connections on which all requests were answered.
async fn ask_until_told_to_go(address: std::net::SocketAddr) -> u64 {
    let mut connections = 0;
    while let Ok(mut client) = TcpStream::connect(address).await {
        for _ in 0..10 {
            ask(&mut client, "/").await;
            // What the kernel had taken and the server never saw was never a connection.
            if client.peek(&mut [0]).await.is_err() {
                return connections;
            }
            if hear(&mut client).await.0.contains("connection: close") {
                break;
            }
        }
        connections += 1;
    }
    connections
}
