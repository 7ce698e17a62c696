//! The measure of all things: an axum server that does nothing but answer a constant of a token's size, or of a session's.

use anyhow::Result;
use axum::Router;
use axum::http::header;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

const SESSION: &str =
    r#"{"user":{"id":"usr_1","email":"ada@example.com","roles":["user","agent"],"plan":"pro"}}"#;

/// Serves `POST /token`, and `GET /session` as an app would, at `address` until it is killed.
pub(crate) fn serve(address: &str) -> Result<()> {
    let token = format!("{}.{}.{}", "h".repeat(36), "c".repeat(200), "s".repeat(43));
    let body = serde_json::json!({
        "token": token, "tokenType": "Bearer",
        "expiresIn": 3595, "expiresAt": 1_763_650_000, "refreshAfter": 3230,
    });
    // One for the life of the process, as a constant would be.
    let body: &'static str = Box::leak(body.to_string().into_boxed_str());
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], body) };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind(address).await?.tap_io(|stream| {
                // As signet does; a refusal costs some speed and nothing else.
                let _ = stream.set_nodelay(true);
            });
            let session = || async { ([(header::CONTENT_TYPE, "application/json")], SESSION) };
            let routes = Router::new()
                .route("/token", post(answer))
                .route("/session", get(session));
            axum::serve(listener, routes).await
        })?;
    Ok(())
}
