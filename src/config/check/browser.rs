//! The browser's endpoint: a path that collides with no other, and exact origins.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Check;
use crate::config::checked::{Browser, Profile};
use crate::config::walk::child;
use crate::config::{raw, text};

/// What of the rest of the configuration the apps' endpoints depend on.
pub(super) struct Surroundings {
    pub(super) has_public_url: bool,
    pub(super) has_trusted_proxies: bool,
    pub(super) request_timeout: Duration,
    /// Every path that is taken, with the setting that took it.
    paths: BTreeMap<String, String>,
}

impl Surroundings {
    pub(super) fn new(server: &raw::Server) -> Self {
        let timeout = server.request_timeout.as_deref();
        Self {
            has_public_url: server.public_url.is_some(),
            has_trusted_proxies: !(server.trusted_proxies.as_ref()).is_some_and(Vec::is_empty),
            request_timeout: timeout
                .and_then(|timeout| text::duration(timeout).ok())
                .unwrap_or(Duration::MAX),
            paths: BTreeMap::new(),
        }
    }
}

impl Check<'_> {
    pub(super) fn browser(
        &mut self,
        path: &str,
        raw: &raw::Browser,
        profile: Option<&Profile>,
        surroundings: &mut Surroundings,
    ) -> Option<Browser> {
        let place = child(path, "path");
        let own_path = self.optional(&place, raw.path.as_ref(), |text| {
            let own_path = endpoint_path(text)?;
            // With and without a slash at the end is one endpoint to people.
            let key = own_path.trim_end_matches('/').to_owned();
            if let Some(owner) = surroundings.paths.get(&key) {
                return Err(format!("is taken by {owner}; choose another"));
            }
            surroundings.paths.insert(key, place.clone());
            Ok(own_path)
        });
        let origins = match &raw.origins {
            None => Some(Vec::new()),
            listed => self.each(&child(path, "origins"), listed.as_ref(), text::origin),
        };
        let session = raw.session.as_ref().and_then(|session| {
            self.session(&child(path, "session"), session, profile, surroundings)
        });
        Some(Browser {
            path: own_path?,
            origins: origins?,
            session: session?,
        })
    }
}

/// A path that is a route of its own, spelt in the one way that a router and a proxy agree on.
fn endpoint_path(text: &str) -> text::Reading<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let Some(rest) = text.strip_prefix('/') else {
        return Err(r#"must begin with a slash, such as "/api/support/token""#.into());
    };
    let segments: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
    let is_plain = |segment: &&str| {
        !segment.is_empty() && segment.chars().all(fits) && !matches!(*segment, "." | "..")
    };
    if text.len() > 200 || !segments.iter().all(is_plain) {
        return Err(r#"must be a plain path, such as "/api/support/token": letters, digits, - . _ ~ between single slashes, no . or .. alone"#.into());
    }
    match segments.as_slice() {
        ["token" | "healthz"] | ["apps" | ".well-known", ..] => Err(
            "is signet's own (/token, /healthz, /apps/…, /.well-known/…); choose another".into(),
        ),
        _ => Ok(text.to_owned()),
    }
}
