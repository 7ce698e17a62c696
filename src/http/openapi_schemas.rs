//! The schemas of the OpenAPI document: what a request may hold and what an answer does.
//!
//! JSON Schema counts characters where the rules count bytes; the descriptions say so.

use serde_json::{Map, Value, json};

use super::exchange::{GRANT_TYPE, ISSUED_TYPES, SUBJECT_TYPES};

/// The characters that no string holds, as a part of an ECMA-262 character class with its `u` flag.
const FORBIDDEN: &str = r"\p{Cc}\p{Cf}\p{Zl}\p{Zp}";
/// ASCII that no part of a host name holds, in the same form; the hyphen stands apart.
const NO_HOST: &str = r"\x00-,./:-@\[-`{-\x7f";
/// RFC 6749 section 3.3: what a scope's name is made of.
const SCOPE: &str = r"[!#-\[\]-~]";

/// The schemas that the document refers to by name.
pub(super) fn components() -> Value {
    json!({
        "AttributeValue": attribute_schema(),
        "OAuthError": oauth_error_schema(),
        "Problem": problem_schema(),
        "TokenRequest": request_schema(),
    })
}

/// The JSON body of `POST /token`.
pub(super) fn request_schema() -> Value {
    let both = |a: &str, b: &str| json!({ "not": { "required": [a, b] } });
    let roles = json!({ "type": "array", "maxItems": 30, "items": text(80, "A role that the caller may give") });
    let email = email("The user's email address");
    let user = text(200, "The user's ID; required unless anonymous");
    let client = text(200, "The app's client ID");
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "app": text(64, "Which app; may be left out when the caller has one"),
            "attributes": {
                "description": "Values for the profile's `user.attributes.NAME`",
                "type": "object",
                "maxProperties": 64,
                "propertyNames": text(64, "A name"),
                "additionalProperties": { "$ref": "#/components/schemas/AttributeValue" },
            },
            "clientId": client, "tenantId": client,
            "userEmail": email, "email": email,
            "userId": user, "identity": user,
            "isAnonymous": { "type": "boolean", "description": "Only where the profile carries it" },
            "plan": text(80, "A plan that the caller may give"),
            "userRoles": roles, "roles": roles,
            "ttl": {
                "type": "integer", "minimum": 1, "maximum": i64::MAX,
                "description": "Seconds, written without a fraction or an exponent, more than the app's `backdate`; never lowered in silence",
            },
        },
        "anyOf": [
            { "required": ["userId"] },
            { "required": ["identity"] },
            { "required": ["isAnonymous"], "properties": { "isAnonymous": { "const": true } } },
        ],
        "allOf": [
            both("clientId", "tenantId"), both("userEmail", "email"), both("userId", "identity"), both("userRoles", "roles"),
        ],
    })
}

/// A value of `attributes`, and what stands in it.
fn attribute_schema() -> Value {
    let inner = json!({ "$ref": "#/components/schemas/AttributeValue" });
    json!({
        "description": "No null anywhere, and no number that loses digits",
        "anyOf": [
            text(1000, "A text"),
            { "type": "boolean" },
            { "type": "integer", "minimum": i64::MIN, "maximum": u64::MAX },
            { "type": "number", "exclusiveMinimum": -9_007_199_254_740_992_i64, "exclusiveMaximum": 9_007_199_254_740_992_i64 },
            { "type": "array", "maxItems": 64, "items": inner },
            { "type": "object", "maxProperties": 64, "propertyNames": text(64, "A name"), "additionalProperties": inner },
        ],
    })
}

/// The form of `POST /token`: RFC 8693 section 2.1.
pub(super) fn exchange_schema() -> Value {
    let or_absent: Vec<_> = std::iter::once(&"").chain(ISSUED_TYPES).collect();
    json!({
        "type": "object",
        "description": "Each parameter once; those that nobody knows are ignored, and an empty one is absent",
        "required": ["grant_type", "subject_token", "subject_token_type"],
        "properties": {
            "grant_type": { "const": GRANT_TYPE },
            "subject_token": { "type": "string", "minLength": 1, "description": "The user's own JWT" },
            "subject_token_type": { "enum": SUBJECT_TYPES },
            "audience": { "type": "string", "description": "The app's name or client ID" },
            "resource": { "type": "string", "description": "The audience of the app's tokens" },
            "requested_token_type": { "enum": or_absent },
            "scope": {
                "type": "string", "maxLength": 1000, "pattern": format!("^({SCOPE}+( {SCOPE}+)*)?$"),
                "description": "Where the profile uses it; each allowed by the caller's `scopes`",
            },
            "client_id": { "type": "string", "description": "The caller's name, without an Authorization header" },
            "client_secret": { "type": "string", "description": "The caller's key, without an Authorization header" },
            "actor_token": { "const": "", "description": "The authenticated caller is the actor" },
            "actor_token_type": { "const": "" },
        },
    })
}

/// What a browser's body says of the session, as JSON and as a form. All of it is only compared.
pub(super) fn said_schemas() -> (Value, Value) {
    let schema = |text: Value, anonymous: Value| {
        let named = |description: &str| {
            let mut member = text.clone();
            member["description"] = description.into();
            member
        };
        json!({
            "type": "object",
            "description": "What is known here is only compared; other members are ignored, and empty ones are absent",
            "properties": {
                "clientId": named("The app's client ID"),
                "tenantId": named("Another name of `clientId`"),
                "identity": named("The user's ID or email address"),
                "userId": named("Another name of `identity`"),
                "clientSecret": named("Never used; take it out of the page"),
                "aud": named("The app's audience"),
                "isAnonymous": anonymous,
            },
            "allOf": [
                { "not": { "required": ["clientId", "tenantId"] } },
                { "not": { "required": ["identity", "userId"] } },
            ],
        })
    };
    let form = json!({ "enum": ["true", "false", "1", "0", ""] });
    let json = json!({ "enum": [true, false, null, 1, 0, "true", "false", "1", "0", ""] });
    (
        schema(json!({ "type": ["string", "null"] }), json),
        schema(json!({ "type": "string" }), form),
    )
}

/// The answer with a token: RFC 8693's where an exchange is possible, else the profile's alone.
pub(super) fn issued_schema(exchange: bool) -> Value {
    let by_profile = json!({
        "type": "object",
        "description": "The members of the profile's answer, such as `token`, `tokenType`, `expiresIn`, `expiresAt` and `refreshAfter`.",
    });
    if !exchange {
        return by_profile;
    }
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
    json!({ "anyOf": [exchanged, by_profile] })
}

/// RFC 7517.
pub(super) fn key_set_schema() -> Value {
    json!({
        "type": "object",
        "required": ["keys"],
        "properties": { "keys": { "type": "array", "items": {
            "type": "object",
            "required": ["kty", "kid", "alg", "use"],
            "properties": { "kty": { "enum": ["EC", "OKP", "RSA"] }, "use": { "const": "sig" } },
        } } },
    })
}

/// RFC 8414 section 2.
pub(super) fn metadata_schema() -> Value {
    let names = json!({ "type": "array", "items": { "type": "string" } });
    let mut properties = Map::new();
    for name in ["issuer", "token_endpoint", "jwks_uri"] {
        properties.insert(
            name.to_owned(),
            json!({ "type": "string", "format": "uri" }),
        );
    }
    for name in [
        "grant_types_supported",
        "response_types_supported",
        "token_endpoint_auth_methods_supported",
    ] {
        properties.insert(name.to_owned(), names.clone());
    }
    let required: Vec<_> = properties.keys().cloned().collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn text(max: u32, description: &str) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": max,
        "pattern": format!(r"^[^{FORBIDDEN}\s]([^{FORBIDDEN}]*[^{FORBIDDEN}\s])?$"),
        "description": format!("{description}; at most {max} bytes of UTF-8"),
    })
}

fn email(description: &str) -> Value {
    let local = format!(r#"[^{FORBIDDEN}\s@"(),:;<>\[\]\\]{{1,64}}"#);
    let end = format!(r"[^\-{NO_HOST}{FORBIDDEN}\s]");
    let middle = format!(r"[^{NO_HOST}{FORBIDDEN}\s]");
    let label = format!("{end}({middle}{{0,61}}{end})?");
    json!({
        "type": "string", "minLength": 3, "maxLength": 254,
        "pattern": format!(r"^{local}@{label}(\.{label})*$"),
        "description": format!("{description}; at most 254 bytes of UTF-8, 64 before the `@` and 63 between dots"),
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

    #[test]
    fn every_member_of_a_request_is_described_and_no_other() {
        let schema = request_schema();
        let mut described: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        described.sort();
        assert_eq!(described, Asked::MEMBERS);
    }
}
