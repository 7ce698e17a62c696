//! The browser's side: requests with a session, and servers that know how to read it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use signet::clock::Clock;
use signet::secrets::Secret;
use signet::signing::{Algorithm, Key, KeyId};

use crate::client::Load;
use crate::door::Door;

/// Of 32 bytes; it protects nothing.
const SESSION_SECRET: &str = "bench-only-3Wm7eRt9Yq1Zx5Cv8Bn2Ld";
const ISSUER: &str = "https://app.example.com";
const AUDIENCE: &str = "signet";

/// Lets browsers ask the program for tokens, by session JWTs of a shared secret.
pub(crate) fn accept_session_jwts(command: &mut Command) {
    command
        .env("BENCH_SESSION_SECRET", SESSION_SECRET)
        .env("SIGNET__APPS__DEFAULT__BROWSER__SESSION__RESOLVER", "jwt")
        .env("SIGNET__APPS__DEFAULT__BROWSER__SESSION__COOKIE", "session")
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__SECRET__ENV",
            "BENCH_SESSION_SECRET",
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__ALGORITHMS",
            "HS256",
        )
        .env("SIGNET__APPS__DEFAULT__BROWSER__SESSION__ISSUER", ISSUER)
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__AUDIENCE",
            AUDIENCE,
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__IDENTITY__EMAIL",
            "/email",
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__IDENTITY__ROLES",
            "/roles",
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__IDENTITY__PLAN",
            "/plan",
        );
}

/// Lets browsers ask the program for tokens, by asking `upstream` for the session.
pub(crate) fn ask_upstream(command: &mut Command, upstream: SocketAddr) {
    command
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__RESOLVER",
            "introspect",
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__URL",
            format!("http://{upstream}/session"),
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__IDENTITY__USER_ID",
            "/user/id",
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__IDENTITY__EMAIL",
            "/user/email",
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__IDENTITY__ROLES",
            "/user/roles",
        )
        .env(
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__IDENTITY__PLAN",
            "/user/plan",
        );
}

/// What the support widget sends for one of the users, with an hour-long session JWT as its cookie.
pub(crate) fn refresh(address: SocketAddr, user: usize) -> Result<Vec<u8>> {
    let key = Key::from_secret(
        KeyId::from("session"),
        Algorithm::HS256,
        &Secret::from(SESSION_SECRET),
    )?;
    let header = key.encode_header(br#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = serde_json::json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": Clock::System.now().plus_seconds(3600).seconds(), "sub": format!("usr_{user:06}"),
        "email": "ada@example.com", "roles": ["user", "agent"], "plan": "pro",
    });
    let session = key.seal(&header, claims.to_string().as_bytes())?;
    let path = "POST /apps/default/token";
    Ok(format!(
        "{path} HTTP/1.1\r\nHost: {address}\r\nCookie: session={}\r\nContent-Length: 0\r\n\r\n",
        session.expose()
    )
    .into_bytes())
}

/// How long one answer takes at the median, asked for one after the other on one connection.
pub(crate) fn median_answer(door: &Door, path: &str) -> Result<Duration> {
    let request = [format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: session=1\r\n\r\n",
        door.address
    )
    .into_bytes()];
    let mut load = Load::new(door, 1, &request)?;
    let mut answer = || {
        let asked = Instant::now();
        load.run_once().map(|()| asked.elapsed())
    };
    for _ in 0..200 {
        answer()?;
    }
    let mut times = (0..2000).map(|_| answer()).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
