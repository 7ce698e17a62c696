//! The callers: keys that tell them apart, and policies that name what exists.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Check;
use super::profiles::Profiles;
use crate::config::checked::{Allowed, Caller, CallerKey};
use crate::config::walk::child;
use crate::config::{raw, text};

/// The SHA-256 of nothing: what a pipeline prints when its key was empty.
const SHA256_OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

type Apps = BTreeMap<String, raw::App>;

impl Check<'_> {
    pub(super) fn callers(
        &mut self,
        raw: &BTreeMap<String, raw::Caller>,
        apps: &Apps,
        profiles: &Profiles,
    ) -> Option<Vec<Caller>> {
        let mut known_keys = BTreeMap::new();
        let callers: Vec<_> = raw
            .iter()
            .map(|(name, raw)| self.caller(name, raw, apps, profiles, &mut known_keys))
            .collect();
        callers.into_iter().collect()
    }

    fn caller(
        &mut self,
        name: &str,
        raw: &raw::Caller,
        apps: &Apps,
        profiles: &Profiles,
        known_keys: &mut BTreeMap<[u8; 32], String>,
    ) -> Option<Caller> {
        let path = child("callers", name);
        let known_name = self.read(&path, Some(&name.to_owned()), text::name);
        let keys = self.caller_keys(&path, raw, known_keys);
        let oidc = match &raw.oidc {
            Some(oidc) => self.oidc(&child(&path, "oidc"), oidc).map(Some),
            None => Some(None),
        };
        let its_apps = self.caller_apps(&path, raw, apps);
        let mut policy =
            |key: &str, list: Option<&Vec<String>>| self.allowed(&child(&path, key), list);
        let roles = policy("roles", raw.roles.as_ref());
        let plans = policy("plans", raw.plans.as_ref());
        let attributes = policy("attributes", raw.attributes.as_ref());
        let scopes = policy("scopes", raw.scopes.as_ref());
        let max_ttl = match &raw.max_ttl {
            Some(_) => self.caller_lifetime(&path, raw, apps, profiles).map(Some),
            None => Some(None),
        };
        Some(Caller {
            name: known_name?,
            keys: keys?,
            oidc: oidc?,
            apps: its_apps?,
            roles: roles?,
            plans: plans?,
            attributes: attributes?,
            scopes: scopes?,
            max_ttl: max_ttl?,
        })
    }

    fn caller_keys(
        &mut self,
        path: &str,
        raw: &raw::Caller,
        known_keys: &mut BTreeMap<[u8; 32], String>,
    ) -> Option<Vec<CallerKey>> {
        let place = child(path, "key_sha256");
        let mut keys = Vec::new();
        if raw.key.is_some() {
            keys.push(
                self.text_secret(&child(path, "key"), raw.key.as_ref())
                    .map(CallerKey::Secret),
            );
        }
        for (index, text) in raw.key_sha256.iter().flatten().enumerate() {
            let item = format!("{place}[{index}]");
            let digest = self.read(&item, Some(text), sha256);
            if let Some(owner) = digest.and_then(|digest| known_keys.insert(digest, item.clone())) {
                self.report(
                    &item,
                    format!(
                        "is the same key as {owner}; give each its own with `signet key new NAME`"
                    ),
                );
            }
            keys.push(digest.map(CallerKey::Sha256));
        }
        match keys.len() {
            0 if raw.oidc.is_some() => Some(Vec::new()),
            0 if ["key_sha256", "key", "oidc"]
                .into_iter()
                .any(|key| self.spoiled(&child(path, key))) =>
            {
                None
            }
            0 => {
                self.report(
                    &place,
                    "is missing; it is needed: `signet key new NAME` prints a key and its SHA-256",
                );
                None
            }
            1 | 2 => keys.into_iter().collect(),
            _ => {
                self.report(
                    &place,
                    "a caller has at most two keys, the old and the new; remove the others",
                );
                None
            }
        }
    }

    fn caller_apps(&mut self, path: &str, raw: &raw::Caller, apps: &Apps) -> Option<Vec<String>> {
        let place = child(path, "apps");
        let Some(names) = &raw.apps else {
            return (!self.spoiled(&place)).then(Vec::new);
        };
        self.each(&place, Some(names), |name| {
            if apps.contains_key(name) {
                return Ok(name.to_owned());
            }
            Err(text::unknown("app", name, apps.keys().map(String::as_str)))
        })
    }

    fn allowed(&mut self, path: &str, list: Option<&Vec<String>>) -> Option<Allowed> {
        let Some(list) = list else {
            return (!self.spoiled(path)).then(|| Allowed::Only(Vec::new()));
        };
        if list.iter().any(|item| item == "*") {
            if list.len() == 1 {
                return Some(Allowed::Any);
            }
            self.report(path, r#""*" is any: let it stand alone, or leave it out"#);
            return None;
        }
        self.each(path, Some(list), |item| text::plain(item, 80))
            .map(Allowed::Only)
    }

    fn caller_lifetime(
        &mut self,
        path: &str,
        raw: &raw::Caller,
        apps: &Apps,
        profiles: &Profiles,
    ) -> Option<Duration> {
        let place = child(path, "max_ttl");
        let lifetime = self.lifetime(&place, raw.max_ttl.as_ref())?;
        let caps: Option<Vec<Duration>> = raw
            .apps
            .iter()
            .flatten()
            .map(|app| {
                let profile = apps.get(app)?.profile.as_ref()?;
                profiles.find(profile).map(|profile| profile.max_ttl)
            })
            .collect();
        match caps?.into_iter().max() {
            Some(cap) if lifetime > cap => {
                self.report(
                    &place,
                    format!(
                        "is longer than any of its apps' profiles allows; at most {}",
                        humantime::format_duration(cap)
                    ),
                );
                None
            }
            _ => Some(lifetime),
        }
    }
}

fn sha256(text: &str) -> text::Reading<[u8; 32]> {
    let refused = || {
        "must be a SHA-256 in 64 hex digits: `signet key new NAME` prints a key and its SHA-256"
            .to_owned()
    };
    let mut digest = [0; 32];
    if text.len() != 64 {
        return Err(refused());
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| refused())?;
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(refused());
        }
        *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
    }
    if digest == SHA256_OF_NOTHING {
        return Err("is the SHA-256 of nothing: the key was empty when it was hashed".into());
    }
    Ok(digest)
}
