//! Every way a request can fail, and what the client is told: RFC 9457 problem documents, and RFC 6749's
//! errors for OAuth clients.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::Body;
use crate::identity::Unresolved;
use crate::limits::{Exceeded, Refusal};
use crate::token::{Denial, DenialCode, Fault, MintError, NotJson};

/// A request that gets no token, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// The token's line in the audit trail can't be written, and the operator wants no token without.
    AuditUnavailable,
    /// A form or body that can't be read at all.
    BadBody(String),
    /// A subject token that doesn't hold, and why.
    BadSubjectToken(Cow<'static, str>),
    /// More than `server.max_body`, in bytes.
    BodyTooLarge(usize),
    /// Nobody can say whether a platform's token proves a caller; ask again after this time.
    CallerUnknown(Duration),
    /// A body in another transfer coding than `chunked` alone.
    CodingUnknown,
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
    /// A scope that the app's tokens don't carry or the caller may not have.
    InvalidScope(&'static str),
    /// The store of the limits is away, and the operator wants nobody to pass then.
    LimitsUnavailable,
    /// No session.
    LoginRequired,
    /// A known path with another method; the value is the answer's `Allow`.
    MethodNotAllowed(&'static [Method]),
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
    /// Another grant than token exchange.
    UnsupportedGrantType,
    /// A media type that the route doesn't read; the value names those it does.
    UnsupportedMediaType(&'static str),
}

/// How an error is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorForm {
    /// RFC 6749 section 5.2, for OAuth clients.
    OAuth,
    /// RFC 9457.
    Problem,
    /// RFC 9457 with an `errors[0].msg`, for clients that show it.
    Sdk,
}

/// What of a failure the client sees.
struct Told<'a> {
    status: StatusCode,
    code: &'static str,
    /// What an OAuth client sees in place of the status and the code.
    oauth: (StatusCode, &'static str),
    detail: Cow<'a, str>,
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

    /// The status and the code or OAuth error of the answer.
    pub(super) fn summary(&self, form: ErrorForm) -> (u16, &'static str) {
        let told = self.told();
        let (status, code) = match form {
            ErrorForm::OAuth => told.oauth,
            ErrorForm::Problem | ErrorForm::Sdk => (told.status, told.code),
        };
        (status.as_u16(), code)
    }

    fn told(&self) -> Told<'_> {
        let told = |status, code, detail: &'static str| Told {
            status,
            code,
            oauth: (status, oauth_error(status)),
            detail: detail.into(),
            faults: &[],
            retry_after: None,
        };
        match self {
            Self::AuditUnavailable => Told {
                retry_after: Some(1),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "audit_unavailable",
                    "what is issued can't be written down at the moment; try again",
                )
            },
            Self::BadBody(detail) => Told {
                detail: detail.into(),
                ..told(StatusCode::BAD_REQUEST, "invalid_request", "")
            },
            Self::BadSubjectToken(reason) => Told {
                detail: format!("the subject token does not hold: {reason}").into(),
                ..told(StatusCode::BAD_REQUEST, "invalid_request", "")
            },
            Self::BodyTooLarge(max) => Told {
                detail: format!("the body may have at most {max} bytes").into(),
                ..told(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "")
            },
            Self::CallerUnknown(after) => Told {
                retry_after: Some(after.as_secs().max(1)),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "session_unavailable",
                    "the keys that verify the caller's token can't be had at the moment; try again",
                )
            },
            Self::CodingUnknown => told(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the one Transfer-Encoding is `chunked`, once",
            ),
            Self::Denied(denial) => {
                let (status, code) = denial_status(denial.code);
                Told {
                    oauth: (StatusCode::BAD_REQUEST, denial_oauth_error(denial.code)),
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
            Self::InvalidScope(detail) => Told {
                oauth: (StatusCode::BAD_REQUEST, "invalid_scope"),
                ..told(StatusCode::BAD_REQUEST, "invalid_scope", detail)
            },
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
            Self::UnsupportedGrantType => Told {
                oauth: (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
                ..told(
                    StatusCode::BAD_REQUEST,
                    "unsupported_grant_type",
                    "the one grant is urn:ietf:params:oauth:grant-type:token-exchange",
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

    /// The answer's document.
    pub(super) fn render(&self, request_id: &str, form: ErrorForm) -> Response<Body> {
        let told = self.told();
        let mut response = match form {
            ErrorForm::OAuth => told.oauth_error(),
            ErrorForm::Problem => told.problem(request_id, false),
            ErrorForm::Sdk => told.problem(request_id, true),
        };
        let headers = response.headers_mut();
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
            // Where two disagree about where a body ends, what follows it is no request.
            Self::CodingUnknown => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::MethodNotAllowed(allow) => {
                let names: Vec<_> = allow.iter().map(Method::as_str).collect();
                let allow = HeaderValue::try_from(names.join(", "));
                headers.insert(ALLOW, allow.expect("methods are visible ASCII"));
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

impl Told<'_> {
    fn problem(&self, request_id: &str, sdk_errors: bool) -> Response<Body> {
        let told = self;
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
        document(told.status, "application/problem+json", &problem)
    }

    fn oauth_error(&self) -> Response<Body> {
        let (status, error) = self.oauth;
        let description = if self.faults.is_empty() {
            self.detail.to_string()
        } else {
            let one = |fault: &Fault| match fault.pointer.strip_prefix('/') {
                Some(name) => format!("{name}: {}", fault.detail),
                None => fault.detail.clone(),
            };
            self.faults.iter().map(one).collect::<Vec<_>>().join("; ")
        };
        let body = OAuthError {
            error,
            error_description: &in_error_characters(&description),
        };
        document(status, "application/json", &body)
    }
}

fn document(status: StatusCode, kind: &'static str, body: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(body).expect("an error is always JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An OAuth error where nothing closer fits. 429 and 503 have no code of their own in the registry.
fn oauth_error(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "invalid_client",
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            "temporarily_unavailable"
        }
        _ if status.is_server_error() => "server_error",
        _ => "invalid_request",
    }
}

/// RFC 6749 section 5.2 allows visible ASCII without `\"` and `\\`.
fn in_error_characters(text: &str) -> String {
    let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    text.chars()
        .map(|c| if allowed(c) { c } else { '\'' })
        .collect()
}

/// RFC 8693 section 2.2.2: what it doesn't name is RFC 6749's.
const fn denial_oauth_error(code: DenialCode) -> &'static str {
    match code {
        DenialCode::AppNotAllowed | DenialCode::AudienceNotAllowed | DenialCode::TenantMismatch => {
            "invalid_target"
        }
        DenialCode::AttributeNotAllowed
        | DenialCode::IdentityMismatch
        | DenialCode::PlanNotAllowed
        | DenialCode::RoleNotAllowed
        | DenialCode::TtlTooLong => "unauthorized_client",
        DenialCode::InvalidRequest | DenialCode::TokenTooLarge => "invalid_request",
    }
}

#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// One failure for each way in which rules and policies refuse.
pub(super) fn every_denial() -> impl Iterator<Item = Failure> {
    DenialCode::ALL
        .into_iter()
        .map(|code| Denial::of(code, "", "").into())
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

/// The way of a failure through a library's layer, which knows only responses: it rides in one's extensions.
impl Failure {
    /// The bare status, with the failure beside it.
    pub(super) fn ride<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }

    /// What came out of such a layer: the response, whose headers may be the layer's, and the failure that rode in it.
    pub(super) fn alight<B>(mut response: Response<B>) -> (Response<B>, Option<Self>) {
        let failure = response.extensions_mut().remove();
        (response, failure)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_for_oauth_clients_has_only_the_characters_of_rfc_6749() {
        assert_eq!(in_error_characters("a \"b\" \\ ~é\n"), "a 'b' ' ~''");
    }
}
