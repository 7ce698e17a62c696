//! What a caller may ask for. An empty list denies.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::sync::Arc;

use serde_json::Value;

use super::app::App;
use super::at::At;
use super::fit;
use super::identity::Identity;
use super::json::Json;
use super::request::{Asked, Fault, Given};

/// A set of names that a policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// `["*"]`
    Any,
    /// Exactly these; none of them denies all.
    Only(Vec<String>),
}

impl Allowed {
    /// Whether `name` is in the set.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.iter().any(|allowed| allowed == name),
        }
    }
}

/// What one caller may ask for.
#[derive(Debug)]
pub struct Policy {
    /// For which apps.
    pub apps: Vec<Arc<App>>,
    /// Which roles it may give a user.
    pub roles: Allowed,
    /// Which plans it may give a user.
    pub plans: Allowed,
    /// Which attributes it may set.
    pub attributes: Allowed,
    /// Which scopes it may ask for in a token exchange.
    pub scopes: Allowed,
    /// The longest lifetime it may ask for, in seconds; the app's where there is none.
    pub max_ttl_seconds: Option<i64>,
}

/// A decision to issue: for whom and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant<'a> {
    /// Whom the token is about.
    pub identity: Identity<'a>,
    /// `exp - iat`, in seconds.
    pub ttl_seconds: i64,
    /// The scope that an OAuth client is given.
    pub scope: Option<String>,
}

impl Grant<'_> {
    /// The same on its own, without the request.
    #[must_use]
    pub fn into_owned(self) -> Grant<'static> {
        Grant {
            identity: self.identity.into_owned(),
            ttl_seconds: self.ttl_seconds,
            scope: self.scope,
        }
    }
}

/// Why a request is refused, in the words of the error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the error code of its name")]
pub enum DenialCode {
    AppNotAllowed,
    AttributeNotAllowed,
    AudienceNotAllowed,
    IdentityMismatch,
    InvalidRequest,
    PlanNotAllowed,
    RoleNotAllowed,
    TenantMismatch,
    TokenTooLarge,
    TtlTooLong,
}

impl DenialCode {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AppNotAllowed,
        Self::AttributeNotAllowed,
        Self::AudienceNotAllowed,
        Self::IdentityMismatch,
        Self::InvalidRequest,
        Self::PlanNotAllowed,
        Self::RoleNotAllowed,
        Self::TenantMismatch,
        Self::TokenTooLarge,
        Self::TtlTooLong,
    ];
}

/// A refusal, with everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The first reason.
    pub code: DenialCode,
    /// The first reason in words.
    pub detail: String,
    /// Each member at fault.
    pub faults: Vec<Fault>,
}

impl Denial {
    /// A refusal for one member.
    #[must_use]
    pub fn of(code: DenialCode, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            code,
            faults: vec![Fault::new(pointer, detail.clone())],
            detail,
        }
    }

    /// A request that isn't in order, by its faults.
    #[must_use]
    pub fn invalid(faults: Vec<Fault>) -> Self {
        Self {
            code: DenialCode::InvalidRequest,
            detail: "the request is not in order; see `errors`".to_owned(),
            faults,
        }
    }
}

/// One rule that was applied, for `signet token explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The configuration key or rule.
    pub rule: &'static str,
    /// The member it was applied to.
    pub pointer: String,
    /// `allowed`, `refused` or `filled`.
    pub verdict: &'static str,
    /// What was found.
    pub detail: String,
}

/// Somebody who wants to know which rules were applied; nobody pays for it otherwise.
pub trait Witness {
    /// Hears of one rule.
    fn saw(&mut self, finding: impl FnOnce() -> Finding);
}

impl Witness for () {
    fn saw(&mut self, _: impl FnOnce() -> Finding) {}
}

impl Witness for Vec<Finding> {
    fn saw(&mut self, finding: impl FnOnce() -> Finding) {
        self.push(finding());
    }
}

impl Policy {
    /// Which of the caller's apps the request is for.
    ///
    /// # Errors
    /// When it names an app that isn't the caller's, a client ID that isn't the app's, or leaves open which of several it means.
    pub fn choose_app(
        &self,
        asked: &Asked<'_>,
        witness: &mut impl Witness,
    ) -> Result<&Arc<App>, Denial> {
        let chosen = self.chosen(asked);
        let named = asked.app.as_ref().or(asked.client_id.as_ref());
        witness.saw(|| match &chosen {
            Ok(app) => Finding {
                rule: "apps",
                pointer: named.map_or_else(String::new, Given::pointer),
                verdict: if named.is_some() { "allowed" } else { "filled" },
                detail: format!("the app is `{}`", app.name()),
            },
            Err(denial) => refused("apps", &denial.faults[0].pointer, &denial.detail),
        });
        chosen
    }

    fn chosen(&self, asked: &Asked<'_>) -> Result<&Arc<App>, Denial> {
        let mismatch = |at: String| {
            Denial::of(
                DenialCode::TenantMismatch,
                at,
                "this is not the client ID of an app that this caller may use",
            )
        };
        if let Some(name) = &asked.app {
            let app = self
                .apps
                .iter()
                .find(|app| app.name().as_str() == name.value)
                .ok_or_else(|| {
                    Denial::of(
                        DenialCode::AppNotAllowed,
                        name.pointer(),
                        "there is no such app, or this caller may not use it",
                    )
                })?;
            return match &asked.client_id {
                Some(given) if given.value != app.client_id() => Err(mismatch(given.pointer())),
                _ => Ok(app),
            };
        }
        if let Some(given) = &asked.client_id {
            let mut fitting = self
                .apps
                .iter()
                .filter(|app| app.client_id() == given.value);
            return match (fitting.next(), fitting.next()) {
                (Some(app), None) => Ok(app),
                (None, _) => Err(mismatch(given.pointer())),
                (Some(_), Some(_)) => Err(undecided(
                    "several apps have this client ID; name one as `app`",
                )),
            };
        }
        match &self.apps[..] {
            [app] => Ok(app),
            [] => Err(Denial::of(
                DenialCode::AppNotAllowed,
                "/app",
                "this caller may not use any app",
            )),
            _ => Err(undecided(
                "this caller may use several apps; name one as `app`",
            )),
        }
    }

    /// Decides a request for `app` whose reading left `faults`. `anonymous_id` is called for the user ID
    /// of an anonymous user without one.
    ///
    /// # Errors
    /// Every member that is out of order; or, when all are in order, every one that the policy refuses.
    pub fn decide<'a>(
        &self,
        app: &App,
        asked: Asked<'a>,
        mut faults: Vec<Fault>,
        anonymous_id: impl FnOnce() -> String,
        witness: &mut impl Witness,
    ) -> Result<Grant<'a>, Denial> {
        let profile = app.profile();
        faults.extend(fit::uncarried(profile, &asked));
        faults.extend(fit::lacking(profile, &asked, &faults));
        faults.extend(self.born_expired(app, &asked));
        if !faults.is_empty() {
            for fault in &faults {
                witness.saw(|| refused("request", &fault.pointer, &fault.detail));
            }
            return Err(Denial::invalid(faults));
        }
        let ttl_seconds = self.check(app, &asked, witness)?;
        let anonymous = asked.is_anonymous();
        let user_id = match asked.user_id {
            Some(given) => given.value,
            None => {
                witness.saw(|| {
                    filled(
                        "user.id",
                        "/userId",
                        "a fresh random ID for an anonymous user",
                    )
                });
                anonymous_id().into()
            }
        };
        let identity = Identity {
            user_id,
            email: asked.email.map(|given| given.value),
            roles: asked.roles.map(|given| given.value),
            plan: asked.plan.map(|given| given.value),
            anonymous,
            attributes: asked
                .attributes
                .map(|given| {
                    given
                        .value
                        .into_iter()
                        .map(|(name, value)| (name.into_owned(), value.into_value()))
                        .collect::<std::collections::BTreeMap<String, Value>>()
                })
                .unwrap_or_default(),
        };
        Ok(Grant {
            identity,
            ttl_seconds,
            scope: None,
        })
    }

    /// Decides about a user for whom somebody that the app trusts has vouched, such as the issuer of an
    /// OAuth subject token. What the app's tokens don't carry is left out: nobody asked for it.
    ///
    /// # Errors
    /// Everything that the policy refuses.
    pub fn decide_vouched<'a>(
        &self,
        app: &App,
        mut identity: Identity<'a>,
        scope: Option<String>,
    ) -> Result<Grant<'a>, Denial> {
        let profile = app.profile();
        identity.email = identity.email.filter(|_| profile.carries_email());
        identity.roles = identity.roles.filter(|_| profile.carries_roles());
        identity.plan = identity.plan.filter(|_| profile.carries_plan());
        identity
            .attributes
            .retain(|name, _| profile.carries_attribute(name));
        let roles = identity.roles.iter().flatten();
        let asked = Asked {
            roles: Some(Given {
                name: "roles",
                value: roles.map(|role| Cow::from(&**role)).collect(),
            }),
            plan: identity.plan.as_deref().map(|plan| Given {
                name: "plan",
                value: plan.into(),
            }),
            attributes: Some(Given {
                name: "attributes",
                // Names alone are judged.
                value: (identity.attributes.keys())
                    .map(|name| (Cow::from(&**name), Json::Null))
                    .collect(),
            }),
            ..Asked::default()
        };
        let ttl_seconds = self.check(app, &asked, &mut ())?;
        Ok(Grant {
            identity,
            ttl_seconds,
            scope,
        })
    }

    /// The longest lifetime that this caller gets from `app`: the least of the app's, its own and the profile's cap.
    #[must_use]
    pub fn longest_seconds(&self, app: &App) -> i64 {
        self.max_ttl_seconds.map_or(app.token_ttl_seconds(), |own| {
            own.min(app.token_ttl_seconds())
        })
    }

    /// What is wrong with a lifetime that would be over at once.
    fn born_expired(&self, app: &App, asked: &Asked<'_>) -> Option<Fault> {
        let backdate = app.backdate_seconds();
        let longest = self.longest_seconds(app);
        let detail = match &asked.ttl_seconds {
            Some(given) if given.value <= backdate => {
                format!("must be more than the {backdate} seconds that `iat` is set back")
            }
            None if longest <= backdate => format!(
                "can't be left out or given: the longest that this caller may have, {longest} seconds, \
                 is not more than the {backdate} seconds that `iat` is set back"
            ),
            _ => return None,
        };
        Some(Fault::new("/ttl", detail))
    }

    /// Everything that the policy says to a request in order; gives the lifetime in seconds.
    fn check(
        &self,
        app: &App,
        asked: &Asked<'_>,
        witness: &mut impl Witness,
    ) -> Result<i64, Denial> {
        let mut denials: Vec<(DenialCode, Fault)> = Vec::new();
        // Neither the place nor the reason is written out for what is allowed.
        let mut judge =
            |rule, code, allowed: bool, at: At<'_>, detail: Arguments<'_>, witness: &mut _| {
                note(rule, allowed, at, detail, witness);
                if !allowed {
                    denials.push((code, Fault::new(at, detail.to_string())));
                }
            };
        if let Some(roles) = &asked.roles {
            for (index, role) in roles.value.iter().enumerate() {
                judge(
                    "roles",
                    DenialCode::RoleNotAllowed,
                    self.roles.allows(role),
                    At::Item(&roles.at(), index),
                    format_args!("this caller may not give this role"),
                    witness,
                );
            }
        }
        if let Some(plan) = &asked.plan {
            judge(
                "plans",
                DenialCode::PlanNotAllowed,
                self.plans.allows(&plan.value),
                plan.at(),
                format_args!("this caller may not give this plan"),
                witness,
            );
        }
        for (name, _) in asked.attributes.iter().flat_map(|given| &given.value) {
            judge(
                "attributes",
                DenialCode::AttributeNotAllowed,
                self.attributes.allows(name),
                At::attribute(name),
                format_args!("this caller may not set this attribute"),
                witness,
            );
        }
        let longest = self.longest_seconds(app);
        match &asked.ttl_seconds {
            Some(given) => judge(
                "ttl",
                DenialCode::TtlTooLong,
                given.value <= longest,
                given.at(),
                format_args!("must be at most the {longest} seconds that this caller may have"),
                witness,
            ),
            None => witness.saw(|| {
                filled(
                    "ttl",
                    "/ttl",
                    &format!("{longest} seconds, the longest that this caller may have"),
                )
            }),
        }
        match denials.first() {
            None => Ok(asked
                .ttl_seconds
                .as_ref()
                .map_or(longest, |given| given.value)),
            Some((code, first)) => Err(Denial {
                code: *code,
                detail: first.detail.clone(),
                faults: denials.iter().map(|(_, fault)| fault.clone()).collect(),
            }),
        }
    }
}

fn note(
    rule: &'static str,
    allowed: bool,
    at: At<'_>,
    detail: Arguments<'_>,
    witness: &mut impl Witness,
) {
    witness.saw(|| {
        if allowed {
            Finding {
                rule,
                pointer: at.into(),
                verdict: "allowed",
                detail: "the caller's policy allows it".to_owned(),
            }
        } else {
            refused(rule, &at.to_string(), &detail.to_string())
        }
    });
}

fn refused(rule: &'static str, pointer: &str, detail: &str) -> Finding {
    Finding {
        rule,
        pointer: pointer.to_owned(),
        verdict: "refused",
        detail: detail.to_owned(),
    }
}

fn filled(rule: &'static str, pointer: &str, detail: &str) -> Finding {
    Finding {
        rule,
        pointer: pointer.to_owned(),
        verdict: "filled",
        detail: detail.to_owned(),
    }
}

fn undecided(detail: &str) -> Denial {
    Denial::invalid(vec![Fault::new("/app", detail)])
}

#[cfg(test)]
mod tests;
