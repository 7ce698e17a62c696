//! `signet keys`: every app's keys, where each is in its life and what comes next.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Configuration, Trouble, print};
use crate::clock::Timestamp;
use crate::service::Snapshot;
use crate::signing::{Algorithm, KeyState};
use crate::token::App;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Trouble> {
    let (loaded, sources) = arguments.configuration.load()?;
    let now = sources.clock.now();
    let rows = rows(&loaded.snapshot, now);
    if arguments.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        return print(&format!("{:#}", Value::from(rows)));
    }
    print(&table(&rows, now))
}

/// One key, as far as it may be shown.
struct Row<'s> {
    app: &'s str,
    id: &'s str,
    algorithm: Algorithm,
    state: KeyState,
    activate_at: Option<Timestamp>,
    age_seconds: Option<i64>,
    /// When its successor takes over.
    signs_until: Option<Timestamp>,
    /// When the last of its tokens has expired, or will have.
    tokens_until: Option<Timestamp>,
}

/// Every app by its name, its keys in the order in which they take over.
fn rows(snapshot: &Snapshot, now: Timestamp) -> Vec<Row<'_>> {
    let mut apps: Vec<&App> = snapshot.apps.values().map(|app| &**app).collect();
    apps.sort_unstable_by_key(|app| app.name().as_str());
    apps.into_iter()
        .flat_map(|app| {
            let keyring = app.keyring();
            let keys = keyring.keys().iter().enumerate();
            keys.map(move |(position, scheduled)| Row {
                app: app.name().as_str(),
                id: scheduled.key.id().as_str(),
                algorithm: scheduled.key.algorithm(),
                state: keyring.state(position, now),
                activate_at: scheduled.activate_at,
                age_seconds: keyring.age_seconds(position, now),
                signs_until: keyring.succession(position),
                tokens_until: keyring.retirement(position),
            })
        })
        .collect()
}

impl Row<'_> {
    fn json(&self) -> Value {
        let written = |moment: Option<Timestamp>| moment.map(Timestamp::rfc3339);
        json!({
            "app": self.app,
            "key": self.id,
            "algorithm": self.algorithm.name(),
            "state": self.state.name(),
            "activateAt": written(self.activate_at),
            "ageSeconds": self.age_seconds,
            "signsUntil": written(self.signs_until),
            "tokensLiveUntil": written(self.tokens_until),
        })
    }

    /// What happens to it next, in words.
    fn outlook(&self, now: Timestamp) -> String {
        let moment = |moment: Timestamp| {
            let left = spell(moment.seconds_since(now));
            format!("{} (in {left})", moment.rfc3339())
        };
        match (
            self.state,
            self.activate_at,
            self.signs_until,
            self.tokens_until,
        ) {
            (KeyState::Prepared, Some(from), ..) => format!("signs from {}", moment(from)),
            (KeyState::Active, _, Some(until), Some(end)) => format!(
                "signs until {}, its tokens live until {}",
                moment(until),
                end.rfc3339()
            ),
            (KeyState::Retiring, .., Some(end)) => {
                format!("its tokens live until {}", moment(end))
            }
            (KeyState::Retired, .., Some(end)) => format!(
                "none of its tokens is alive since {}; it can be removed",
                end.rfc3339()
            ),
            _ => "no successor is planned".to_owned(),
        }
    }
}

fn table(rows: &[Row<'_>], now: Timestamp) -> String {
    let mut lines = vec![["APP", "KEY", "ALGORITHM", "STATE", "AGE", "NEXT"].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            row.app.to_owned(),
            row.id.to_owned(),
            row.algorithm.name().to_owned(),
            row.state.name().to_owned(),
            row.age_seconds.map_or_else(|| "-".to_owned(), spell),
            row.outlook(now),
        ]
    }));
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |cells: &[String; 6]| {
        let padded: Vec<_> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Seconds as people say them, in their two largest units: `3days 4h`.
fn spell(seconds: i64) -> String {
    let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let text = humantime::format_duration(duration).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_796_083_200 - 90_061;

    fn row(state: KeyState) -> Row<'static> {
        Row {
            app: "acme",
            id: "2026-11",
            algorithm: Algorithm::HS256,
            state,
            activate_at: Some(Timestamp::from_seconds(1_796_083_200)),
            age_seconds: None,
            signs_until: Some(Timestamp::from_seconds(1_796_083_200)),
            tokens_until: Some(Timestamp::from_seconds(1_796_086_800)),
        }
    }

    #[test]
    fn what_comes_next_is_said_with_its_moment_and_how_long_it_takes() {
        let now = Timestamp::from_seconds(NOW);
        for (state, expected) in [
            (
                KeyState::Prepared,
                "signs from 2026-12-01T00:00:00Z (in 1day 1h)",
            ),
            (
                KeyState::Active,
                "signs until 2026-12-01T00:00:00Z (in 1day 1h), its tokens live until 2026-12-01T01:00:00Z",
            ),
            (
                KeyState::Retiring,
                "its tokens live until 2026-12-01T01:00:00Z (in 1day 2h)",
            ),
            (
                KeyState::Retired,
                "none of its tokens is alive since 2026-12-01T01:00:00Z; it can be removed",
            ),
        ] {
            assert_eq!(row(state).outlook(now), expected);
        }
        let alone = Row {
            signs_until: None,
            tokens_until: None,
            ..row(KeyState::Active)
        };
        assert_eq!(alone.outlook(now), "no successor is planned");
    }

    #[test]
    fn the_columns_of_the_table_stand_below_each_other() {
        let rows = [
            row(KeyState::Active),
            Row {
                app: "a-longer-name",
                ..row(KeyState::Prepared)
            },
        ];
        let table = table(&rows, Timestamp::from_seconds(NOW));
        let columns: Vec<_> = table
            .lines()
            .map(|line| line.find("HS256").or(line.find("ALGORITHM")))
            .collect();
        assert_eq!(columns, [Some(24); 3]);
        assert!(!table.lines().any(|line| line.ends_with(' ')));
    }
}
