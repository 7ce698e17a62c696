//! Files that can't be used: the last good state goes on, says so, and is left as soon as the files are right again.

use std::path::Path;
use std::process::Command;

use crate::support::{SHOP_KEY, Signet, Site, secret, signed_by};

/// A way to spoil the file at a path that doesn't exist any more.
type Spoil = fn(&Path);

const SPOILS: &[(&str, Spoil)] = &[
    ("deleted", |_| ()),
    ("empty", |path| std::fs::write(path, "").unwrap()),
    ("huge", |path| {
        std::fs::write(path, "#".repeat(2 << 20)).unwrap()
    }),
    ("a folder", |path| std::fs::create_dir(path).unwrap()),
    ("a pipe", |path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
];

fn remove(path: &Path) {
    if path.is_dir() {
        std::fs::remove_dir(path).unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}

/// The reload was refused for something at `place`, and everything goes on as before.
fn goes_on(signet: &Signet, case: &str, place: &str) {
    assert!(signed_by(&signet.token("usr_1"), &secret(0)), "{case}");
    let (status, told) = signet.readiness();
    assert_eq!((status, &told["ready"]), (200, &true.into()), "{case}");
    let refused = &told["refusedReload"];
    assert!(
        refused["at"].as_str().unwrap().ends_with('Z'),
        "{case}: {told}"
    );
    let problem = refused["problems"][0].as_str().unwrap();
    assert!(problem.contains(place), "{case}: {problem}");
    assert_eq!(
        signet.metric("signet_last_reload_applied").as_deref(),
        Some("0"),
        "{case}"
    );
}

fn recovers(signet: &Signet, case: &str) {
    signet.reload("reloaded the configuration");
    let (_, told) = signet.readiness();
    assert!(told.get("refusedReload").is_none(), "{case}: {told}");
    assert_eq!(
        signet.metric("signet_last_reload_applied").as_deref(),
        Some("1"),
        "{case}"
    );
}

/// Nothing that was read or refused has told a secret.
fn kept_its_secrets(signet: &Signet) {
    let log = signet.log();
    assert!(
        !log.contains(&secret(0)) && !log.contains(SHOP_KEY),
        "{log}"
    );
}

#[test]
fn a_spoilt_configuration_leaves_the_last_good_one_serving() {
    let site = Site::new();
    let signet = site.start();
    let file = site.path("signet.toml");
    let half: Spoil = |path| {
        let whole = std::fs::read_to_string(path.with_extension("whole")).unwrap();
        std::fs::write(path, &whole[..whole.len() / 2 - 3]).unwrap();
    };
    let text = site.simple();
    site.write("signet.whole", &text);
    for (case, spoil) in SPOILS.iter().chain(&[("half-written", half)]) {
        remove(&file);
        spoil(&file);
        signet.reload("not reloaded, the last good state goes on");
        goes_on(&signet, case, "signet.toml");
        if file.exists() {
            remove(&file);
        }
        site.write("signet.toml", &text);
        recovers(&signet, case);
    }
    kept_its_secrets(&signet);
}

#[test]
fn a_spoilt_secret_leaves_the_last_good_one_signing() {
    let site = Site::new();
    let signet = site.start();
    let file = site.path("secret-0");
    let short: Spoil = |path| std::fs::write(path, "kR9vQ2mXz7").unwrap();
    for (case, spoil) in SPOILS.iter().chain(&[("half-written", short)]) {
        remove(&file);
        spoil(&file);
        signet.reload("not reloaded, the last good state goes on");
        goes_on(&signet, case, "apps.acme.secret");
        if file.exists() {
            remove(&file);
        }
        site.write("secret-0", &secret(0));
        recovers(&signet, case);
    }
    kept_its_secrets(&signet);
}

#[test]
fn what_a_user_has_spent_stays_spent_after_a_reload() {
    let mut site = Site::new();
    site.further = "[limits]\nper_user = { rate = 1, per = \"1h\", burst = 2 }".to_owned();
    let signet = site.start();
    let status = |user| signet.ask_for(user).0;
    assert_eq!(
        [status("usr_1"), status("usr_1"), status("usr_1")],
        [200, 200, 429]
    );
    site.write("secret-0", &secret(1));
    signet.reload("reloaded the configuration");
    assert!(
        signed_by(&signet.token("usr_2"), &secret(1)),
        "it was a real reload"
    );
    assert_eq!(status("usr_1"), 429);
}

#[test]
fn an_address_needs_a_restart_and_the_rest_is_reloaded() {
    let site = Site::new();
    let signet = site.start();
    site.write("secret-0", &secret(1));
    let text = site
        .simple()
        .replace(&site.public.to_string(), "127.0.0.1:1");
    site.write("signet.toml", &text);
    let mark = signet.mark();
    signet.reload("reloaded the configuration");
    let warning = signet.wait_for(mark, "needs a restart");
    assert!(warning.contains("server.listen"), "{warning}");
    assert!(signed_by(&signet.token("usr_1"), &secret(1)));
}
