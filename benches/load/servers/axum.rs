//! An axum server that does nothing but answer a constant of a token's size, or of a session's.

use anyhow::Result;
use axum::Router;
use axum::http::header;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

const SESSION: &str =
    r#"{"user":{"id":"usr_1","email":"ada@example.com","roles":["user","agent"],"plan":"pro"}}"#;

/// Serves `POST /token`, and `GET /session` as an app would.
pub(super) async fn serve(address: &str) -> Result<()> {
    let body = super::constant();
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], body) };
    let session = || async { ([(header::CONTENT_TYPE, "application/json")], SESSION) };
    let listener = TcpListener::bind(address).await?.tap_io(|stream| {
        // As signet does; a refusal costs some speed and nothing else.
        let _ = stream.set_nodelay(true);
    });
    let routes = Router::new()
        .route("/token", post(answer))
        .route("/session", get(session));
    axum::serve(listener, routes).await?;
    Ok(())
}
