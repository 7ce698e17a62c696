//! The public port as an OpenAPI 3.1 document: statuses and codes come from the one match over failures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::error::{ErrorForm, Failure, every_denial};
use super::openapi_schemas;
use crate::limits::{Exceeded, LimitName, Quota};
use crate::token::DenialCode;

const PROBLEM: &str = "application/problem+json";
const JSON: &str = "application/json";
/// OpenAPI keeps `Accept` out of a document's parameters.
const BARE: &str =
    "`Accept: application/jwt` or `text/plain` gets the bare token in place of JSON.";
const FORM: &str = "application/x-www-form-urlencoded";

/// The document.
#[must_use]
pub fn openapi() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "signet",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Issues short-lived JWTs to embedded chat widgets and bots. Another path is answered with 404, \
                            another method with 405 and Allow; HEAD does wherever GET does.",
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
            "schemas": openapi_schemas::components(),
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
        Failure::AuditUnavailable,
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
        Failure::AuditUnavailable,
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
        "description": format!(
            "JSON for a token of a user whom the backend names; a form for a token exchange (RFC 8693), whose client may \
             prove itself by `client_id` and `client_secret` instead of an Authorization header. {BARE}"
        ),
        "security": [{ "callersKey": [] }, { "callersNameAndKey": [] }],
        "parameters": [request_id_parameter()],
        "requestBody": {
            "required": true,
            "content": {
                JSON: { "schema": { "$ref": "#/components/schemas/TokenRequest" } },
                FORM: { "schema": openapi_schemas::exchange_schema() },
            },
        },
        "responses": responses,
    })
}

fn browser_token(id: &str, has_body: bool) -> Value {
    let mut failures = everywhere();
    failures.extend([
        Failure::AuditUnavailable,
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
        "description": format!("Who the user is comes from the session alone; what the body says must agree with it. {BARE}"),
        "security": [],
        "parameters": [request_id_parameter()],
        "responses": responses,
    });
    if has_body {
        let (said_json, said) = openapi_schemas::said_schemas();
        operation["requestBody"] = json!({
            "required": false,
            "content": { JSON: { "schema": said_json }, FORM: { "schema": said } },
        });
    }
    operation
}

fn jwks(id: &str, summary: &str, more: &[Failure]) -> Value {
    let set = openapi_schemas::key_set_schema();
    public_document(id, summary, "application/jwk-set+json", set, more)
}

fn metadata() -> Value {
    let schema = openapi_schemas::metadata_schema();
    let summary =
        "What OAuth clients can find out by themselves (RFC 8414); 404 without `server.public_url`";
    public_document("metadata", summary, JSON, schema, &[Failure::NotFound])
}

fn public_document(id: &str, summary: &str, kind: &str, schema: Value, more: &[Failure]) -> Value {
    let mut failures = everywhere();
    failures.extend_from_slice(more);
    let mut responses = responses(&failures, ErrorForm::Problem);
    let mut headers: Map<_, _> = of_every_answer().collect();
    let kept = [
        ("ETag", "What to send as If-None-Match"),
        ("Cache-Control", "How long a copy may be kept"),
    ];
    for (name, description) in kept {
        let mut header = header(description);
        header["required"] = true.into();
        headers.insert(name.to_owned(), header);
    }
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
        json!({
            "description": "The service answers",
            "headers": of_every_answer().collect::<Map<_, _>>(),
            "content": body,
        }),
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
    let mut by_status: BTreeMap<u16, Vec<&Failure>> = BTreeMap::new();
    for failure in failures {
        let (status, _) = failure.summary(form);
        by_status.entry(status).or_default().push(failure);
    }
    by_status
        .into_iter()
        .map(|(status, failures)| {
            let code = |failure: &&Failure| failure.summary(form).1;
            let mut codes: Vec<_> = failures.iter().map(code).collect();
            codes.sort_unstable();
            codes.dedup();
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
                "headers": headers(&failures, form),
                "content": { kind: { "schema": schema } },
            });
            (status.to_string(), response)
        })
        .collect()
}

/// The headers of these failures, required where each of them has it.
fn headers(failures: &[&Failure], form: ErrorForm) -> Map<String, Value> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for failure in failures {
        for name in failure.render("", form).headers().keys() {
            *counts.entry(name.as_str().to_owned()).or_default() += 1;
        }
    }
    counts.remove("content-type");
    let named = counts.into_iter().map(|(name, count)| {
        let (name, mut described) = described(&name);
        described["required"] = (count == failures.len()).into();
        (name.to_owned(), described)
    });
    named.chain(of_every_answer()).collect()
}

/// A header by its name in lower case: its usual spelling and what it holds.
fn described(name: &str) -> (&str, Value) {
    match name {
        "ratelimit" => (
            "RateLimit",
            header("The limit that is spent and the seconds until one more passes"),
        ),
        "ratelimit-policy" => ("RateLimit-Policy", header("The limit")),
        "retry-after" => (
            "Retry-After",
            json!({ "description": "In seconds", "schema": { "type": "integer", "minimum": 1 } }),
        ),
        "www-authenticate" => ("WWW-Authenticate", header("How a caller proves itself")),
        other => (other, header("")),
    }
}

/// What the envelope puts on every answer that nobody may keep.
fn of_every_answer() -> impl Iterator<Item = (String, Value)> {
    [
        ("Cache-Control", json!({ "const": "no-store" })),
        (
            "X-Request-Id",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$" }),
        ),
    ]
    .into_iter()
    .map(|(name, schema)| {
        (
            name.to_owned(),
            json!({ "required": true, "schema": schema }),
        )
    })
}

/// Adds the second form of an error to the responses that have a first.
fn merge(responses: &mut Map<String, Value>, others: Map<String, Value>) {
    for (status, mut other) in others {
        let Some(response) = responses.get_mut(&status) else {
            responses.insert(status, other);
            continue;
        };
        response["content"][JSON] = other["content"][JSON].take();
        let (Some(headers), Some(more)) = (
            response["headers"].as_object_mut(),
            other["headers"].as_object_mut(),
        ) else {
            continue;
        };
        // What one form lacks isn't on every answer of this status.
        for (name, header) in headers.iter_mut() {
            if !more.contains_key(name) {
                header["required"] = false.into();
            }
        }
        for (name, mut header) in std::mem::take(more) {
            if !headers.contains_key(&name) {
                header["required"] = false.into();
                headers.insert(name, header);
            }
        }
    }
}

fn issued(exchange: bool) -> Value {
    let schema = openapi_schemas::issued_schema(exchange);
    let bare = json!({ "schema": { "type": "string", "description": "The token alone" } });
    json!({
        "description": "The token",
        "headers": of_every_answer().collect::<Map<_, _>>(),
        "content": { JSON: { "schema": schema }, "application/jwt": bare, "text/plain": bare },
    })
}

fn header(description: &str) -> Value {
    json!({ "description": description, "schema": { "type": "string" } })
}

fn app_parameter() -> Value {
    json!({ "name": "app", "in": "path", "required": true, "description": "The app's name in the configuration", "schema": { "type": "string" } })
}

fn request_id_parameter() -> Value {
    json!({
        "name": "X-Request-Id", "in": "header", "required": false,
        "description": "Taken over where it has 1 to 128 letters, digits, `-`, `_`, `.` and `:`",
        "schema": { "type": "string" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "audit_unavailable",
                "limits_unavailable",
                "overloaded",
                "session_unavailable",
                "shutting_down"
            ])
        );
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
