//! An app: one registration with a platform, ready to make tokens.

use std::fmt;
use std::sync::Arc;

use super::plan::{Plan, Unfilled, Values};
use super::profile::Profile;
use super::source::Source;
use super::template::{Facts, Node};
use crate::clock::Timestamp;
use crate::signing::{EncodedHeader, Key, Keyring};

/// What an app is called in the configuration, in paths, logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(Arc<str>);

impl AppName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as text that may be kept without a copy.
    #[must_use]
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl From<&str> for AppName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl std::borrow::Borrow<str> for AppName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that an app is made of.
#[derive(Debug)]
pub struct AppSettings {
    /// Its name.
    pub name: AppName,
    /// Its ID with the platform.
    pub client_id: String,
    /// The shape of its tokens.
    pub profile: Arc<Profile>,
    /// Default and longest lifetime of its tokens, in seconds.
    pub token_ttl_seconds: i64,
    /// How far in the past `iat` stands, in seconds.
    pub backdate_seconds: i64,
    /// The audience of its tokens; the profile's where there is none.
    pub audience: Option<String>,
    /// The issuer of its tokens: the service's public URL.
    pub issuer: Option<String>,
    /// Whether its tokens carry an ID where the profile lets that be left out.
    pub token_id: bool,
    /// Its keys, at least one.
    pub keyring: Keyring,
}

/// One registration with a platform.
pub struct App {
    settings: AppSettings,
    headers: Vec<EncodedHeader>,
    claims: Plan,
    answer: Plan,
}

/// Why an app can't be made of its settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The profile writes something that the app doesn't know.
    #[error("the profile needs {what}; {remedy}")]
    Missing {
        /// Such as "an issuer".
        what: &'static str,
        /// What to configure.
        remedy: &'static str,
    },
    /// `token_id = false` with a profile whose tokens always have one.
    #[error(
        "the profile's tokens always carry an ID; write `${{token.id?}}` in it, or leave `token_id` out"
    )]
    TokenIdNeeded,
}

impl App {
    /// Binds the profile to what the app knows, and writes the headers of all its keys.
    ///
    /// # Errors
    /// When the profile needs what the app lacks.
    pub fn new(settings: AppSettings) -> Result<Self, AppError> {
        let profile = &settings.profile;
        if !settings.token_id && profile.needs_token_id() {
            return Err(AppError::TokenIdNeeded);
        }
        let facts = Facts {
            audience: settings.audience.as_deref().or(profile.audience.as_deref()),
            client_id: &settings.client_id,
            issuer: settings.issuer.as_deref(),
        };
        let bound = |node: &Node| {
            Ok(node
                .bind(&facts)
                .map_err(missing)?
                .expect("an object is never absent"))
        };
        let claims = bound(&profile.claims)?;
        let answer = bound(&profile.answer)?;
        let headers = settings
            .keyring
            .keys()
            .iter()
            .map(|scheduled| header(profile, &facts, &scheduled.key))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            headers,
            claims,
            answer,
            settings,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &AppName {
        &self.settings.name
    }

    /// Its ID with the platform.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.settings.client_id
    }

    /// The shape of its tokens.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.settings.profile
    }

    /// Its keys and their schedule.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.settings.keyring
    }

    /// The audience of its tokens, its own or the profile's.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.settings
            .audience
            .as_deref()
            .or(self.settings.profile.audience.as_deref())
    }

    /// Default and longest lifetime of its tokens in seconds, the profile's cap included.
    #[must_use]
    pub fn token_ttl_seconds(&self) -> i64 {
        self.settings
            .token_ttl_seconds
            .min(self.settings.profile.max_ttl_seconds)
    }

    /// How far in the past `iat` stands, in seconds.
    #[must_use]
    pub fn backdate_seconds(&self) -> i64 {
        self.settings.backdate_seconds
    }

    /// Whether its tokens carry an ID: the profile writes one, and it isn't turned off.
    #[must_use]
    pub fn token_id(&self) -> bool {
        self.settings.token_id && self.profile().carries_token_id()
    }

    /// The key that signs at `now`.
    #[must_use]
    pub fn active_key(&self, now: Timestamp) -> Option<&Key> {
        self.keyring()
            .active(now)
            .map(|position| &self.keyring().keys()[position].key)
    }

    /// The key at this place of the keyring, with its header.
    pub(super) fn signing(&self, position: usize) -> (&Key, &EncodedHeader) {
        (
            &self.keyring().keys()[position].key,
            &self.headers[position],
        )
    }

    pub(super) fn claims(&self) -> &Plan {
        &self.claims
    }

    pub(super) fn answer(&self) -> &Plan {
        &self.answer
    }
}

fn header(profile: &Profile, facts: &Facts<'_>, key: &Key) -> Result<EncodedHeader, AppError> {
    let identity = super::Identity::default();
    let values = Values {
        caller: None,
        expires_at: 0,
        expires_in: 0,
        identity: &identity,
        issued_at: 0,
        key_id: key.id().as_str(),
        refresh_after: 0,
        scope: None,
        token: b"",
        token_id: None,
    };
    let fixed = |json: &serde_json::Value| Plan::Fixed(json.to_string().into_bytes().into());
    let mut members = vec![(
        br#""alg":"#[..].into(),
        fixed(&key.algorithm().name().into()),
    )];
    if !profile.header.iter().any(|(name, _)| name == "typ") {
        members.push((br#""typ":"#[..].into(), fixed(&"JWT".into())));
    }
    for (name, node) in &profile.header {
        if let Some(node) = node.bind(facts).map_err(missing)? {
            members.push((
                format!("{}:", serde_json::Value::from(name.as_str()))
                    .into_bytes()
                    .into(),
                node,
            ));
        }
    }
    let mut json = Vec::new();
    Plan::object(members)
        .write(&values, &mut json)
        .map_err(|unfilled| missing(*unfilled))?;
    Ok(key.encode_header(&json))
}

fn missing(unfilled: Unfilled) -> AppError {
    let (what, remedy) = match unfilled {
        Unfilled::Missing(Source::AppAudience) => ("an audience", "set `audience`"),
        Unfilled::Missing(Source::AppIssuer) => ("an issuer", "set `server.public_url`"),
        _ => ("more than the app knows", "see its header"),
    };
    AppError::Missing { what, remedy }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name().as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
