//! What `signet check --diff` says a reload would change: of the running signet, and between two files.

use std::process::Command;

use crate::support::{Site, secret};

/// `signet check` with these arguments: how it ended, and what it said.
fn check(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_signet"))
        .args(["check", "--config", "signet.toml"])
        .args(arguments)
        .current_dir(site.folder.path())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).unwrap())
}

#[test]
fn the_running_signet_says_what_a_reload_would_change_and_changes_nothing() {
    let mut site = Site::new();
    // Looks at nothing by itself meanwhile: what is compared is what serves.
    site.write("store", &secret(0));
    let app = |refresh: &str| {
        format!("secret = {{ command = [\"cat\", \"store\"], refresh = \"{refresh}\" }}")
    };
    site.write("signet.toml", &site.configuration(&app("24h")));
    let signet = site.start_in(site.folder.path());
    let nothing = (Some(0), "ok: nothing would change\n".to_owned());
    assert_eq!(check(&site, &["--diff"]), nothing);

    site.write("store", &secret(1));
    let changed = "ok: this would change\napps.acme.secret: the secret itself has changed\n";
    assert_eq!(check(&site, &["--diff"]), (Some(0), changed.to_owned()));
    assert!(crate::support::signed_by(
        &signet.token("usr_1"),
        &secret(0)
    ));
    signet.reload("reloaded the configuration");
    assert_eq!(check(&site, &["--diff"]), nothing);

    // Refused, so that the running one keeps what it has, and says why.
    site.further = "[profiles.broken]".to_owned();
    let mark = signet.mark();
    site.write("signet.toml", &site.configuration(&app("24h")));
    signet.wait_for(mark, "not reloaded");
    let (status, told) = check(&site, &["--diff"]);
    assert_eq!(status, Some(1));
    assert!(
        told.contains("profiles.broken.algorithms: is missing"),
        "{told}"
    );
    assert!(!signet.log().contains(&secret(1)));
}

#[test]
fn two_files_are_compared_with_their_secrets_and_nobody_has_to_run() {
    let mut site = Site::new();
    site.write(
        "old.toml",
        &site.configuration("token_ttl = \"1h\"\nsecret = { file = \"secret-0\" }"),
    );
    site.write("copy", &secret(0));
    site.server = "require_https = false\nmax_connections = 77".to_owned();
    let new = site.configuration("token_ttl = \"30m\"\nsecret = { file = \"copy\" }");
    site.write("signet.toml", &new);
    let (status, told) = check(&site, &["--diff", "old.toml"]);
    assert_eq!(
        (status, told.as_str()),
        (
            Some(0),
            "ok: this would change\n\
             apps.acme.secret: is named otherwise; the secret is the same\n\
             apps.acme.token_ttl: \"1h\" → \"30m\"\n\
             server.max_connections: 10000 → 77 (needs a restart)\n"
        )
    );
    site.write("copy", &secret(1));
    let (_, told) = check(&site, &["--diff", "old.toml"]);
    assert!(told.contains("the secret is another"), "{told}");
    let (status, told) = check(&site, &["--diff", "absent.toml"]);
    assert_eq!(status, Some(1));
    assert!(
        told.contains("absent.toml: there is no such file"),
        "{told}"
    );
}

#[test]
fn without_a_running_signet_the_difference_is_refused() {
    let site = Site::new();
    site.write("signet.toml", &site.simple());
    let (status, told) = check(&site, &["--diff"]);
    assert_eq!(status, Some(1));
    assert!(
        told.contains(&format!("nothing answers at {}", site.admin)),
        "{told}"
    );
}
