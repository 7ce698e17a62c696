//! Callers: their keys' digests and what they may ask for.

use std::sync::Arc;
use std::time::Duration;

use super::apps::Signing;
use super::verifiers::{Verifiers, Wanted, Wrong};
use super::{Sources, note};
use crate::caller::{Caller, Callers, Credentials, KeyDigest, MIN_KEY_BYTES, Workload};
use crate::config::{self, CallerKey, Config, Problem};
use crate::secrets::{Encoding, SecretRef};
use crate::token::{Allowed, Policy};

/// How long fetching an issuer's keys may take.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn load(
    config: &Config,
    sources: &Sources,
    signing: &Signing,
    verifiers: &mut Verifiers<'_>,
    problems: &mut Vec<Problem>,
) -> Callers {
    let mut callers = Vec::new();
    let mut owners: Vec<(KeyDigest, &str)> = Vec::new();
    for caller in &config.callers {
        let path = format!("callers.{}", caller.name);
        let mut digests = Vec::new();
        for key in &caller.keys {
            match digest(key, sources) {
                Ok(digest) => digests.push(digest),
                Err(message) => note(problems, config, &path, message),
            }
        }
        for digest in &digests {
            if signing.secrets.contains(digest) {
                note(
                    problems,
                    config,
                    &path,
                    "its key is also an app's signing secret; give the caller a key of its own with `signet key new`",
                );
            }
            if let Some((_, owner)) = owners.iter().find(|(owned, _)| owned == digest) {
                note(
                    problems,
                    config,
                    &path,
                    format!("has the same key as callers.{owner}; every caller needs its own"),
                );
            }
        }
        owners.extend(digests.iter().map(|digest| (*digest, &*caller.name)));
        let workload = caller
            .oidc
            .as_ref()
            .map(|oidc| workload(oidc, verifiers))
            .transpose();
        let workload = workload.unwrap_or_else(|(setting, message)| {
            note(problems, config, &format!("{path}.oidc{setting}"), message);
            None
        });
        // An unknown app is noted already.
        let apps = caller
            .apps
            .iter()
            .filter_map(|app| signing.apps.get(app))
            .map(Arc::clone)
            .collect();
        let policy = Policy {
            apps,
            roles: allowed(&caller.roles),
            plans: allowed(&caller.plans),
            attributes: allowed(&caller.attributes),
            scopes: allowed(&caller.scopes),
            max_ttl_seconds: caller
                .max_ttl
                .map(|longest| i64::try_from(longest.as_secs()).unwrap_or(i64::MAX)),
        };
        callers.push((
            Caller {
                name: caller.name.as_str().into(),
                policy,
            },
            Credentials {
                keys: digests,
                workload,
            },
        ));
    }
    Callers::new(callers)
}

fn workload(oidc: &config::Oidc, verifiers: &mut Verifiers<'_>) -> Result<Workload, Wrong> {
    let verifier = verifiers.make(&Wanted {
        keys: &oidc.keys,
        issuer: &oidc.issuer,
        audience: &oidc.audience,
        algorithms: &oidc.algorithms,
        timeout: KEYS_TIMEOUT,
    })?;
    Ok(Workload::new(verifier, oidc.claims.clone()))
}

fn digest(key: &CallerKey, sources: &Sources) -> Result<KeyDigest, String> {
    let name = match key {
        CallerKey::Secret(name) => name,
        CallerKey::Sha256(bytes) => return Ok(KeyDigest::from_bytes(*bytes)),
    };
    let reference = SecretRef {
        name: name.clone(),
        encoding: Encoding::Utf8,
    };
    let key = sources
        .secret(&reference)
        .map_err(|error| format!("its key: {error}"))?;
    if key.len() < MIN_KEY_BYTES {
        return Err(format!(
            "its key has {} bytes and needs {MIN_KEY_BYTES}; `signet key new` prints a good one",
            key.len()
        ));
    }
    match key.weakness() {
        Some(weakness) => Err(format!("its key: {weakness}")),
        None => Ok(KeyDigest::of(key.expose())),
    }
}

fn allowed(names: &config::Allowed) -> Allowed {
    match names {
        config::Allowed::Any => Allowed::Any,
        config::Allowed::Only(names) => Allowed::Only(names.clone()),
    }
}
