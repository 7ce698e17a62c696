//! Browser endpoints: each app's origins and its session resolver.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::http::HeaderName;
use secrecy::SecretSlice;

use super::{Sources, note};
use crate::config::{self, Config, JwtKeys, Problem};
use crate::http::{Browser, Snapshot};
use crate::identity::{
    Introspect, IntrospectSettings, JwksCache, JwtRules, JwtSession, JwtVerifier, KeySet,
    KeySource, Pointers, Presented, Resolver, TrustedHeader, UpstreamUrl,
};
use crate::secrets::{Encoding, SecretName, SecretRef};
use crate::signing::Algorithm;
use crate::token::App;

/// How many questions about sessions one app may have open at once: more would only pile up on a
/// session store that is slow already.
const MAX_CONCURRENT: usize = 256;

pub(super) fn load(
    config: &Config,
    sources: &Sources,
    apps: &HashMap<String, Arc<App>>,
    previous: Option<&Snapshot>,
    problems: &mut Vec<Problem>,
) -> HashMap<String, Arc<Browser>> {
    let mut browsers = HashMap::new();
    for app in &config.apps {
        let Some(browser) = &app.browser else {
            continue;
        };
        let path = format!("apps.{}.browser.session", app.name);
        let resolver = match resolver(browser, sources, previous) {
            Ok(resolver) => resolver,
            Err((setting, message)) => {
                note(problems, config, &format!("{path}{setting}"), message);
                continue;
            }
        };
        // An app that couldn't be made is noted already.
        let Some(ready) = apps.get(&app.name) else {
            continue;
        };
        let browser = Browser {
            app: Arc::clone(ready),
            origins: browser.origins.clone(),
            resolver_name: resolver.name().into(),
            resolver,
            allow_anonymous: browser.session.allow_anonymous,
            warned_of_secret: AtomicBool::new(false),
        };
        browsers.insert(app.name.clone(), Arc::new(browser));
    }
    browsers
}

/// A setting below `session`, and what is wrong with it.
type Wrong = (&'static str, String);

fn wrong<E: ToString>(setting: &'static str) -> impl FnOnce(E) -> Wrong {
    move |error| (setting, error.to_string())
}

fn resolver(
    browser: &config::Browser,
    sources: &Sources,
    previous: Option<&Snapshot>,
) -> Result<Resolver, Wrong> {
    match &browser.session.resolver {
        config::Resolver::Anonymous => Ok(Resolver::Anonymous),
        config::Resolver::Introspect {
            url,
            forward_headers,
            timeout,
            identity,
        } => {
            let settings = IntrospectSettings {
                url: url.parse().map_err(wrong(".url"))?,
                forward_headers: forward_headers
                    .iter()
                    .map(|name| header(name, ".forward_headers"))
                    .collect::<Result<_, _>>()?,
                timeout: *timeout,
                identity: pointers(identity)?,
                max_concurrent: MAX_CONCURRENT,
            };
            let resolver = Introspect::new(settings, sources.upstream.clone());
            Ok(Resolver::Introspect(
                resolver.map_err(wrong(".forward_headers"))?,
            ))
        }
        config::Resolver::Jwt {
            cookie,
            keys,
            issuer,
            audience,
            algorithms,
            identity,
            timeout,
        } => {
            let source =
                match keys {
                    JwtKeys::File(path) => KeySource::Fixed(Arc::new(key_set(path, sources)?)),
                    JwtKeys::Secret(reference) => {
                        let secret = sources.secret(reference).map_err(wrong(".secret"))?;
                        if let Some(weakness) = secret.weakness() {
                            return Err((".secret", weakness.to_string()));
                        }
                        KeySource::Secret(SecretSlice::from(secret.expose().to_vec()))
                    }
                    JwtKeys::Url(url) => {
                        let url: UpstreamUrl = url.parse().map_err(wrong(".jwks_url"))?;
                        let kept = previous.and_then(|previous| kept_cache(previous, &url));
                        KeySource::Url(kept.unwrap_or_else(|| {
                            JwksCache::new(url, *timeout, sources.upstream.clone())
                        }))
                    }
                };
            let rules = JwtRules {
                issuer: issuer.clone(),
                audience: audience.clone(),
                algorithms: algorithms
                    .iter()
                    .copied()
                    .map(Algorithm::verifying)
                    .collect(),
            };
            let verifier = JwtVerifier::new(rules, source).map_err(wrong(""))?;
            let presented = cookie
                .as_ref()
                .map_or(Presented::Bearer, |name| Presented::Cookie(name.clone()));
            Ok(Resolver::Jwt(JwtSession::new(
                presented,
                verifier,
                pointers(identity)?,
            )))
        }
        config::Resolver::TrustedHeader {
            user_id,
            email,
            roles,
        } => {
            let optional = |name: &Option<String>| {
                name.as_ref()
                    .map(|name| header(name, ".headers"))
                    .transpose()
            };
            Ok(Resolver::TrustedHeader(TrustedHeader {
                user_id: header(user_id, ".headers")?,
                email: optional(email)?,
                roles: optional(roles)?,
            }))
        }
    }
}

/// The keys that another snapshot has fetched from the same place: a reload must not need the provider.
fn kept_cache(previous: &Snapshot, url: &UpstreamUrl) -> Option<JwksCache> {
    previous
        .browsers
        .values()
        .find_map(|browser| match &browser.resolver {
            Resolver::Jwt(session) => session
                .key_cache()
                .filter(|cache| cache.url() == url)
                .cloned(),
            Resolver::Anonymous | Resolver::Introspect(_) | Resolver::TrustedHeader(_) => None,
        })
}

fn key_set(path: &std::path::Path, sources: &Sources) -> Result<KeySet, Wrong> {
    let file = SecretRef {
        name: SecretName::File(path.to_owned()),
        encoding: Encoding::Utf8,
    };
    let json = sources.secret(&file).map_err(wrong(".jwks_file"))?;
    KeySet::from_json(json.expose()).map_err(wrong(".jwks_file"))
}

fn header(name: &str, setting: &'static str) -> Result<HeaderName, Wrong> {
    name.parse()
        .map_err(|_| (setting, format!("`{name}` is not the name of a header")))
}

fn pointers(identity: &config::Pointers) -> Result<Pointers, Wrong> {
    let pointer = |text: &String| text.parse().map_err(wrong(".identity"));
    let optional = |text: &Option<String>| text.as_ref().map(pointer).transpose();
    Ok(Pointers {
        user_id: pointer(&identity.user_id)?,
        email: optional(&identity.email)?,
        roles: optional(&identity.roles)?,
        plan: optional(&identity.plan)?,
        attributes: identity
            .attributes
            .iter()
            .map(|(name, text)| Ok((name.clone(), pointer(text)?)))
            .collect::<Result<_, _>>()?,
    })
}
