//! TLS: versions, ALPN, stalled handshakes, resumption and a change of certificate.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore,
    SupportedProtocolVersion,
};
use signet::server::{Settings, TlsError, TlsIdentity};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::*;

/// A certificate for `localhost` with its key, as PEM, and a client's trust in it.
pub(crate) struct Certificate {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }

    pub(crate) fn identity(&self) -> TlsIdentity {
        TlsIdentity::from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }

    fn client(&self, version: &'static SupportedProtocolVersion, alpn: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn connect(
        &self,
        server: &Server,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        shake(&self.client(&rustls::version::TLS13, alpn), server).await
    }
}

async fn shake(client: &TlsConnector, server: &Server) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    soon(client.connect(name, server.connect().await)).await
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_aes_128_first() {
    let certificate = Certificate::new();
    let (server, _) = Server::tls(patient(), certificate.identity());
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = certificate.client(version, &["http/1.1"]);
        let mut stream = shake(&client, &server).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        let suite = stream
            .get_ref()
            .1
            .negotiated_cipher_suite()
            .unwrap()
            .suite();
        assert!(
            matches!(
                suite,
                CipherSuite::TLS13_AES_128_GCM_SHA256
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            ),
            "{suite:?}"
        );
        ask(&mut stream, "/peer").await;
        assert!(hear(&mut stream).await.1.ends_with(" true"));
    }
}

#[tokio::test]
async fn alpn_chooses_the_protocol_and_without_it_http_1_is_spoken() {
    let certificate = Certificate::new();
    let (server, _) = Server::tls(patient(), certificate.identity());
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let mut stream = certificate.connect(&server, offered).await.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(alpn.as_deref(), chosen.map(str::as_bytes));
        if chosen != Some("h2") {
            ask(&mut stream, "/").await;
            assert_eq!(hear(&mut stream).await.1, "hello");
        }
    }
    assert!(certificate.connect(&server, &["spdy/3"]).await.is_err());
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_its_session() {
    let certificate = Certificate::new();
    let (server, _) = Server::tls(patient(), certificate.identity());
    let client = certificate.client(&rustls::version::TLS13, &["http/1.1"]);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut stream = shake(&client, &server).await.unwrap();
        ask(&mut stream, "/").await;
        hear(&mut stream).await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
    }
}

#[tokio::test]
async fn a_connection_naps_and_idles_through_tls_too() {
    let certificate = Certificate::new();
    let (server, _) = Server::tls(
        Settings {
            idle_timeout: 5 * SHORT,
            ..patient()
        },
        certificate.identity(),
    );
    let mut stream = certificate.connect(&server, &["http/1.1"]).await.unwrap();
    for _ in 0..2 {
        ask(&mut stream, "/").await;
        assert_eq!(hear(&mut stream).await.1, "hello");
        tokio::time::sleep(3 * SHORT).await;
    }
    // Closed with TLS's own goodbye, so the client knows that nothing was cut off.
    let mut rest = Vec::new();
    soon(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_stalled_handshake_ends_and_keeps_nobody_from_the_door() {
    let certificate = Certificate::new();
    let (server, _) = Server::tls(
        Settings {
            handshake_timeout: SHORT,
            ..patient()
        },
        certificate.identity(),
    );
    let mut stalled = server.connect().await;
    send(&mut stalled, "\x16\x03\x01").await;
    let mut stream = certificate.connect(&server, &["http/1.1"]).await.unwrap();
    ask(&mut stream, "/").await;
    assert_eq!(hear(&mut stream).await.1, "hello");
    assert_eq!(server.gauges.handshake_failures(), 0);
    assert_eq!(until_closed(&mut stalled).await, b"");
    assert_eq!(server.gauges.handshake_failures(), 1);
}

#[tokio::test]
async fn plain_text_at_the_tls_door_is_turned_away() {
    let (server, _) = Server::tls(patient(), Certificate::new().identity());
    let mut client = server.connect().await;
    ask(&mut client, "/").await;
    let alert = until_closed(&mut client).await;
    assert!(!alert.starts_with(b"HTTP"), "{alert:?}");
    assert_eq!(server.gauges.handshake_failures(), 1);
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_while_old_ones_go_on() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let (server, slot) = Server::tls(patient(), old.identity());
    let mut before = old.connect(&server, &["http/1.1"]).await.unwrap();
    ask(&mut before, "/").await;
    hear(&mut before).await;

    slot.replace(new.identity());
    assert!(old.connect(&server, &["http/1.1"]).await.is_err());
    let mut after = new.connect(&server, &["http/1.1"]).await.unwrap();
    for stream in [&mut before, &mut after] {
        ask(stream, "/").await;
        assert_eq!(hear(stream).await.1, "hello");
    }
}

#[test]
fn what_is_no_certificate_with_its_key_is_refused_without_quoting_it() {
    let (one, two) = (Certificate::new(), Certificate::new());
    let garbage = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let cut = &one.chain[..one.chain.len() / 2];
    let not_x509 = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
    for (chain, key, expected) in [
        (one.chain.as_str(), two.key.as_str(), "Mismatch"),
        (&one.chain, "", "NoKey"),
        (&one.chain, &one.chain, "NoKey"),
        (&one.chain, garbage, "BadKey"),
        ("", &one.key, "NoCertificate"),
        ("hunter2", &one.key, "NoCertificate"),
        (&one.key, &one.key, "NoCertificate"),
        (cut, &one.key, "BadCertificate"),
        (not_x509, &one.key, "BadCertificate"),
    ] {
        let error: TlsError =
            TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).expect_err(expected);
        assert_eq!(format!("{error:?}"), expected);
        assert!(!error.to_string().contains("c2VjcmV0"));
    }
    assert_eq!(format!("{:?}", one.identity()), "TlsIdentity");
}
