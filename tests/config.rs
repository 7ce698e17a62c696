//! The configuration from outside: every good sample loads, every bad one gives its exact messages.

use std::fs;
use std::path::{Path, PathBuf};

use signet::clock::Timestamp;
use signet::config::{self, Config, Environment};

#[path = "config/documentation.rs"]
mod documentation;
#[path = "config/echo.rs"]
mod echo;
#[path = "config/environment.rs"]
mod environment;
#[path = "config/files.rs"]
mod files;
#[path = "config/meaning.rs"]
mod meaning;

/// 2026-11-20T12:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_176_000);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn samples(kind: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder("tests/config").join(kind))
        .expect("the samples are in the repository")
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Loads a file; its messages name it without its folder.
fn load(path: &Path) -> Result<Config, String> {
    load_with(path, &[])
}

/// The same under these variables.
fn load_with(path: &Path, variables: &[(&str, &str)]) -> Result<Config, String> {
    let environment = variables.iter().copied().collect();
    config::load(Some(path), &environment, NOW).map_err(|problems| {
        let folder = format!("{}/", path.parent().expect("a file has a folder").display());
        problems.to_string().replace(&folder, "")
    })
}

/// Loads a text as `signet.toml`.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("signet.toml");
    fs::write(&path, text).expect("the folder is ours");
    load_with(&path, variables)
}

/// Loads variables alone.
fn load_environment(variables: &[(&str, &str)]) -> Result<Config, String> {
    let environment: Environment = variables.iter().copied().collect();
    config::load(None, &environment, NOW).map_err(|problems| problems.to_string())
}

#[test]
fn every_good_sample_loads() {
    for path in samples("good") {
        if let Err(problems) = load(&path) {
            panic!("{}:\n{problems}", path.display());
        }
    }
}

#[test]
fn the_example_loads() {
    let config = load(&folder("config/example.toml")).unwrap();
    assert_eq!(config.apps.len(), 3);
}

#[test]
fn every_bad_sample_gives_its_exact_messages() {
    let mut wrong = Vec::new();
    for path in samples("bad") {
        let found = match load(&path) {
            Ok(_) => "it loads\n".into(),
            Err(problems) => format!("{problems}\n"),
        };
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        if found != expected {
            wrong.push(format!(
                "=== {}\n{found}",
                path.file_name().unwrap().display()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "these give other messages:\n{}",
        wrong.join("\n")
    );
}
