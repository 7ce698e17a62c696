//! Secrets that a command prints: run without a shell, bounded in time and size.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::source::{MAX_SECRET_BYTES, without_newline};
use super::{Secret, SecretError, Variables};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where programs are when the environment doesn't say.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A command that prints a secret, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretCommand {
    /// The program and its arguments; at least the program.
    pub line: Vec<String>,
    /// The environment variables that it gets beside `PATH`.
    pub variables: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
}

/// Runs the command and gives what it prints.
pub(super) async fn run(
    command: &SecretCommand,
    variables: &Variables,
) -> Result<Secret, SecretError> {
    within(PATIENCE, command, variables).await
}

async fn within(
    patience: Duration,
    command: &SecretCommand,
    variables: &Variables,
) -> Result<Secret, SecretError> {
    tokio::time::timeout(patience, output(command, variables))
        .await
        .unwrap_or(Err(SecretError::CommandTooSlow))
}

/// Dropped before its end, it kills the program, and what that has started.
async fn output(command: &SecretCommand, variables: &Variables) -> Result<Secret, SecretError> {
    let (program, arguments) = command
        .line
        .split_first()
        .ok_or(SecretError::CommandFailed)?;
    let mut prepared = Command::new(program);
    prepared.args(arguments).env_clear().env("PATH", USUAL_PATH);
    for name in command.variables.iter().map(String::as_str).chain(["PATH"]) {
        if let Some(value) = variables.find(name) {
            use std::os::unix::ffi::OsStrExt;
            prepared.env(name, std::ffi::OsStr::from_bytes(value.expose()));
        }
    }
    // What it says of itself may hold the secret: nobody hears it.
    prepared
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    if !command.folder.as_os_str().is_empty() {
        prepared.current_dir(&command.folder);
    }
    let mut child = prepared
        .spawn()
        .map_err(|error| SecretError::CommandNotRun(error.kind()))?;
    let group = Group::of(&child);
    let pipe = child.stdout.take().ok_or(SecretError::CommandFailed)?;
    // As large as it may become, so that it is never moved and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_SECRET_BYTES as usize));
    pipe.take(MAX_SECRET_BYTES + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|_| SecretError::CommandFailed)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError::TooLong);
    }
    let status = child.wait().await.map_err(|_| SecretError::CommandFailed)?;
    group.leave();
    if !status.success() {
        return Err(SecretError::CommandFailed);
    }
    Ok(Secret::new(without_newline(bytes)))
}

/// A program and all that it has started; whoever still runs is killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// The group that `child` leads.
    fn of(child: &Child) -> Self {
        let number = child.id().and_then(|number| i32::try_from(number).ok());
        Self(number.and_then(Pid::from_raw))
    }

    /// Kills nobody: the leader has ended by itself, and its number may be another's by now.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Of its own account the system refuses only where nobody is left.
        let _ = self
            .0
            .map(|leader| kill_process_group(leader, Signal::KILL));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn shell(script: &str) -> SecretCommand {
        SecretCommand {
            line: ["sh", "-c", script].map(str::to_owned).to_vec(),
            variables: vec!["NAMED".to_owned()],
            folder: PathBuf::new(),
        }
    }

    fn variables() -> Variables {
        let given = [("NAMED", "named"), ("OTHER", "other")];
        Variables::Given(BTreeMap::from(
            given.map(|(name, text)| (name.to_owned(), text.into())),
        ))
    }

    fn printed(script: &str) -> Result<Secret, SecretError> {
        print(&shell(script))
    }

    fn print(command: &SecretCommand) -> Result<Secret, SecretError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(command, &variables()))
    }

    #[test]
    fn one_newline_is_dropped_and_the_rest_is_the_secret() {
        assert_eq!(printed("echo 'a secret'").unwrap().expose(), b"a secret");
        assert_eq!(printed("printf 'a\\n\\n'").unwrap().expose(), b"a\n");
    }

    #[test]
    fn a_command_sees_the_variables_that_are_named_and_no_others() {
        let seen = printed("printf '%s,%s,%s' \"$NAMED\" \"$OTHER\" \"$PATH\"").unwrap();
        assert_eq!(seen.expose(), format!("named,,{USUAL_PATH}").as_bytes());
    }

    #[test]
    fn no_shell_reads_the_arguments() {
        let command = SecretCommand {
            line: ["echo", "$PATH; `id`"].map(str::to_owned).to_vec(),
            ..shell("")
        };
        assert_eq!(print(&command).unwrap().expose(), b"$PATH; `id`");
    }

    #[test]
    fn failures_tell_nothing_of_what_was_printed() {
        let failing = printed("echo hunter2; echo hunter2 >&2; exit 3").unwrap_err();
        assert_eq!(failing, SecretError::CommandFailed);
        assert!(!failing.to_string().contains("hunter2"));
        assert_eq!(
            printed("head -c 65537 /dev/zero").unwrap_err(),
            SecretError::TooLong
        );
        let absent = SecretCommand {
            line: vec!["/nowhere/hunter2".to_owned()],
            ..shell("")
        };
        let error = print(&absent).unwrap_err();
        assert_eq!(
            error,
            SecretError::CommandNotRun(std::io::ErrorKind::NotFound)
        );
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        // Both hold the pipe open for as long as they live.
        let script = format!("exec > {}; sleep 1000 & exec sleep 1000", pipe.display());
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || ended.send(std::fs::read(pipe).unwrap()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (command, variables) = (shell(&script), variables());
        let running = within(Duration::from_millis(500), &command, &variables);
        let error = runtime.block_on(running).unwrap_err();
        assert_eq!(error, SecretError::CommandTooSlow);
        end.recv_timeout(Duration::from_secs(10))
            .expect("nobody is left");
    }
}
