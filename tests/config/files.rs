//! The configuration file itself, and the files that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use signet::config::{self, Environment, KeyMaterial};
use signet::secrets::SecretName;

use super::{NOW, folder, load};

#[test]
fn what_is_no_readable_text_file_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    fs::write(path("latin1.toml"), b"# caf\xe9\n").unwrap();
    fs::write(path("huge.toml"), "#".repeat(1024 * 1024 + 1)).unwrap();
    let made = Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    let message = |name: &str| load(&path(name)).unwrap_err();
    assert_eq!(
        message("missing.toml"),
        "missing.toml: there is no such file; create it, or correct the name"
    );
    assert_eq!(message("folder"), "folder: is not a regular file; name one");
    assert_eq!(message("pipe"), "pipe: is not a regular file; name one");
    assert_eq!(
        message("huge.toml"),
        "huge.toml: is longer than 1024 KiB; shorten it, or correct the name"
    );
    assert_eq!(
        message("latin1.toml"),
        "latin1.toml: is not UTF-8; save it as UTF-8 text"
    );
}

#[test]
fn the_file_can_be_named_by_a_variable_and_the_argument_wins() {
    let example = folder("config/example.toml");
    let named = |path: &Path| Environment::from_iter([("SIGNET_CONFIG", path)]);
    let config = config::load(None, &named(&example), NOW).unwrap();
    assert_eq!(config.apps.len(), 3);
    let config = config::load(Some(&example), &named(Path::new("/no/such")), NOW).unwrap();
    assert_eq!(config.apps.len(), 3);
    let found = config::load(None, &named(Path::new("/no/such")), NOW).unwrap_err();
    assert_eq!(
        found.to_string(),
        "/no/such: there is no such file; create it, or correct the name"
    );
}

#[test]
fn relative_paths_start_at_the_files_folder_and_every_file_is_watched() {
    let base = folder("tests/config/good");
    let config = load(&base.join("everything.toml")).unwrap();
    let tls = config.server.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, base.join("tls.crt"));
    assert_eq!(tls.private_key, Path::new("/etc/signet/tls.key"));
    let bot = config.apps.iter().find(|app| app.name == "bot").unwrap();
    let KeyMaterial::Secret(secret) = &bot.keys[0].material else {
        panic!("a secret")
    };
    assert_eq!(secret.name, SecretName::File(base.join("bot-2026-12")));
    // Sorted again by the shortened names: where the checkout lies must not matter.
    let watched: BTreeSet<_> = config
        .watched_files()
        .iter()
        .map(|file| file.strip_prefix(&base).unwrap_or(file))
        .collect();
    let watched: Vec<_> = watched.iter().map(|file| file.to_str().unwrap()).collect();
    assert_eq!(
        watched,
        [
            "/etc/signet/tls.key",
            "api.pem",
            "bot-2026-10",
            "bot-2026-11",
            "bot-2026-12",
            "desk.key",
            "everything.toml",
            "jwks.json",
            "tls.crt",
            "vault-ca.pem",
            "vault-secret-id"
        ]
    );
}
