//! The stand-in for a chat platform's gateway, which knows the secret and checks every token as the platform does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::StandIns;
use crate::clock::Clock;

/// The claims that the platform refuses in a customer's token, because elsewhere they make an administrator.
const FORBIDDEN: &[&str] = &["iss", "aud", "purpose", "role"];

/// The platform's end: one customer's key and the time of day.
pub(super) struct Gateway {
    tenant_id: String,
    key: DecodingKey,
    clock: Clock,
}

/// Why a token is refused, in the platform's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("The token algorithm is invalid.")]
    Algorithm,
    #[error("Authorization token expired")]
    Expired,
    #[error("Authorization token is invalid: The token must not carry `{0}`.")]
    ForbiddenClaim(&'static str),
    #[error("Authorization token is invalid: It is not a signed JWT.")]
    Malformed,
    #[error("No Authorization was found in request.headers")]
    Missing,
    #[error("Authorization token is invalid: The token signature is invalid.")]
    Signature,
    #[error("Authorization token is invalid: It is another tenant's.")]
    Tenant,
    #[error("Authorization token is invalid: The {0} claim must be a whole number of seconds.")]
    Time(&'static str),
    #[error("Authorization token is invalid: It was issued in the future.")]
    TooEarly,
    #[error("Authorization token is invalid: It names no user.")]
    User,
}

impl Gateway {
    pub(super) fn new(tenant_id: &str, key: DecodingKey, clock: Clock) -> Self {
        Self {
            tenant_id: tenant_id.to_owned(),
            key,
            clock,
        }
    }

    pub(super) fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// The claims of a token that holds now. Nothing is forgiven: like the platform, this knows no leeway.
    fn verified(&self, token: &str) -> Result<Map<String, Value>, Refusal> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.required_spec_claims.clear();
        rules.validate_exp = false; // below, by this room's clock
        rules.validate_aud = false;
        let claims = decode::<Map<String, Value>>(token, &self.key, &rules)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidAlgorithm => Refusal::Algorithm,
                ErrorKind::InvalidSignature => Refusal::Signature,
                _ => Refusal::Malformed,
            })?
            .claims;
        let now = self.clock.now().seconds();
        if seconds(&claims, "exp")? <= now {
            return Err(Refusal::Expired);
        }
        if seconds(&claims, "iat")? > now {
            return Err(Refusal::TooEarly);
        }
        if claims.get("tenantId").and_then(Value::as_str) != Some(&self.tenant_id) {
            return Err(Refusal::Tenant);
        }
        if claims
            .get("userId")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            return Err(Refusal::User);
        }
        match FORBIDDEN.iter().find(|name| claims.contains_key(**name)) {
            Some(name) => Err(Refusal::ForbiddenClaim(name)),
            None => Ok(claims),
        }
    }
}

fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<i64, Refusal> {
    claims
        .get(name)
        .and_then(Value::as_i64)
        .ok_or(Refusal::Time(name))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    text: String,
}

#[derive(Serialize)]
struct Answer {
    reply: String,
    claims: Map<String, Value>,
}

/// `POST /gateway/messages`: a reply that shows what the gateway learned from the token alone, or the platform's 401.
pub(super) async fn messages(
    State(stand_ins): State<Arc<StandIns>>,
    headers: HeaderMap,
    Json(Message { text }): Json<Message>,
) -> Response {
    let presented = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(Refusal::Missing);
    match presented.and_then(|token| stand_ins.gateway.verified(token)) {
        Ok(claims) => Json(Answer {
            reply: reply_to(&text, &claims),
            claims,
        })
        .into_response(),
        Err(refusal) => {
            let body = json!({
                "statusCode": 401,
                "error": "UNAUTHORIZED",
                "message": refusal.to_string(),
                "requestId": Uuid::new_v4().to_string(),
            });
            (StatusCode::UNAUTHORIZED, Json(body)).into_response()
        }
    }
}

fn reply_to(text: &str, claims: &Map<String, Value>) -> String {
    let said = |name: &str| {
        claims
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("unknown")
    };
    format!(
        "Got it: “{text}”. Your token says that you are {}, on the {} plan.",
        said("userId"),
        said("plan")
    )
}
