//! Every way a request can fail, and what the client is told: RFC 9457 problem documents.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::identity::Unresolved;
use crate::limits::{Exceeded, Refusal};
use crate::token::{Denial, DenialCode, Fault, MintError, NotJson};

/// A request that gets no token, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// A form or body that can't be read at all.
    BadBody(String),
    /// More than `server.max_body`, in bytes.
    BodyTooLarge(usize),
    /// What the rules of tokens and policies refuse.
    Denied(Denial),
    /// A request without exactly one valid `Host`.
    HostNeeded,
    /// Cleartext where HTTPS is required.
    HttpsRequired,
    /// Our own fault; the reason is in the log.
    Internal,
    /// No caller's key, or none of ours.
    InvalidClient,
    /// The store of the limits is away, and the operator wants nobody to pass then.
    LimitsUnavailable,
    /// No session.
    LoginRequired,
    /// A known path with another method; the value is the answer's `Allow`.
    MethodNotAllowed(&'static str),
    /// No such path or app.
    NotFound,
    /// A page of an origin that isn't listed.
    OriginNotAllowed,
    /// More requests at once than `server.max_in_flight`.
    Overloaded,
    /// Too often.
    RateLimited(Exceeded),
    /// The body took too long to come.
    RequestTimeout,
    /// Nobody can say who the user is; ask again after this time.
    SessionUnavailable(Duration),
    /// The service stops before this request could be finished.
    ShuttingDown,
    /// A media type that the route doesn't read; the value names those it does.
    UnsupportedMediaType(&'static str),
}

/// What of a failure the client sees.
struct Told<'a> {
    status: StatusCode,
    code: &'static str,
    detail: std::borrow::Cow<'a, str>,
    faults: &'a [Fault],
    /// In seconds; a retry helps after that.
    retry_after: Option<u64>,
}

impl Failure {
    /// The error code of the answer, of metrics and of the audit trail.
    #[must_use]
    pub(super) fn code(&self) -> &'static str {
        self.told().code
    }

    /// The status of the answer.
    #[must_use]
    pub(super) fn status(&self) -> StatusCode {
        self.told().status
    }

    fn told(&self) -> Told<'_> {
        let told = |status, code, detail: &'static str| Told {
            status,
            code,
            detail: detail.into(),
            faults: &[],
            retry_after: None,
        };
        match self {
            Self::BadBody(detail) => Told {
                detail: detail.into(),
                ..told(StatusCode::BAD_REQUEST, "invalid_request", "")
            },
            Self::BodyTooLarge(max) => Told {
                detail: format!("the body may have at most {max} bytes").into(),
                ..told(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "")
            },
            Self::Denied(denial) => {
                let (status, code) = denial_status(denial.code);
                Told {
                    detail: (&denial.detail).into(),
                    faults: &denial.faults,
                    ..told(status, code, "")
                }
            }
            Self::HostNeeded => told(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "a request needs exactly one valid Host header",
            ),
            Self::HttpsRequired => told(
                StatusCode::FORBIDDEN,
                "https_required",
                "this service answers over HTTPS only; use https://",
            ),
            Self::Internal => told(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "something went wrong here; the log has the request ID",
            ),
            Self::InvalidClient => told(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "give the caller's key as `Authorization: Bearer <key>`, or as HTTP Basic with the caller's name",
            ),
            Self::LimitsUnavailable => Told {
                retry_after: Some(2),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "limits_unavailable",
                    "the limits can't be checked at the moment; try again",
                )
            },
            Self::LoginRequired => told(
                StatusCode::UNAUTHORIZED,
                "login_required",
                "there is no session; log in and ask again",
            ),
            Self::MethodNotAllowed(_) => told(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "use a method that the Allow header names",
            ),
            Self::NotFound => told(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing at this path",
            ),
            Self::OriginNotAllowed => told(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "pages of this origin may not call; the operator lists origins in the app's `browser.origins`",
            ),
            Self::Overloaded => Told {
                retry_after: Some(1),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "overloaded",
                    "too many requests at once; try again",
                )
            },
            Self::RateLimited(exceeded) => Told {
                detail: format!(
                    "the {} limit is spent; try again in {} s",
                    exceeded.limit,
                    exceeded.retry_after_seconds()
                )
                .into(),
                retry_after: Some(exceeded.retry_after_seconds()),
                ..told(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "")
            },
            Self::RequestTimeout => told(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "the body took too long to arrive; send it at once",
            ),
            Self::SessionUnavailable(after) => Told {
                retry_after: Some(after.as_secs().max(1)),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "session_unavailable",
                    "the session can't be looked up at the moment; try again",
                )
            },
            Self::ShuttingDown => Told {
                retry_after: Some(1),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "shutting_down",
                    "this instance is stopping; try again",
                )
            },
            Self::UnsupportedMediaType(types) => Told {
                detail: format!("send {types}, named in Content-Type").into(),
                ..told(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_media_type",
                    "",
                )
            },
        }
    }

    /// The answer's problem document. `sdk_errors` is for clients that show `errors[0].msg`.
    pub(super) fn render(&self, request_id: &str, sdk_errors: bool) -> Response<Body> {
        let told = self.told();
        let whole = [Fault::new("", told.detail.clone())];
        let faults = if sdk_errors && told.faults.is_empty() {
            &whole
        } else {
            told.faults
        };
        let problem = Problem {
            r#type: "about:blank",
            title: told.status.canonical_reason().unwrap_or("Error"),
            status: told.status.as_u16(),
            detail: &told.detail,
            code: told.code,
            request_id,
            errors: faults
                .iter()
                .map(|fault| Item {
                    pointer: &fault.pointer,
                    detail: &fault.detail,
                    msg: sdk_errors.then_some(&*fault.detail),
                    code: sdk_errors.then_some(told.status.as_u16()),
                })
                .collect(),
        };
        let body = serde_json::to_vec(&problem).expect("a problem is always JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = told.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = told.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        match self {
            Self::InvalidClient => {
                headers.append(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"signet\""),
                );
                headers.append(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"signet\", charset=\"UTF-8\""),
                );
            }
            Self::MethodNotAllowed(allow) => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::RateLimited(exceeded) => {
                let text = |value: String| {
                    HeaderValue::try_from(value).expect("names and numbers are visible ASCII")
                };
                headers.insert(
                    HeaderName::from_static("ratelimit"),
                    text(exceeded.state_header()),
                );
                headers.insert(
                    HeaderName::from_static("ratelimit-policy"),
                    text(exceeded.policy_header()),
                );
            }
            _ => {}
        }
        response
    }
}

const fn denial_status(code: DenialCode) -> (StatusCode, &'static str) {
    match code {
        DenialCode::AppNotAllowed => (StatusCode::FORBIDDEN, "app_not_allowed"),
        DenialCode::AttributeNotAllowed => (StatusCode::FORBIDDEN, "attribute_not_allowed"),
        DenialCode::AudienceNotAllowed => (StatusCode::FORBIDDEN, "audience_not_allowed"),
        DenialCode::IdentityMismatch => (StatusCode::FORBIDDEN, "identity_mismatch"),
        DenialCode::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
        DenialCode::PlanNotAllowed => (StatusCode::FORBIDDEN, "plan_not_allowed"),
        DenialCode::RoleNotAllowed => (StatusCode::FORBIDDEN, "role_not_allowed"),
        DenialCode::TenantMismatch => (StatusCode::FORBIDDEN, "tenant_mismatch"),
        DenialCode::TokenTooLarge => (StatusCode::BAD_REQUEST, "token_too_large"),
        DenialCode::TtlTooLong => (StatusCode::FORBIDDEN, "ttl_too_long"),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
    errors: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    pointer: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

/// The bare status with the failure beside it; the envelope writes the document, because it knows
/// the request's ID and the app.
impl IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<NotJson> for Failure {
    fn from(error: NotJson) -> Self {
        Self::BadBody(error.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Exceeded(exceeded) => Self::RateLimited(exceeded),
            Refusal::Unavailable => Self::LimitsUnavailable,
        }
    }
}

impl From<MintError> for Failure {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Denied(denial) => Self::Denied(denial),
            MintError::NoKey => {
                tracing::error!("no key could sign; `signet keys` shows each key's state");
                Self::Internal
            }
        }
    }
}

impl From<Unresolved> for Failure {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::NoSession { reason } => {
                tracing::debug!(%reason, "no session: {reason}");
                Self::LoginRequired
            }
            Unresolved::Unavailable {
                reason,
                retry_after,
            } => {
                tracing::warn!(%reason, "a session can't be looked up: {reason}");
                Self::SessionUnavailable(retry_after)
            }
        }
    }
}
