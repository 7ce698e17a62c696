//! Proof that a server does the job that is measured: the same claims, signed, and only for who knows the key.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::requests::{CALLERS_KEY, CLIENT_ID, PLATFORM_SECRET, request};

/// Asks for one token with the right key and for one with a wrong one.
///
/// # Errors
/// When the first isn't what signet would have given, or the second is given at all.
pub(super) fn verify(address: SocketAddr) -> Result<()> {
    let asked = String::from_utf8(request(address, 1))?;
    let answer = exchange(address, &asked)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let answer: Value = serde_json::from_str(body)?;
    for (member, is_right) in [
        ("tokenType", answer["tokenType"] == "Bearer"),
        ("expiresIn", answer["expiresIn"].is_u64()),
        ("expiresAt", answer["expiresAt"].is_u64()),
        ("refreshAfter", answer["refreshAfter"].is_u64()),
    ] {
        ensure!(is_right, "`{member}` of the answer isn't right: {body}");
    }

    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_required_spec_claims(&["exp"]);
    let key = DecodingKey::from_secret(PLATFORM_SECRET.as_bytes());
    let token = answer["token"].as_str().context("no token")?;
    let mut claims = jsonwebtoken::decode::<Value>(token, &key, &validation)?.claims;
    for time in ["iat", "exp"] {
        ensure!(claims[time].is_u64(), "`{time}` isn't a whole number");
        claims[time].take();
    }
    let wanted = json!({
        "tenantId": CLIENT_ID, "userId": "usr_000001", "userEmail": "ada@example.com",
        "userRoles": ["user", "agent"], "plan": "pro", "iat": null, "exp": null,
    });
    ensure!(claims == wanted, "it signs {claims} and not {wanted}");

    let refusal = exchange(address, &asked.replace(CALLERS_KEY, "wrong"))?;
    ensure!(
        refusal.starts_with("HTTP/1.1 401"),
        "a wrong key isn't refused: {refusal}"
    );
    Ok(())
}

fn exchange(address: SocketAddr, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let leaving = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(leaving.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
