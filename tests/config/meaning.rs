//! What a configuration means once it is checked: defaults, order, and where each setting was written.

use std::time::Duration;

use serde_json::{Value, json};
use signet::config::{
    Allowed, CallerKey, JwtKeys, KeyMaterial, LogFormat, LogLevel, OnOutage, RedisUrl, Resolver,
    Store,
};
use signet::secrets::{Origin, SecretName, VaultLogin};
use signet::signing::Algorithm;

use super::{folder, load};

#[test]
fn what_is_left_out_has_its_documented_default() {
    let config = load(&folder("tests/config/good/smallest.toml")).unwrap();
    let server = &config.server;
    assert_eq!(server.listen.to_string(), "0.0.0.0:8443");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(
        (server.request_timeout, server.shutdown_grace),
        (Duration::from_secs(5), Duration::from_secs(20))
    );
    assert_eq!(
        (
            server.max_body,
            server.max_connections,
            server.max_in_flight
        ),
        (16 * 1024, 10_000, 1024)
    );
    let rate = |rate: signet::config::Rate| (rate.rate, rate.per.as_secs(), rate.burst);
    let limits = &config.limits;
    assert_eq!(
        [
            limits.per_ip,
            limits.per_caller,
            limits.per_user,
            limits.failed_auth
        ]
        .map(rate),
        [(100, 1, 200), (500, 1, 1000), (10, 60, 10), (5, 60, 10)]
    );
    assert_eq!(limits.store, Store::Memory);
    assert_eq!(
        (config.log.level, config.log.format, config.audit.required),
        (LogLevel::Info, LogFormat::Auto, false)
    );
    let app = &config.apps[0];
    assert_eq!(app.algorithm, Algorithm::HS256);
    assert_eq!(
        (app.token_ttl, app.backdate),
        (Duration::from_secs(3600), Duration::from_secs(5))
    );
    assert!(app.token_id && app.key_id.is_none() && app.audience.is_none());
    let caller = &config.callers[0];
    assert_eq!(
        (&caller.roles, caller.max_ttl),
        (&Allowed::Only(Vec::new()), None)
    );
    assert_eq!(
        caller.keys,
        [CallerKey::Sha256([
            0x9f, 0x86, 0xd0, 0x81, 0x88, 0x4c, 0x7d, 0x65, 0x9a, 0x2f, 0xea, 0xa0, 0xc5, 0x5a,
            0xd0, 0x15, 0xa3, 0xbf, 0x4f, 0x1b, 0x2b, 0x0b, 0x82, 0x2c, 0xd1, 0x5d, 0x6c, 0x15,
            0xb0, 0xf0, 0x0a, 0x08
        ])]
    );
}

#[test]
fn every_setting_arrives() {
    let config = load(&folder("tests/config/good/everything.toml")).unwrap();
    assert!(config.audit.required);
    let networks: Vec<_> = config
        .server
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]);
    let session = |name: &str| {
        let app = config.apps.iter().find(|app| app.name == name).unwrap();
        &app.browser.as_ref().unwrap().session
    };
    let Resolver::Introspect {
        forward_headers,
        timeout,
        identity,
        ..
    } = &session("acme").resolver
    else {
        panic!("introspect")
    };
    assert_eq!(forward_headers, &["cookie", "x-session"]);
    assert_eq!(*timeout, Duration::from_secs(10));
    assert_eq!(identity.plan.as_deref(), Some("/user/a~1b~0c"));
    let Resolver::Jwt {
        keys,
        identity,
        cookie,
        ..
    } = &session("bot").resolver
    else {
        panic!("jwt")
    };
    assert_eq!(
        keys,
        &JwtKeys::Url("http://127.0.0.1:9999/jwks.json".into())
    );
    assert_eq!(cookie.as_deref(), Some("session"));
    assert_eq!(
        identity.attributes,
        [("identityToMerge".to_owned(), "/merge".to_owned())]
    );
    assert!(session("bot").allow_anonymous);
    let Resolver::Jwt {
        identity, timeout, ..
    } = &session("api").resolver
    else {
        panic!("jwt")
    };
    assert_eq!(
        (identity.user_id.as_str(), *timeout),
        ("/sub", Duration::from_secs(2))
    );
    let Resolver::TrustedHeader { user_id, .. } = &session("intranet").resolver else {
        panic!("trusted-header")
    };
    assert_eq!(user_id, "x-auth-user");
    assert_eq!(session("visitors").resolver, Resolver::Anonymous);
    assert_eq!(
        config.limits.store,
        Store::Redis {
            url: RedisUrl::Plain("rediss://redis.example.com:6379/1".into()),
            on_outage: OnOutage::Closed,
            enforce: false,
            pepper: Some(SecretName::Env("LIMITS_PEPPER".into())),
        }
    );
    let desk = config.apps.iter().find(|app| app.name == "desk").unwrap();
    assert_eq!(
        desk.audience.as_deref(),
        Some("https://helpdesk.example.com"),
        "an app without an audience has its profile's"
    );
    assert_eq!(desk.keys[0].path, "apps.desk.private_key");
    let bot = config.apps.iter().find(|app| app.name == "bot").unwrap();
    assert_eq!(bot.keys[1].path, "apps.bot.keys[1].secret");
    assert_eq!(
        bot.keys[0].activate_at.map(|moment| moment.seconds()),
        Some(1_796_083_200)
    );
}

#[test]
fn a_profile_keeps_the_spelling_the_order_and_the_types_of_its_file() {
    let config = load(&folder("tests/config/good/everything.toml")).unwrap();
    let profile = config.profile("helpdesk").unwrap();
    assert_eq!(
        serde_json::to_string(&profile.claims).unwrap(),
        r#"{"Zulu":"first","alpha":{"N":1,"f":1.5,"yes":true,"list":["a",{"deep":"${user.id}"}]},"aud":"${app.audience}","exp":"${token.expires_at}"}"#
    );
    assert!(profile.sdk_errors);
    assert_eq!(
        config.origin_of("profiles.helpdesk.claims.alpha"),
        config.origin_of("apps.acme.secret")
    );
}

#[test]
fn the_built_in_profiles_are_the_contracts() {
    let config = load(&folder("tests/config/good/smallest.toml")).unwrap();
    let shape = |name: &str| -> Value {
        let profile = config.profile(name).unwrap();
        let names = |members: &serde_json::Map<String, Value>| members.keys().cloned().collect();
        let claims: Vec<String> = names(&profile.claims);
        let header: Vec<String> = names(&profile.header);
        let answer: Vec<String> = names(&profile.answer);
        let algorithms: Vec<_> = profile.algorithms.iter().map(|a| a.name()).collect();
        json!({"claims": claims.join(" "), "header": header.join(" "), "answer": answer.join(" "),
            "algorithms": algorithms.join(" "), "max_ttl": profile.max_ttl.as_secs(), "typ": profile.header["typ"]})
    };
    assert_eq!(
        shape("support-widget"),
        json!({"claims": "tenantId userId userEmail userRoles plan iat exp", "header": "typ",
            "answer": "token tokenType expiresIn expiresAt refreshAfter", "algorithms": "HS256", "max_ttl": 3600, "typ": "JWT"})
    );
    assert_eq!(
        shape("kore"),
        json!({"claims": "iss sub aud iat exp jti isAnonymous identityToMerge", "header": "typ",
            "answer": "jwt tokenType expiresIn expiresAt refreshAfter", "algorithms": "HS256 HS512 RS256 RS512", "max_ttl": 3600, "typ": "JWT"})
    );
    assert_eq!(
        shape("oauth"),
        json!({"claims": "iss sub aud client_id iat exp jti roles email", "header": "typ kid",
            "answer": "access_token token_type expires_in", "algorithms": "RS256 ES256 EdDSA", "max_ttl": 3600, "typ": "at+jwt"})
    );
    assert!(config.profile("kore").unwrap().sdk_errors);
    assert_eq!(
        config.profile("kore").unwrap().audience.as_deref(),
        Some("https://idproxy.kore.com/authorize")
    );
}

#[test]
fn a_secret_in_vault_is_a_path_a_field_and_a_server() {
    let config = load(&folder("tests/config/good/everything.toml")).unwrap();
    let app = config
        .apps
        .iter()
        .find(|app| app.name == "vaulted")
        .unwrap();
    let KeyMaterial::Secret(secret) = &app.keys[0].material else {
        panic!("{:?}", app.keys[0]);
    };
    let SecretName::Fetched(fetched) = &secret.name else {
        panic!("{secret:?}");
    };
    let Origin::Vault(vault) = &fetched.from else {
        panic!("{fetched:?}");
    };
    assert_eq!(
        (vault.path.as_str(), vault.field.as_str(), vault.version),
        ("team/kv/data/acme/chat", "signing key", Some(3))
    );
    assert_eq!(
        (fetched.refresh, fetched.max_stale),
        (Duration::from_secs(60), Duration::from_secs(3600))
    );
    let server = &vault.server;
    assert_eq!(
        server.address.as_str(),
        "https://vault.example.com:8200/behind/a/proxy"
    );
    assert_eq!(server.namespace.as_deref(), Some("team-a/chat"));
    let base = folder("tests/config/good");
    assert_eq!(server.ca, Some(base.join("vault-ca.pem")));
    assert_eq!(
        server.login,
        VaultLogin::AppRole {
            mount: "logins/approle".into(),
            role_id: SecretName::Env("VAULT_ROLE_ID".into()),
            secret_id: SecretName::File(base.join("vault-secret-id")),
        }
    );
    assert_eq!(config.fetched(), [(**fetched).clone()]);
}
