//! Browser endpoints: each app's origins and its session resolver.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::http::HeaderName;

use super::verifiers::{Verifiers, Wanted, Wrong, wrong};
use super::{Sources, note};
use crate::config::{self, Config, Problem};
use crate::http::Browser;
use crate::identity::{
    Introspect, IntrospectSettings, JwtSession, Pointers, Presented, Resolver, TrustedHeader,
};
use crate::token::App;

/// How many questions about sessions one app may have open at once: more would only pile up on a
/// session store that is slow already.
const MAX_CONCURRENT: usize = 256;

pub(super) fn load(
    config: &Config,
    sources: &Sources,
    apps: &HashMap<String, Arc<App>>,
    verifiers: &mut Verifiers<'_>,
    problems: &mut Vec<Problem>,
) -> HashMap<String, Arc<Browser>> {
    let mut browsers = HashMap::new();
    for app in &config.apps {
        let Some(browser) = &app.browser else {
            continue;
        };
        let path = format!("apps.{}.browser.session", app.name);
        let resolver = match resolver(browser, sources, verifiers) {
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

fn resolver(
    browser: &config::Browser,
    sources: &Sources,
    verifiers: &mut Verifiers<'_>,
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
            let resolver = Introspect::new(settings, sources.upstream().map_err(wrong(".url"))?);
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
            let verifier = verifiers.make(&Wanted {
                keys,
                issuer,
                audience,
                algorithms,
                timeout: *timeout,
            })?;
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
