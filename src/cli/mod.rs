//! The commands, one file each.
//!
//! Exit codes: 0 is fine, 1 is refused (a configuration, a secret, a token), 2 is wrong usage.

mod check;
mod dev;
mod healthcheck;
mod key;
mod keys;
mod openapi;
mod running;
mod schema;
mod secret;
mod serve;
mod token;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::clock::Clock;
use crate::config::Environment;
use crate::secrets::Variables;
use crate::service::{Loaded, Sources};

/// Issues short-lived JWTs to embedded chat widgets and bots
#[derive(Parser)]
#[command(name = "signet", version, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the whole configuration and every secret, and print all that is wrong
    Check(check::Arguments),
    /// Try it out: a demo page, a token service and everything around it, on this machine alone
    Dev(dev::Arguments),
    /// Ask a running signet whether it is ready, for containers without a shell
    Healthcheck(Configuration),
    /// Make keys for callers
    #[command(subcommand)]
    Key(key::Command),
    /// List every app's keys: which one signs, when it switches, how long the old one's tokens live
    Keys(keys::Arguments),
    /// Print the OpenAPI document of the public port
    Openapi,
    /// Print the JSON Schema of the configuration
    Schema,
    /// Make secrets
    #[command(subcommand)]
    Secret(secret::Command),
    /// Serve tokens
    Serve(Configuration),
    /// Issue, inspect and explain tokens
    #[command(subcommand)]
    Token(token::Command),
}

/// Where the configuration is.
#[derive(Args)]
struct Configuration {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "SIGNET_CONFIG")]
    config: Option<PathBuf>,
}

/// How a command ends when it doesn't end well.
enum Trouble {
    /// Something was looked at and refused; the text says what.
    Refused(String),
    /// The command line asks for something that isn't there.
    Usage(String),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Refused(format!("{error:#}"))
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Runs the command that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    let ended = match CommandLine::parse().command {
        Command::Check(arguments) => check::run(arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Healthcheck(configuration) => healthcheck::run(configuration),
        Command::Key(command) => key::run(&command),
        Command::Keys(arguments) => keys::run(arguments),
        Command::Openapi => openapi::run(),
        Command::Schema => schema::run(),
        Command::Secret(command) => secret::run(&command),
        Command::Serve(configuration) => serve::run(configuration),
        Command::Token(command) => token::run(command),
    };
    let (text, code) = match ended {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Trouble::Refused(text)) => (text, 1),
        Err(Trouble::Usage(text)) => (format!("error: {text}"), 2),
    };
    if !text.is_empty() {
        // Nowhere is left to say that this could not be said.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    ExitCode::from(code)
}

/// Prints one result, for people and pipes.
fn print(text: &str) -> Result<(), Trouble> {
    match writeln!(std::io::stdout(), "{text}") {
        // `signet schema | head` is fine.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

impl Configuration {
    fn sources(self) -> Sources {
        Sources::new(
            self.config,
            Environment::from_process(),
            Variables::Process,
            Clock::System,
        )
    }

    fn load(self) -> Result<(Loaded, Sources), Trouble> {
        let sources = self.sources();
        let loaded = sources
            .load(None)
            .map_err(|problems| Trouble::Refused(problems.to_string()))?;
        Ok((loaded, sources))
    }
}
