//! The protocol against a stand-in that answers in the shape that Vault documents and RustyVault was seen to give.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::secrets::{Secret, Variables};

const ENTRY: &str = "GET /v1/kv/data/acme";
const LOGIN: &str = "POST /v1/auth/approle/login";
const LOOK_UP: &str = "GET /v1/auth/token/lookup-self";
const RENEW: &str = "POST /v1/auth/token/renew-self";

/// A stand-in for Vault: says at each place what it was told to say there.
#[derive(Clone)]
struct Stand {
    address: SocketAddr,
    says: Arc<Mutex<HashMap<String, Says>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
enum Says {
    Nothing,
    This(u16, String),
}

struct Asked {
    place: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Stand {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand = Self {
            address: listener.local_addr().unwrap(),
            says: Arc::default(),
            asked: Arc::default(),
        };
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(stand.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stand
            .says(LOOK_UP, 200, token_state(0, false))
            .says(ENTRY, 200, entry(&json!({"secret": "hunter2"})))
            .says(LOGIN, 200, auth("s.first", 3600))
    }

    /// From now on `place` is answered so.
    fn says(self, place: &str, status: u16, body: Value) -> Self {
        let says = Says::This(status, body.to_string());
        self.says.lock().unwrap().insert(place.to_owned(), says);
        self
    }

    fn says_text(self, place: &str, status: u16, body: &str) -> Self {
        let says = Says::This(status, body.to_owned());
        self.says.lock().unwrap().insert(place.to_owned(), says);
        self
    }

    fn hangs(self, place: &str) -> Self {
        self.says
            .lock()
            .unwrap()
            .insert(place.to_owned(), Says::Nothing);
        self
    }

    fn server(&self, login: VaultLogin) -> VaultServer {
        VaultServer {
            address: format!("http://{}", self.address).parse().unwrap(),
            namespace: None,
            ca: None,
            login,
        }
    }

    /// The secret, for whoever has the token in the variable.
    fn secret(&self) -> VaultSecret {
        secret_of(self.server(VaultLogin::Token(variable("TOKEN"))))
    }

    /// The secret, for whoever logs in as a role.
    fn role_secret(&self) -> VaultSecret {
        secret_of(self.server(VaultLogin::AppRole {
            mount: "approle".to_owned(),
            role_id: variable("ROLE_ID"),
            secret_id: variable("SECRET_ID"),
        }))
    }

    /// How often `place` was asked.
    fn count(&self, place: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|it| it.place == place).count()
    }

    /// The tokens that came to `place`, in their order.
    fn tokens(&self, place: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let there = asked.iter().filter(|it| it.place == place);
        there
            .map(|it| it.headers["x-vault-token"].to_str().unwrap().to_owned())
            .collect()
    }
}

async fn answer(State(stand): State<Stand>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let place = format!("{} {}", parts.method, parts.uri);
    let body = axum::body::to_bytes(body, 65536).await.unwrap();
    stand.asked.lock().unwrap().push(Asked {
        place: place.clone(),
        headers: parts.headers,
        body,
    });
    let says = stand.says.lock().unwrap().get(&place).cloned();
    match says {
        Some(Says::Nothing) => std::future::pending().await,
        Some(Says::This(status, body)) => {
            let status = StatusCode::from_u16(status).unwrap();
            let to = [("location", "/v1/elsewhere")];
            (status, to, body).into_response()
        }
        None => (StatusCode::NOT_FOUND, r#"{"errors":[]}"#).into_response(),
    }
}

/// An entry as a KV store of version 2 shows it.
fn entry(fields: &Value) -> Value {
    json!({
        "request_id": "0b5a1f0e-6b38-6a8a-3f0e-4f3f9f0e6a3b", "lease_id": "", "renewable": false,
        "lease_duration": 0,
        "data": {
            "data": fields,
            "metadata": {
                "created_time": "2026-11-20T12:00:00.123456789Z", "custom_metadata": null,
                "deletion_time": "", "destroyed": false, "version": 3
            }
        },
        "wrap_info": null, "warnings": null, "auth": null, "mount_type": "kv"
    })
}

/// The entry as it is shown, with 404, when its version was deleted.
fn deleted() -> Value {
    let mut entry = entry(&Value::Null);
    entry["data"]["metadata"]["deletion_time"] = "2026-11-20T13:00:00.5Z".into();
    entry
}

fn auth(token: &str, lease_seconds: u64) -> Value {
    json!({
        "request_id": "5d8b8a0c-1c8f-7c37-b6a4-8f1f2f4b6c1d", "lease_id": "", "renewable": false,
        "lease_duration": 0, "data": null, "wrap_info": null, "warnings": null,
        "auth": {
            "client_token": token, "accessor": "hQ2v", "policies": ["default", "signet"],
            "token_policies": ["default", "signet"], "metadata": {"role_name": "signet"},
            "lease_duration": lease_seconds, "renewable": true, "entity_id": "", "token_type": "service",
            "orphan": true, "mfa_requirement": null, "num_uses": 0
        },
        "mount_type": ""
    })
}

fn token_state(ttl: u64, renewable: bool) -> Value {
    json!({
        "lease_id": "", "renewable": false, "lease_duration": 0, "auth": null,
        "data": {
            "id": "s.given", "display_name": "token", "num_uses": 0, "path": "auth/token/create",
            "policies": ["default"], "ttl": ttl, "renewable": renewable, "expire_time": null
        }
    })
}

fn refusal(text: &str) -> Value {
    json!({ "errors": [text] })
}

fn variable(name: &str) -> SecretName {
    SecretName::Env(name.to_owned())
}

fn secret_of(server: VaultServer) -> VaultSecret {
    VaultSecret {
        server: Arc::new(server),
        path: "kv/data/acme".to_owned(),
        field: "secret".to_owned(),
        version: None,
    }
}

fn variables() -> Variables {
    let given = [
        ("TOKEN", "s.given"),
        ("ROLE_ID", "role-1"),
        ("SECRET_ID", "s3cret-1"),
    ];
    Variables::Given(BTreeMap::from(
        given.map(|(name, text)| (name.to_owned(), Secret::from(text))),
    ))
}

/// Reads it in a visit of its own.
async fn read(vaults: &Vaults, secret: &VaultSecret) -> Result<String, VaultError> {
    let variables = variables();
    let visit = Visit::new(vaults, &variables).with_patience(Duration::from_millis(500));
    let read = visit.read(secret).await?;
    Ok(String::from_utf8(read.expose().to_vec()).unwrap())
}

async fn renew(vaults: &Vaults) {
    let variables = variables();
    let visit = Visit::new(vaults, &variables).with_patience(Duration::from_millis(500));
    visit.renew().await;
}

#[tokio::test]
async fn a_field_is_read_as_the_api_wants_it() {
    let stand = Stand::new().await.says(
        "GET /base/v1/team%20a/kv/data/acme/chat?version=3",
        200,
        entry(&json!({"other": 1, "signing key": "a\nb\u{e9}\"", "list": [{"a": [true, null, 1.5]}]})),
    ).says("GET /base/v1/auth/token/lookup-self", 200, token_state(0, false));
    let mut server = stand.server(VaultLogin::Token(variable("TOKEN")));
    server.address = format!("http://{}/base/", stand.address).parse().unwrap();
    server.namespace = Some("team-a/chat".to_owned());
    let secret = VaultSecret {
        path: "team a/kv/data/acme/chat".to_owned(),
        field: "signing key".to_owned(),
        version: Some(3),
        ..secret_of(server)
    };
    let secret = read(&Vaults::default(), &secret).await.unwrap();
    assert_eq!(secret, "a\nb\u{e9}\"");
    let asked = stand.asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    for asked in &*asked {
        let header = |name| asked.headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(header("x-vault-request"), "true");
        assert_eq!(header("x-vault-namespace"), "team-a/chat");
        assert_eq!(header("x-vault-token"), "s.given");
    }
}

#[tokio::test]
async fn every_refusal_has_its_error_which_repeats_nothing() {
    for (status, body, expected) in [
        (
            200,
            entry(&json!({"other": "hunter2"})),
            VaultError::NoField,
        ),
        (200, entry(&json!({"secret": 12})), VaultError::NotText),
        (200, entry(&json!({"secret": null})), VaultError::NotText),
        (
            200,
            entry(&json!({"secret": ["hunter2"]})),
            VaultError::NotText,
        ),
        (
            200,
            entry(&json!({"secret": {"hunter2": "hunter2"}})),
            VaultError::NotText,
        ),
        // A KV store of version 1.
        (
            200,
            json!({"data": {"secret": "hunter2"}}),
            VaultError::Unclear,
        ),
        (
            200,
            json!({"data": {"data": {"secret": "hunter2"}}}),
            VaultError::Unclear,
        ),
        (200, json!("hunter2"), VaultError::Unclear),
        (307, refusal("hunter2"), VaultError::Answered(307)),
        (400, refusal("hunter2"), VaultError::Answered(400)),
        (
            403,
            refusal("permission denied: hunter2"),
            VaultError::Forbidden,
        ),
        (404, json!({"errors": []}), VaultError::Missing),
        (404, deleted(), VaultError::Deleted),
        (
            429,
            refusal("request path \"hunter2\": rate limit quota exceeded"),
            VaultError::Throttled,
        ),
        (
            500,
            refusal("1 error occurred: hunter2"),
            VaultError::Answered(500),
        ),
        (503, refusal("Vault is sealed: hunter2"), VaultError::Sealed),
    ] {
        let stand = Stand::new().await.says(ENTRY, status, body.clone());
        let error = read(&Vaults::default(), &stand.secret()).await.unwrap_err();
        assert_eq!(error, expected, "{status} {body}");
        let told = error.to_string();
        for secret in ["hunter2", "s.given", "acme", "secret\"", "127.0.0.1"] {
            assert!(!told.contains(secret), "{told}");
        }
        assert_eq!(
            stand.count("GET /v1/elsewhere"),
            0,
            "a redirect is not followed"
        );
    }
    let stand =
        Stand::new()
            .await
            .says_text(ENTRY, 200, "{\"data\":{\"data\":{\"secret\":\"hunter2");
    let cut = read(&Vaults::default(), &stand.secret()).await;
    assert_eq!(cut, Err(VaultError::Unclear));
    let long = entry(&json!({"secret": "x".repeat(70_000)}));
    let stand = Stand::new().await.says(ENTRY, 200, long);
    let long = read(&Vaults::default(), &stand.secret()).await;
    assert_eq!(long, Err(VaultError::Unclear));
}

#[tokio::test]
async fn a_vault_that_hangs_or_is_away_is_left_in_time() {
    for place in [ENTRY, LOOK_UP] {
        let stand = Stand::new().await.hangs(place);
        let slow = read(&Vaults::default(), &stand.secret()).await;
        assert_eq!(slow, Err(VaultError::TooSlow), "{place}");
    }
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut secret = Stand::new().await.secret();
    let mut server = (*secret.server).clone();
    server.address = format!("http://{}", gone.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(gone);
    secret.server = Arc::new(server);
    let error = read(&Vaults::default(), &secret).await.unwrap_err();
    assert!(matches!(error, VaultError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_role_and_a_service_account_log_in_with_what_they_have() {
    let stand = Stand::new().await;
    assert_eq!(
        read(&Vaults::default(), &stand.role_secret())
            .await
            .unwrap(),
        "hunter2"
    );
    assert_eq!(stand.tokens(ENTRY), ["s.first"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "eyJ.service.account\n").unwrap();
    let stand = stand.says("POST /v1/auth/clusters/one/login", 200, auth("s.pod", 60));
    let secret = secret_of(stand.server(VaultLogin::Kubernetes {
        mount: "clusters/one".to_owned(),
        role: "signet".to_owned(),
        jwt: SecretName::File(file.path().to_owned()),
    }));
    assert_eq!(read(&Vaults::default(), &secret).await.unwrap(), "hunter2");
    assert_eq!(stand.tokens(ENTRY), ["s.first", "s.pod"]);
    let asked = stand.asked.lock().unwrap();
    let logins: Vec<_> = asked
        .iter()
        .filter(|it| it.place.starts_with("POST"))
        .collect();
    let sent: Vec<Value> = logins
        .iter()
        .map(|it| serde_json::from_slice(&it.body).unwrap())
        .collect();
    assert_eq!(
        sent,
        [
            json!({"role_id": "role-1", "secret_id": "s3cret-1"}),
            json!({"role": "signet", "jwt": "eyJ.service.account"}),
        ]
    );
    for login in logins {
        assert_eq!(login.headers["x-vault-request"], "true");
        assert!(!login.headers.contains_key("x-vault-token"));
    }
}

#[tokio::test]
async fn a_login_that_is_refused_says_so_and_repeats_nothing() {
    for (status, expected) in [
        (400, VaultError::LoginRefused(400)),
        (403, VaultError::LoginRefused(403)),
        (404, VaultError::LoginRefused(404)),
        (429, VaultError::Throttled),
        (500, VaultError::Answered(500)),
        (503, VaultError::Sealed),
    ] {
        let body = refusal("invalid secret id s3cret-1");
        let stand = Stand::new().await.says(LOGIN, status, body);
        let error = read(&Vaults::default(), &stand.role_secret())
            .await
            .unwrap_err();
        assert_eq!(error, expected);
        let told = error.to_string();
        assert!(
            !told.contains("s3cret") && !told.contains("role-1"),
            "{told}"
        );
        assert_eq!(stand.count(ENTRY), 0);
    }
    let stand = Stand::new().await;
    for (name, expected) in [
        ("ABSENT", "does not exist"),
        ("BROKEN", "no text that Vault gives"),
    ] {
        let secret = secret_of(stand.server(VaultLogin::Token(variable(name))));
        let mut given = variables();
        if let Variables::Given(given) = &mut given {
            given.insert("BROKEN".to_owned(), Secret::from("s.\ngiven"));
        }
        let vaults = Vaults::default();
        let error = Visit::new(&vaults, &given).read(&secret).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("ABSENT"), "{error}");
    }
}

#[tokio::test]
async fn secrets_that_are_fetched_together_and_later_share_one_login() {
    let stand = Stand::new().await;
    let (vaults, secret, variables) = (Vaults::default(), stand.role_secret(), variables());
    let visit = Visit::new(&vaults, &variables);
    for read in join_all([&secret; 8].map(|secret| visit.read(secret))).await {
        assert_eq!(read.unwrap().expose(), b"hunter2");
    }
    read(&vaults, &secret).await.unwrap();
    assert_eq!((stand.count(LOGIN), stand.count(ENTRY)), (1, 9));
    // A failure is shared as well: eight must not wait for eight time-outs.
    let stand = stand.hangs(LOGIN);
    let visit = Visit::new(&vaults, &variables).with_patience(Duration::from_millis(300));
    vaults.keep_only(|_| false);
    for read in join_all([&secret; 8].map(|secret| visit.read(secret))).await {
        assert_eq!(read.unwrap_err(), VaultError::TooSlow);
    }
    assert_eq!(stand.count(LOGIN), 2);
}

#[tokio::test]
async fn a_lease_is_renewed_before_it_ends_and_not_sooner() {
    let stand = Stand::new().await.says(RENEW, 200, auth("s.first", 3600));
    let (vaults, secret) = (Vaults::default(), stand.role_secret());
    read(&vaults, &secret).await.unwrap();
    vaults.pass(Duration::from_secs(2300));
    assert!(!vaults.want_renewal());
    read(&vaults, &secret).await.unwrap();
    assert_eq!(stand.count(RENEW), 0);
    vaults.pass(Duration::from_secs(200));
    assert!(vaults.want_renewal());
    renew(&vaults).await;
    assert_eq!(stand.tokens(RENEW), ["s.first"]);
    assert!(!vaults.want_renewal());
    assert_eq!(stand.count(LOGIN), 1);
    // One that never ends wants nothing.
    vaults.keep_only(|_| false);
    read(&vaults, &stand.secret()).await.unwrap();
    vaults.pass(Duration::from_secs(10_000));
    assert!(!vaults.want_renewal());
}

#[tokio::test]
async fn a_renewal_that_fails_or_shrinks_leads_to_another_login() {
    for (status, renewal) in [
        (403, refusal("permission denied")),
        (500, refusal("Logical backend path not supported.")),
        // Near its longest life.
        (200, auth("s.first", 60)),
    ] {
        let stand = Stand::new().await.says(RENEW, status, renewal);
        let (vaults, secret) = (Vaults::default(), stand.role_secret());
        read(&vaults, &secret).await.unwrap();
        let stand = stand.says(LOGIN, 200, auth("s.second", 3600));
        vaults.pass(Duration::from_secs(2500));
        renew(&vaults).await;
        read(&vaults, &secret).await.unwrap();
        assert_eq!(stand.count(LOGIN), 2);
        assert_eq!(stand.tokens(ENTRY), ["s.first", "s.second"]);
    }
}

#[tokio::test]
async fn a_token_that_nobody_renews_goes_on_until_it_ends() {
    let stand = Stand::new()
        .await
        .says(RENEW, 503, refusal("Vault is sealed"));
    let (vaults, secret) = (Vaults::default(), stand.role_secret());
    read(&vaults, &secret).await.unwrap();
    let stand = stand.says(LOGIN, 503, refusal("Vault is sealed"));
    vaults.pass(Duration::from_secs(2500));
    renew(&vaults).await;
    assert_eq!(read(&vaults, &secret).await.unwrap(), "hunter2");
    assert_eq!(stand.count(RENEW), 1, "not tried again at once");
    vaults.pass(Duration::from_secs(2500));
    assert_eq!(read(&vaults, &secret).await, Err(VaultError::Sealed));
    // And is got anew as soon as that works.
    let stand = stand.says(LOGIN, 200, auth("s.second", 3600));
    assert_eq!(read(&vaults, &secret).await.unwrap(), "hunter2");
    assert_eq!(stand.tokens(ENTRY), ["s.first", "s.first", "s.second"]);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once() {
    let stand = Stand::new().await;
    let (vaults, secret) = (Vaults::default(), stand.role_secret());
    read(&vaults, &secret).await.unwrap();
    let stand = stand.says(ENTRY, 403, refusal("permission denied")).says(
        LOGIN,
        200,
        auth("s.second", 3600),
    );
    let variables = variables();
    let visit = Visit::new(&vaults, &variables);
    for _ in 0..2 {
        let forbidden = visit.read(&secret).await;
        assert_eq!(forbidden.unwrap_err(), VaultError::Forbidden);
    }
    assert_eq!(
        stand.tokens(ENTRY),
        ["s.first", "s.first", "s.second", "s.second"]
    );
    assert_eq!(stand.count(LOGIN), 2, "a new token lacks the right as well");
    let stand = stand.says(ENTRY, 200, entry(&json!({"secret": "hunter3"})));
    assert_eq!(read(&vaults, &secret).await.unwrap(), "hunter3");
    assert_eq!(stand.count(LOGIN), 2);
}

#[tokio::test]
async fn a_given_token_is_read_again_where_its_giver_replaces_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s.one\n").unwrap();
    let stand = Stand::new()
        .await
        .says(LOOK_UP, 200, token_state(100, true))
        .says(RENEW, 403, refusal("permission denied"));
    let name = SecretName::File(file.path().to_owned());
    let (vaults, secret) = (
        Vaults::default(),
        secret_of(stand.server(VaultLogin::Token(name))),
    );
    read(&vaults, &secret).await.unwrap();
    std::fs::write(file.path(), "s.two\n").unwrap();
    read(&vaults, &secret).await.unwrap();
    assert_eq!(stand.tokens(ENTRY), ["s.one", "s.two"]);
    // It is renewed where it may be; while it may not, it goes on until its end.
    vaults.pass(Duration::from_secs(80));
    read(&vaults, &secret).await.unwrap();
    assert_eq!(stand.tokens(RENEW), ["s.two"]);
    assert_eq!(stand.tokens(ENTRY), ["s.one", "s.two", "s.two"]);
}

#[tokio::test]
async fn a_given_token_that_may_not_look_at_itself_may_still_read() {
    let stand = Stand::new()
        .await
        .says(LOOK_UP, 403, refusal("permission denied"));
    assert_eq!(
        read(&Vaults::default(), &stand.secret()).await.unwrap(),
        "hunter2"
    );
}

#[tokio::test]
async fn roots_that_are_none_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stand = Stand::new().await;
    let mut server = stand.server(VaultLogin::Token(variable("TOKEN")));
    for (content, expected) in [
        ("", "is empty"),
        ("nonsense", "at least one PEM certificate"),
    ] {
        std::fs::write(file.path(), content).unwrap();
        server.ca = Some(file.path().to_owned());
        let error = read(&Vaults::default(), &secret_of(server.clone()))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
