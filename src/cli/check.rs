//! `signet check`: does all that `serve` does, short of binding a port.

use super::{Configuration, Trouble, print};

pub(super) fn run(configuration: Configuration) -> Result<(), Trouble> {
    let (loaded, _) = configuration.load()?;
    let snapshot = &loaded.snapshot;
    let counted =
        |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    print(&format!(
        "ok: {}, {}, {}; every key signs and verifies",
        counted(snapshot.apps.len(), "app"),
        counted(snapshot.callers.iter().count(), "caller"),
        counted(snapshot.browsers.len(), "browser endpoint"),
    ))
}
