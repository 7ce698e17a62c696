//! The session URL: what it is told, what its answers mean, and what its failures cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use signet::identity::{
    BadForwardHeaders, Introspect, IntrospectSettings, Pointers, Resolver, SessionRequest,
    Unresolved,
};
use signet::token::Identity;
use signet::upstream::{UpstreamClient, UpstreamUrl};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::support::{NOW, Says, Upstream, client, json_text, url};

fn settings(url: UpstreamUrl) -> IntrospectSettings {
    IntrospectSettings {
        url,
        forward_headers: vec![COOKIE],
        timeout: Duration::from_secs(5),
        identity: Pointers {
            user_id: "/user/id".parse().expect("a pointer"),
            email: Some("/user/email".parse().expect("a pointer")),
            roles: Some("/user/roles".parse().expect("a pointer")),
            plan: None,
            attributes: [("room".to_owned(), "/room".parse().expect("a pointer"))].into(),
        },
        max_concurrent: 8,
    }
}

fn resolver(settings: IntrospectSettings) -> Resolver {
    Resolver::Introspect(Introspect::new(settings, client()).expect("good settings"))
}

fn with_cookie() -> HeaderMap {
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("sid=1"))])
}

async fn resolve(
    resolver: &Resolver,
    headers: &HeaderMap,
) -> Result<Identity<'static>, Unresolved> {
    let context =
        HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let request = SessionRequest {
        headers,
        peer_is_trusted_proxy: false,
        traceparent: Some(&context),
    };
    resolver.resolve(&request, NOW).await
}

async fn outcome(says: Says) -> Result<Identity<'static>, Unresolved> {
    let upstream = Upstream::that(says).await;
    resolve(&resolver(settings(upstream.url())), &with_cookie()).await
}

fn user(id: &str) -> Says {
    json_text(&json!({ "user": { "id": id } }))
}

#[tokio::test]
async fn a_session_becomes_an_identity() {
    let answer = json!({
        "user": { "id": "usr_1", "email": "a@example.com", "roles": ["user"], "admin": true },
        "room": { "name": "lobby" },
    });
    let identity = outcome(json_text(&answer)).await.expect("a session");
    let expected = Identity {
        user_id: "usr_1".into(),
        email: Some("a@example.com".into()),
        roles: Some(vec!["user".into()]),
        attributes: [("room".to_owned(), json!({ "name": "lobby" }))].into(),
        ..Identity::default()
    };
    assert_eq!(identity, expected);
}

#[tokio::test]
async fn the_upstream_sees_the_listed_headers_and_nothing_else_of_the_request() {
    let upstream = Upstream::that(user("usr_1")).await;
    let mut headers = with_cookie();
    headers.append(COOKIE, HeaderValue::from_static("theme=dark"));
    for name in [
        "authorization",
        "host",
        "origin",
        "x-forwarded-for",
        "x-user",
        "referer",
        "te",
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static("secret.example.com"),
        );
    }
    resolve(&resolver(settings(upstream.url())), &headers)
        .await
        .expect("a session");

    let mut seen = upstream.last_headers();
    assert_eq!(seen.remove(COOKIE).expect("a cookie"), "sid=1; theme=dark");
    assert_eq!(
        seen.remove(HOST).expect("a host"),
        upstream.address.to_string()
    );
    assert_eq!(seen.remove("accept").expect("a wish"), "application/json");
    assert!(seen.remove("traceparent").is_some());
    assert!(seen.remove("user-agent").is_some());
    assert!(seen.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn a_listed_header_beside_the_cookie_is_forwarded_with_all_its_values() {
    let upstream = Upstream::that(user("usr_1")).await;
    let forward_headers = vec![AUTHORIZATION, HeaderName::from_static("x-tenant")];
    let settings = IntrospectSettings {
        forward_headers,
        ..settings(upstream.url())
    };
    let mut headers = with_cookie();
    headers.append("x-tenant", HeaderValue::from_static("a"));
    headers.append("x-tenant", HeaderValue::from_static("b"));
    resolve(&resolver(settings), &headers)
        .await
        .expect("a session");
    let seen = upstream.last_headers();
    assert_eq!(
        seen.get_all("x-tenant").iter().collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(!seen.contains_key(COOKIE) && !seen.contains_key(AUTHORIZATION));
}

#[tokio::test]
async fn a_request_with_nothing_to_forward_is_no_session_without_a_question() {
    let upstream = Upstream::that(user("usr_1")).await;
    let unresolved = resolve(&resolver(settings(upstream.url())), &HeaderMap::new()).await;
    assert!(unresolved.expect_err("no session").is_no_session());
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn nobody_logged_in_is_no_session() {
    for says in [
        Says::Status(401, &[]),
        Says::Status(403, &[]),
        json_text(&json!({})),
        json_text(&json!({ "user": null })),
        json_text(&json!({ "user": { "id": null } })),
        user(""),
    ] {
        let unresolved = outcome(says).await.expect_err("no session");
        assert!(unresolved.is_no_session(), "{unresolved}");
    }
}

#[tokio::test]
async fn every_other_answer_says_that_it_cannot_be_told() {
    let text = |text: &str| Says::Text(&[], text.to_owned());
    for (says, reason) in [
        (Says::Status(204, &[]), "the session URL answered 204"),
        (
            Says::Status(302, &[("location", "/login")]),
            "the session URL answered 302",
        ),
        (Says::Status(400, &[]), "the session URL answered 400"),
        (Says::Status(404, &[]), "the session URL answered 404"),
        (Says::Status(429, &[]), "the session URL answered 429"),
        (Says::Status(500, &[]), "the session URL answered 500"),
        (
            text("<html><h1>Log in</h1></html>"),
            "the session URL answered 200 without JSON",
        ),
        (text(""), "the session URL answered 200 without JSON"),
        (
            text(r#"{"user":{"id":"usr_1"}"#),
            "the session URL answered 200 without JSON",
        ),
        (
            text(r#"{"user":{"id":"\ud800"}}"#),
            "the session URL answered 200 without JSON",
        ),
        (
            json_text(&json!({ "user": { "id": {} } })),
            "the session URL gave an identity that can't be used: `user_id` must be a string",
        ),
        (
            json_text(&json!({ "user": { "id": "usr_1", "roles": "admin" } })),
            "the session URL gave an identity that can't be used: `roles` must be an array of strings",
        ),
        (
            user("usr_1\u{202e}"),
            "the session URL gave an identity that can't be used: `user_id` must not contain \
             control, format or bidirectional characters (Unicode Cc, Cf, Zl, Zp)",
        ),
    ] {
        let unresolved = outcome(says).await.expect_err("nothing can be told");
        let retry_after = Duration::from_secs(2);
        assert_eq!(
            unresolved,
            Unresolved::Unavailable {
                reason: reason.into(),
                retry_after
            }
        );
    }
}

#[tokio::test]
async fn an_upstreams_retry_after_is_handed_on() {
    let Err(Unresolved::Unavailable { retry_after, .. }) =
        outcome(Says::Status(503, &[("retry-after", "17")])).await
    else {
        panic!("nothing can be told");
    };
    assert_eq!(retry_after, Duration::from_secs(17));
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let target = Upstream::that(user("usr_1")).await;
    for status in [301, 302, 303, 307, 308] {
        let location: &'static str = format!("http://{}/", target.address).leak();
        let headers = Box::leak(Box::new([("location", location)]));
        let unresolved = outcome(Says::Status(status, headers))
            .await
            .expect_err("a redirect");
        assert!(!unresolved.is_no_session());
    }
    assert_eq!(target.hits(), 0);
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let settings = settings(url(&format!("http://{address}/session?key=hidden")));
    let unresolved = resolve(&resolver(settings), &with_cookie())
        .await
        .expect_err("nobody there");
    let text = unresolved.to_string();
    assert!(
        text.contains("refused") && !text.contains("hidden"),
        "{text}"
    );
    assert!(!unresolved.is_no_session());
}

#[tokio::test]
async fn an_upstream_that_hangs_or_drips_is_left_after_the_time_out() {
    for says in [Says::Hangs, Says::Drips] {
        let upstream = Upstream::that(says).await;
        let timeout = Duration::from_millis(60);
        let resolver = resolver(IntrospectSettings {
            timeout,
            ..settings(upstream.url())
        });
        let began = Instant::now();
        let unresolved = resolve(&resolver, &with_cookie())
            .await
            .expect_err("no answer");
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(
            unresolved.to_string().ends_with("did not answer in time"),
            "{unresolved}"
        );
    }
}

#[tokio::test]
async fn no_more_of_a_huge_answer_is_read_than_64_kib() {
    for announced in [false, true] {
        let upstream = Upstream::that(Says::Huge {
            mebibytes: 10,
            announced,
        })
        .await;
        let resolver = resolver(settings(upstream.url()));
        let unresolved = resolve(&resolver, &with_cookie())
            .await
            .expect_err("too long");
        assert!(
            unresolved
                .to_string()
                .ends_with("answered with more than 65536 bytes")
        );
        // What was taken beyond it waits in the kernel's buffers.
        let taken = *upstream.bytes_taken.lock().expect("no test panics with it");
        assert!(taken < 8 << 20, "{taken}");
    }
}

#[tokio::test]
async fn an_answer_of_exactly_64_kib_is_read() {
    let answer = json!({ "user": { "id": "usr_1" } }).to_string();
    let padded = answer.clone() + &" ".repeat((64 << 10) - answer.len());
    assert!(outcome(Says::Text(&[], padded.clone())).await.is_ok());
    assert!(outcome(Says::Text(&[], padded + " ")).await.is_err());
}

#[tokio::test]
async fn beyond_the_allowed_number_of_questions_a_request_fails_at_once() {
    let upstream = Upstream::that(Says::Hangs).await;
    let resolver = Arc::new(resolver(IntrospectSettings {
        max_concurrent: 1,
        ..settings(upstream.url())
    }));
    let first = tokio::spawn({
        let resolver = Arc::clone(&resolver);
        async move { resolve(&resolver, &with_cookie()).await }
    });
    upstream.was_asked(1).await;

    let unresolved = resolve(&resolver, &with_cookie())
        .await
        .expect_err("it is full");
    assert!(unresolved.to_string().contains("too many"), "{unresolved}");
    assert_eq!(upstream.hits(), 1);

    // A request that is given up makes room.
    first.abort();
    assert!(first.await.expect_err("it was given up").is_cancelled());
    upstream.now(user("usr_1"));
    assert!(resolve(&resolver, &with_cookie()).await.is_ok());
}

#[tokio::test]
async fn headers_that_cannot_be_forwarded_are_refused() {
    let made = |forward_headers| {
        let settings = IntrospectSettings {
            forward_headers,
            ..settings(url("https://app.example.com/session"))
        };
        Introspect::new(settings, client()).err()
    };
    assert_eq!(made(vec![]), Some(BadForwardHeaders::Empty));
    for name in [
        "host",
        "connection",
        "transfer-encoding",
        "content-length",
        "accept",
        "traceparent",
    ] {
        let name = HeaderName::from_static(name);
        assert_eq!(
            made(vec![COOKIE, name.clone()]),
            Some(BadForwardHeaders::Forbidden(name))
        );
    }
    assert_eq!(made(vec![COOKIE, AUTHORIZATION]), None);
}

#[tokio::test]
async fn an_https_upstream_is_trusted_by_its_own_root_alone() {
    let own =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("a certificate and its key");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(socket).await else {
                continue;
            };
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await.expect("a request") > 2 {
                line.clear();
            }
            let body = r#"{"user":{"id":"usr_1"}}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream
                .write_all(answer.as_bytes())
                .await
                .expect("an open connection");
        }
    });

    let with = |client| {
        let settings = settings(url(&format!("https://localhost:{port}/session")));
        Resolver::Introspect(Introspect::new(settings, client).expect("good settings"))
    };
    let trusting = UpstreamClient::new(Some(own.cert.pem().as_bytes())).expect("a root");
    assert!(resolve(&with(trusting), &with_cookie()).await.is_ok());
    let unresolved = resolve(&with(client()), &with_cookie())
        .await
        .expect_err("nobody vouches");
    assert!(
        unresolved.to_string().contains("UnknownIssuer"),
        "{unresolved}"
    );
}

#[tokio::test]
async fn an_anonymous_resolver_believes_nothing_that_the_browser_says() {
    let identity = resolve(&Resolver::Anonymous, &with_cookie())
        .await
        .expect("a user");
    assert!(identity.anonymous && identity.user_id.starts_with("anon_"));
    assert_eq!(Resolver::Anonymous.name(), "anonymous");
}
