//! The apps: a profile that exists, lifetimes under its cap, and all that the profile needs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Check;
use super::browser::Surroundings;
use super::profiles::Profiles;
use crate::config::checked::{App, Profile};
use crate::config::walk::child;
use crate::config::{raw, text};
use crate::signing::Algorithm;

const DEFAULT_BACKDATE: Duration = Duration::from_secs(5);

impl Check<'_> {
    pub(super) fn apps(
        &mut self,
        raw: &BTreeMap<String, raw::App>,
        server: &raw::Server,
        profiles: &Profiles,
    ) -> Option<Vec<App>> {
        let mut surroundings = Surroundings::new(server);
        let apps: Vec<_> = raw
            .iter()
            .map(|(name, app)| self.app(name, app, profiles, &mut surroundings))
            .collect();
        apps.into_iter().collect()
    }

    fn app(
        &mut self,
        name: &str,
        raw: &raw::App,
        profiles: &Profiles,
        surroundings: &mut Surroundings,
    ) -> Option<App> {
        let path = child("apps", name);
        let place = |key: &str| child(&path, key);
        let known_name = self.read(&path, Some(&name.to_owned()), text::name);
        let profile_name = self.read(&place("profile"), raw.profile.as_ref(), |profile| {
            if profiles.names.iter().any(|known| known == profile) {
                return Ok(profile.to_owned());
            }
            let known = profiles.names.iter().map(String::as_str);
            Err(text::unknown("profile", profile, known))
        });
        let profile = profile_name.as_ref().and_then(|name| profiles.find(name));
        let client_id = self.read(&place("client_id"), raw.client_id.as_ref(), |text| {
            text::plain(text, 200)
        });
        let algorithm = self.algorithm(&path, raw, profile);
        let token_ttl = self.token_ttl(&path, raw, profile);
        let backdate = self.backdate(&path, raw, token_ttl);
        let audience = self.optional(&place("audience"), raw.audience.as_ref(), |text| {
            text::plain(text, 1000)
        });
        let key_id = self.optional(&place("key_id"), raw.key_id.as_ref(), text::name);
        if let Some(profile) = profile {
            self.what_the_profile_needs(&path, raw, profile, surroundings);
        }
        let keys = self.keys(&path, raw, algorithm, token_ttl);
        let browser = match &raw.browser {
            Some(browser) => self
                .browser(&place("browser"), browser, profile, surroundings)
                .map(Some),
            None => Some(None),
        };
        Some(App {
            name: known_name?,
            profile: profile_name?,
            client_id: client_id?,
            algorithm: algorithm?,
            token_ttl: token_ttl?,
            backdate: backdate?,
            audience: audience?.or(profile?.audience.clone()),
            token_id: raw.token_id.unwrap_or(true),
            key_id: key_id?,
            keys: keys?,
            browser: browser?,
        })
    }

    fn algorithm(
        &mut self,
        path: &str,
        raw: &raw::App,
        profile: Option<&Profile>,
    ) -> Option<Algorithm> {
        let place = child(path, "algorithm");
        if self.spoiled(&place) {
            return None;
        }
        let profile = profile?;
        let Some(algorithm) = raw.algorithm else {
            return profile.algorithms.first().copied();
        };
        if profile.algorithms.contains(&algorithm) {
            return Some(algorithm);
        }
        let known: Vec<_> = profile.algorithms.iter().map(|a| a.name()).collect();
        self.report(
            &place,
            format!(
                "profile \"{}\" doesn't have {algorithm}; write {}",
                profile.name,
                text::list(&known, "or")
            ),
        );
        None
    }

    fn token_ttl(
        &mut self,
        path: &str,
        raw: &raw::App,
        profile: Option<&Profile>,
    ) -> Option<Duration> {
        let place = child(path, "token_ttl");
        let lifetime = match &raw.token_ttl {
            None if self.spoiled(&place) => None,
            None => return profile.map(|profile| profile.max_ttl),
            text => self.lifetime(&place, text.as_ref()),
        };
        let (lifetime, profile) = (lifetime?, profile?);
        if lifetime <= profile.max_ttl {
            return Some(lifetime);
        }
        self.report(
            &place,
            format!(
                "is longer than profile \"{}\" allows; at most {}",
                profile.name,
                humantime::format_duration(profile.max_ttl)
            ),
        );
        None
    }

    fn backdate(
        &mut self,
        path: &str,
        raw: &raw::App,
        token_ttl: Option<Duration>,
    ) -> Option<Duration> {
        let place = child(path, "backdate");
        let backdate = match &raw.backdate {
            None if self.spoiled(&place) => None,
            None => Some(DEFAULT_BACKDATE),
            text => self.read(&place, text.as_ref(), text::lifetime),
        }?;
        if token_ttl.is_none_or(|ttl| backdate < ttl) {
            return Some(backdate);
        }
        self.report(
            &place,
            format!(
                "must be shorter than token_ttl, and is {}: a token would be born expired",
                humantime::format_duration(backdate)
            ),
        );
        None
    }

    fn what_the_profile_needs(
        &mut self,
        path: &str,
        raw: &raw::App,
        profile: &Profile,
        surroundings: &Surroundings,
    ) {
        let name = &profile.name;
        if profile.needs("app.audience") && profile.audience.is_none() {
            let meaning = format!("the tokens of profile \"{name}\" say it");
            self.required(
                &child(path, "audience"),
                raw.audience.as_ref(),
                &meaning,
                |text| Ok(text.to_owned()),
            );
        }
        if profile.needs("app.issuer") && !surroundings.has_public_url {
            let message = format!(
                "profile \"{name}\" needs an issuer; set {} to the service's own URL",
                self.setting("server.public_url")
            );
            if !self.spoiled("server.public_url") {
                self.report(&child(path, "profile"), message);
            }
        }
        if raw.token_id == Some(false) && profile.needs("token.id") {
            let message =
                format!("the tokens of profile \"{name}\" always have an ID; leave it out");
            self.report(&child(path, "token_id"), message);
        }
    }
}
