//! The profiles' frame: names, algorithms, lifetimes. Their templates are compiled by `token`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Check;
use crate::config::checked::Profile;
use crate::config::walk::child;
use crate::config::{raw, text};

/// A year of 365.25 days: far beyond any sensible token, near enough that no sum of times overflows.
const LONGEST_LIFETIME: Duration = Duration::from_secs(31_557_600);

/// What the apps' check needs of the profiles.
pub(super) struct Profiles {
    /// Every name that is written, the ones with problems too.
    pub(super) names: Vec<String>,
    /// All of them, when nothing is wrong with any.
    pub(super) checked: Option<Vec<Profile>>,
    sound: Vec<Profile>,
}

impl Profiles {
    /// The profile, if it exists and nothing is wrong with it.
    pub(super) fn find(&self, name: &str) -> Option<&Profile> {
        self.checked
            .as_ref()
            .unwrap_or(&self.sound)
            .iter()
            .find(|profile| profile.name == name)
    }
}

impl Check<'_> {
    pub(super) fn profiles(&mut self, raw: &BTreeMap<String, raw::Profile>) -> Profiles {
        let found: Vec<_> = raw
            .iter()
            .map(|(name, profile)| self.profile(name, profile))
            .collect();
        let all_sound = found.iter().all(Option::is_some);
        let sound: Vec<_> = found.into_iter().flatten().collect();
        let (checked, sound) = if all_sound {
            (Some(sound), Vec::new())
        } else {
            (None, sound)
        };
        Profiles {
            names: raw.keys().cloned().collect(),
            checked,
            sound,
        }
    }

    fn profile(&mut self, name: &str, raw: &raw::Profile) -> Option<Profile> {
        let path = child("profiles", name);
        let known_name = self.read(&path, Some(&name.to_owned()), text::name);
        if raw.algorithms.as_ref().is_some_and(Vec::is_empty) {
            self.report(
                &child(&path, "algorithms"),
                r#"must name at least one, such as "HS256""#,
            );
        }
        let max_ttl = self.lifetime(&child(&path, "max_ttl"), raw.max_ttl.as_ref());
        let audience = self.optional(&child(&path, "audience"), raw.audience.as_ref(), |text| {
            text::plain(text, 1000)
        });
        Some(Profile {
            name: known_name?,
            algorithms: raw.algorithms.clone().filter(|names| !names.is_empty())?,
            max_ttl: max_ttl?,
            audience: audience?,
            sdk_errors: raw.sdk_errors.unwrap_or_default(),
            header: raw.header.clone().unwrap_or_default(),
            claims: raw.claims.clone()?,
            answer: raw.answer.clone()?,
        })
    }

    /// A token's lifetime: whole seconds, at least one.
    pub(super) fn lifetime(&mut self, path: &str, text: Option<&String>) -> Option<Duration> {
        let lifetime = self.read(path, text, text::lifetime);
        self.within(path, lifetime, Duration::from_secs(1), LONGEST_LIFETIME)
    }
}

impl Profile {
    /// Whether its header, claims or answer have the placeholder of `source`, such as
    /// `user.anonymous`; with or without a `?`.
    pub(super) fn uses(&self, source: &str) -> bool {
        self.needs(source) || self.mentions(&format!("${{{source}?}}"))
    }

    /// Whether they have it without a `?`, so that there is no token without it.
    pub(super) fn needs(&self, source: &str) -> bool {
        self.mentions(&format!("${{{source}}}"))
    }

    fn mentions(&self, placeholder: &str) -> bool {
        [&self.header, &self.claims, &self.answer]
            .into_iter()
            .flat_map(Map::values)
            .any(|value| holds(value, placeholder))
    }
}

fn holds(value: &Value, placeholder: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| holds(item, placeholder)),
        Value::Object(members) => members.values().any(|member| holds(member, placeholder)),
        Value::String(text) => text.contains(placeholder),
        _ => false,
    }
}
