//! An app's keys: of the kind that its algorithm signs with, and one active at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Check;
use crate::config::checked::{Key, KeyMaterial};
use crate::config::walk::child;
use crate::config::{raw, text};
use crate::signing::Algorithm;

impl Check<'_> {
    pub(super) fn keys(
        &mut self,
        path: &str,
        raw: &raw::App,
        algorithm: Option<Algorithm>,
        token_ttl: Option<Duration>,
    ) -> Option<Vec<Key>> {
        let Some(scheduled) = &raw.keys else {
            let id = raw.key_id.clone();
            let (material, path) = self.material(
                path,
                raw.secret.as_ref(),
                raw.private_key.as_ref(),
                algorithm,
            )?;
            return Some(vec![Key {
                id,
                material,
                activate_at: None,
                retire_at: None,
                path,
            }]);
        };
        for (key, is_there) in [
            ("secret", raw.secret.is_some()),
            ("private_key", raw.private_key.is_some()),
            ("key_id", raw.key_id.is_some()),
        ] {
            if is_there {
                self.report(
                    &child(path, key),
                    "is for an app with one key, and this one has a list of keys; move it there",
                );
            }
        }
        let path = child(path, "keys");
        if scheduled.is_empty() {
            self.report(&path, "must hold at least one key");
        }
        let keys: Vec<_> = scheduled
            .iter()
            .enumerate()
            .map(|(index, key)| self.key(&format!("{path}[{index}]"), key, algorithm))
            .collect();
        let keys: Vec<_> = keys.into_iter().collect::<Option<_>>()?;
        self.ids_differ(&path, &keys);
        self.one_is_active_at_a_time(&path, &keys, token_ttl);
        Some(keys)
    }

    fn key(&mut self, path: &str, raw: &raw::Key, algorithm: Option<Algorithm>) -> Option<Key> {
        let place = child(path, "id");
        let id = self.optional(&place, raw.id.as_ref(), text::name);
        if raw.id.is_none() && raw.private_key.is_none() && !self.spoiled(&place) {
            self.report(
                &place,
                "is missing; it is needed: the key's name, such as \"2026-12\"",
            );
        }
        let mut moment = |key: &str, text: &Option<String>| {
            self.optional(&child(path, key), text.as_ref(), text::moment)
        };
        let activate_at = moment("activate_at", &raw.activate_at);
        let retire_at = moment("retire_at", &raw.retire_at);
        let material = self.material(
            path,
            raw.secret.as_ref(),
            raw.private_key.as_ref(),
            algorithm,
        );
        let (material, path) = material?;
        Some(Key {
            id: id?,
            material,
            activate_at: activate_at?,
            retire_at: retire_at?,
            path,
        })
    }

    /// What a key is made of, and the path at which that stands.
    fn material(
        &mut self,
        path: &str,
        secret: Option<&raw::Secret>,
        private_key: Option<&raw::Secret>,
        algorithm: Option<Algorithm>,
    ) -> Option<(KeyMaterial, String)> {
        let (secret_path, private_path) = (child(path, "secret"), child(path, "private_key"));
        match (secret, private_key) {
            (Some(_), None) => {
                let found = self.secret(&secret_path, secret);
                if let Some(algorithm) = algorithm.filter(|a| !a.is_symmetric()) {
                    self.report(
                        &secret_path,
                        format!("{algorithm} signs with a private key: name it as private_key, or set another algorithm"),
                    );
                }
                Some((KeyMaterial::Secret(found?), secret_path))
            }
            (None, Some(_)) => {
                let found = self.secret(&private_path, private_key);
                if let Some(algorithm) = algorithm.filter(|a| a.is_symmetric()) {
                    self.report(
                        &private_path,
                        format!("{algorithm} signs with a secret: name it as secret, or set the algorithm of this private key"),
                    );
                }
                Some((KeyMaterial::PrivateKey(found?), private_path))
            }
            (Some(_), Some(_)) => {
                self.report(
                    path,
                    "has both a secret and a private_key; keep the one that its algorithm uses",
                );
                None
            }
            (None, None) => {
                let places = [path, &secret_path, &private_path, &child(path, "keys")];
                if !places.into_iter().any(|place| self.reported(place)) {
                    let wanted = match algorithm {
                        Some(algorithm) if !algorithm.is_symmetric() => {
                            r#"private_key = { file = "/path" }"#
                        }
                        _ => r#"secret = { env = "NAME" } or { file = "/path" }"#,
                    };
                    self.report(path, format!("has no key to sign with; add {wanted}"));
                }
                None
            }
        }
    }

    fn ids_differ(&mut self, path: &str, keys: &[Key]) {
        let mut known = BTreeSet::new();
        for (index, key) in keys.iter().enumerate() {
            if key.id.as_ref().is_some_and(|id| !known.insert(id)) {
                self.report(
                    &format!("{path}[{index}].id"),
                    "is another key's name too; give each its own",
                );
            }
        }
    }

    fn one_is_active_at_a_time(&mut self, path: &str, keys: &[Key], token_ttl: Option<Duration>) {
        let mut order: Vec<(usize, &Key)> = keys.iter().enumerate().collect();
        order.sort_by_key(|(_, key)| key.activate_at);
        let place = |index: usize, key: &str| format!("{path}[{index}].{key}");
        if order
            .first()
            .is_some_and(|(_, key)| key.activate_at.is_some_and(|from| from > self.now))
        {
            self.report(
                path,
                "no key is active yet; the one that signs today has no activate_at, or one in the past",
            );
        }
        for pair in order.windows(2) {
            let [(_, earlier), (index, later)] = *pair else {
                continue;
            };
            if earlier.activate_at == later.activate_at {
                self.report(
                    &place(index, "activate_at"),
                    "two keys would be active at once; say when this one takes over from the other",
                );
            }
        }
        for (position, (index, key)) in order.iter().enumerate() {
            let Some(retire_at) = key.retire_at else {
                continue;
            };
            let successor = order
                .get(position + 1)
                .and_then(|(_, next)| next.activate_at);
            let Some(successor) = successor else {
                self.report(
                    &place(*index, "retire_at"),
                    "no key would be active after it; add the key that takes over, with its activate_at",
                );
                continue;
            };
            let lifetime = token_ttl.unwrap_or_default().as_secs();
            let earliest = successor.plus_seconds(i64::try_from(lifetime).unwrap_or(i64::MAX));
            if retire_at < earliest {
                self.report(
                    &place(*index, "retire_at"),
                    format!(
                        "tokens of this key may live until {}, token_ttl after the next key takes over; retire it then or later",
                        earliest.rfc3339()
                    ),
                );
            }
        }
    }
}
