//! The log when it can't be written: lines are lost and counted, or no token leaves without its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use serde_json::Value;

use crate::running::{Folder, SHOP_KEY, SMALL, Serving, UNLIMITED, body, eventually};

/// [`SMALL`] where no token may leave without its line, or every one may.
fn folder(required: bool) -> Folder {
    let folder = Folder::small();
    require(&folder, required);
    folder
}

fn require(folder: &Folder, required: bool) {
    let setting = format!("{SMALL}\n[audit]\nrequired = {required}\n");
    folder.write("signet.toml", &setting);
}

/// What became of one request: the status and the error's code.
fn ask(serving: &Serving) -> (u16, String) {
    let answer = serving.issue(SHOP_KEY);
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let code = body(&answer)["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let refused = status == 503;
    assert_eq!(answer.contains("retry-after: 1\r\n"), refused, "{answer}");
    assert_eq!(answer.contains("eyJ"), !refused, "{answer}");
    (status, code)
}

fn dropped(serving: &Serving) -> u64 {
    let metrics = serving.ask_admin("/metrics");
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("signet_log_lines_dropped_total "));
    line.unwrap().parse().unwrap()
}

fn issued() -> (u16, String) {
    (200, String::new())
}

fn refused() -> (u16, String) {
    (503, "audit_unavailable".to_owned())
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn with_its_log_on_a_full_disk_signet_serves_on_and_counts_what_is_lost() {
    let mut serving = folder(false).serve_logging_to(full(), &[]);
    for _ in 0..5 {
        assert_eq!(ask(&serving), issued());
    }
    // The line that says that it serves, and one for each token.
    eventually("six lines are lost", || dropped(&serving) >= 6);
    serving.signal("TERM");
    assert_eq!(serving.wait().0, Some(0));
}

#[test]
fn with_its_log_on_a_full_disk_no_token_leaves_where_the_trail_is_required() {
    let mut serving = folder(true).serve_logging_to(full(), &[]);
    eventually("the line that says that it serves is lost", || {
        dropped(&serving) > 0
    });
    for _ in 0..5 {
        assert_eq!(ask(&serving), refused());
    }
    assert!(serving.ask_admin("/readyz").starts_with("HTTP/1.1 200 "));
    serving.signal("TERM");
    assert_eq!(serving.wait().0, Some(0));
}

#[test]
fn a_reader_of_the_log_that_goes_and_comes_back_is_found_by_the_requests_it_costs() {
    let folder = folder(true);
    let pipe = folder.path("log");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || File::open(pipe).unwrap())
    };
    let writer = File::options().write(true).open(&pipe).unwrap();
    let reader = reader.join().unwrap();
    let serving = folder.serve_logging_to(writer, &UNLIMITED);
    assert_eq!(ask(&serving), issued());
    // What is left in the pipe would wait there for the next reader.
    let mut lines = BufReader::new(reader).lines();
    lines.find(|line| line.as_ref().unwrap().contains("issued"));
    drop(lines);
    eventually("tokens are refused", || ask(&serving) == refused());
    let mut lines = BufReader::new(File::open(&pipe).unwrap()).lines();
    eventually("tokens are issued again", || ask(&serving) == issued());
    // The refused one that found the reader, and the token's own.
    let outcome = || {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["outcome"].as_str().unwrap().to_owned()
    };
    let outcomes: Vec<_> = std::iter::repeat_with(outcome)
        .take_while(|outcome| outcome != "issued")
        .collect();
    assert!(!outcomes.is_empty(), "no line told that the reader is back");
    assert!(
        outcomes.iter().all(|it| it == "audit_unavailable"),
        "{outcomes:?}"
    );
}

/// As long as a user's ID may be, and twice that in the log.
fn long_user(first: &str) -> String {
    format!("{first}{}", r#"\""#.repeat(190))
}

/// Asks a hundred times for tokens of this user; gives how many were issued. The others were refused for want of the trail.
fn ask_often(serving: &Serving, user: &str) -> usize {
    let asked = format!(r#"{{"userId":"{user}"}}"#);
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {SHOP_KEY}\r\nX-Request-Id: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{asked}",
        "r".repeat(128),
        asked.len()
    );
    let mut connection = serving.connect();
    connection.send(&request.repeat(100));
    let answers = (0..100).map(|_| connection.answer());
    answers
        .filter(|(status, body)| {
            let refused = status == "503" && body.contains("audit_unavailable");
            assert!(refused || status == "200", "{status} {body}");
            !refused
        })
        .count()
}

#[test]
fn a_pipe_that_nobody_reads_costs_lines_or_where_the_trail_is_required_tokens_and_never_both() {
    let folder = folder(true);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut serving = folder.serve_logging_to(writer, &UNLIMITED);
    let (sure, unsure) = (long_user("sure"), long_user("unsure"));
    let mut left = 0;
    eventually("the buffer is full", || {
        let issued = ask_often(&serving, &sure);
        left += issued;
        issued == 0
    });

    require(&folder, false);
    serving.signal("HUP");
    eventually("tokens are issued without a line", || {
        ask_often(&serving, &unsure) == 100
    });
    assert!(dropped(&serving) >= 100, "{}", dropped(&serving));

    require(&folder, true);
    serving.signal("HUP");
    eventually("tokens are refused again", || {
        ask_often(&serving, &unsure) == 0
    });

    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    eventually("tokens are issued again", || {
        let issued = ask_often(&serving, &sure);
        left += issued;
        issued == 100
    });
    serving.signal("TERM");
    assert_eq!(serving.wait().0, Some(0));
    drop(serving);
    let text = reading.join().unwrap().unwrap();
    let written = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| {
            line["outcome"] == "issued" && line["user"].as_str().unwrap().starts_with("sure")
        });
    assert_eq!(written.count(), left, "each token has its line");
}
