//! Callers without a shared key: proved by the token that their platform gives them.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::support::{
    Answer, GRANT, Harness, JWT, NOW, SHOP_KEY, claims, harness, signed_with, subject_token,
    workload_token,
};

const SUBJECT: &str = "system:serviceaccount:shop:web";

const PODS: &str = r#"
[callers.web]
apps = ["plain", "acme"]
roles = ["user"]
[callers.web.oidc]
issuer = "https://kubernetes.example.com"
audience = "https://tokens.example.com"
jwks_file = "jwks.json"
algorithms = ["ES256"]
claims = { sub = "system:serviceaccount:shop:web" }

[callers.batch]
apps = ["plain"]
[callers.batch.oidc]
issuer = "https://kubernetes.example.com"
audience = "https://tokens.example.com"
jwks_file = "jwks.json"
algorithms = ["ES256"]
claims = { sub = "system:serviceaccount:shop:batch" }
"#;

fn token(changes: &Value) -> String {
    let mut claims = json!({
        "iss": "https://kubernetes.example.com",
        "aud": ["https://tokens.example.com"],
        "sub": SUBJECT,
        "exp": NOW + 600,
    });
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    workload_token(&claims)
}

async fn ask(signet: &Harness, token: &str) -> Answer {
    let request = Request::post("/token")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(r#"{"app":"plain","userId":"usr_1"}"#));
    signet.send(request.expect("a request")).await
}

#[tokio::test]
async fn a_service_account_is_the_caller_that_its_claims_name() {
    let signet = harness(PODS);
    for token in [
        token(&json!({})),
        token(&json!({ "sub": "system:serviceaccount:shop:batch" })),
    ] {
        let answer = ask(&signet, &token).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let issued = answer.json();
        assert_eq!(claims(issued["token"].as_str().unwrap())["userId"], "usr_1");
    }
    // A key proves its caller as before.
    assert_eq!(ask(&signet, SHOP_KEY).await.status, 200);
}

#[tokio::test]
async fn it_may_exchange_tokens_too() {
    let signet = harness(PODS);
    let subject = subject_token(&json!({}));
    let form = [
        ("grant_type", GRANT),
        ("subject_token", &*subject),
        ("subject_token_type", JWT),
        ("audience", "acme"),
    ];
    let bearer = format!("Bearer {}", token(&json!({})));
    let answer = signet.form(Some(&bearer), &form).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_token_of_the_wrong_issuer_audience_subject_time_or_signature_proves_nobody() {
    let signet = harness(PODS);
    for (what, token) in [
        (
            "issuer",
            token(&json!({ "iss": "https://evil.example.com" })),
        ),
        (
            "audience",
            token(&json!({ "aud": "https://other.example.com" })),
        ),
        (
            "subject",
            token(&json!({ "sub": "system:serviceaccount:evil:web" })),
        ),
        ("subject's type", token(&json!({ "sub": [SUBJECT] }))),
        ("expiry", token(&json!({ "exp": NOW }))),
        (
            "algorithm",
            signed_with(
                "Vd8k2mQz7LpT4wY8sBnC6dFgH3jK5aEr",
                &json!({
                    "iss": "https://kubernetes.example.com", "aud": "https://tokens.example.com", "sub": SUBJECT,
                }),
            ),
        ),
        (
            "signature",
            format!("{}AAAA", &token(&json!({}))[..token(&json!({})).len() - 4]),
        ),
    ] {
        let answer = ask(&signet, &token).await;
        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(answer.json()["code"], "invalid_client", "{what}");
    }
    // Each of them counted as a failure.
    for _ in 0..3 {
        assert_eq!(ask(&signet, "a.b.c").await.status, 401);
    }
    assert_eq!(ask(&signet, &token(&json!({}))).await.status, 429);
}

#[tokio::test]
async fn a_token_that_proves_two_callers_proves_none() {
    let twin = PODS.replace(":batch", ":web");
    let answer = ask(&harness(&twin), &token(&json!({}))).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn while_the_issuers_keys_can_not_be_had_the_answer_is_503() {
    // A port of this machine on which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let url = format!("jwks_url = \"http://{address}/jwks\"");
    let signet = harness(&PODS.replace("jwks_file = \"jwks.json\"", &url));
    let answer = ask(&signet, &token(&json!({}))).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.json()["code"], "session_unavailable");
    assert!(answer.header("retry-after").is_some());
    // Who has a key needs no issuer.
    assert_eq!(ask(&signet, SHOP_KEY).await.status, 200);
}
