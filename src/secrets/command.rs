//! Secrets that a command prints: run without a shell, bounded in time and size, kept while it fails.
//!
//! The last good output goes on when the command fails, so that a secret manager's outage is none of
//! signet's; once it is older than `max_stale`, [`Commands::stale`] counts it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::source::{MAX_SECRET_BYTES, without_newline};
use super::{Secret, SecretError, Variables};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many commands run at once.
const AT_ONCE: usize = 8;
/// The longest pause after a failure: an outage shall not be noticed as over only a `refresh` later.
const RETRY: Duration = Duration::from_secs(30);
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
    /// How long an output is taken for fresh.
    pub refresh: Duration,
    /// How old an output may be before [`Commands::stale`] counts it.
    pub max_stale: Duration,
}

/// What each command printed last.
#[derive(Default)]
pub struct Commands(Mutex<HashMap<SecretCommand, Kept>>);

struct Kept {
    /// The last good output and when it was printed.
    output: Option<(Secret, Instant)>,
    tried: Instant,
    /// How the last try failed, if it did.
    failure: Option<SecretError>,
}

impl Commands {
    /// Runs those of `commands` that are due, and all with `at_once`. Blocks for as long as the slowest
    /// takes: ten seconds at most for each eight.
    pub fn fetch(&self, commands: &[SecretCommand], at_once: bool, variables: &Variables) {
        let due: Vec<_> = {
            let kept = self.lock();
            let is_due = |command: &&SecretCommand| {
                at_once
                    || kept
                        .get(*command)
                        .is_none_or(|kept| kept.output.is_none() || kept.is_due(command))
            };
            commands.iter().filter(is_due).cloned().collect()
        };
        self.run(&due, variables);
    }

    /// Runs the commands that are due and says whether one prints another secret now. Blocks like [`Commands::fetch`].
    pub fn refresh(&self, variables: &Variables) -> bool {
        let due: Vec<_> = self
            .lock()
            .iter()
            .filter(|(command, kept)| kept.is_due(command))
            .map(|(command, _)| command.clone())
            .collect();
        self.run(&due, variables)
    }

    /// Forgets every command that isn't one of these.
    pub fn keep_only(&self, commands: &[SecretCommand]) {
        self.lock().retain(|command, _| commands.contains(command));
    }

    /// Whether there is a command that has failed ever since.
    #[must_use]
    pub fn missing(&self) -> bool {
        self.lock().values().any(|kept| kept.output.is_none())
    }

    /// How many secrets are older than they may be, because their commands keep failing.
    #[must_use]
    pub fn stale(&self) -> usize {
        let kept = self.lock();
        let is_stale = |(command, kept): &(&SecretCommand, &Kept)| {
            let printed = kept.output.as_ref().map(|(_, at)| at.elapsed());
            printed.is_some_and(|age| age > command.max_stale)
        };
        kept.iter().filter(is_stale).count()
    }

    /// The last good output.
    pub(super) fn output(&self, command: &SecretCommand) -> Result<Secret, SecretError> {
        let kept = self.lock();
        let kept = kept.get(command).ok_or(SecretError::CommandFailed)?;
        match (&kept.output, &kept.failure) {
            (Some((secret, _)), _) => Ok(secret.clone()),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(SecretError::CommandFailed),
        }
    }

    /// Runs all of them and says whether an output is another than before.
    fn run(&self, commands: &[SecretCommand], variables: &Variables) -> bool {
        if commands.is_empty() {
            return false;
        }
        // A thread of its own, since this may be called from within a runtime and outside of one.
        let outputs = std::thread::scope(|scope| {
            scope
                .spawn(|| run_all(commands, variables))
                .join()
                .unwrap_or_default()
        });
        let mut changed = false;
        let mut kept = self.lock();
        for (command, output) in commands.iter().zip(outputs) {
            let now = Instant::now();
            let entry = kept.entry(command.clone()).or_insert(Kept {
                output: None,
                tried: now,
                failure: None,
            });
            entry.tried = now;
            match output {
                Ok(secret) => {
                    let is_same =
                        (entry.output.as_ref()).is_some_and(|(old, _)| old.same_as(&secret));
                    changed |= !is_same;
                    entry.output = Some((secret, now));
                    entry.failure = None;
                }
                Err(failure) => {
                    if entry.output.is_some() {
                        tracing::warn!(
                            "a secret is not refreshed, the last good one goes on: {failure}"
                        );
                    }
                    entry.failure = Some(failure);
                }
            }
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecretCommand, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_due(&self, command: &SecretCommand) -> bool {
        let pause = match self.failure {
            Some(_) => command.refresh.min(RETRY),
            None => command.refresh,
        };
        self.tried.elapsed() >= pause
    }
}

/// The outputs in the order of their commands.
fn run_all(commands: &[SecretCommand], variables: &Variables) -> Vec<Result<Secret, SecretError>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return vec![Err(SecretError::CommandFailed); commands.len()];
    };
    runtime.block_on(
        stream::iter(commands)
            .map(|command| run(command, variables, PATIENCE))
            .buffered(AT_ONCE)
            .collect(),
    )
}

async fn run(
    command: &SecretCommand,
    variables: &Variables,
    patience: Duration,
) -> Result<Secret, SecretError> {
    tokio::time::timeout(patience, output(command, variables))
        .await
        .unwrap_or(Err(SecretError::CommandTooSlow))
}

/// Dropped before its end, it kills the program.
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
        .kill_on_drop(true);
    if !command.folder.as_os_str().is_empty() {
        prepared.current_dir(&command.folder);
    }
    let mut child = prepared
        .spawn()
        .map_err(|error| SecretError::CommandNotRun(error.kind()))?;
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
    if !status.success() {
        return Err(SecretError::CommandFailed);
    }
    Ok(Secret::new(without_newline(bytes)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::secrets::{Encoding, SecretName, SecretRef};

    fn shell(script: &str) -> SecretCommand {
        SecretCommand {
            line: ["sh", "-c", script].map(str::to_owned).to_vec(),
            variables: vec!["NAMED".to_owned()],
            folder: PathBuf::new(),
            refresh: Duration::ZERO,
            max_stale: Duration::from_secs(3600),
        }
    }

    fn variables() -> Variables {
        let given = [("NAMED", "named"), ("OTHER", "other")];
        Variables::Given(BTreeMap::from(
            given.map(|(name, text)| (name.to_owned(), text.into())),
        ))
    }

    fn printed(script: &str) -> Result<Secret, SecretError> {
        let command = shell(script);
        let commands = Commands::default();
        commands.fetch(std::slice::from_ref(&command), false, &variables());
        commands.output(&command)
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
        let commands = Commands::default();
        commands.fetch(std::slice::from_ref(&command), false, &variables());
        assert_eq!(commands.output(&command).unwrap().expose(), b"$PATH; `id`");
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
        let commands = Commands::default();
        commands.fetch(std::slice::from_ref(&absent), false, &variables());
        let error = commands.output(&absent).unwrap_err();
        assert_eq!(
            error,
            SecretError::CommandNotRun(std::io::ErrorKind::NotFound)
        );
        assert!(!error.to_string().contains("hunter2"));
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let command = shell(&format!("echo $$ > {}; exec sleep 1000", pid.display()));
        let patience = Duration::from_millis(500);
        let error = run(&command, &variables(), patience).await.unwrap_err();
        assert_eq!(error, SecretError::CommandTooSlow);
        let pid = std::fs::read_to_string(pid).unwrap();
        let state = format!("/proc/{}/stat", pid.trim());
        // Gone, or dead and not yet reaped.
        let is_dead = || !std::fs::read_to_string(&state).is_ok_and(|stat| !stat.contains(") Z "));
        let killed = async {
            while !is_dead() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), killed)
            .await
            .expect("it was killed");
    }

    #[test]
    fn the_last_good_output_goes_on_and_becomes_stale() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "first").unwrap();
        let command = SecretCommand {
            max_stale: Duration::ZERO,
            ..shell(&format!("cat {}", file.display()))
        };
        let commands = Commands::default();
        let output = || commands.output(&command).unwrap().expose().to_vec();
        commands.fetch(std::slice::from_ref(&command), false, &variables());
        assert_eq!(output(), b"first");
        assert!(!commands.refresh(&variables()), "nothing has changed");

        std::fs::remove_file(&file).unwrap();
        assert!(!commands.refresh(&variables()), "a failure changes nothing");
        assert_eq!(output(), b"first");
        assert_eq!(commands.stale(), 1);

        std::fs::write(&file, "second").unwrap();
        assert!(commands.refresh(&variables()));
        assert_eq!(output(), b"second");
    }

    #[test]
    fn a_fresh_output_is_not_asked_for_again_unless_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let command = SecretCommand {
            refresh: Duration::from_secs(3600),
            ..shell(&format!("echo x >> {0}; cat {0}", runs.display()))
        };
        let commands = Commands::default();
        let list = std::slice::from_ref(&command);
        commands.fetch(list, false, &variables());
        commands.fetch(list, false, &variables());
        commands.refresh(&variables());
        assert_eq!(std::fs::read_to_string(&runs).unwrap(), "x\n");
        commands.fetch(list, true, &variables());
        assert_eq!(std::fs::read_to_string(&runs).unwrap(), "x\nx\n");
    }

    #[test]
    fn an_output_has_an_encoding_like_any_secret() {
        let command = shell("echo 613e3f62");
        let commands = Commands::default();
        commands.fetch(std::slice::from_ref(&command), false, &variables());
        let reference = SecretRef {
            name: SecretName::Command(Box::new(command)),
            encoding: Encoding::Hex,
        };
        let secret = reference.read(&variables(), &commands).unwrap();
        assert_eq!(secret.expose(), b"a>?b");
    }
}
