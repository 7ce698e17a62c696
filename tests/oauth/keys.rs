//! Public keys and metadata as verifiers and OAuth clients fetch them.

use axum::http::Method;
use serde_json::{Value, json};
use signet::clock::Timestamp;

use super::support::{NOW, harness, try_harness};

const ALL: &str = "/.well-known/jwks.json";
const METADATA: &str = "/.well-known/oauth-authorization-server";

fn ids(set: &Value) -> Vec<&str> {
    let keys = set["keys"].as_array().expect("a set");
    keys.iter()
        .map(|key| key["kid"].as_str().expect("a name"))
        .collect()
}

#[tokio::test]
async fn every_apps_public_keys_are_published_and_nothing_that_is_secret() {
    let signet = harness("");
    let answer = signet.get(ALL, &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/jwk-set+json")
    );
    let set = answer.json();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        assert_eq!(key["use"], "sig");
        for secret in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert_eq!(key.get(secret), None);
        }
    }
    assert_eq!(keys[0]["alg"], "ES256");
    assert_eq!(ids(&set)[1], "other-1");

    let own = signet.get("/apps/other/jwks.json", &[]).await.json();
    assert_eq!(own["keys"], json!([keys[1]]));
    let symmetric = signet.get("/apps/plain/jwks.json", &[]).await;
    assert_eq!(symmetric.json(), json!({ "keys": [] }));
}

#[tokio::test]
async fn a_copy_may_be_kept_for_five_minutes_by_anybody_and_is_renewed_by_its_tag() {
    let signet = harness("");
    for path in [ALL, "/apps/acme/jwks.json", METADATA] {
        let origin = ("origin", "https://anywhere.example.com");
        let first = signet.get(path, &[origin]).await;
        assert_eq!(first.status, 200, "{path}");
        assert_eq!(first.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(first.header("pragma"), None);
        assert_eq!(first.header("access-control-allow-origin"), Some("*"));
        assert_eq!(first.header("access-control-allow-credentials"), None);
        assert_eq!(first.header("vary"), None);
        let tag = first.header("etag").unwrap();
        let again = signet.get(path, &[origin, ("if-none-match", tag)]).await;
        assert_eq!((again.status.as_u16(), &*again.body), (304, ""));
        assert_eq!(again.header("etag"), Some(tag));
        assert_eq!(again.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(again.header("access-control-allow-origin"), Some("*"));

        let head = signet.ask(Method::HEAD, path, &[]).await;
        assert_eq!((head.status.as_u16(), &*head.body), (200, ""));
        let preflight = [
            origin,
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "if-none-match"),
        ];
        let preflight = signet.ask(Method::OPTIONS, path, &preflight).await;
        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn refusals_are_never_kept() {
    let signet = harness("");
    let unknown = signet.get("/apps/nobody/jwks.json", &[]).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.header("cache-control"), Some("no-store"));
    let post = signet.ask(Method::POST, ALL, &[]).await;
    assert_eq!(post.status, 405);
    assert_eq!(post.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_until_its_last_token_has_expired() {
    let signet = harness(
        r#"
[apps.rotating]
profile = "oauth"
client_id = "cs-rotating"
audience = "https://rotating.example.com"
algorithm = "RS256"
token_ttl = "10m"
[[apps.rotating.keys]]
id = "old"
private_key = { file = "KEYS/rsa2048.pkcs8.pem" }
[[apps.rotating.keys]]
id = "new"
private_key = { file = "KEYS/rsa2048.pkcs1.pem" }
activate_at = "2025-11-20T15:00:00Z"
"#,
    );
    let switch = 1_763_650_800;
    for (now, expected) in [
        (NOW, &["old", "new"][..]),
        (switch + 599, &["old", "new"]),
        (switch + 600, &["new"]),
    ] {
        signet.clock.set(Timestamp::from_seconds(now));
        let set = signet.get("/apps/rotating/jwks.json", &[]).await.json();
        assert_eq!(ids(&set), expected, "{now}");
    }
}

#[tokio::test]
async fn two_public_keys_of_one_name_are_refused() {
    let config = include_str!("oauth.toml").replace(
        "algorithm = \"ES256\"",
        "algorithm = \"ES256\"\nkey_id = \"other-1\"",
    );
    let problems = try_harness(&config).err().unwrap();
    assert!(
        problems.contains(
            "its public key is called `other-1`, like one of apps.acme; leave its name out, or give it another"
        ),
        "{problems}"
    );
}

#[tokio::test]
async fn metadata_says_what_an_oauth_client_needs() {
    let metadata = harness("").get(METADATA, &[]).await;
    assert_eq!(
        metadata.json(),
        json!({
            "issuer": "https://tokens.example.com",
            "token_endpoint": "https://tokens.example.com/token",
            "jwks_uri": "https://tokens.example.com/.well-known/jwks.json",
            "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "response_types_supported": [],
        })
    );
}

#[tokio::test]
async fn without_a_public_url_there_is_no_metadata() {
    let signet = try_harness(
        r#"
[server]
require_https = false
[apps.plain]
profile = "support-widget"
client_id = "ten_acme"
secret = { env = "WIDGET_SECRET" }
[callers.shop]
key = { env = "SHOP_KEY" }
apps = ["plain"]
"#,
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(signet.get(METADATA, &[]).await.status, 404);
}
