//! What variables say: the plain ones, the ones by path, and who wins.

use signet::config::{Allowed, CallerKey, KeyMaterial, Resolver, Store};
use signet::secrets::{Encoding, SecretName, SecretRef};

use super::{load_environment, load_text, load_with, samples};

const SMALLEST: [(&str, &str); 4] = [
    ("SIGNET_CLIENT_ID", "007"),
    ("SIGNET_CLIENT_SECRET", "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE"),
    ("SIGNET_API_KEY", "aE5jK3hGfDdC6nB8sYw4TpL7zXm2Qv9R"),
    ("SIGNET__SERVER__REQUIRE_HTTPS", "FALSE"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    SMALLEST.iter().chain(more).copied().collect()
}

#[test]
fn the_smallest_deployment_needs_four_variables_and_no_file() {
    let config = load_environment(&SMALLEST).unwrap();
    let [app] = config.apps.as_slice() else {
        panic!("one app")
    };
    assert_eq!(
        (
            app.name.as_str(),
            app.profile.as_str(),
            app.client_id.as_str()
        ),
        ("default", "support-widget", "007")
    );
    let by_variable = |name: &str| SecretName::Env(name.into());
    assert_eq!(
        app.keys[0].material,
        KeyMaterial::Secret(SecretRef {
            name: by_variable("SIGNET_CLIENT_SECRET"),
            encoding: Encoding::Utf8
        })
    );
    assert_eq!(
        config.origin_of("apps.default.secret"),
        "SIGNET_CLIENT_SECRET"
    );
    let [caller] = config.callers.as_slice() else {
        panic!("one caller")
    };
    assert_eq!(caller.name, "default");
    assert_eq!(
        caller.keys,
        [CallerKey::Secret(by_variable("SIGNET_API_KEY"))]
    );
    assert_eq!(caller.apps, ["default"]);
    assert_eq!(
        (&caller.roles, &caller.plans, &caller.attributes),
        (&Allowed::Any, &Allowed::Any, &Allowed::Any)
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains(SMALLEST[1].1) && !shown.contains(SMALLEST[2].1));
}

#[test]
fn every_plain_variable_has_a_twin_that_names_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (id, profile) = (path("id", "ten_acme\n"), path("profile", "kore\r\n"));
    let config = load_environment(&[
        ("SIGNET_CLIENT_ID_FILE", &id),
        ("SIGNET_PROFILE_FILE", &profile),
        ("SIGNET_CLIENT_SECRET_FILE", "/run/secrets/acme"),
        ("SIGNET_API_KEY_FILE", "key"),
        ("SIGNET__SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
    ])
    .unwrap();
    let app = &config.apps[0];
    assert_eq!(
        (app.client_id.as_str(), app.profile.as_str()),
        ("ten_acme", "kore")
    );
    let KeyMaterial::Secret(secret) = &app.keys[0].material else {
        panic!("a secret")
    };
    assert_eq!(secret.name, SecretName::File("/run/secrets/acme".into()));
    assert_eq!(
        config.callers[0].keys,
        [CallerKey::Secret(SecretName::File("key".into()))]
    );
    let watched: Vec<_> = config
        .watched_files()
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let mut expected = vec![id, profile, "/run/secrets/acme".into(), "key".into()];
    expected.sort();
    assert_eq!(watched, expected);
}

#[test]
fn a_plain_variable_and_its_twin_together_are_refused() {
    let found = load_environment(&with(&[
        ("SIGNET_CLIENT_SECRET_FILE", "secret"),
        ("SIGNET_PROFILE", "kore"),
        ("SIGNET_PROFILE_FILE", "profile"),
    ]));
    assert_eq!(
        found.unwrap_err(),
        "SIGNET_PROFILE: SIGNET_PROFILE_FILE is set too; unset one of the two\n\
         SIGNET_CLIENT_SECRET: SIGNET_CLIENT_SECRET_FILE is set too; unset one of the two"
    );
}

#[test]
fn an_empty_plain_variable_counts_as_unset() {
    let config = load_environment(&with(&[
        ("SIGNET_PROFILE", ""),
        ("SIGNET_CLIENT_SECRET_FILE", ""),
        ("SIGNET_CONFIG", ""),
    ]))
    .unwrap();
    assert_eq!(config.apps[0].profile, "support-widget");
    let found = load_environment(&[
        ("SIGNET_CLIENT_ID", "ten"),
        ("SIGNET_CLIENT_SECRET", ""),
        ("SIGNET_API_KEY", ""),
        ("SIGNET__SERVER__REQUIRE_HTTPS", "false"),
    ]);
    assert_eq!(
        found.unwrap_err(),
        "SIGNET_CLIENT_ID: apps.default.secret: SIGNET_CLIENT_SECRET is missing beside it; set it, or SIGNET_CLIENT_SECRET_FILE, to the secret that the platform gave\n\
         the environment: callers: nobody could get a token: set SIGNET_API_KEY, or SIGNET_API_KEY_FILE"
    );
}

#[test]
fn what_the_smallest_deployment_lacks_is_named_by_its_variable() {
    assert_eq!(
        load_environment(&[]).unwrap_err(),
        "the environment: server.require_https: nothing could be served: cleartext is refused, and HTTPS has no way in; set SIGNET__SERVER__TLS__CERTIFICATE and SIGNET__SERVER__TLS__PRIVATE_KEY, or SIGNET__SERVER__TRUSTED_PROXIES to the proxy that ends TLS, or this to false\n\
         the environment: apps: there is no app: add [apps.NAME] to a configuration file, or set SIGNET_CLIENT_ID, SIGNET_CLIENT_SECRET and SIGNET_API_KEY"
    );
    let found = load_environment(&[
        ("SIGNET_API_KEY", "x"),
        ("SIGNET_PROFILE", "kroe"),
        ("SIGNET__SERVER__TLS__CERTIFICATE", "tls.crt"),
    ]);
    assert_eq!(
        found.unwrap_err(),
        "SIGNET_PROFILE: apps.default.client_id: SIGNET_CLIENT_ID is missing beside it; set it to what the platform calls this app\n\
         SIGNET_PROFILE: apps.default.secret: SIGNET_CLIENT_SECRET is missing beside it; set it, or SIGNET_CLIENT_SECRET_FILE, to the secret that the platform gave\n\
         SIGNET__SERVER__TLS__CERTIFICATE: server.tls.private_key: is missing; it is needed: the file with the certificate's private key, PEM\n\
         SIGNET_PROFILE: apps.default.profile: there is no profile \"kroe\"; did you mean \"kore\"?"
    );
}

#[test]
fn the_plain_variables_and_a_file_may_not_both_make_default() {
    let file = "[apps.default]\nclient_id = \"ten\"\n[callers.default]\napps = []\n[apps.acme]\nprofile = \"kore\"\nclient_id = \"cs\"\nsecret = { env = \"A\" }\n";
    assert_eq!(
        load_text(file, &SMALLEST).unwrap_err(),
        "signet.toml: apps.default: SIGNET_CLIENT_ID makes one of this name too; rename this one, or unset SIGNET_CLIENT_ID\n\
         signet.toml: callers.default: SIGNET_API_KEY makes one of this name too; rename this one, or unset SIGNET_API_KEY"
    );
    let without_default = &file[file.find("[apps.acme]").unwrap()..];
    let config = load_text(without_default, &SMALLEST).unwrap();
    assert_eq!(config.apps.len(), 2);
}

#[test]
fn variables_by_path_add_to_what_the_plain_ones_make() {
    let config = load_environment(&with(&[
        ("SIGNET_PROFILE", "kore"),
        ("SIGNET__APPS__DEFAULT__TOKEN_TTL", "15m"),
        ("SIGNET__APPS__DEFAULT__TOKEN_ID", "false"),
        ("SIGNET__APPS__DEFAULT__SECRET__ENCODING", "base64"),
        (
            "SIGNET__APPS__DEFAULT__BROWSER__SESSION__RESOLVER",
            "anonymous",
        ),
        (
            "SIGNET__APPS__DEFAULT__BROWSER__ORIGINS",
            "https://a.example.com, https://b.example.com",
        ),
        ("SIGNET__CALLERS__DEFAULT__ROLES", "user,agent"),
    ]))
    .unwrap();
    let app = &config.apps[0];
    assert_eq!((app.token_ttl.as_secs(), app.token_id), (900, false));
    let browser = app.browser.as_ref().unwrap();
    assert_eq!(
        browser.origins,
        ["https://a.example.com", "https://b.example.com"]
    );
    assert_eq!(browser.session.resolver, Resolver::Anonymous);
    assert_eq!(
        config.callers[0].roles,
        Allowed::Only(vec!["user".into(), "agent".into()])
    );
    let found = load_environment(&with(&[
        ("SIGNET__APPS__DEFAULT__CLIENT_ID", "other"),
        ("SIGNET__APPS__DEFAULT__SECRET__FILE", "secret"),
    ]));
    assert_eq!(
        found.unwrap_err(),
        "SIGNET__APPS__DEFAULT__CLIENT_ID: apps.default.client_id: SIGNET_CLIENT_ID sets it too; unset one of the two\n\
         SIGNET_CLIENT_SECRET: apps.default.secret: names several places; keep one of env, file, command and vault"
    );
}

#[test]
fn an_app_with_a_private_key_can_be_made_of_variables_alone() {
    let config = load_environment(&[
        ("SIGNET_CLIENT_ID", "api"),
        ("SIGNET_API_KEY", "x"),
        ("SIGNET_PROFILE", "oauth"),
        ("SIGNET__APPS__DEFAULT__PRIVATE_KEY__FILE", "api.pem"),
        ("SIGNET__APPS__DEFAULT__AUDIENCE", "https://api.example.com"),
        ("SIGNET__SERVER__PUBLIC_URL", "https://tokens.example.com"),
        ("SIGNET__SERVER__REQUIRE_HTTPS", "false"),
    ])
    .unwrap();
    assert!(matches!(
        config.apps[0].keys[0].material,
        KeyMaterial::PrivateKey(_)
    ));
}

#[test]
fn a_text_stays_the_text_that_it_is() {
    for text in ["007", "1e5", "TRUE", "0x10", "[1]", "null", "a,b"] {
        let variables: Vec<_> = SMALLEST
            .into_iter()
            .filter(|(name, _)| *name != "SIGNET_CLIENT_ID")
            .chain([("SIGNET_CLIENT_ID", text)])
            .collect();
        assert_eq!(
            load_environment(&variables).unwrap().apps[0].client_id,
            text
        );
        let config = load_environment(&with(&[("SIGNET__APPS__DEFAULT__AUDIENCE", text)]));
        assert_eq!(config.unwrap().apps[0].audience.as_deref(), Some(text));
    }
}

#[test]
fn a_variable_becomes_what_its_setting_is_and_nothing_else() {
    let config = load_environment(&with(&[
        ("SIGNET__SERVER__MAX_CONNECTIONS", "20"),
        ("SIGNET__LIMITS__PER_IP__EXEMPT", ""),
        ("SIGNET__LIMITS__PER_USER__RATE", "3"),
        ("SIGNET__LIMITS__STORE__REDIS", "redis://redis:6379"),
        ("SIGNET__LOG__LEVEL", "warn"),
    ]))
    .unwrap();
    assert_eq!(config.server.max_connections, 20);
    assert_eq!(
        (config.limits.per_user.rate, config.limits.per_user.burst),
        (3, 10)
    );
    assert!(config.limits.per_ip_exempt.is_empty());
    assert!(matches!(
        config.limits.store,
        Store::Redis { enforce: true, .. }
    ));
    let found = load_environment(&with(&[
        ("SIGNET__SERVER__MAX_CONNECTIONS", "1e3"),
        ("SIGNET__SERVER__MAX_IN_FLIGHT", "0"),
        ("SIGNET__SERVER__TLS", "tls.crt"),
        ("SIGNET__SERVER__TRUSTED_PROXIES", "10.0.0.0/8,example.com"),
        ("SIGNET__APPS__DEFAULT__TOKEN_ID", "yes"),
        ("SIGNET__AUDIT__REQUIRED", "on"),
        ("SIGNET__LOG__LEVEL", "WARN"),
        ("SIGNET__CALLERS__DEFAULT__KEY_SHA256", "a,b"),
    ]));
    assert_eq!(
        found.unwrap_err(),
        "SIGNET__SERVER__MAX_CONNECTIONS: server.max_connections: must be a whole number from 1 to 1000000\n\
         SIGNET__SERVER__MAX_IN_FLIGHT: server.max_in_flight: must be a whole number from 1 to 1000000\n\
         SIGNET__SERVER__TLS: server.tls: is a table; set its keys one by one, as SIGNET__SERVER__TLS__…\n\
         SIGNET__LOG__LEVEL: log.level: must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"\n\
         SIGNET__AUDIT__REQUIRED: audit.required: must be true or false\n\
         SIGNET__APPS__DEFAULT__TOKEN_ID: apps.default.token_id: must be true or false\n\
         SIGNET__SERVER__TRUSTED_PROXIES: server.trusted_proxies[1]: must be a network, such as \"10.0.0.0/8\" or \"fd00::/8\"\n\
         SIGNET__CALLERS__DEFAULT__KEY_SHA256: callers.default.key_sha256[0]: must be a SHA-256 in 64 hex digits: `signet key new NAME` prints a key and its SHA-256\n\
         SIGNET__CALLERS__DEFAULT__KEY_SHA256: callers.default.key_sha256[1]: must be a SHA-256 in 64 hex digits: `signet key new NAME` prints a key and its SHA-256\n\
         SIGNET__CALLERS__DEFAULT__KEY_SHA256: callers.default.key_sha256: a caller has at most two keys, the old and the new; remove the others"
    );
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_one() {
    let found = load_environment(&with(&[
        ("SIGNET__SEVER__LISTEN", "0.0.0.0:1"),
        ("SIGNET__SERVER__LISEN", "0.0.0.0:1"),
        ("SIGNET__SERVER____LISTEN", "0.0.0.0:1"),
        ("SIGNET__APPS__DEFAULT__KEYS[9999999999]__ID", "x"),
        ("SIGNET__", "x"),
        ("SIGNET__PROFILES__KORE__MAX_TTL", "8h"),
        ("SIGNET_SERVICE_HOST", "10.0.0.1"),
        ("SIGNET_PORT_8443_TCP", "tcp://10.0.0.1:8443"),
        ("SIGNETTE__X", "not signet's"),
    ]));
    let not_a_name = "is not the name of a setting; write SIGNET__ and the setting's path with __ between its parts, such as SIGNET__SERVER__LISTEN";
    assert_eq!(
        found.unwrap_err(),
        format!(
            "SIGNET__: {not_a_name}\n\
             SIGNET__APPS__DEFAULT__KEYS[9999999999]__ID: {not_a_name}\n\
             SIGNET__SERVER____LISTEN: {not_a_name}\n\
             SIGNET__PROFILES__KORE__MAX_TTL: profiles.kore: is built in and stays as it is; give your profile another name\n\
             SIGNET__SERVER__LISEN: server.lisen: unknown key; did you mean SIGNET__SERVER__LISTEN?\n\
             SIGNET__SEVER__LISTEN: sever: unknown key; did you mean SIGNET__SERVER__LISTEN?"
        )
    );
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = &samples("good")[0];
    let config = load_with(
        file,
        &[
            ("SIGNET__SERVER__MAX_IN_FLIGHT", "7"),
            ("SIGNET__LIMITS__STORE", "memory"),
        ],
    )
    .unwrap();
    assert_eq!(
        (config.server.max_in_flight, config.server.max_connections),
        (7, 500)
    );
    assert_eq!(config.limits.store, Store::Memory);
    assert_eq!(
        config.limits.failed_auth.per.as_secs(),
        60,
        "the file's table leaves the default of a key that it doesn't name"
    );
    assert_eq!(
        config.origin_of("server.max_in_flight"),
        "SIGNET__SERVER__MAX_IN_FLIGHT"
    );
    assert_eq!(
        config.origin_of("server.max_connections"),
        file.display().to_string()
    );
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let environment = SMALLEST
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .chain([("SIGNET__LOG__LEVEL".into(), OsString::from_vec(vec![0xff]))])
        .collect();
    let found = signet::config::load(None, &environment, super::NOW).unwrap_err();
    assert_eq!(
        found.to_string(),
        "SIGNET__LOG__LEVEL: log.level: is not UTF-8; correct its value"
    );
}
