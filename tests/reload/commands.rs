//! Secrets that a command prints: asked again, kept while it fails, and told once they are too old.

use std::process::Command;

use crate::support::{Site, secret, signed_by};

/// A site whose secret is printed by a script, which prints what is in `store` and fails without it.
fn site(settings: &str) -> Site {
    let site = Site::new();
    site.write("store", &secret(0));
    let app = format!("secret = {{ command = [\"cat\", \"store\"], {settings} }}");
    site.write("signet.toml", &site.configuration(&app));
    site
}

fn empty(site: &Site) {
    std::fs::remove_file(site.path("store")).unwrap();
}

#[test]
fn what_a_command_prints_anew_is_used_without_being_told() {
    let site = site("refresh = \"1s\"");
    let signet = site.start_in(site.folder.path());
    assert!(signed_by(&signet.token("usr_1"), &secret(0)));
    let mark = signet.mark();
    site.write("store", &secret(1));
    signet.wait_for(mark, "reloaded the configuration");
    assert!(signed_by(&signet.token("usr_2"), &secret(1)));
}

#[test]
fn a_store_that_is_down_leaves_the_last_secret_until_it_is_too_old() {
    let site = site("refresh = \"1s\", max_stale = \"2s\"");
    let signet = site.start_in(site.folder.path());
    let mark = signet.mark();
    empty(&site);
    signet.wait_for(mark, "a secret is not refreshed, the last good one goes on");
    let told = signet.until_ready_is(503);
    assert_eq!(
        (&told["ready"], &told["staleSecrets"]),
        (&false.into(), &1.into())
    );
    assert_eq!(signet.metric("signet_secrets_stale").as_deref(), Some("1"));
    assert!(signed_by(&signet.token("usr_1"), &secret(0)));
    // A reload goes on with the last good secret as well.
    signet.reload("reloaded the configuration");
    assert!(signed_by(&signet.token("usr_2"), &secret(0)));

    site.write("store", &secret(1));
    signet.until_ready_is(200);
    let log = signet.log();
    assert!(
        !log.contains(&secret(0)) && !log.contains(&secret(1)),
        "{log}"
    );
}

#[test]
fn sighup_asks_at_once_however_fresh_the_output_is() {
    let site = site("refresh = \"24h\"");
    let signet = site.start_in(site.folder.path());
    site.write("store", &secret(1));
    signet.reload("reloaded the configuration");
    assert!(signed_by(&signet.token("usr_1"), &secret(1)));
}

#[test]
fn a_start_waits_for_a_store_that_starts_as_well() {
    let site = site("refresh = \"1s\"");
    empty(&site);
    let store = site.path("store");
    let tried = site.path("tried");
    // The second try finds it.
    let script = format!(
        "test -e {0} && exec cat {1}; touch {0}; exit 1",
        tried.display(),
        store.display()
    );
    let app = format!("secret = {{ command = [\"sh\", \"-c\", \"{script}\"] }}");
    site.write("store", &secret(0));
    site.write("signet.toml", &site.configuration(&app));
    let signet = site.start_in(site.folder.path());
    assert!(signed_by(&signet.token("usr_1"), &secret(0)));
}

#[test]
fn a_check_says_why_a_command_gives_nothing_and_repeats_nothing() {
    let site = site("refresh = \"1s\"");
    let app = "secret = { command = [\"sh\", \"-c\", \"echo hunter2; echo hunter2 >&2; exit 1\"] }";
    site.write("signet.toml", &site.configuration(app));
    let output = Command::new(env!("CARGO_BIN_EXE_signet"))
        .args(["check", "--config"])
        .arg(site.path("signet.toml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("apps.acme.secret: the command that prints it fails"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
}
