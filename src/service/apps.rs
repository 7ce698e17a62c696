//! Apps: their profiles compiled, their secrets read, their keys made and tested.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Sources, note};
use crate::caller::KeyDigest;
use crate::config::{self, Config, KeyMaterial, Problem};
use crate::secrets::Secret;
use crate::signing::{Key, KeyId, Keyring, ScheduledKey};
use crate::token::{App, AppName, AppSettings, Profile, ProfileSource};

/// What came of the apps, with the digests of their secrets: no caller's key may be one of them.
pub(super) struct Signing {
    pub(super) apps: HashMap<String, Arc<App>>,
    pub(super) secrets: Vec<KeyDigest>,
}

pub(super) fn load(config: &Config, sources: &Sources, problems: &mut Vec<Problem>) -> Signing {
    let profiles = compile_profiles(config, problems);
    let mut seen = Seen::default();
    let mut apps = HashMap::new();
    for app in &config.apps {
        let keys = load_keys(app, config, sources, &mut seen, problems);
        // An unknown profile and a key that can't be used are noted already.
        if let (Some(profile), Some(keys)) = (profiles.get(&app.profile), keys)
            && let Some(ready) = build(app, config, Arc::clone(profile), keys, problems)
        {
            apps.insert(app.name.clone(), Arc::new(ready));
        }
    }
    refuse_equal_public_ids(config, &apps, problems);
    Signing {
        apps,
        secrets: seen.0.into_iter().map(|(_, digest)| digest).collect(),
    }
}

/// Verifiers find a public key by its name, among those of all apps.
fn refuse_equal_public_ids(
    config: &Config,
    apps: &HashMap<String, Arc<App>>,
    problems: &mut Vec<Problem>,
) {
    let mut owners: HashMap<KeyId, &str> = HashMap::new();
    for app in config.apps.iter().filter_map(|app| apps.get(&app.name)) {
        let name = app.name().as_str();
        for scheduled in app.keyring().keys() {
            let key = &scheduled.key;
            if key.public_jwk().is_some()
                && let Some(owner) = owners.insert(key.id().clone(), name)
            {
                let message = format!(
                    "its public key is called `{}`, like one of apps.{owner}; leave its name out, or give it another",
                    key.id()
                );
                note(problems, config, &format!("apps.{name}"), message);
            }
        }
    }
}

fn compile_profiles(config: &Config, problems: &mut Vec<Problem>) -> HashMap<String, Arc<Profile>> {
    let mut compiled = HashMap::new();
    for profile in &config.profiles {
        let source = ProfileSource {
            name: profile.name.clone(),
            algorithms: profile.algorithms.clone(),
            max_ttl_seconds: seconds(profile.max_ttl),
            audience: profile.audience.clone(),
            sdk_errors: profile.sdk_errors,
            header: profile.header.clone(),
            claims: profile.claims.clone(),
            answer: profile.answer.clone(),
        };
        match Profile::compile(source) {
            Ok(ready) => {
                compiled.insert(profile.name.clone(), Arc::new(ready));
            }
            Err(found) => {
                for problem in found {
                    note(
                        problems,
                        config,
                        &format!("profiles.{}.{}", profile.name, problem.path),
                        problem.message,
                    );
                }
            }
        }
    }
    compiled
}

/// The secrets met so far, by the path of the first that has each.
#[derive(Default)]
struct Seen(Vec<(String, KeyDigest)>);

impl Seen {
    /// The path under which the same secret stands already.
    fn earlier(&mut self, path: &str, secret: &Secret) -> Option<String> {
        let digest = KeyDigest::of(secret.expose());
        let earlier = self
            .0
            .iter()
            .find(|(_, seen)| *seen == digest)
            .map(|(path, _)| path.clone());
        if earlier.is_none() {
            self.0.push((path.to_owned(), digest));
        }
        earlier
    }
}

/// All keys of an app, or none where one of them can't be used.
fn load_keys(
    app: &config::App,
    config: &Config,
    sources: &Sources,
    seen: &mut Seen,
    problems: &mut Vec<Problem>,
) -> Option<Vec<ScheduledKey>> {
    let before = problems.len();
    let mut keys = Vec::new();
    for key in &app.keys {
        let (reference, is_pem) = match &key.material {
            KeyMaterial::PrivateKey(reference) => (reference, true),
            KeyMaterial::Secret(reference) => (reference, false),
        };
        let secret = match sources.secret(reference) {
            Ok(secret) => secret,
            Err(error) => {
                note(problems, config, &key.path, error);
                continue;
            }
        };
        if let Some(earlier) = seen.earlier(&key.path, &secret) {
            note(
                problems,
                config,
                &key.path,
                format!("is the same secret as {earlier}; every key needs its own"),
            );
        }
        let id = key.id.as_deref().or(app.key_id.as_deref());
        let made = if is_pem {
            Key::from_pem(id.map(KeyId::from), app.algorithm, &secret)
        } else {
            Key::from_secret(KeyId::from(id.unwrap_or(&app.name)), app.algorithm, &secret)
        };
        match made {
            Ok(made) => keys.push(ScheduledKey {
                key: made,
                activate_at: key.activate_at,
                retire_at: key.retire_at,
            }),
            Err(error) => note(problems, config, &key.path, error),
        }
    }
    (problems.len() == before).then_some(keys)
}

fn build(
    app: &config::App,
    config: &Config,
    profile: Arc<Profile>,
    keys: Vec<ScheduledKey>,
    problems: &mut Vec<Problem>,
) -> Option<App> {
    let token_ttl_seconds = seconds(app.token_ttl);
    let settings = AppSettings {
        name: AppName::from(app.name.as_str()),
        client_id: app.client_id.clone(),
        profile,
        token_ttl_seconds,
        backdate_seconds: seconds(app.backdate),
        audience: app.audience.clone(),
        issuer: config.server.public_url.clone(),
        token_id: app.token_id,
        keyring: Keyring::new(keys, token_ttl_seconds),
    };
    App::new(settings)
        .map_err(|error| note(problems, config, &format!("apps.{}", app.name), error))
        .ok()
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
