//! The wall between the rooms: who may import whom and what each must leave alone, held against the sources.
//!
//! To need a new neighbour is a design decision: change the table first, with the reason in the
//! commit. `docs/ARCHITECTURE.md` draws the same picture in words.

use std::fs;
use std::path::Path;

use scan::{Named, named};

#[path = "architecture/scan.rs"]
mod scan;

/// Every room and the neighbours it may import, from the roof to the ground: each may import only
/// rooms that stand below it in this list.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "dev",
            "service",
            "config",
            "server",
            "caller",
            "telemetry",
            "token",
            "signing",
            "secrets",
            "random",
            "clock",
        ],
    ),
    (
        "dev",
        &[
            "service",
            "config",
            "server",
            "caller",
            "telemetry",
            "token",
            "signing",
            "secrets",
            "random",
            "clock",
        ],
    ),
    (
        "service",
        &[
            "config",
            "http",
            "server",
            "caller",
            "identity",
            "limits",
            "telemetry",
            "token",
            "signing",
            "secrets",
            "upstream",
            "random",
            "clock",
        ],
    ),
    (
        "config",
        &[
            "caller",
            "identity",
            "limits",
            "telemetry",
            "token",
            "signing",
            "secrets",
            "clock",
        ],
    ),
    (
        "http",
        &[
            "server",
            "caller",
            "identity",
            "limits",
            "telemetry",
            "token",
            "signing",
            "secrets",
            "random",
            "clock",
        ],
    ),
    ("server", &[]),
    (
        "caller",
        // A platform's token is verified by the rules of the sessions' JWTs.
        &["identity", "token", "secrets", "random", "clock"],
    ),
    (
        "identity",
        &["token", "signing", "secrets", "upstream", "random", "clock"],
    ),
    ("limits", &["token", "clock"]),
    ("telemetry", &["token", "signing", "clock"]),
    ("token", &["signing", "clock"]),
    ("signing", &["secrets", "clock"]),
    // Some secrets are kept by another server.
    ("secrets", &["upstream", "random", "clock"]),
    ("upstream", &[]),
    ("random", &[]),
    ("clock", &[]),
];

/// What belongs to few rooms: a path of another crate, and the rooms that may name it.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("aws_lc_rs::rand", &["random", "signing"]),
    ("anyhow", &["main", "cli", "dev", "service"]),
    ("axum", &["http", "service", "dev"]),
    // `identity` reads the status of other servers; what signet answers is only for `http` to say.
    ("axum::http::StatusCode", &["http", "dev"]),
    ("clap", &["cli"]),
    ("config", &["config"]),
    ("getrandom", &["random"]),
    ("http::StatusCode", &["http", "identity", "dev"]),
    ("hyper::StatusCode", &["http", "dev"]),
    ("hyper::http::StatusCode", &["http", "dev"]),
    ("jsonwebtoken", &["signing", "identity", "dev"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("prometheus_client", &["telemetry"]),
    ("rcgen", &["dev"]),
    ("reqwest", &["telemetry", "upstream"]),
    ("rustix", &["secrets"]),
    ("sha2", &["caller", "signing"]),
    ("toml", &["config"]),
    ("tower_governor", &["http"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("tracing_subscriber", &["telemetry", "cli"]),
];

/// What a room must not name, so that it stays what its first line says.
const NEVER_IN: &[(&str, &[&str])] = &[(
    "token",
    &[
        "aws_lc_rs",
        "axum",
        "crate::clock::Clock",
        "governor",
        "http",
        "hyper",
        "jsonwebtoken",
        "rand",
        "reqwest",
        "rustls",
        "std::env",
        "std::fs",
        "std::io",
        "std::net",
        "std::process",
        "std::thread",
        "std::time::Instant",
        "std::time::SystemTime",
        "time::OffsetDateTime::now_utc",
        "tokio",
        "tower",
        "tower_http",
        "tracing",
        "uuid",
    ],
)];

/// Everything wrong with `files`, given as paths below the project and their texts.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, source) in files {
        if !source.starts_with("//! ") {
            faults.push(format!(
                "{path}: line 1 must say in a `//!` sentence what the file is"
            ));
        }
        let Some(module) = module_of(path) else {
            continue;
        };
        match named(source, &module) {
            Ok(all) => faults.extend(all.iter().filter_map(|one| fault(path, &module, one))),
            Err(error) => faults.push(format!("{path}: {error}")),
        }
    }
    faults
}

/// The module that a file below `src/` holds; `None` for a file elsewhere.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    if inner == "lib" {
        return Some(Vec::new());
    }
    Some(inner.split('/').map(str::to_owned).collect())
}

/// What is wrong with one path that the file at `path` names, if anything.
fn fault(path: &str, module: &[String], named: &Named) -> Option<String> {
    let place = format!("{path}:{}", named.line);
    let room = module.first().map_or("lib", String::as_str);
    // The program is a crate of its own, and knows this one by its name.
    let from_main = room == "main" && named.segments[0] == "signet";
    if from_main {
        return entering(&place, room, &named.segments[1..]);
    }
    if named.inside {
        let full = format!("crate::{}", named.segments.join("::"));
        return entering(&place, room, &named.segments)
            .or_else(|| leaving(&place, room, &full, named.for_tests || is_tests(module)));
    }
    let full = named.segments.join("::");
    leaving(&place, room, &full, named.for_tests || is_tests(module))
}

/// Whether a file is a `tests.rs`, which its parent declares for tests alone.
fn is_tests(module: &[String]) -> bool {
    module.last().is_some_and(|name| name == "tests")
}

/// May `room` name the path `segments` of this crate?
fn entering(place: &str, room: &str, segments: &[String]) -> Option<String> {
    let [neighbour, inner @ ..] = segments else {
        return None;
    };
    let full = format!("crate::{}", segments.join("::"));
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        // The root declares the rooms and enters none of them.
        let root = room == "lib" && inner.is_empty();
        return (!root).then(|| format!("{place}: `{room}` is no room in the table"));
    };
    if neighbour == room {
        return None;
    }
    if !ROOMS.iter().any(|(name, _)| name == neighbour) {
        return Some(format!(
            "{place}: `{full}` goes through the crate's root, not a room's door"
        ));
    }
    if !allowed.contains(&neighbour.as_str()) {
        return Some(format!(
            "{place}: {room} may not import {neighbour} (`{full}`)"
        ));
    }
    let into_a_private_room = inner.len() > 1 && inner[0].starts_with(char::is_lowercase);
    into_a_private_room
        .then(|| format!("{place}: `{full}` passes by the front door of {neighbour}"))
}

/// May `room` name `full`, by the two tables of crates? Tests may name what they like.
fn leaving(place: &str, room: &str, full: &str, for_tests: bool) -> Option<String> {
    if for_tests {
        return None;
    }
    let never = NEVER_IN.iter().filter(|(name, _)| *name == room);
    if let Some(what) = never
        .flat_map(|(_, what)| *what)
        .find(|what| covers(what, full))
    {
        return Some(format!("{place}: {room} must not name {what} (`{full}`)"));
    }
    let (what, rooms) = ONLY_IN
        .iter()
        .find(|(what, rooms)| covers(what, full) && !rooms.contains(&room))?;
    Some(format!(
        "{place}: {room} must not name {what} (`{full}`), only {} may",
        rooms.join(", ")
    ))
}

/// Whether the path `full` leads to `what` or below it; a glob on the way may.
fn covers(what: &str, full: &str) -> bool {
    let (what, full): (Vec<_>, Vec<_>) = (what.split("::").collect(), full.split("::").collect());
    match full.iter().position(|segment| *segment == "*") {
        Some(glob) if glob < what.len() => what[..glob] == full[..glob],
        _ => full.starts_with(&what),
    }
}

/// Every Rust file below `folder`, as its path from the project's root and its text.
fn sources(folder: &str, found: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(entries) = fs::read_dir(root.join(folder)) else {
        return;
    };
    for entry in entries {
        let entry = entry.expect("the folder can be listed");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            sources(&path, found);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("a source file is text");
            found.push((path, text));
        }
    }
}

#[test]
fn every_file_keeps_to_its_room() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        sources(folder, &mut files);
    }
    assert!(files.len() > 3, "the sources were not found");
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(p, t)| (p.as_str(), t.as_str()))
        .collect();
    let faults = faults(&files);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn rooms_import_downhill_only() {
    for (at, (room, neighbours)) in ROOMS.iter().enumerate() {
        for neighbour in *neighbours {
            let below = ROOMS[at + 1..].iter().any(|(name, _)| name == neighbour);
            assert!(below, "{neighbour} does not stand below {room}");
        }
    }
}

/// The faults of one made-up file, which begins as every file should.
fn faults_of(path: &str, source: &str) -> Vec<String> {
    faults(&[(path, &format!("//! A made-up file.\n{source}"))])
}

#[test]
fn a_file_without_a_first_sentence_is_named() {
    for path in ["src/clock.rs", "tests/api/main.rs", "benches/load.rs"] {
        assert_eq!(
            faults(&[(path, "use std::fmt;\n//! Too late.")]),
            [format!(
                "{path}: line 1 must say in a `//!` sentence what the file is"
            )]
        );
    }
}

#[test]
fn an_uphill_import_is_named_however_it_is_written() {
    let wanted = "limits may not import config";
    for source in [
        "use crate::config::Limits;",
        "use crate::{clock::Clock, config::{self, Limits}};",
        "use crate::config;",
        "use super::super::config::Limits;",
        "fn f() -> crate::config::Limits { todo!() }",
        "fn f() { let _ = crate::config::load(); }",
        "fn f() { tokio::select! { _ = crate::config::load() => {} } }",
        "#[serde(with = \"x\", default)] struct S { a: Vec<crate::config::Limits> }",
        "mod inner { use super::super::super::config::Limits; }",
        "fn f() -> impl Sized + use<> { 1 }\nuse crate::config::Limits;",
        "#[cfg(test)] mod tests { use crate::config::Limits; }",
    ] {
        let faults = faults_of("src/limits/governed.rs", source);
        assert!(!faults.is_empty(), "nothing seen in {source}");
        assert!(
            faults.iter().all(|f| f.contains(wanted)),
            "{source}: {faults:?}"
        );
    }
    assert_eq!(
        faults_of("src/limits/mod.rs", "\nuse crate::config::Limits;"),
        ["src/limits/mod.rs:3: limits may not import config (`crate::config::Limits`)"]
    );
    assert_eq!(
        faults_of("src/main.rs", "fn main() { signet::config::load() }"),
        ["src/main.rs:2: main may not import config (`crate::config::load`)"]
    );
}

#[test]
fn comments_and_strings_import_nothing() {
    let source = r##"
        // use crate::config::Limits;
        /* crate::config::Limits /* nested */ crate::config::load() */
        /// As [`crate::config::Limits`] says.
        const A: &str = "crate::config::Limits";
        const B: &str = r#"use crate::config::Limits; "quoted" "#;
    "##;
    assert_eq!(faults_of("src/limits/mod.rs", source), [""; 0]);
}

#[test]
fn a_path_past_a_front_door_is_named() {
    for source in [
        "use crate::token::app::App;",
        "use crate::token::{app::App};",
        "use crate::token;\nfn f() { token::app::new() }",
        "use crate::token as tokens;\nfn f() { tokens::app::new() }",
    ] {
        let faults = faults_of("src/http/token.rs", source);
        assert_eq!(faults.len(), 1, "{source}: {faults:?}");
        assert!(
            faults[0].contains("passes by the front door of token"),
            "{faults:?}"
        );
    }
    for source in [
        "use crate::token::{self, App, mint};\nfn f() { App::new(); token::mint() }",
        "use super::layers::stack;\nuse crate::http::layers;",
    ] {
        assert_eq!(faults_of("src/http/token.rs", source), [""; 0]);
    }
}

#[test]
fn a_path_through_the_root_and_an_unknown_room_are_named() {
    assert_eq!(
        faults_of("src/http/mod.rs", "use crate::App;"),
        ["src/http/mod.rs:2: `crate::App` goes through the crate's root, not a room's door"]
    );
    assert_eq!(
        faults_of("src/http/mod.rs", "use crate::*;"),
        ["src/http/mod.rs:2: `crate::*` goes through the crate's root, not a room's door"]
    );
    assert_eq!(
        faults_of("src/util.rs", "use crate::clock::Clock;"),
        ["src/util.rs:2: `util` is no room in the table"]
    );
    assert_eq!(
        faults_of("src/lib.rs", "pub mod clock;\npub use crate::clock::Clock;"),
        ["src/lib.rs:3: `lib` is no room in the table"]
    );
}

#[test]
fn a_crate_that_belongs_to_other_rooms_is_named() {
    for (path, source, what) in [
        ("src/token/mint.rs", "use uuid::Uuid;", "uuid"),
        (
            "src/token/mint.rs",
            "fn f() { ::tokio::spawn(g()); }",
            "tokio",
        ),
        (
            "src/token/mint.rs",
            "fn f() { tracing::info!(\"x\"); }",
            "tracing",
        ),
        ("src/token/mint.rs", "use std::{fmt, fs};", "std::fs"),
        (
            "src/token/mint.rs",
            "use std::time;\nfn f() { time::SystemTime::now(); }",
            "std::time::SystemTime",
        ),
        ("src/token/mint.rs", "use std::*;", "std::env"),
        (
            "src/token/mint.rs",
            "use std::time::*;",
            "std::time::Instant",
        ),
        (
            "src/token/mint.rs",
            "use crate::clock::{Clock, Timestamp};",
            "crate::clock::Clock",
        ),
        ("src/caller/mod.rs", "use axum::http::StatusCode;", "axum"),
        (
            "src/service.rs",
            "use axum::http::StatusCode;",
            "axum::http::StatusCode",
        ),
        (
            "src/limits/mod.rs",
            "fn f() -> http::StatusCode { todo!() }",
            "http::StatusCode",
        ),
        (
            "src/server/mod.rs",
            "use hyper::{Request, StatusCode};",
            "hyper::StatusCode",
        ),
        ("src/token/profile.rs", "use toml::Value;", "toml"),
        (
            "src/http/mod.rs",
            "use jsonwebtoken as jwt;",
            "jsonwebtoken",
        ),
        ("src/service.rs", "use config::Config;", "config"),
    ] {
        let faults = faults_of(path, source);
        assert_eq!(faults.len(), 1, "{source}: {faults:?}");
        assert!(
            faults[0].contains(&format!("must not name {what} (")),
            "{faults:?}"
        );
    }
}

#[test]
fn a_room_may_be_called_like_a_crate() {
    for (path, source) in [
        (
            "src/service.rs",
            "use crate::config;\nfn f() { config::load(); }",
        ),
        (
            "src/config/mod.rs",
            "mod toml;\nuse config::Config;\nfn f() { toml::read(); }",
        ),
        (
            "src/secrets/mod.rs",
            "mod config;\nfn f() { config::read(); }",
        ),
    ] {
        assert_eq!(faults_of(path, source), [""; 0]);
    }
}

#[test]
fn tests_may_name_other_crates() {
    for (path, source) in [
        (
            "src/token/mint.rs",
            "#[cfg(test)]\nmod tests { use std::fs; use tokio::time; }",
        ),
        ("src/token/tests.rs", "use std::fs;"),
        ("src/token/mod.rs", "#[cfg(test)] mod tests;\nuse std::fmt;"),
    ] {
        assert_eq!(faults_of(path, source), [""; 0]);
    }
    for source in [
        "#[cfg(test)] mod tests;\nuse std::fs;",
        "#[cfg(test)] mod tests { use std::fs; }\nuse std::fs;",
        "#[cfg(test)] use std::fmt;\nuse std::fs;",
    ] {
        assert_eq!(faults_of("src/token/mod.rs", source).len(), 1, "{source}");
    }
}
