//! The audit trail: one line per token issued and per refusal, never the token.

use std::cell::RefCell;
use std::net::IpAddr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Format, Sink};
use crate::clock::Timestamp;
use crate::token::append_quoted;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A token was issued.
    Issued,
    /// It was refused, with this error code.
    Refused(&'static str),
}

impl Outcome {
    /// `issued`, or the error code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Refused(code) => code,
        }
    }
}

/// What is written down of one request.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The request's ID.
    pub request_id: &'a str,
    /// The trace that the request belongs to, as W3C's `traceparent` names it.
    pub trace_id: Option<&'a str>,
    /// The app, where it is known.
    pub app: Option<&'a str>,
    /// The caller, where one asked and proved itself.
    pub caller: Option<&'a str>,
    /// The session resolver, where a browser asked.
    pub resolver: Option<&'a str>,
    /// The user's ID, where it is known.
    pub user: Option<&'a str>,
    /// The token's lifetime, where there is a token.
    pub lifetime_seconds: Option<i64>,
    /// The key that signed it.
    pub key_id: Option<&'a str>,
    /// Its ID, where it has one.
    pub token_id: Option<&'a str>,
    /// The client's address.
    pub ip: IpAddr,
    /// How it ended.
    pub outcome: Outcome,
}

/// Writes entries to a sink, each as one line.
pub struct Audit {
    sink: Sink,
    format: Format,
}

thread_local! {
    /// The second of the last entry as a date: writing one costs more than the rest of the line, and cores that
    /// shared it would wait for each other.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

impl Audit {
    /// A trail that goes where the log goes, in its format.
    #[must_use]
    pub fn new(sink: Sink, format: Format) -> Self {
        Self { sink, format }
    }

    /// Writes one entry. Never waits; see [`Sink`].
    pub fn write(&self, entry: &Entry<'_>, now: Timestamp) {
        self.sink.append(|line| self.render(entry, now, line));
    }

    /// Writes an entry that must not be lost, or says that it can't be written at the moment: too much is
    /// waiting for the log's reader, or the last write failed.
    #[must_use]
    pub fn write_surely(&self, entry: &Entry<'_>, now: Timestamp) -> bool {
        self.sink
            .append_if_sound(|line| self.render(entry, now, line))
    }

    fn render(&self, entry: &Entry<'_>, now: Timestamp, line: &mut Vec<u8>) {
        SECOND.with_borrow_mut(|(second, date)| {
            if *second != now.seconds() {
                *second = now.seconds();
                *date = rfc3339(now);
            }
            match self.format {
                Format::Json => json(entry, date, line),
                Format::Text => line.extend_from_slice(text(entry, date).as_bytes()),
            }
        });
        line.push(b'\n');
    }

    /// How many lines of log and trail were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.sink.dropped()
    }
}

/// Appends an entry as a JSON object. Written by hand, because this is the one thing that every token
/// pays for beside its signature, and most of it never changes.
fn json(entry: &Entry<'_>, timestamp: &str, line: &mut Vec<u8>) {
    line.extend_from_slice(br#"{"timestamp":""#);
    line.extend_from_slice(timestamp.as_bytes());
    match entry.outcome {
        Outcome::Issued => line.extend_from_slice(
            br#"","level":"INFO","target":"signet::audit","message":"issued a token","outcome":"issued"#,
        ),
        Outcome::Refused(code) => {
            line.extend_from_slice(
                br#"","level":"WARN","target":"signet::audit","message":"refused a request","outcome":""#,
            );
            line.extend_from_slice(code.as_bytes());
        }
    }
    line.push(b'"');
    append(line, br#","request_id":"#, Some(entry.request_id));
    append(line, br#","trace_id":"#, entry.trace_id);
    append(line, br#","app":"#, entry.app);
    append(line, br#","caller":"#, entry.caller);
    append(line, br#","resolver":"#, entry.resolver);
    append(line, br#","user":"#, entry.user);
    append(line, br#","key_id":"#, entry.key_id);
    append(line, br#","token_id":"#, entry.token_id);
    if let Some(seconds) = entry.lifetime_seconds {
        line.extend_from_slice(br#","lifetime_seconds":"#);
        serde_json::to_writer(&mut *line, &seconds).expect("a Vec takes every number");
    }
    line.extend_from_slice(br#","ip":"#);
    serde_json::to_writer(&mut *line, &entry.ip).expect("a Vec takes every address");
    line.push(b'}');
}

/// A member, where there is one. Its name's length is known to the compiler, which then copies without a call.
fn append<const N: usize>(line: &mut Vec<u8>, name: &[u8; N], value: Option<&str>) {
    if let Some(value) = value {
        line.extend_from_slice(name);
        append_quoted(line, value);
    }
}

fn text(entry: &Entry<'_>, timestamp: &str) -> String {
    let or_none = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let who = entry.caller.or(entry.resolver);
    format!(
        "{timestamp} {:>5} {} app={} by={} user={:?} ip={} request={}",
        "AUDIT",
        entry.outcome.name(),
        or_none(entry.app),
        or_none(who),
        or_none(entry.user),
        entry.ip,
        entry.request_id
    )
}

fn rfc3339(now: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(now.seconds())
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        // Beyond the year 9999 the bare number is still true.
        .unwrap_or_else(|| now.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(format: Format, outcome: Outcome) -> String {
        let written = Written::default();
        let sink = Sink::new(written.clone()).unwrap();
        let entry = Entry {
            request_id: "req_1",
            trace_id: None,
            app: Some("acme"),
            caller: Some("shop"),
            resolver: None,
            user: Some("usr_1\" admin"),
            lifetime_seconds: Some(3600),
            key_id: Some("acme"),
            token_id: None,
            ip: "192.0.2.1".parse().unwrap(),
            outcome,
        };
        Audit::new(sink.clone(), format).write(&entry, Timestamp::from_seconds(1_763_650_000));
        sink.flush();
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_issue_is_one_json_object_on_one_line() {
        let line = line(Format::Json, Outcome::Issued);
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["timestamp"], "2025-11-20T14:46:40Z");
        assert_eq!(value["user"], "usr_1\" admin");
        assert_eq!(
            (&value["level"], &value["target"], &value["ip"]),
            (&"INFO".into(), &"signet::audit".into(), &"192.0.2.1".into())
        );
        assert_eq!(
            (
                value["outcome"].as_str(),
                value["lifetime_seconds"].as_i64()
            ),
            (Some("issued"), Some(3600))
        );
        assert_eq!(value.get("token_id"), None);
    }

    #[test]
    fn a_refusal_carries_its_code_and_quotes_the_user_on_a_terminal() {
        let line = line(Format::Text, Outcome::Refused("role_not_allowed"));
        assert_eq!(
            line,
            "2025-11-20T14:46:40Z AUDIT role_not_allowed app=acme by=shop user=\"usr_1\\\" admin\" ip=192.0.2.1 request=req_1\n"
        );
    }
}
