//! A token endpoint as it is first written in Rust: axum with `tower_governor` and `jsonwebtoken`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use jsonwebtoken::{EncodingKey, Header};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

use crate::requests::{CALLERS_KEY, CLIENT_ID, PLATFORM_SECRET};

const LIFETIME: u64 = 3600;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    user_id: String,
    user_email: Option<String>,
    user_roles: Option<Vec<String>>,
    plan: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    tenant_id: &'static str,
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_roles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    iat: u64,
    exp: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    token: String,
    token_type: &'static str,
    expires_in: u64,
    expires_at: u64,
    refresh_after: u64,
}

/// Serves `POST /token` with one limit, per address, that nobody meets.
pub(super) async fn serve(address: &str) -> Result<()> {
    let limit = GovernorConfigBuilder::default()
        .period(Duration::from_micros(1))
        .burst_size(1_000_000)
        .finish()
        .context("a limit out of order")?;
    let key = EncodingKey::from_secret(PLATFORM_SECRET.as_bytes());
    let routes = Router::new()
        .route("/token", post(token))
        .layer(GovernorLayer::new(limit))
        .with_state(Arc::new(key));
    let listener = TcpListener::bind(address).await?.tap_io(|stream| {
        // As signet does; a refusal costs some speed and nothing else.
        let _ = stream.set_nodelay(true);
    });
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, routes).await?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is what signet is measured by, not a part of it"
)]
async fn token(
    State(key): State<Arc<EncodingKey>>,
    headers: HeaderMap,
    Json(asked): Json<Asked>,
) -> Result<Json<Answer>, StatusCode> {
    let presented = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();
    if !bool::from(presented.as_bytes().ct_eq(CALLERS_KEY.as_bytes())) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let now = jsonwebtoken::get_current_timestamp();
    let claims = Claims {
        tenant_id: CLIENT_ID,
        user_id: asked.user_id,
        user_email: asked.user_email,
        user_roles: asked.user_roles,
        plan: asked.plan,
        iat: now,
        exp: now + LIFETIME,
    };
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(Answer {
        token,
        token_type: "Bearer",
        expires_in: LIFETIME,
        expires_at: now + LIFETIME,
        refresh_after: LIFETIME * 9 / 10,
    }))
}
