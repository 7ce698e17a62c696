//! The measure of all things: an axum server that does nothing but answer a constant of a token's size.

use anyhow::Result;
use axum::Router;
use axum::http::header;
use axum::routing::post;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

/// Serves `POST /token` at `address` until it is killed.
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
            axum::serve(listener, Router::new().route("/token", post(answer))).await
        })?;
    Ok(())
}
