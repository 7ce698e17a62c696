//! Where secrets are: one place each, and for what is fetched how often, and how old it may be.

use std::time::Duration;

use super::Check;
use crate::config::walk::child;
use crate::config::{raw, text};
use crate::secrets::{Encoding, Fetched, Origin, SecretCommand, SecretName, SecretRef};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const USUAL_REFRESH: Duration = Duration::from_secs(5 * 60);

impl Check<'_> {
    pub(super) fn secret(&mut self, path: &str, raw: Option<&raw::Secret>) -> Option<SecretRef> {
        let raw = raw?;
        let places = [
            raw.env.is_some(),
            raw.file.is_some(),
            raw.command.is_some(),
            raw.vault.is_some(),
        ];
        match places.iter().filter(|is_there| **is_there).count() {
            0 if self.spoiled(path) => return None,
            0 => {
                self.report(
                    path,
                    r#"names no place: write { env = "NAME" } or { file = "/path" }"#,
                );
                return None;
            }
            1 => {}
            _ => {
                self.report(
                    path,
                    "names several places; keep one of env, file, command and vault",
                );
                return None;
            }
        }
        let is_fetched = raw.command.is_some() || raw.vault.is_some();
        for (key, misplaced, owner) in [
            (
                "variables",
                raw.variables.is_some() && raw.command.is_none(),
                "a command",
            ),
            (
                "version",
                raw.version.is_some() && raw.vault.is_none(),
                "vault",
            ),
            (
                "refresh",
                raw.refresh.is_some() && !is_fetched,
                "a command or vault",
            ),
            (
                "max_stale",
                raw.max_stale.is_some() && !is_fetched,
                "a command or vault",
            ),
        ] {
            if misplaced {
                self.report(&child(path, key), format!("is for {owner}; leave it out"));
            }
        }
        let name = if let Some(name) = &raw.env {
            SecretName::Env(self.read(&child(path, "env"), Some(name), text::variable_name)?)
        } else if raw.file.is_some() {
            SecretName::File(self.file(&child(path, "file"), raw.file.as_ref())?)
        } else {
            SecretName::Fetched(Box::new(self.fetched(path, raw)?))
        };
        let encoding = match raw.encoding {
            None | Some(raw::Encoding::Utf8) => Encoding::Utf8,
            Some(raw::Encoding::Base64) => Encoding::Base64,
            Some(raw::Encoding::Base64Url) => Encoding::Base64Url,
            Some(raw::Encoding::Hex) => Encoding::Hex,
        };
        let secret = SecretRef { name, encoding };
        self.secrets.push((path.to_owned(), secret.clone()));
        Some(secret)
    }

    /// A secret that is text and so has no encoding.
    pub(super) fn text_secret(
        &mut self,
        path: &str,
        raw: Option<&raw::Secret>,
    ) -> Option<SecretName> {
        let secret = self.secret(path, raw)?;
        if secret.encoding == Encoding::Utf8 {
            return Some(secret.name);
        }
        self.report(
            &child(path, "encoding"),
            "is for an app's secrets; this one is taken as it stands, so leave it out",
        );
        None
    }

    /// What has to be fetched, and how often.
    fn fetched(&mut self, path: &str, raw: &raw::Secret) -> Option<Fetched> {
        let from = match (&raw.command, &raw.vault) {
            (Some(line), _) => self.command(path, line, raw).map(Origin::Command),
            (None, Some(name)) => self
                .vault_secret(path, name, raw.version)
                .map(Origin::Vault),
            (None, None) => None,
        };
        let place = child(path, "refresh");
        let refresh = self.optional(&place, raw.refresh.as_ref(), text::duration)?;
        let refresh = self.within(&place, refresh.or(Some(USUAL_REFRESH)), SECOND, DAY)?;
        let place = child(path, "max_stale");
        let max_stale = self.optional(&place, raw.max_stale.as_ref(), text::duration)?;
        let max_stale = max_stale.unwrap_or(DAY.max(refresh * 2));
        if max_stale < refresh * 2 {
            self.report(
                &place,
                "must be at least twice refresh, so that one failure alone doesn't count",
            );
            return None;
        }
        let fetched = Fetched {
            from: from?,
            refresh,
            max_stale,
        };
        if !self.fetched.contains(&fetched) {
            self.fetched.push(fetched.clone());
        }
        Some(fetched)
    }

    fn command(&mut self, path: &str, line: &[String], raw: &raw::Secret) -> Option<SecretCommand> {
        let place = child(path, "command");
        let mut line = line.to_vec();
        let is_sound = |text: &String| !text.contains('\0');
        if line.first().is_none_or(String::is_empty) || !line.iter().all(is_sound) {
            self.report(
                &place,
                r#"must be a program and its arguments, such as ["vault", "kv", "get", "-field=secret", "kv/acme"]"#,
            );
            return None;
        }
        let here = if self.base.as_os_str().is_empty() {
            std::path::Path::new(".")
        } else {
            self.base
        };
        let folder = std::path::absolute(here).ok()?;
        // A name without a slash is looked for in PATH; with one it is a path, and starts where all paths do.
        if line[0].contains('/') {
            line[0] = folder.join(&line[0]).to_str()?.to_owned();
        }
        let variables = match &raw.variables {
            None => Vec::new(),
            names => self.each(
                &child(path, "variables"),
                names.as_ref(),
                text::variable_name,
            )?,
        };
        Some(SecretCommand {
            line,
            variables,
            folder,
        })
    }
}
