//! `signet check`: does all that `serve` does, short of binding a port; and says what a reload would change.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{Configuration, Trouble, print, running};
use crate::service::{Snapshot, Sources};

/// A running signet reads everything before it answers, secrets in slow stores included.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Say what a reload would change for the signet that is running with this configuration; or, with FILE, what this
    /// configuration changes of that one
    #[arg(long, value_name = "FILE")]
    #[expect(
        clippy::option_option,
        reason = "an option that may be there without its value"
    )]
    diff: Option<Option<PathBuf>>,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Trouble> {
    match arguments.diff {
        None => {
            let (loaded, _) = arguments.configuration.load()?;
            print(&summary(&loaded.snapshot))
        }
        Some(None) => tell(&ask_the_running_one(&arguments.configuration.sources())?),
        Some(Some(file)) => {
            let old = Configuration { config: Some(file) }.sources();
            let changes = arguments.configuration.sources().changes_since(&old);
            tell(&changes.map_err(|problems| Trouble::Refused(problems.to_string()))?)
        }
    }
}

fn summary(snapshot: &Snapshot) -> String {
    let counted =
        |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!(
        "ok: {}, {}, {}; every key signs and verifies",
        counted(snapshot.apps.len(), "app"),
        counted(snapshot.callers.iter().count(), "caller"),
        counted(snapshot.browsers.len(), "browser endpoint"),
    )
}

/// What the running one says of itself: it knows its own environment, which may be another than ours.
fn ask_the_running_one(sources: &Sources) -> Result<Vec<String>, Trouble> {
    let answer = running::ask(sources, "/changes", PATIENCE)?;
    let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let lines = |name: &str| -> Option<Vec<String>> {
        let lines = told.get(name)?.as_array()?.iter();
        Some(
            lines
                .filter_map(|it| Some(it.as_str()?.to_owned()))
                .collect(),
        )
    };
    if let Some(problems) = lines("problems") {
        return Err(Trouble::Refused(problems.join("\n")));
    }
    lines("changes").ok_or_else(|| {
        Trouble::Refused(format!(
            "signet at {} does not say what a reload would change (status {}); ask again in a moment",
            answer.address, answer.status
        ))
    })
}

fn tell(changes: &[String]) -> Result<(), Trouble> {
    if changes.is_empty() {
        return print("ok: nothing would change");
    }
    print(&format!("ok: this would change\n{}", changes.join("\n")))
}
