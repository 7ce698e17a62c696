//! Tokens that Vault has lent: got once for all who ask, renewed before they end, got anew when that fails.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::ask::{Counter, Lent, PATIENCE};
use super::{VaultError, VaultLogin, VaultSecret, VaultServer};
use crate::secrets::fetcher::RETRY;
use crate::secrets::{Encoding, Fetcher, Secret, SecretName, SecretRef, Variables};
use crate::upstream::UpstreamClient;

/// The servers that have lent a token.
#[derive(Default)]
pub(in crate::secrets) struct Vaults {
    sessions: Mutex<HashMap<VaultServer, Session>>,
    /// Held by whoever logs in or renews: the others wait, and take what came of it.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
enum Session {
    Failed(VaultError, Instant),
    Lent(Lease),
}

/// A token with its end.
#[derive(Clone)]
struct Lease {
    token: Secret,
    since: Instant,
    renewable: bool,
    /// For how long it was lent when it was new.
    whole: Option<Duration>,
    /// When it ends, and before that when it is to be renewed.
    ends: Option<Instant>,
    renew_at: Option<Instant>,
}

impl Lease {
    fn new(lent: Lent, now: Instant) -> Self {
        Self {
            token: lent.token,
            since: now,
            renewable: lent.renewable,
            whole: lent.lease,
            ends: lent.lease.map(|lease| now + lease),
            renew_at: lent.lease.map(|lease| now + lease * 2 / 3),
        }
    }

    fn wants_renewal(&self, now: Instant) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    fn is_alive(&self, now: Instant) -> bool {
        self.ends.is_none_or(|end| now < end)
    }
}

impl Vaults {
    /// Whether a token is to be renewed by now.
    pub(in crate::secrets) fn want_renewal(&self) -> bool {
        let now = Instant::now();
        self.lock().values().any(|it| it.wants_renewal(now))
    }

    /// Forgets the tokens of the other servers.
    pub(in crate::secrets) fn keep_only(&self, keep: impl Fn(&VaultServer) -> bool) {
        self.lock().retain(|server, _| keep(server));
    }

    /// As if `time` had passed for every lease.
    #[cfg(test)]
    pub(super) fn pass(&self, time: Duration) {
        for session in self.lock().values_mut() {
            if let Session::Lent(lease) = session {
                lease.since -= time;
                lease.ends = lease.ends.map(|end| end - time);
                lease.renew_at = lease.renew_at.map(|at| at - time);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VaultServer, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn wants_renewal(&self, now: Instant) -> bool {
        matches!(self, Self::Lent(lease) if lease.wants_renewal(now))
    }
}

/// One round of questions, with connections of its own.
pub(in crate::secrets) struct Visit<'a> {
    vaults: &'a Vaults,
    variables: &'a Variables,
    began: Instant,
    /// By the file of certificates that they trust beside the system's.
    clients: RefCell<HashMap<Option<PathBuf>, UpstreamClient>>,
    patience: Duration,
}

impl<'a> Visit<'a> {
    pub(in crate::secrets) fn new(vaults: &'a Vaults, variables: &'a Variables) -> Self {
        Self {
            vaults,
            variables,
            began: Instant::now(),
            clients: RefCell::default(),
            patience: PATIENCE,
        }
    }

    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Reads a secret; a token that Vault doesn't know any more is replaced once.
    pub(in crate::secrets) async fn read(
        &self,
        secret: &VaultSecret,
    ) -> Result<Secret, VaultError> {
        let server = &*secret.server;
        let client = self.client(server)?;
        let counter = Counter {
            server,
            client: &client,
            patience: self.patience,
        };
        let token = self.token(&counter, None).await?;
        match counter.read(secret, &token).await {
            // A token that was revoked looks like a policy that forbids.
            Err(VaultError::Forbidden) => {
                let token = self.token(&counter, Some(&token)).await?;
                counter.read(secret, &token).await
            }
            read => read,
        }
    }

    /// Renews every token that wants it.
    pub(in crate::secrets) async fn renew(&self) {
        let now = Instant::now();
        let due: Vec<_> = {
            let sessions = self.vaults.lock();
            let due = sessions.iter().filter(|(_, it)| it.wants_renewal(now));
            due.map(|(server, _)| server.clone()).collect()
        };
        for server in &due {
            let Ok(client) = self.client(server) else {
                continue;
            };
            let counter = Counter {
                server,
                client: &client,
                patience: self.patience,
            };
            // Whoever needs the token will be told.
            let _ = self.token(&counter, None).await;
        }
    }

    /// The token of the moment; another one than `refused`, which Vault has just refused.
    async fn token(
        &self,
        counter: &Counter<'_>,
        refused: Option<&Secret>,
    ) -> Result<Secret, VaultError> {
        let asked = Instant::now();
        let _turn = self.vaults.turn.lock().await;
        let server = counter.server;
        let session = self.vaults.lock().get(server).cloned();
        let lease = match session {
            // Somebody has tried while this one waited.
            Some(Session::Failed(error, at)) if at >= asked => return Err(error),
            Some(Session::Lent(lease)) => Some(lease),
            _ => None,
        };
        let lease = match lease {
            Some(lease) if refused.is_some_and(|it| it.same_as(&lease.token)) => {
                // One that is as new as this can only lack the right.
                if lease.since >= self.began || self.is_still_the_token(server, &lease) {
                    return Err(VaultError::Forbidden);
                }
                self.log_in(counter).await
            }
            Some(lease) if self.was_replaced(server, &lease) => self.log_in(counter).await,
            Some(lease) if lease.wants_renewal(asked) => self.prolong(counter, lease).await,
            Some(lease) => Ok(lease),
            None => self.log_in(counter).await,
        };
        let (session, token) = match lease {
            Ok(lease) => {
                let token = lease.token.clone();
                (Session::Lent(lease), Ok(token))
            }
            Err(error) => (Session::Failed(error.clone(), Instant::now()), Err(error)),
        };
        self.vaults.lock().insert(server.clone(), session);
        token
    }

    /// Renews the lease; where that doesn't lengthen it enough, gets another token. While neither works the
    /// old token goes on until it ends.
    async fn prolong(&self, counter: &Counter<'_>, old: Lease) -> Result<Lease, VaultError> {
        let now = Instant::now();
        let renewed = if old.renewable {
            counter.renew(&old.token).await
        } else {
            Err(VaultError::Forbidden)
        };
        let failure = match renewed {
            Ok(lent) => {
                let whole = old.whole;
                let renewed = Lease {
                    whole,
                    ..Lease::new(lent, now)
                };
                // Towards its longest life a token is lent for ever shorter times.
                let is_short = renewed.ends.is_some_and(|end| {
                    whole.is_some_and(|whole| end.saturating_duration_since(now) < whole / 2)
                });
                if !is_short {
                    return Ok(renewed);
                }
                match self.log_in(counter).await {
                    Ok(lease) => return Ok(lease),
                    // It was lengthened all the same.
                    Err(_) => return Ok(renewed),
                }
            }
            Err(failure) => match (&counter.server.login, self.log_in(counter).await) {
                // The same token again is nothing new.
                (VaultLogin::Token(_), Ok(lease)) if lease.token.same_as(&old.token) => failure,
                (_, Ok(lease)) => return Ok(lease),
                (_, Err(failure)) => failure,
            },
        };
        if !old.is_alive(now) {
            return Err(failure);
        }
        tracing::warn!("the token for Vault is not renewed and will end: {failure}");
        Ok(Lease {
            renew_at: Some(now + RETRY),
            ..old
        })
    }

    /// Gets a token in the way that the configuration says.
    async fn log_in(&self, counter: &Counter<'_>) -> Result<Lease, VaultError> {
        #[derive(Serialize)]
        struct AppRole<'a> {
            role_id: &'a str,
            secret_id: &'a str,
        }
        #[derive(Serialize)]
        struct Kubernetes<'a> {
            role: &'a str,
            jwt: &'a str,
        }
        let lent = match &counter.server.login {
            VaultLogin::AppRole {
                mount,
                role_id,
                secret_id,
            } => {
                let (role_id, secret_id) = (self.credential(role_id)?, self.credential(secret_id)?);
                let credentials = AppRole {
                    role_id: text(&role_id)?,
                    secret_id: text(&secret_id)?,
                };
                counter.log_in(mount, &credentials).await?
            }
            VaultLogin::Kubernetes { mount, role, jwt } => {
                let jwt = self.credential(jwt)?;
                let credentials = Kubernetes {
                    role,
                    jwt: text(&jwt)?,
                };
                counter.log_in(mount, &credentials).await?
            }
            VaultLogin::Token(name) => {
                let token = self.credential(name)?;
                match counter.look_up(&token).await {
                    // A policy may forbid a token to look at itself, and still let it read.
                    Err(VaultError::Forbidden) => Lent {
                        token,
                        lease: None,
                        renewable: false,
                    },
                    lent => lent?,
                }
            }
        };
        Ok(Lease::new(lent, Instant::now()))
    }

    /// Whether the lease's token is one that nobody but its giver can replace, and nobody has.
    fn is_still_the_token(&self, server: &VaultServer, lease: &Lease) -> bool {
        matches!(server.login, VaultLogin::Token(_)) && !self.was_replaced(server, lease)
    }

    /// Whether another token stands where the lease's came from.
    fn was_replaced(&self, server: &VaultServer, lease: &Lease) -> bool {
        match &server.login {
            VaultLogin::Token(name) => {
                let now = self.credential(name);
                now.is_ok_and(|now| !now.same_as(&lease.token))
            }
            VaultLogin::AppRole { .. } | VaultLogin::Kubernetes { .. } => false,
        }
    }

    fn credential(&self, name: &SecretName) -> Result<Secret, VaultError> {
        let reference = SecretRef {
            name: name.clone(),
            encoding: Encoding::Utf8,
        };
        reference
            .read(self.variables, &Fetcher::default())
            .map_err(|error| VaultError::Credential(Box::new(error)))
    }

    fn client(&self, server: &VaultServer) -> Result<UpstreamClient, VaultError> {
        if let Some(client) = self.clients.borrow().get(&server.ca) {
            return Ok(client.clone());
        }
        let ca = server.ca.clone().map(SecretName::File);
        let ca = ca.map(|file| self.credential(&file)).transpose();
        let ca = ca.map_err(|error| VaultError::BadRoots(error.to_string()))?;
        let client = UpstreamClient::new(ca.as_ref().map(Secret::expose))
            .map_err(|error| VaultError::BadRoots(error.to_string()))?;
        let mut clients = self.clients.borrow_mut();
        clients.insert(server.ca.clone(), client.clone());
        Ok(client)
    }
}

fn text(secret: &Secret) -> Result<&str, VaultError> {
    std::str::from_utf8(secret.expose()).map_err(|_| VaultError::BadCredential)
}
