//! The session resolvers: the keys that each needs, and none that belongs to another.

use std::time::Duration;

use super::Check;
use super::browser::Surroundings;
use crate::config::checked::{JwtKeys, Pointers, Profile, Resolver, Session};
use crate::config::walk::child;
use crate::config::{raw, text};
use crate::signing::Algorithm;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// Headers that belong to one connection or are written by the HTTP client itself.
const NOT_FORWARDED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Check<'_> {
    pub(super) fn session(
        &mut self,
        path: &str,
        raw: &raw::Session,
        profile: Option<&Profile>,
        surroundings: &Surroundings,
    ) -> Option<Session> {
        let resolver = raw.resolver?;
        self.refuse_keys_of_other_resolvers(path, raw, resolver);
        let allow_anonymous = raw.allow_anonymous.unwrap_or_default();
        if let Some(profile) = profile.filter(|profile| !profile.uses("user.anonymous")) {
            let message = format!(
                "the tokens of profile \"{}\" don't say that a user is anonymous",
                profile.name
            );
            if resolver == raw::Resolver::Anonymous {
                self.report(
                    &child(path, "resolver"),
                    format!("{message}; choose another resolver, or another profile"),
                );
            } else if allow_anonymous {
                self.report(
                    &child(path, "allow_anonymous"),
                    format!("{message}; leave it out"),
                );
            }
        }
        let timeout = self.timeout(path, raw, surroundings);
        let resolver = match resolver {
            raw::Resolver::Anonymous => Some(Resolver::Anonymous),
            raw::Resolver::Introspect => self.introspect(path, raw, profile, timeout),
            raw::Resolver::Jwt => self.jwt(path, raw, profile, timeout),
            raw::Resolver::TrustedHeader => self.trusted_header(path, raw, surroundings),
        };
        Some(Session {
            allow_anonymous,
            resolver: resolver?,
        })
    }

    fn refuse_keys_of_other_resolvers(
        &mut self,
        path: &str,
        raw: &raw::Session,
        resolver: raw::Resolver,
    ) {
        use raw::Resolver::{Introspect, Jwt, TrustedHeader};
        let keys: [(&str, bool, &[raw::Resolver]); 12] = [
            ("url", raw.url.is_some(), &[Introspect]),
            (
                "forward_headers",
                raw.forward_headers.is_some(),
                &[Introspect],
            ),
            ("timeout", raw.timeout.is_some(), &[Introspect, Jwt]),
            ("identity", raw.identity.is_some(), &[Introspect, Jwt]),
            ("cookie", raw.cookie.is_some(), &[Jwt]),
            ("jwks_url", raw.jwks_url.is_some(), &[Jwt]),
            ("jwks_file", raw.jwks_file.is_some(), &[Jwt]),
            ("secret", raw.secret.is_some(), &[Jwt]),
            ("issuer", raw.issuer.is_some(), &[Jwt]),
            ("audience", raw.audience.is_some(), &[Jwt]),
            ("algorithms", raw.algorithms.is_some(), &[Jwt]),
            ("headers", raw.headers.is_some(), &[TrustedHeader]),
        ];
        for (key, is_there, owners) in keys {
            if is_there && !owners.contains(&resolver) {
                let names: Vec<_> = owners.iter().map(|owner| owner.name()).collect();
                self.report(
                    &child(path, key),
                    format!(
                        "belongs to resolver {}, and this one is \"{}\"; leave it out",
                        text::list(&names, "or"),
                        resolver.name()
                    ),
                );
            }
        }
    }

    fn timeout(
        &mut self,
        path: &str,
        raw: &raw::Session,
        surroundings: &Surroundings,
    ) -> Option<Duration> {
        let place = child(path, "timeout");
        let longest = surroundings.request_timeout;
        match &raw.timeout {
            None => Some(DEFAULT_TIMEOUT.min(longest)),
            text => self.read(&place, text.as_ref(), |text| {
                let timeout = text::duration(text)?;
                if timeout.is_zero() {
                    Err("must be longer than nothing".into())
                } else if timeout > longest {
                    Err("must be at most server.request_timeout, within which the whole request ends".into())
                } else {
                    Ok(timeout)
                }
            }),
        }
    }

    fn introspect(
        &mut self,
        path: &str,
        raw: &raw::Session,
        profile: Option<&Profile>,
        timeout: Option<Duration>,
    ) -> Option<Resolver> {
        let url = self.required(
            &child(path, "url"),
            raw.url.as_ref(),
            "the app's own session URL",
            |text| text::url(text).map(|_| text.to_owned()),
        );
        let forward_headers = match &raw.forward_headers {
            None => Some(vec!["cookie".to_owned()]),
            listed => self.each(&child(path, "forward_headers"), listed.as_ref(), |text| {
                let name = text::header(text)?;
                if NOT_FORWARDED.contains(&name.as_str()) {
                    Err("is not to be forwarded: it belongs to one connection".into())
                } else {
                    Ok(name)
                }
            }),
        };
        let identity = self.pointers(path, raw, profile, None);
        Some(Resolver::Introspect {
            url: url?,
            forward_headers: forward_headers?,
            timeout: timeout?,
            identity: identity?,
        })
    }

    fn jwt(
        &mut self,
        path: &str,
        raw: &raw::Session,
        profile: Option<&Profile>,
        timeout: Option<Duration>,
    ) -> Option<Resolver> {
        let cookie = self.optional(&child(path, "cookie"), raw.cookie.as_ref(), text::cookie);
        let keys = self.jwt_keys(path, raw);
        let mut claim = |key: &str, text: &Option<String>, meaning| {
            self.required(&child(path, key), text.as_ref(), meaning, |text| {
                text::plain(text, 1000)
            })
        };
        let issuer = claim("issuer", &raw.issuer, "the `iss` that the token must have");
        let audience = claim(
            "audience",
            &raw.audience,
            "the `aud` that the token must have",
        );
        let public = raw.jwks_url.is_some() || raw.jwks_file.is_some();
        let algorithms =
            self.jwt_algorithms(path, raw.algorithms.as_ref(), public, raw.secret.is_some());
        let identity = self.pointers(path, raw, profile, Some("/sub"));
        Some(Resolver::Jwt {
            cookie: cookie?,
            keys: keys?,
            issuer: issuer?,
            audience: audience?,
            algorithms: algorithms?,
            identity: identity?,
            timeout: timeout?,
        })
    }

    fn jwt_keys(&mut self, path: &str, raw: &raw::Session) -> Option<JwtKeys> {
        let sources = [
            raw.jwks_url.is_some(),
            raw.jwks_file.is_some(),
            raw.secret.is_some(),
        ];
        match sources {
            [true, false, false] => {
                let read = |text: &str| text::url(text).map(|_| text.to_owned());
                self.read(&child(path, "jwks_url"), raw.jwks_url.as_ref(), read)
                    .map(JwtKeys::Url)
            }
            [false, true, false] => self
                .file(&child(path, "jwks_file"), raw.jwks_file.as_ref())
                .map(JwtKeys::File),
            [false, false, true] => self
                .secret(&child(path, "secret"), raw.secret.as_ref())
                .map(JwtKeys::Secret),
            [false, false, false] => {
                let spoiled = ["jwks_url", "jwks_file", "secret"]
                    .into_iter()
                    .any(|key| self.spoiled(&child(path, key)));
                if !spoiled {
                    self.report(
                        path,
                        "has nothing to verify the session's JWT with; add jwks_url, jwks_file or secret",
                    );
                }
                None
            }
            _ => {
                self.report(
                    path,
                    "has several of jwks_url, jwks_file and secret; keep one",
                );
                None
            }
        }
    }

    /// The algorithms of a JWT that is verified with public keys or a shared secret.
    pub(super) fn jwt_algorithms(
        &mut self,
        path: &str,
        listed: Option<&Vec<Algorithm>>,
        public: bool,
        shared: bool,
    ) -> Option<Vec<Algorithm>> {
        let place = child(path, "algorithms");
        let Some(algorithms) = listed.filter(|listed| !listed.is_empty()) else {
            if !self.spoiled(&place) {
                self.report(
                    &place,
                    r#"is missing; it is needed: the algorithms that the token may have, such as ["RS256"]"#,
                );
            }
            return None;
        };
        if public && algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            self.report(
                &place,
                "a JWK set verifies RS*, ES* and EdDSA; leave the HS* out: with one, anybody could sign with the public key",
            );
            return None;
        }
        if shared && !algorithms.iter().all(|algorithm| algorithm.is_symmetric()) {
            self.report(&place, "a secret verifies HS* only; leave the others out");
            return None;
        }
        Some(algorithms.clone())
    }

    fn trusted_header(
        &mut self,
        path: &str,
        raw: &raw::Session,
        surroundings: &Surroundings,
    ) -> Option<Resolver> {
        if !surroundings.has_trusted_proxies {
            let message = format!(
                "anybody could write these headers; set {} to the proxy that does",
                self.setting("server.trusted_proxies")
            );
            self.report(&child(path, "resolver"), message);
        }
        let Some(headers) = &raw.headers else {
            return (!self.spoiled(&child(path, "headers"))).then(|| Resolver::TrustedHeader {
                user_id: "x-forwarded-user".into(),
                email: Some("x-forwarded-email".into()),
                roles: Some("x-forwarded-groups".into()),
            });
        };
        let path = child(path, "headers");
        let user_id = self.required(
            &child(&path, "user_id"),
            headers.user_id.as_ref(),
            "the header with the user's ID",
            text::header,
        );
        let mut optional = |key: &str, text: &Option<String>| {
            self.optional(&child(&path, key), text.as_ref(), text::header)
        };
        let email = optional("email", &headers.email);
        let roles = optional("roles", &headers.roles);
        Some(Resolver::TrustedHeader {
            user_id: user_id?,
            email: email?,
            roles: roles?,
        })
    }

    fn pointers(
        &mut self,
        path: &str,
        raw: &raw::Session,
        profile: Option<&Profile>,
        default_user_id: Option<&str>,
    ) -> Option<Pointers> {
        let path = child(path, "identity");
        let none = raw::Pointers::default();
        let pointers = raw.identity.as_ref().unwrap_or(&none);
        let default_user_id = default_user_id.map(str::to_owned);
        let user_id = self.required(
            &child(&path, "user_id"),
            pointers.user_id.as_ref().or(default_user_id.as_ref()),
            "the JSON Pointer to the user's ID, such as \"/user/id\"",
            text::pointer,
        );
        let mut optional = |key: &str, text: &Option<String>| {
            self.optional(&child(&path, key), text.as_ref(), text::pointer)
        };
        let email = optional("email", &pointers.email);
        let roles = optional("roles", &pointers.roles);
        let plan = optional("plan", &pointers.plan);
        let attributes: Vec<_> = pointers
            .attributes
            .iter()
            .flatten()
            .map(|(name, text)| self.attribute(&path, name, text, profile))
            .collect();
        let attributes: Option<Vec<_>> = attributes.into_iter().collect();
        Some(Pointers {
            user_id: user_id?,
            email: email?,
            roles: roles?,
            plan: plan?,
            attributes: attributes?,
        })
    }

    fn attribute(
        &mut self,
        path: &str,
        name: &str,
        text: &String,
        profile: Option<&Profile>,
    ) -> Option<(String, String)> {
        let place = child(&child(path, "attributes"), name);
        let pointer = self.read(&place, Some(text), text::pointer);
        let source = format!("user.attributes.{name}");
        if let Some(profile) = profile.filter(|profile| !profile.uses(&source)) {
            self.report(
                &place,
                format!(
                    "profile \"{}\" doesn't use such an attribute; leave it out",
                    profile.name
                ),
            );
            return None;
        }
        Some((name.to_owned(), pointer?))
    }
}

impl raw::Resolver {
    const fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Introspect => "introspect",
            Self::Jwt => "jwt",
            Self::TrustedHeader => "trusted-header",
        }
    }
}
