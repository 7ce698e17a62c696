//! The Vault that keeps secrets: its address, and exactly one way to get a token.

use super::Check;
use crate::config::walk::child;
use crate::config::{raw, text};
use crate::secrets::{SecretName, VaultLogin, VaultSecret, VaultServer};

const PLACE: &str = "secrets.vault";
/// Where Kubernetes puts a pod's token.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

impl Check<'_> {
    pub(super) fn vault(&mut self, raw: &raw::Vault) -> Option<VaultServer> {
        let address = self.read(&child(PLACE, "address"), raw.address.as_ref(), |address| {
            let url = text::url(address)?;
            if url.query().is_some() {
                return Err("must be without a query (?…)".into());
            }
            Ok(url)
        });
        let namespace = self.optional(
            &child(PLACE, "namespace"),
            raw.namespace.as_ref(),
            header_text,
        );
        let ca = match &raw.ca {
            Some(ca) => self.file(&child(PLACE, "ca"), Some(ca)).map(Some),
            None => Some(None),
        };
        let login = self.login(raw);
        Some(VaultServer {
            address: address?,
            namespace: namespace?,
            ca: ca?,
            login: login?,
        })
    }

    fn login(&mut self, raw: &raw::Vault) -> Option<VaultLogin> {
        match (&raw.token, &raw.approle, &raw.kubernetes) {
            (Some(token), None, None) => {
                let token = self.credential(&child(PLACE, "token"), token)?;
                Some(VaultLogin::Token(token))
            }
            (None, Some(raw), None) => {
                let place = child(PLACE, "approle");
                let mount = self.mount(&place, raw.mount.as_ref(), "approle");
                let role_id = (raw.role_id.as_ref())
                    .and_then(|role_id| self.credential(&child(&place, "role_id"), role_id));
                let secret_id = (raw.secret_id.as_ref())
                    .and_then(|secret_id| self.credential(&child(&place, "secret_id"), secret_id));
                Some(VaultLogin::AppRole {
                    mount: mount?,
                    role_id: role_id?,
                    secret_id: secret_id?,
                })
            }
            (None, None, Some(raw)) => {
                let place = child(PLACE, "kubernetes");
                let mount = self.mount(&place, raw.mount.as_ref(), "kubernetes");
                let role = self.read(&child(&place, "role"), raw.role.as_ref(), |role| {
                    text::plain(role, 256)
                });
                let jwt = match &raw.jwt {
                    Some(jwt) => self.credential(&child(&place, "jwt"), jwt),
                    None => Some(SecretName::File(SERVICE_ACCOUNT_TOKEN.into())),
                };
                Some(VaultLogin::Kubernetes {
                    mount: mount?,
                    role: role?,
                    jwt: jwt?,
                })
            }
            _ => {
                let spoiled = ["token", "approle", "kubernetes"]
                    .iter()
                    .any(|key| self.spoiled(&child(PLACE, key)));
                if !spoiled {
                    self.report(
                        PLACE,
                        "needs exactly one way to log in: keep one of token, approle and kubernetes",
                    );
                }
                None
            }
        }
    }

    /// A credential for Vault: text, and not a thing that has to be fetched.
    fn credential(&mut self, path: &str, raw: &raw::Secret) -> Option<SecretName> {
        let fetched = [
            ("command", raw.command.is_some()),
            ("vault", raw.vault.is_some()),
        ];
        if let Some((key, _)) = fetched.iter().find(|(_, is_there)| *is_there) {
            self.report(
                &child(path, key),
                r#"is not for what logs in to Vault; write { env = "NAME" } or { file = "/path" }"#,
            );
            return None;
        }
        self.text_secret(path, Some(raw))
    }

    fn mount(&mut self, place: &str, raw: Option<&String>, usual: &str) -> Option<String> {
        let mount = self.optional(&child(place, "mount"), raw, |mount| {
            if is_path(mount) {
                Ok(mount.to_owned())
            } else {
                Err(format!("must be a mount's path, such as \"{usual}\""))
            }
        })?;
        Some(mount.unwrap_or_else(|| usual.to_owned()))
    }

    /// The secret that `vault = "…"` below `path` names.
    pub(super) fn vault_secret(
        &mut self,
        path: &str,
        name: &String,
        version: Option<u32>,
    ) -> Option<VaultSecret> {
        let place = child(path, "vault");
        let named = self.read(&place, Some(name), |name| {
            let named = name.split_once('#').filter(|(path, field)| {
                // The mount, `data` and the entry's own path.
                let inner = path.split('/').skip(1).collect::<Vec<_>>();
                let is_data = inner.iter().rev().skip(1).any(|segment| *segment == "data");
                is_path(path) && is_data && !field.is_empty() && field.len() <= 256
            });
            named.ok_or_else(|| {
                r#"must be an entry's path in a KV store of version 2 and a field of it, such as "kv/data/acme#secret""#.to_owned()
            })
            .map(|(path, field)| (path.to_owned(), field.to_owned()))
        });
        let Some(server) = self.vault.clone() else {
            if !self.spoiled(PLACE) {
                self.report(
                    &place,
                    "needs to know where Vault is: add [secrets.vault] with address and a way to log in",
                );
            }
            return None;
        };
        let (path, field) = named?;
        Some(VaultSecret {
            server,
            path,
            field,
            version,
        })
    }
}

/// Segments between single slashes, none of which could lead elsewhere.
fn is_path(text: &str) -> bool {
    let is_sound = |segment: &str| {
        !matches!(segment, "" | "." | "..") && !segment.chars().any(|c| c.is_control() || c == '?')
    };
    text.len() <= 1024 && text.split('/').all(is_sound)
}

/// Text that can stand in a header.
fn header_text(text: &str) -> text::Reading<String> {
    let is_sound = |c: char| c.is_ascii_graphic();
    if !text.is_empty() && text.len() <= 256 && text.chars().all(is_sound) {
        Ok(text.to_owned())
    } else {
        Err(r#"must be a namespace's path, such as "team-a/chat""#.into())
    }
}
