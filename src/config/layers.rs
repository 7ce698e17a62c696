//! The layers of a configuration, the later over the earlier: defaults, built-in profiles, the file, the environment.

use ::config::{Config, ConfigError, FileFormat, Format, Map, Source, Value, ValueKind};
use toml::de::DeTable;

use super::environment::{Setting, Settings};
use super::problem::Problem;
use super::walk::key_name;

/// The compiled-in files, under the names that stand as their settings' origin.
const DEFAULTS: (&str, &str) = (
    "config/default.toml",
    include_str!("../../config/default.toml"),
);

/// The built-in profiles: a name, which is the file's too, and the file.
const PROFILES: [(&str, &str); 3] = [
    ("kore", include_str!("../../config/profiles/kore.toml")),
    ("oauth", include_str!("../../config/profiles/oauth.toml")),
    (
        "support-widget",
        include_str!("../../config/profiles/support-widget.toml"),
    ),
];

/// The names that stand as origins of what is compiled in.
pub(super) fn names() -> Vec<&'static str> {
    [DEFAULTS]
        .into_iter()
        .chain(PROFILES)
        .map(|(name, _)| name)
        .collect()
}

/// One layer's tables, whose values remember `origin`.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// Lays the file, if there is one, and the environment over what is compiled in. Problems go to
/// `problems`, and what has one is left out. Nothing when the file isn't TOML: what follows from
/// its absence would only distract.
pub(super) fn merge(
    file: Option<(&str, &str)>,
    environment: Settings,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    problems.extend(environment.problems.iter().cloned());
    let mut builder = Config::builder();
    let built_in = [DEFAULTS].into_iter().chain(PROFILES);
    for (name, text) in built_in {
        builder = builder.add_source(parse(name, text, problems)?);
    }
    if let Some((name, text)) = file {
        let mut layer = parse(name, text, problems)?;
        layer.refuse_what_is_made_elsewhere(name, &environment, problems);
        builder = builder.add_source(layer);
    }
    for Setting { path, value } in environment.settings {
        let origin = value.origin().unwrap_or_default().to_owned();
        if let Some(name) = built_in_profile(&path) {
            problems.push(taken(&origin, name));
            continue;
        }
        builder = builder
            .set_override(&path, value)
            .expect("the environment gives paths of bare keys only");
    }
    let merged = builder
        .build()
        .expect("layers are only cloned and laid over each other");
    Some(merged.cache)
}

fn parse(name: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Layer> {
    let (_, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        // One fault makes others on its line.
        let mut last_line = 0;
        for fault in faults {
            let start = fault.span().map_or(0, |span| span.start);
            let (line, column) = position(text, start);
            if line != last_line {
                last_line = line;
                let origin = format!("{name}:{line}:{column}");
                let message = fault.message().replace(", expected nothing", "");
                problems.push(Problem::new(origin, "", message));
            }
        }
        return None;
    }
    // The library's own message would repeat the number.
    match FileFormat::Toml.parse(Some(&name.to_owned()), text) {
        Ok(tables) => Some(Layer(tables)),
        Err(_) => {
            problems.push(Problem::new(
                name,
                "",
                "holds a number that is out of range; whole numbers go up to 9223372036854775807",
            ));
            None
        }
    }
}

/// The line and column, both from 1, of a byte of `text`.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

impl Layer {
    fn refuse_what_is_made_elsewhere(
        &mut self,
        origin: &str,
        environment: &Settings,
        problems: &mut Vec<Problem>,
    ) {
        // At the top the library would take dots and brackets for a path.
        self.0.retain(|key, _| {
            let is_plain = !key.contains(['.', '[']) && !key.is_empty();
            if !is_plain {
                let message = "unknown key; no table at the top has such a name";
                problems.push(Problem::new(origin, key_name(key), message));
            }
            is_plain
        });
        for (name, _) in PROFILES {
            if self.remove("profiles", name) {
                problems.push(taken(origin, name));
            }
        }
        for (path, variable) in &environment.made {
            let Some((table, name)) = path.split_once('.') else {
                continue;
            };
            if self.remove(table, name) {
                let message = format!(
                    "{variable} makes one of this name too; rename this one, or unset {variable}"
                );
                problems.push(Problem::new(origin, *path, message));
            }
        }
    }

    fn remove(&mut self, table: &str, name: &str) -> bool {
        match self.0.get_mut(table).map(|value| &mut value.kind) {
            Some(ValueKind::Table(entries)) => entries.shift_remove(name).is_some(),
            _ => false,
        }
    }
}

fn built_in_profile(path: &str) -> Option<&'static str> {
    let rest = path.strip_prefix("profiles.")?;
    let name = rest.split('.').next()?;
    PROFILES
        .iter()
        .map(|(built_in, _)| *built_in)
        .find(|built_in| *built_in == name)
}

fn taken(origin: &str, name: &str) -> Problem {
    let message = "is built in and stays as it is; give your profile another name";
    Problem::new(origin, format!("profiles.{name}"), message)
}
