//! The public port as an OpenAPI 3.1 document: statuses and codes come from the one match over failures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::error::{ErrorForm, Failure, every_denial};
use super::exchange::{GRANT_TYPE, ISSUED_TYPES, SUBJECT_TYPES};
use crate::limits::{Exceeded, LimitName, Quota};
use crate::token::DenialCode;

const PROBLEM: &str = "application/problem+json";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The document.
#[must_use]
pub fn openapi() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "signet",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Issues short-lived JWTs to embedded chat widgets and bots.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": {
            "/token": { "post": token() },
            "/apps/{app}/token": {
                "parameters": [app_parameter()],
                "get": browser_token("browserToken", false),
                "post": browser_token("browserTokenByPost", true),
            },
            "/.well-known/jwks.json": { "get": jwks("publicKeys", "The public keys of all apps (RFC 7517)", &[]) },
            "/apps/{app}/jwks.json": {
                "parameters": [app_parameter()],
                "get": jwks("publicKeysOfApp", "The public keys of one app (RFC 7517)", &[Failure::NotFound]),
            },
            "/.well-known/oauth-authorization-server": { "get": metadata() },
            "/healthz": { "get": health() },
        },
        "components": {
            "schemas": { "Problem": problem_schema(), "OAuthError": oauth_error_schema(), "TokenRequest": request_schema() },
            "securitySchemes": {
                "callersKey": {
                    "type": "http", "scheme": "bearer",
                    "description": "The caller's key, or the token that its platform gives it.",
                },
                "callersNameAndKey": { "type": "http", "scheme": "basic", "description": "The caller's name and key." },
            },
        },
    })
}

fn token() -> Value {
    let mut failures = everywhere();
    failures.extend([
        Failure::BadBody(String::new()),
        Failure::BodyTooLarge(0),
        Failure::CallerUnknown(Duration::ZERO),
        Failure::InvalidClient,
        Failure::RequestTimeout,
        Failure::UnsupportedMediaType(""),
    ]);
    let not_here = [DenialCode::AudienceNotAllowed, DenialCode::IdentityMismatch];
    failures.extend(every_denial().filter(|denial| !is_one_of(denial, &not_here)));
    let mut responses = responses(&failures, ErrorForm::Problem);
    let mut of_forms = everywhere();
    of_forms.extend([
        Failure::BadBody(String::new()),
        Failure::BadSubjectToken("".into()),
        Failure::BodyTooLarge(0),
        Failure::CallerUnknown(Duration::ZERO),
        Failure::InvalidClient,
        Failure::InvalidScope(""),
        Failure::RequestTimeout,
        Failure::SessionUnavailable(Duration::ZERO),
        Failure::UnsupportedGrantType,
    ]);
    of_forms.extend(every_denial());
    merge(&mut responses, self::responses(&of_forms, ErrorForm::OAuth));
    responses.insert("200".to_owned(), issued(true));
    json!({
        "operationId": "token",
        "summary": "A web backend asks for a user's token",
        "description": "JSON for a token of a user whom the backend names; a form for a token exchange (RFC 8693).",
        "security": [{ "callersKey": [] }, { "callersNameAndKey": [] }],
        "parameters": [accept_parameter(), request_id_parameter()],
        "requestBody": {
            "required": true,
            "content": {
                JSON: { "schema": { "$ref": "#/components/schemas/TokenRequest" } },
                FORM: { "schema": exchange_schema() },
            },
        },
        "responses": responses,
    })
}

fn browser_token(id: &str, has_body: bool) -> Value {
    let mut failures = everywhere();
    failures.extend([
        Failure::BadBody(String::new()),
        Failure::BodyTooLarge(0),
        Failure::LoginRequired,
        Failure::NotFound,
        Failure::OriginNotAllowed,
        Failure::RequestTimeout,
        Failure::SessionUnavailable(Duration::ZERO),
        Failure::UnsupportedMediaType(""),
    ]);
    let here = [
        DenialCode::AudienceNotAllowed,
        DenialCode::IdentityMismatch,
        DenialCode::InvalidRequest,
        DenialCode::TenantMismatch,
        DenialCode::TokenTooLarge,
    ];
    failures.extend(every_denial().filter(|denial| is_one_of(denial, &here)));
    let mut responses = responses(&failures, ErrorForm::Problem);
    responses.insert("200".to_owned(), issued(false));
    let mut operation = json!({
        "operationId": id,
        "summary": "A browser's widget asks for its user's token",
        "description": "Who the user is comes from the session alone; what the body says must agree with it.",
        "security": [],
        "parameters": [accept_parameter(), request_id_parameter()],
        "responses": responses,
    });
    if has_body {
        let said = json!({
            "type": "object",
            "properties": {
                "clientId": { "type": "string" },
                "identity": { "type": "string" },
                "aud": { "type": "string" },
                "isAnonymous": { "type": "string", "enum": ["true", "false", "1", "0", ""] },
            },
        });
        let mut said_json = said.clone();
        said_json["properties"]["isAnonymous"] = json!({ "type": "boolean" });
        operation["requestBody"] = json!({
            "required": false,
            "content": { JSON: { "schema": said_json }, FORM: { "schema": said } },
        });
    }
    operation
}

fn jwks(id: &str, summary: &str, more: &[Failure]) -> Value {
    let set = json!({
        "type": "object",
        "required": ["keys"],
        "properties": { "keys": { "type": "array", "items": {
            "type": "object",
            "required": ["kty", "kid", "alg", "use"],
            "properties": { "kty": { "enum": ["EC", "OKP", "RSA"] }, "use": { "const": "sig" } },
        } } },
    });
    public_document(id, summary, "application/jwk-set+json", set, more)
}

fn metadata() -> Value {
    let schema = json!({ "type": "object", "required": ["issuer", "token_endpoint", "jwks_uri", "response_types_supported"] });
    let summary =
        "What OAuth clients can find out by themselves (RFC 8414); 404 without `server.public_url`";
    public_document("metadata", summary, JSON, schema, &[Failure::NotFound])
}

fn public_document(id: &str, summary: &str, kind: &str, schema: Value, more: &[Failure]) -> Value {
    let mut failures = everywhere();
    failures.extend_from_slice(more);
    let mut responses = responses(&failures, ErrorForm::Problem);
    let headers = json!({ "ETag": header("What to send as If-None-Match"), "Cache-Control": header("How long a copy may be kept") });
    responses.insert(
        "200".to_owned(),
        json!({ "description": "The document", "headers": headers, "content": { kind: { "schema": schema } } }),
    );
    responses.insert(
        "304".to_owned(),
        json!({ "description": "The client has it already", "headers": headers }),
    );
    json!({
        "operationId": id,
        "summary": summary,
        "security": [],
        "parameters": [
            { "name": "If-None-Match", "in": "header", "required": false, "schema": { "type": "string" } },
            request_id_parameter(),
        ],
        "responses": responses,
    })
}

fn health() -> Value {
    // Never limited, and answered on cleartext too.
    let mut responses = responses(
        &[Failure::HostNeeded, Failure::Internal],
        ErrorForm::Problem,
    );
    let body = json!({ "text/plain": { "schema": { "const": "ok\n" } } });
    responses.insert(
        "200".to_owned(),
        json!({ "description": "The service answers", "content": body }),
    );
    json!({ "operationId": "health", "summary": "Whether the service answers", "security": [], "responses": responses })
}

/// What can happen to any request but a health check.
fn everywhere() -> Vec<Failure> {
    let quota = Quota::new(1, Duration::from_secs(1), 1).expect("no zero in it");
    vec![
        Failure::HostNeeded,
        Failure::HttpsRequired,
        Failure::Internal,
        Failure::LimitsUnavailable,
        Failure::Overloaded,
        Failure::RateLimited(Exceeded {
            limit: LimitName::PerIp,
            quota,
            retry_after: Duration::ZERO,
        }),
        Failure::ShuttingDown,
    ]
}

fn is_one_of(failure: &Failure, codes: &[DenialCode]) -> bool {
    matches!(failure, Failure::Denied(denial) if codes.contains(&denial.code))
}

/// One response per status, with every code that it can have.
fn responses(failures: &[Failure], form: ErrorForm) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, (Vec<&str>, Map<String, Value>)> = BTreeMap::new();
    for failure in failures {
        let (status, code) = failure.summary(form);
        let (codes, headers) = by_status.entry(status).or_default();
        codes.push(code);
        let response = failure.render("", form);
        for name in response.headers().keys() {
            let name = match name.as_str() {
                "content-type" => continue,
                "ratelimit" => "RateLimit",
                "ratelimit-policy" => "RateLimit-Policy",
                "retry-after" => "Retry-After",
                "www-authenticate" => "WWW-Authenticate",
                other => other,
            };
            headers.insert(name.to_owned(), header(""));
        }
    }
    by_status
        .into_iter()
        .map(|(status, (mut codes, mut headers))| {
            codes.sort_unstable();
            codes.dedup();
            headers.insert("X-Request-Id".to_owned(), header("The request in the log"));
            let (kind, schema, member) = match form {
                ErrorForm::OAuth => (JSON, "OAuthError", "error"),
                ErrorForm::Problem | ErrorForm::Sdk => (PROBLEM, "Problem", "code"),
            };
            let schema = json!({
                "allOf": [
                    { "$ref": format!("#/components/schemas/{schema}") },
                    { "properties": { member: { "enum": codes } } },
                ],
            });
            let response = json!({
                "description": codes.join(", "),
                "headers": headers,
                "content": { kind: { "schema": schema } },
            });
            (status.to_string(), response)
        })
        .collect()
}

/// Adds the second form of an error to the responses that have a first.
fn merge(responses: &mut Map<String, Value>, others: Map<String, Value>) {
    for (status, mut other) in others {
        match responses.get_mut(&status) {
            None => {
                responses.insert(status, other);
            }
            Some(response) => {
                response["content"][JSON] = other["content"][JSON].take();
                if let (Some(headers), Some(more)) = (
                    response["headers"].as_object_mut(),
                    other["headers"].as_object(),
                ) {
                    headers.extend(more.clone());
                }
            }
        }
    }
}

fn issued(exchange: bool) -> Value {
    let by_profile = json!({
        "type": "object",
        "description": "The members of the profile's answer, such as `token`, `tokenType`, `expiresIn`, `expiresAt` and `refreshAfter`.",
    });
    let exchanged = json!({
        "type": "object",
        "description": "RFC 8693 section 2.2.1",
        "required": ["access_token", "issued_token_type", "token_type", "expires_in"],
        "properties": {
            "access_token": { "type": "string" },
            "issued_token_type": { "enum": ISSUED_TYPES },
            "token_type": { "const": "Bearer" },
            "expires_in": { "type": "integer" },
            "scope": { "type": "string" },
        },
    });
    let schema = if exchange {
        json!({ "anyOf": [exchanged, by_profile] })
    } else {
        by_profile
    };
    let bare = json!({ "schema": { "type": "string", "description": "The token alone" } });
    json!({
        "description": "The token",
        "headers": { "Cache-Control": header("no-store"), "X-Request-Id": header("The request in the log") },
        "content": { JSON: { "schema": schema }, "application/jwt": bare, "text/plain": bare },
    })
}

fn header(description: &str) -> Value {
    json!({ "description": description, "schema": { "type": "string" } })
}

fn app_parameter() -> Value {
    json!({ "name": "app", "in": "path", "required": true, "description": "The app's name in the configuration", "schema": { "type": "string" } })
}

fn accept_parameter() -> Value {
    json!({
        "name": "Accept", "in": "header", "required": false,
        "description": "application/jwt or text/plain gets the bare token",
        "schema": { "type": "string" },
    })
}

fn request_id_parameter() -> Value {
    json!({
        "name": "X-Request-Id", "in": "header", "required": false,
        "description": "Taken over where it has 1 to 128 letters, digits, `-`, `_`, `.` and `:`",
        "schema": { "type": "string" },
    })
}

fn text(max: u32, description: &str) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": max,
        "description": format!("{description}; at most {max} bytes, without control characters and without white space at its ends"),
    })
}

fn request_schema() -> Value {
    let both = |a: &str, b: &str| json!({ "not": { "required": [a, b] } });
    let roles = json!({ "type": "array", "maxItems": 30, "items": text(80, "A role that the caller may give") });
    let email = text(254, "The user's email address");
    let user = text(200, "The user's ID; required unless anonymous");
    let client = text(200, "The app's client ID");
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "app": text(64, "Which app; may be left out when the caller has one"),
            "attributes": { "type": "object", "description": "Values for the profile's `user.attributes.NAME`" },
            "clientId": client, "tenantId": client,
            "userEmail": email, "email": email,
            "userId": user, "identity": user,
            "isAnonymous": { "type": "boolean", "description": "Only where the profile carries it" },
            "plan": text(80, "A plan that the caller may give"),
            "userRoles": roles, "roles": roles,
            "ttl": { "type": "integer", "minimum": 1, "description": "Seconds; never lowered in silence" },
        },
        "allOf": [
            both("clientId", "tenantId"), both("userEmail", "email"), both("userId", "identity"), both("userRoles", "roles"),
        ],
    })
}

fn exchange_schema() -> Value {
    json!({
        "type": "object",
        "required": ["grant_type", "subject_token", "subject_token_type"],
        "properties": {
            "grant_type": { "const": GRANT_TYPE },
            "subject_token": { "type": "string", "minLength": 1, "description": "The user's own JWT" },
            "subject_token_type": { "enum": SUBJECT_TYPES },
            "audience": { "type": "string", "description": "The app's name or client ID" },
            "resource": { "type": "string", "description": "The audience of the app's tokens" },
            "requested_token_type": { "enum": ISSUED_TYPES },
            "scope": { "type": "string", "description": "Where the profile uses it; each allowed by the caller's `scopes`" },
            "client_id": { "type": "string", "description": "The caller's name, without an Authorization header" },
            "client_secret": { "type": "string", "description": "The caller's key, without an Authorization header" },
        },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "detail", "code", "requestId", "errors"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "For people" },
            "code": { "type": "string", "description": "For programs" },
            "requestId": { "type": "string", "description": "For the log" },
            "errors": { "type": "array", "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": { "type": "string", "description": "A JSON Pointer (RFC 6901) into the request" },
                    "detail": { "type": "string" },
                    "msg": { "type": "string", "description": "For SDKs that show it" },
                    "code": { "type": "integer" },
                },
            } },
        },
    })
}

fn oauth_error_schema() -> Value {
    json!({
        "type": "object",
        "description": "RFC 6749 section 5.2",
        "required": ["error", "error_description"],
        "properties": { "error": { "type": "string" }, "error_description": { "type": "string" } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Asked;

    fn codes(status: &str) -> Value {
        let document = openapi();
        document["paths"]["/token"]["post"]["responses"][status]["content"][PROBLEM]["schema"]
            ["allOf"][1]["properties"]["code"]["enum"]
            .clone()
    }

    #[test]
    fn the_codes_of_a_status_are_those_of_the_failures() {
        assert_eq!(codes("401"), json!(["invalid_client"]));
        assert_eq!(codes("400"), json!(["invalid_request", "token_too_large"]));
        assert_eq!(
            codes("403"),
            json!([
                "app_not_allowed",
                "attribute_not_allowed",
                "https_required",
                "plan_not_allowed",
                "role_not_allowed",
                "tenant_mismatch",
                "ttl_too_long"
            ])
        );
        assert_eq!(
            codes("503"),
            json!([
                "limits_unavailable",
                "overloaded",
                "session_unavailable",
                "shutting_down"
            ])
        );
    }

    #[test]
    fn every_member_of_a_request_is_described_and_no_other() {
        let schema = request_schema();
        let mut described: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        described.sort();
        assert_eq!(described, Asked::MEMBERS);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
