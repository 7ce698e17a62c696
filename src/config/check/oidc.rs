//! Tokens of callers' platforms: an issuer, an audience, public keys, and claims that name one workload.

use super::Check;
use crate::config::checked::{JwtKeys, Oidc};
use crate::config::walk::child;
use crate::config::{raw, text};

impl Check<'_> {
    pub(super) fn oidc(&mut self, path: &str, raw: &raw::Oidc) -> Option<Oidc> {
        let mut claim = |key: &str, text: &Option<String>| {
            self.read(&child(path, key), text.as_ref(), |text| {
                text::plain(text, 1000)
            })
        };
        let issuer = claim("issuer", &raw.issuer);
        let audience = claim("audience", &raw.audience);
        let keys = self.oidc_keys(path, raw);
        let algorithms = self.jwt_algorithms(path, raw.algorithms.as_ref(), true, false);
        let claims = raw.claims.as_ref().and_then(|claims| {
            let place = child(path, "claims");
            if claims.is_empty() {
                self.report(
                    &place,
                    r#"must name at least one claim, such as sub = "system:serviceaccount:shop:web": without, every workload of the issuer would be this caller"#,
                );
                return None;
            }
            let read: Vec<_> = claims
                .iter()
                .map(|(name, text)| {
                    let place = child(&place, name);
                    let text = self.read(&place, Some(text), |text| text::plain(text, 1000))?;
                    Some((name.clone(), text))
                })
                .collect();
            read.into_iter().collect()
        });
        Some(Oidc {
            keys: keys?,
            issuer: issuer?,
            audience: audience?,
            algorithms: algorithms?,
            claims: claims?,
        })
    }

    fn oidc_keys(&mut self, path: &str, raw: &raw::Oidc) -> Option<JwtKeys> {
        match (&raw.jwks_url, &raw.jwks_file) {
            (Some(_), None) => {
                let read = |text: &str| text::url(text).map(|_| text.to_owned());
                self.read(&child(path, "jwks_url"), raw.jwks_url.as_ref(), read)
                    .map(JwtKeys::Url)
            }
            (None, Some(_)) => self
                .file(&child(path, "jwks_file"), raw.jwks_file.as_ref())
                .map(JwtKeys::File),
            (None, None) => {
                let spoiled = ["jwks_url", "jwks_file"]
                    .into_iter()
                    .any(|key| self.spoiled(&child(path, key)));
                if !spoiled {
                    self.report(
                        path,
                        "has nothing to verify the token with; add jwks_url or jwks_file",
                    );
                }
                None
            }
            (Some(_), Some(_)) => {
                self.report(path, "has both jwks_url and jwks_file; keep one");
                None
            }
        }
    }
}
