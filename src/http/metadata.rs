//! `/.well-known/oauth-authorization-server`: what OAuth clients can find out by themselves (RFC 8414).

use axum::http::Response;
use axum::http::request::Parts;
use serde_json::json;

use super::Body;
use super::envelope::Context;
use super::error::Failure;
use super::exchange::GRANT_TYPE;
use super::public_document;

/// The route. Without `server.public_url` there is no issuer and so no document.
pub(super) async fn show(context: &Context, head: &Parts) -> Result<Response<Body>, Failure> {
    public_document::admit(context).await?;
    let issuer = context
        .snapshot
        .public_url
        .as_ref()
        .ok_or(Failure::NotFound)?;
    let document = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "grant_types_supported": [GRANT_TYPE],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        // Required by the RFC, and empty because nothing here has an authorization endpoint.
        "response_types_supported": [],
    });
    let body = document.to_string().into_bytes();
    Ok(public_document::answer(
        &head.headers,
        "application/json",
        body,
    ))
}
