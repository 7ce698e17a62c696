//! The few questions of Vault's HTTP API that signet asks, and what their answers mean.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize as Derived, Serialize};
use zeroize::Zeroizing;

use super::{VaultError, VaultSecret, VaultServer};
use crate::secrets::Secret;
use crate::upstream::{Answer, Unanswered, UpstreamClient, UpstreamUrl};

/// How long one question may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");

/// A token, and for how long it has been lent.
pub(super) struct Lent {
    pub(super) token: Secret,
    /// Nothing where it never ends.
    pub(super) lease: Option<Duration>,
    pub(super) renewable: bool,
}

/// One server within reach of a client.
pub(super) struct Counter<'a> {
    pub(super) server: &'a VaultServer,
    pub(super) client: &'a UpstreamClient,
    pub(super) patience: Duration,
}

impl Counter<'_> {
    /// Reads the secret's field.
    pub(super) async fn read(
        &self,
        secret: &VaultSecret,
        token: &Secret,
    ) -> Result<Secret, VaultError> {
        let url = self.url(&secret.path, secret.version)?;
        let headers = self.headers(Some(token))?;
        let asked = self.client.look_up(&url, headers, self.patience).await;
        let answer = asked.map_err(unanswered)?;
        let entry = match answer.status {
            200 => parse::<Reply<Entry>>(&answer)?.data,
            // A deleted version is as missing as one that never was, but says so.
            404 => match parse::<Reply<Entry>>(&answer).map(|reply| reply.data.metadata) {
                Ok(Some(_)) => return Err(VaultError::Deleted),
                _ => return Err(VaultError::Missing),
            },
            status => return Err(refused(status)),
        };
        let (Some(mut fields), Some(_)) = (entry.data, entry.metadata) else {
            return Err(VaultError::Unclear);
        };
        match fields.remove(&secret.field) {
            Some(Field::Text(secret)) => Ok(secret),
            Some(Field::Other) => Err(VaultError::NotText),
            None => Err(VaultError::NoField),
        }
    }

    /// Logs in at `auth/…/login`.
    pub(super) async fn log_in(
        &self,
        mount: &str,
        credentials: &impl Serialize,
    ) -> Result<Lent, VaultError> {
        let path = format!("auth/{mount}/login");
        match self.tell(&path, None, credentials).await {
            Err(VaultError::Forbidden) => Err(VaultError::LoginRefused(403)),
            Err(VaultError::Missing) => Err(VaultError::LoginRefused(404)),
            Err(VaultError::Answered(400)) => Err(VaultError::LoginRefused(400)),
            lent => lent,
        }
    }

    /// Asks for how long `token` is still lent.
    pub(super) async fn look_up(&self, token: &Secret) -> Result<Lent, VaultError> {
        let url = self.url("auth/token/lookup-self", None)?;
        let headers = self.headers(Some(token))?;
        let asked = self.client.ask(&url, headers, self.patience).await;
        let answer = asked.map_err(unanswered)?;
        if answer.status != 200 {
            return Err(refused(answer.status));
        }
        let Reply { data } = parse::<Reply<TokenState>>(&answer)?;
        Ok(Lent {
            token: token.clone(),
            lease: lease(data.ttl),
            renewable: data.renewable,
        })
    }

    /// Asks for `token` to be lent anew.
    pub(super) async fn renew(&self, token: &Secret) -> Result<Lent, VaultError> {
        let nothing = HashMap::<&str, &str>::new();
        let path = "auth/token/renew-self";
        self.tell(path, Some(token), &nothing).await
    }

    async fn tell(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: &impl Serialize,
    ) -> Result<Lent, VaultError> {
        let url = self.url(path, None)?;
        let mut headers = self.headers(token)?;
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *bytes, body).map_err(|_| VaultError::Unclear)?;
        let told = (self.client)
            .tell(&url, headers, bytes, self.patience)
            .await;
        let answer = told.map_err(unanswered)?;
        if answer.status != 200 {
            return Err(refused(answer.status));
        }
        let Granted { auth } = parse(&answer)?;
        let Field::Text(token) = auth.client_token else {
            return Err(VaultError::Unclear);
        };
        Ok(Lent {
            token,
            lease: lease(auth.lease_duration),
            renewable: auth.renewable,
        })
    }

    fn url(&self, path: &str, version: Option<u32>) -> Result<UpstreamUrl, VaultError> {
        let mut url = self.server.address.clone();
        url.path_segments_mut()
            .map_err(|()| VaultError::BadUrl)?
            .pop_if_empty()
            .push("v1")
            .extend(path.split('/'));
        if let Some(version) = version {
            url.set_query(Some(&format!("version={version}")));
        }
        url.as_str().parse().map_err(|_| VaultError::BadUrl)
    }

    fn headers(&self, token: Option<&Secret>) -> Result<HeaderMap, VaultError> {
        // What asks without this may be a browser that somebody has tricked; an agent refuses it.
        let mut headers = HeaderMap::from_iter([(REQUEST, HeaderValue::from_static("true"))]);
        if let Some(namespace) = &self.server.namespace {
            let namespace = HeaderValue::try_from(namespace).map_err(|_| VaultError::BadUrl)?;
            headers.insert(NAMESPACE, namespace);
        }
        if let Some(token) = token {
            let bytes = Bytes::from_owner(Zeroizing::new(token.expose().to_vec()));
            let mut token =
                HeaderValue::from_maybe_shared(bytes).map_err(|_| VaultError::BadCredential)?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        Ok(headers)
    }
}

fn unanswered(error: Unanswered) -> VaultError {
    match error {
        Unanswered::Failed(cause) => VaultError::Unreachable(cause),
        Unanswered::TimedOut => VaultError::TooSlow,
        Unanswered::TooLong => VaultError::Unclear,
    }
}

fn refused(status: u16) -> VaultError {
    match status {
        403 => VaultError::Forbidden,
        404 => VaultError::Missing,
        429 => VaultError::Throttled,
        503 => VaultError::Sealed,
        other => VaultError::Answered(other),
    }
}

/// What the library would say of the text repeats a part of it.
fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, VaultError> {
    serde_json::from_slice(&answer.body).map_err(|_| VaultError::Unclear)
}

fn lease(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

#[derive(Derived)]
struct Reply<D> {
    data: D,
}

#[derive(Derived)]
struct Granted {
    auth: Auth,
}

#[derive(Derived)]
struct Entry {
    data: Option<HashMap<String, Field>>,
    metadata: Option<IgnoredAny>,
}

#[derive(Derived)]
struct Auth {
    client_token: Field,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Derived)]
struct TokenState {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

/// A member's value: a text goes into memory that is wiped, and of what else it is nothing is kept.
enum Field {
    Text(Secret),
    Other,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyField)
    }
}

struct AnyField;

impl<'de> Visitor<'de> for AnyField {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(Secret::from(text)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Field, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}
