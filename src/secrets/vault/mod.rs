//! Secrets in Vault or OpenBao: one field of an entry in a KV store of version 2, read with a token of one's own.
//!
//! `ask` speaks the protocol, `session` keeps the tokens. What is read stays with the fetcher.

mod ask;
mod session;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::{SecretError, SecretName};

pub(super) use session::{Vaults, Visit};

/// A field of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VaultSecret {
    /// Where it is kept.
    pub server: Arc<VaultServer>,
    /// The entry's path in the API, such as `kv/data/acme`.
    pub path: String,
    /// The field's name.
    pub field: String,
    /// The entry's version; `None` is the latest.
    pub version: Option<u32>,
}

/// A server and how signet proves itself to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VaultServer {
    /// Its address, which everything is asked below.
    pub address: Url,
    /// The namespace that everything is asked in.
    pub namespace: Option<String>,
    /// A file of PEM certificates that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// How signet gets its token.
    pub login: VaultLogin,
}

/// How signet gets its token. The names are of variables or files: nothing that would have to be fetched first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VaultLogin {
    /// A role and its secret.
    AppRole {
        /// Where the method is mounted, such as `approle`.
        mount: String,
        /// The role's ID.
        role_id: SecretName,
        /// The secret ID, read again at each login.
        secret_id: SecretName,
    },
    /// A Kubernetes service account.
    Kubernetes {
        /// Where the method is mounted, such as `kubernetes`.
        mount: String,
        /// The role's name in Vault.
        role: String,
        /// The service account's token, read again at each login.
        jwt: SecretName,
    },
    /// A token that somebody else has made, read again whenever it is needed: an agent may replace it.
    Token(SecretName),
}

/// Why Vault gave no secret. No message repeats an address, a path, a field, or anything that was answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// A status that no other variant stands for: a redirect among them.
    #[error(
        "Vault answers with status {0}; name an address at which the active node itself answers"
    )]
    Answered(u16),
    /// It has bytes that no token, role or secret ID has.
    #[error("what `secrets.vault` logs in with is no text that Vault gives; correct it")]
    BadCredential,
    /// The additional root certificates are no use.
    #[error("`secrets.vault.ca` can't be used: {0}")]
    BadRoots(String),
    /// The path can't stand in a URL below the address.
    #[error("Vault's address and the secret's path don't make a URL; correct them")]
    BadUrl,
    /// What logs in can't be read.
    #[error("what `secrets.vault` logs in with: {0}")]
    Credential(Box<SecretError>),
    /// The version that is asked for was deleted.
    #[error("its version in Vault is deleted; undelete it, or write a new one")]
    Deleted,
    /// 403.
    #[error("Vault forbids to read it (403); let the policy of signet's token read its path")]
    Forbidden,
    /// The login itself was refused.
    #[error(
        "Vault refuses the login (status {0}); correct the credentials, the role or the mount in `secrets.vault`"
    )]
    LoginRefused(u16),
    /// 404.
    #[error("Vault has no such entry, or no such version of it; correct the path or the version")]
    Missing,
    /// The entry lacks the field.
    #[error("its entry in Vault has no such field; correct the name after the #")]
    NoField,
    /// The field is a number, a list, or anything else.
    #[error("its field in Vault is not a text; write it as one")]
    NotText,
    /// 503.
    #[error("Vault is sealed or out of service (503); unseal it")]
    Sealed,
    /// 429.
    #[error("Vault has too many requests (429); raise its quota, or `refresh`")]
    Throttled,
    /// There is a limit to what is waited for.
    #[error("Vault takes longer than 5 seconds; look at its load and at the network between")]
    TooSlow,
    /// It said something else than it should.
    #[error(
        "Vault's answer is not that of a KV store of version 2; correct the address or the path"
    )]
    Unclear,
    /// There was no connection.
    #[error("Vault can't be reached ({0}); start it, or correct `secrets.vault.address`")]
    Unreachable(String),
}
