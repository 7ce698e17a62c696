//! What a backend sends for its users, and what it and every server know.

use std::net::SocketAddr;

/// Of 32 bytes each, as signet demands; they protect nothing.
pub(crate) const PLATFORM_SECRET: &str = "bench-only-8Hk2vQx7Zr4Tn9Lw3Yp6Mb";
pub(crate) const CALLERS_KEY: &str = "bench-only-5Jd8sUa1Gf7Ce2Vo9Xi4Nq";
pub(crate) const CLIENT_ID: &str = "ten_acme";
/// Users who ask in turn, so that limits per user are looked up and not merely remembered.
pub(crate) const USERS: usize = 512;

/// What a backend sends for one of its users.
pub(crate) fn request(address: SocketAddr, user: usize) -> Vec<u8> {
    let body = format!(
        r#"{{"userId":"usr_{user:06}","userEmail":"ada@example.com","userRoles":["user","agent"],"plan":"pro"}}"#
    );
    format!(
        "POST /token HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {CALLERS_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
