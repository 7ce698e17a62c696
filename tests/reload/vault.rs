//! Secrets that a Vault keeps: waited for at a start, renewed and fetched while signet runs, missed in good order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Signet, Site, secret, signed_by};

/// A Vault that answers as the real one was seen to, and whose operator is the test.
#[derive(Clone)]
struct Vault {
    address: SocketAddr,
    state: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    sealed: bool,
    entries: HashMap<String, String>,
    asked: Vec<String>,
}

impl Vault {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let vault = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(vault.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await
            })
        });
        vault
    }

    fn keep(&self, path: &str, secret: &str) {
        let mut state = self.state.lock().unwrap();
        state.entries.insert(path.to_owned(), secret.to_owned());
    }

    fn seal(&self, sealed: bool) {
        self.state.lock().unwrap().sealed = sealed;
    }

    /// Waits until it has been asked for `what` at least `times` times.
    fn wait_for(&self, what: &str, times: usize) {
        for _ in 0..300 {
            let asked = self.state.lock().unwrap();
            if asked.asked.iter().filter(|it| *it == what).count() >= times {
                return;
            }
            drop(asked);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{what} was not asked {times} times");
    }

    /// A site whose secret is kept here, for the role that has the right secret ID.
    fn site(&self, settings: &str) -> Site {
        let mut site = Site::new();
        site.further = format!(
            "[secrets.vault]\naddress = \"http://{}\"\n[secrets.vault.approle]\n\
             role_id = {{ file = \"role-id\" }}\nsecret_id = {{ file = \"secret-id\" }}",
            self.address
        );
        site.write("role-id", "role-1\n");
        site.write("secret-id", "s3cret-1\n");
        let app = format!("secret = {{ vault = \"kv/data/acme#secret\", {settings} }}");
        site.write("signet.toml", &site.configuration(&app));
        site
    }
}

async fn answer(State(vault): State<Vault>, request: Request) -> (StatusCode, String) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 65536).await.unwrap();
    let path = parts.uri.path().trim_start_matches("/v1/").to_owned();
    let mut state = vault.state.lock().unwrap();
    state.asked.push(path.clone());
    let answer = if state.sealed {
        (503, json!({"errors": ["Vault is sealed"]}))
    } else if let "auth/approle/login" | "auth/token/renew-self" = path.as_str() {
        let body: Value = serde_json::from_slice(&body).unwrap();
        if path.ends_with("login") && body != json!({"role_id": "role-1", "secret_id": "s3cret-1"})
        {
            (400, json!({"errors": ["invalid secret id"]}))
        } else {
            let auth = json!({"client_token": "hvs.one", "lease_duration": 3, "renewable": true});
            (200, json!({"data": null, "auth": auth}))
        }
    } else if parts.headers["x-vault-token"] != "hvs.one" {
        (403, json!({"errors": ["permission denied"]}))
    } else if let Some(secret) = state.entries.get(&path) {
        let data = json!({"data": {"secret": secret}, "metadata": {"version": 1}});
        (200, json!({"data": data, "auth": null}))
    } else {
        (404, json!({"errors": []}))
    };
    (
        StatusCode::from_u16(answer.0).unwrap(),
        answer.1.to_string(),
    )
}

fn told_by_check(site: &Site) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_signet"))
        .args(["check", "--config"])
        .arg(site.path("signet.toml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn shows_nothing(signet: &Signet) {
    let log = signet.log();
    for secret in [&secret(0), &secret(1), "s3cret", "hvs."] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_start_waits_for_a_vault_that_is_being_unsealed() {
    let vault = Vault::new();
    vault.keep("kv/data/acme", &secret(0));
    vault.seal(true);
    let site = vault.site("refresh = \"1s\"");
    let unsealing = vault.clone();
    let unsealed = std::thread::spawn(move || {
        unsealing.wait_for("auth/approle/login", 2);
        unsealing.seal(false);
    });
    let signet = site.start_in(site.folder.path());
    unsealed.join().unwrap();
    assert!(signed_by(&signet.token("usr_1"), &secret(0)));
}

#[test]
fn a_secret_that_changes_in_vault_is_used_and_the_token_is_renewed() {
    let vault = Vault::new();
    vault.keep("kv/data/acme", &secret(0));
    let site = vault.site("refresh = \"1s\"");
    let signet = site.start_in(site.folder.path());
    assert!(signed_by(&signet.token("usr_1"), &secret(0)));
    let mark = signet.mark();
    vault.keep("kv/data/acme", &secret(1));
    signet.wait_for(mark, "reloaded the configuration");
    assert!(signed_by(&signet.token("usr_2"), &secret(1)));
    vault.wait_for("auth/token/renew-self", 2);
    let asked = vault.state.lock().unwrap();
    let logins = asked.asked.iter().filter(|it| it.ends_with("login"));
    assert_eq!(logins.count(), 1);
    shows_nothing(&signet);
}

#[test]
fn a_vault_that_is_sealed_leaves_the_last_secret_until_it_is_too_old() {
    let vault = Vault::new();
    vault.keep("kv/data/acme", &secret(0));
    let site = vault.site("refresh = \"1s\", max_stale = \"2s\"");
    let signet = site.start_in(site.folder.path());
    let mark = signet.mark();
    vault.seal(true);
    signet.wait_for(
        mark,
        "the last good one goes on: Vault is sealed or out of service (503)",
    );
    signet.until_ready_is(503);
    assert_eq!(signet.metric("signet_secrets_stale").as_deref(), Some("1"));
    signet.reload("reloaded the configuration");
    assert!(signed_by(&signet.token("usr_1"), &secret(0)));
    vault.seal(false);
    signet.until_ready_is(200);
    shows_nothing(&signet);
}

#[test]
fn a_check_says_what_vault_lacks_and_where_it_is_asked_for() {
    let vault = Vault::new();
    let site = vault.site("refresh = \"1s\"");
    let told = told_by_check(&site);
    assert!(
        told.contains("apps.acme.secret: Vault has no such entry"),
        "{told}"
    );
    vault.keep("kv/data/acme", &secret(0));
    site.write("secret-id", "wr0ng\n");
    let told = told_by_check(&site);
    assert!(
        told.contains("apps.acme.secret: Vault refuses the login (status 400)"),
        "{told}"
    );
    vault.seal(true);
    let told = told_by_check(&site);
    assert!(told.contains("apps.acme.secret: Vault is sealed"), "{told}");
}
