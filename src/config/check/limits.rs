//! The limits and where they are counted.

use std::time::Duration;

use super::Check;
use crate::config::checked::{Limits, OnOutage, Rate, RedisUrl, Store};
use crate::config::walk::child;
use crate::config::{raw, text};

const LONGEST_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

impl Check<'_> {
    pub(super) fn limits(&mut self, raw: &raw::Limits) -> Option<Limits> {
        let ip = &raw.per_ip;
        let per_ip = self.rate("limits.per_ip", ip.rate, ip.per.as_ref(), ip.burst);
        let per_ip_exempt = self.each("limits.per_ip.exempt", ip.exempt.as_ref(), text::network);
        let mut rate =
            |path, raw: &raw::Rate| self.rate(path, raw.rate, raw.per.as_ref(), raw.burst);
        let per_caller = rate("limits.per_caller", &raw.per_caller);
        let per_user = rate("limits.per_user", &raw.per_user);
        let failed_auth = rate("limits.failed_auth", &raw.failed_auth);
        let store = match raw.store.as_ref() {
            Some(raw::Store::InProcess(raw::Memory::Memory)) => Some(Store::Memory),
            Some(raw::Store::Shared(raw)) => self.redis(raw),
            None => None,
        };
        Some(Limits {
            per_ip: per_ip?,
            per_ip_exempt: per_ip_exempt?,
            per_caller: per_caller?,
            per_user: per_user?,
            failed_auth: failed_auth?,
            store: store?,
        })
    }

    fn rate(
        &mut self,
        path: &str,
        rate: Option<u32>,
        per: Option<&String>,
        burst: Option<u32>,
    ) -> Option<Rate> {
        let place = child(path, "per");
        let per = self.read(&place, per, text::duration);
        let per = self.within(&place, per, Duration::from_millis(1), LONGEST_PERIOD);
        Some(Rate {
            rate: rate?,
            per: per?,
            burst: burst?,
        })
    }

    fn redis(&mut self, raw: &raw::Redis) -> Option<Store> {
        let path = "limits.store.redis";
        let url = match raw.redis.as_ref()? {
            raw::RedisUrl::Plain(url) => {
                RedisUrl::Plain(self.read(path, Some(url), text::redis)?)
            }
            raw::RedisUrl::Secret(secret) => {
                RedisUrl::Secret(self.text_secret(path, Some(secret))?)
            }
        };
        let pepper = match &raw.pepper {
            Some(pepper) => Some(self.text_secret("limits.store.pepper", Some(pepper))?),
            None => None,
        };
        Some(Store::Redis {
            url,
            on_outage: raw.on_outage.unwrap_or(OnOutage::Local),
            enforce: raw.enforce.unwrap_or(true),
            pepper,
        })
    }
}
