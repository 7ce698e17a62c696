//! Which core is whose: the servers' first, the client's last, so that neither takes the other's time.

use std::fs;
use std::process::{Command, Stdio};

/// How many cores a server may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    One,
    Two,
}

impl Cores {
    /// A command that runs `program` on these cores.
    pub(crate) fn run(self, program: &str) -> Command {
        if !can_pin() {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        let list = if self == Self::One { "0" } else { "0,1" };
        command.args(["--cpu-list", list, program]);
        command
    }

    /// Whether the client has a core of its own beside these.
    pub(crate) fn leave_one(self) -> bool {
        client() > usize::from(self == Self::Two)
    }
}

/// The client's core: the last of the first three.
fn client() -> usize {
    let count = fs::read_dir("/sys/devices/system/cpu/")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            name.strip_prefix("cpu")
                .is_some_and(|rest| rest.parse::<u32>().is_ok())
        })
        .count();
    count.clamp(1, 3) - 1
}

/// Gives the client its core, and says how it went.
pub(crate) fn pin_client() -> String {
    let own = client().to_string();
    let pinned =
        can_pin() && taskset(&["--cpu-list", "--pid", &own, &std::process::id().to_string()]);
    if pinned {
        format!("servers on core 0, client on core {own}")
    } else {
        "NOT PINNED: no second core or no `taskset`; the figures will scatter".to_owned()
    }
}

/// Whether there are two cores and `taskset` may use them.
fn can_pin() -> bool {
    let own = client();
    own > 0 && (0..=own).all(|core| taskset(&["--cpu-list", &core.to_string(), "true"]))
}

fn taskset(arguments: &[&str]) -> bool {
    Command::new("taskset")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
