//! What operators may write, and every reason to refuse it.
//!
//! Text becomes layers (defaults, file, environment), the layers are walked along the schema of the
//! raw types, and the raw becomes the checked [`Config`], which holds names of secrets and never
//! secrets. All that is wrong is reported at once, and no message repeats what could be a secret.
//!
//! To add a setting: its key and doc comment in `raw`, its default in `config/default.toml`, its
//! checked form in `checked` and what refuses it under `check`.

mod changes;
mod check;
mod checked;
mod environment;
mod file;
mod layers;
mod problem;
mod raw;
mod schema;
mod shape;
mod text;
mod walk;

use std::path::Path;

pub use changes::{Change, changes};
pub use checked::{
    Admin, Allowed, App, Audit, Browser, Caller, CallerKey, Config, JwtKeys, Key, KeyMaterial,
    Limits, Log, LogFormat, LogLevel, Oidc, OnOutage, Pointers, Profile, Rate, RedisUrl, Resolver,
    Server, Session, Store, TlsFiles,
};
pub use environment::Environment;
pub use problem::{Problem, Problems};
pub use schema::schema;

use crate::clock::Timestamp;

/// The longest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What stands as the origin of what no file says.
const NO_FILE: &str = "the environment";

/// Loads and checks the configuration: `file`, or the one that `SIGNET_CONFIG` names, or none, under
/// `environment`; `now` decides which of an app's keys is active. Blocks on the file system.
///
/// # Errors
/// Everything that is wrong, as far as it can be told without the secrets' bytes.
pub fn load(
    file: Option<&Path>,
    environment: &Environment,
    now: Timestamp,
) -> Result<Config, Problems> {
    match examine(file, environment, now) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(problems.into()),
    }
}

/// The same, with the configuration beside its problems where enough of it is in order: what its
/// secrets are wrong in can then be told at the same time.
#[must_use]
pub fn examine(
    file: Option<&Path>,
    environment: &Environment,
    now: Timestamp,
) -> (Option<Config>, Vec<Problem>) {
    read(file, environment, now).unwrap_or_else(|problem| (None, vec![problem]))
}

fn read(
    file: Option<&Path>,
    environment: &Environment,
    now: Timestamp,
) -> Result<(Option<Config>, Vec<Problem>), Problem> {
    let file = file.map(Path::to_path_buf).or_else(|| environment.file());
    let name = file.as_ref().map(|file| file.display().to_string());
    let text = match (&file, &name) {
        (Some(file), Some(name)) => Some(
            file::read_text(file, MAX_FILE_BYTES)
                .map_err(|message| Problem::new(name, "", message))?,
        ),
        _ => None,
    };
    let base = file
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new(""));
    let fallback = name.as_deref().unwrap_or(NO_FILE);

    let settings = environment::Settings::read(environment, base);
    let mut files = settings.files.clone();
    files.extend(file.clone());
    let mut problems = Vec::new();
    let merged = layers::merge(
        name.as_deref().zip(text.as_deref()),
        settings,
        &mut problems,
    );
    let Some(merged) = merged else {
        return Ok((None, problems));
    };
    let schema = schema();
    let walk = walk::Walk::new(&schema, layers::names(), fallback, &mut problems);
    let (written, origins) = walk.run(&merged);
    let raw: raw::Configuration = serde_json::from_value(written.json.clone())
        .map_err(|_| Problem::new(fallback, "", "has a shape that signet's own schema allows and its types don't: this is a fault of signet itself"))?;
    let check = check::Check {
        origins: &origins,
        base,
        has_file: file.is_some(),
        now,
        problems,
        files,
        fetched: Vec::new(),
        secrets: Vec::new(),
        written,
        vault: None,
    };
    Ok(check.run(&raw))
}
