//! Token exchange (RFC 8693) on `POST /token`: an OAuth client trades a user's token for an app's.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::Response;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::Serialize;
use tracing::Instrument;

use super::Body;
use super::body::{self, Arriving};
use super::envelope::{Context, Issued, Trail, headers_around_token};
use super::error::Failure;
use super::snapshot::{Service, Snapshot};
use super::token::Minting;
use super::who_asks;
use crate::caller::Caller;
use crate::identity::{Resolver, Unresolved};
use crate::limits::Passage;
use crate::secrets::Secret;
use crate::telemetry;
use crate::token::{App, Denial, DenialCode, Fault, Identity, Policy};

/// The one grant type.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What a subject token may be called. All of them are JWTs of the issuer that the app trusts.
pub(super) const SUBJECT_TYPES: &[&str] = &[ACCESS_TOKEN, ID_TOKEN, JWT];
/// What the token that is issued may be called, the default first.
pub(super) const ISSUED_TYPES: &[&str] = &[ACCESS_TOKEN, JWT];

const MAX_SCOPE_BYTES: usize = 1000;

/// The way of a form from its head to its answer, in the order of `POST /token`.
pub(super) async fn decide_and_mint<'a>(
    service: &Service,
    context: &'a Context,
    head: &Parts,
    body: &mut impl Arriving,
    passage: &mut Passage<'_>,
    trail: &mut Trail<'a>,
) -> Result<Response<Body>, Failure> {
    let snapshot = &**context.snapshot;
    // Who asks, where the headers say so.
    passage.admit_address()?;
    let by_header = who_asks::by_header(service, snapshot, &head.headers, passage).await?;
    match by_header {
        Some(caller) => {
            trail.caller = Some(caller);
            passage.admit_caller(&caller.name)?;
        }
        // A stranger's body is read only where its address may ask.
        None => passage.settle().await?,
    }

    // For what, and who asks where only the form says so.
    let body = body::read(
        context.headers.body_length,
        body,
        snapshot.max_body,
        snapshot.request_timeout,
    )
    .await?;
    let form = Form::read(&body)?;
    let caller = match by_header {
        Some(caller) => form.is_said_by(caller)?,
        None => {
            let caller = prove(snapshot, &form, passage).await?;
            trail.caller = Some(caller);
            passage.admit_caller(&caller.name)?;
            caller
        }
    };
    let asked = form.check()?;

    // May they: the app, the scope, and what the subject token says of its user.
    let app = choose_app(&caller.policy, &asked)?;
    trail.app = Some(app);
    let scope = asked
        .scope
        .map(|scope| check_scope(&caller.policy, app, scope))
        .transpose()?;
    // Before another service is asked for keys.
    passage.settle().await?;
    let identity = identify(service, snapshot, app, asked.subject_token).await?;
    trail.user = Some(identity.user_id.to_string());
    let grant = caller.policy.decide_vouched(app, identity, scope)?;
    passage.admit_user(app.name().as_str(), &grant.identity.user_id)?;
    passage
        .settle()
        .instrument(telemetry::limits_span())
        .await?;

    // What does it say; seal it; write it down.
    let scope = grant.scope.clone();
    let minting = Minting::now(service, app);
    let minted = minting.mint_aside(grant, Some(&caller.name)).await?;
    trail.issued = Some(Issued::from(&minted));
    let answer = Answer {
        access_token: minted.token.expose(),
        issued_token_type: asked.issued_type,
        token_type: "Bearer",
        expires_in: minted.expires_in_seconds,
        scope: scope.as_deref(),
    };
    let body = serde_json::to_vec(&answer).expect("an answer is always JSON");
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = headers_around_token(&context.headers.request_id);
    Ok(response)
}

/// RFC 8693 section 2.2.1.
#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    issued_token_type: &'a str,
    token_type: &'a str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

/// The parameters that mean something here, as they were sent; an empty one is absent (RFC 6749 section 3.2).
#[derive(Default)]
struct Form<'a> {
    actor_token: Option<Cow<'a, str>>,
    actor_token_type: Option<Cow<'a, str>>,
    audience: Option<Cow<'a, str>>,
    client_id: Option<Cow<'a, str>>,
    client_secret: Option<Cow<'a, str>>,
    grant_type: Option<Cow<'a, str>>,
    requested_token_type: Option<Cow<'a, str>>,
    resource: Option<Cow<'a, str>>,
    scope: Option<Cow<'a, str>>,
    subject_token: Option<Cow<'a, str>>,
    subject_token_type: Option<Cow<'a, str>>,
}

/// A form in order.
struct Asked<'a> {
    audience: Option<&'a str>,
    issued_type: &'static str,
    resource: Option<&'a str>,
    scope: Option<&'a str>,
    subject_token: &'a str,
}

impl<'a> Form<'a> {
    /// Reads a form. Parameters that nobody knows are ignored, as the RFC wants it.
    fn read(body: &'a Bytes) -> Result<Self, Failure> {
        let mut form = Self::default();
        let mut seen = Vec::new();
        let mut repeated = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            let Some((name, slot)) = form.slot(&name) else {
                continue;
            };
            if seen.contains(&name) {
                repeated.push(Fault::new(
                    format!("/{name}"),
                    "appears twice; give it once",
                ));
                continue;
            }
            seen.push(name);
            *slot = Some(value).filter(|value| !value.is_empty());
        }
        if repeated.is_empty() {
            Ok(form)
        } else {
            Err(Denial::invalid(repeated).into())
        }
    }

    fn slot(&mut self, name: &str) -> Option<(&'static str, &mut Option<Cow<'a, str>>)> {
        Some(match name {
            "actor_token" => ("actor_token", &mut self.actor_token),
            "actor_token_type" => ("actor_token_type", &mut self.actor_token_type),
            "audience" => ("audience", &mut self.audience),
            "client_id" => ("client_id", &mut self.client_id),
            "client_secret" => ("client_secret", &mut self.client_secret),
            "grant_type" => ("grant_type", &mut self.grant_type),
            "requested_token_type" => ("requested_token_type", &mut self.requested_token_type),
            "resource" => ("resource", &mut self.resource),
            "scope" => ("scope", &mut self.scope),
            "subject_token" => ("subject_token", &mut self.subject_token),
            "subject_token_type" => ("subject_token_type", &mut self.subject_token_type),
            _ => return None,
        })
    }

    /// Whether the form agrees with the caller that the `Authorization` header proves.
    fn is_said_by<'c>(&self, caller: &'c Arc<Caller>) -> Result<&'c Arc<Caller>, Failure> {
        let other_name = |id: &&Cow<'_, str>| **id != *caller.name;
        if self.client_secret.is_some() {
            // RFC 6749 section 2.3: never more than one method.
            Err(fault(
                "client_secret",
                "authenticate by the Authorization header or by this, not by both",
            ))
        } else if self.client_id.as_ref().filter(other_name).is_some() {
            Err(fault(
                "client_id",
                "is not the caller that the Authorization header proves; leave it out",
            ))
        } else {
            Ok(caller)
        }
    }

    /// The form's parameters in order, or everything that isn't.
    fn check(&self) -> Result<Asked<'_>, Failure> {
        match self.grant_type.as_deref() {
            None => return Err(fault("grant_type", "is missing")),
            Some(GRANT_TYPE) => {}
            Some(_) => return Err(Failure::UnsupportedGrantType),
        }
        let mut faults = Vec::new();
        let mut wrong = |name: &str, detail: String| {
            faults.push(Fault::new(format!("/{name}"), detail));
        };
        let subject_token = self.subject_token.as_deref();
        if subject_token.is_none() {
            wrong("subject_token", "is missing: the user's own JWT".to_owned());
        }
        match self.subject_token_type.as_deref() {
            Some(given) if SUBJECT_TYPES.contains(&given) => {}
            given => {
                let what = if given.is_none() {
                    "is missing"
                } else {
                    "is not taken"
                };
                wrong(
                    "subject_token_type",
                    format!("{what}: one of {}", SUBJECT_TYPES.join(", ")),
                );
            }
        }
        let issued_type = match self.requested_token_type.as_deref() {
            None => ISSUED_TYPES[0],
            Some(given) => ISSUED_TYPES
                .iter()
                .find(|known| **known == given)
                .copied()
                .unwrap_or_else(|| {
                    wrong(
                        "requested_token_type",
                        format!("is not issued: one of {}", ISSUED_TYPES.join(", ")),
                    );
                    ISSUED_TYPES[0]
                }),
        };
        // To ignore it would be to impersonate where delegation was asked for.
        for (name, given) in [
            ("actor_token", &self.actor_token),
            ("actor_token_type", &self.actor_token_type),
        ] {
            if given.is_some() {
                wrong(
                    name,
                    "is not taken: the authenticated caller is the actor".to_owned(),
                );
            }
        }
        match subject_token {
            Some(subject_token) if faults.is_empty() => Ok(Asked {
                audience: self.audience.as_deref(),
                issued_type,
                resource: self.resource.as_deref(),
                scope: self.scope.as_deref(),
                subject_token,
            }),
            _ => Err(Denial::invalid(faults).into()),
        }
    }
}

fn fault(name: &str, detail: &'static str) -> Failure {
    Denial::invalid(vec![Fault::new(format!("/{name}"), detail)]).into()
}

/// The caller whose name and key the form brings (RFC 6749 section 2.3.1).
async fn prove<'s>(
    snapshot: &'s Snapshot,
    form: &Form<'_>,
    passage: &mut Passage<'_>,
) -> Result<&'s Arc<Caller>, Failure> {
    let (Some(id), Some(secret)) = (&form.client_id, &form.client_secret) else {
        return Err(Failure::InvalidClient);
    };
    match snapshot
        .callers
        .authenticate_form(id, &Secret::from(&**secret))
    {
        Ok(caller) => Ok(caller),
        Err(_) => {
            passage
                .record_failed_authentication()
                .instrument(telemetry::limits_span())
                .await?;
            Err(Failure::InvalidClient)
        }
    }
}

/// The one of the caller's apps that `audience` names by its name or client ID, and `resource` by the
/// audience of its tokens (RFC 8707).
fn choose_app<'p>(policy: &'p Policy, asked: &Asked<'_>) -> Result<&'p Arc<App>, Failure> {
    let by_name = |app: &&Arc<App>| asked.audience == Some(app.name().as_str());
    let fits = |app: &&Arc<App>| {
        asked
            .audience
            .is_none_or(|audience| audience == app.name().as_str() || audience == app.client_id())
            && asked
                .resource
                .is_none_or(|resource| app.audience() == Some(resource))
    };
    let mut fitting = policy.apps.iter().filter(fits);
    let at = if asked.audience.is_none() && asked.resource.is_some() {
        "/resource"
    } else {
        "/audience"
    };
    match (fitting.next(), fitting.next()) {
        (Some(app), None) => Ok(app),
        (None, _) => Err(Denial::of(
            DenialCode::AppNotAllowed,
            at,
            "there is no such app, or this caller may not use it",
        )
        .into()),
        // One app's name may be another's client ID; names come first.
        _ => policy
            .apps
            .iter()
            .filter(fits)
            .find(by_name)
            .ok_or_else(|| {
                let detail = "several apps fit; give the name of one as audience";
                Denial::invalid(vec![Fault::new(at, detail)]).into()
            }),
    }
}

/// RFC 6749 section 3.3: scope tokens with single spaces between.
fn check_scope(policy: &Policy, app: &App, scope: &str) -> Result<String, Failure> {
    let is_token = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    if !app.profile().carries_scope() {
        Err(Failure::InvalidScope(
            "the app's tokens carry no scope; leave it out",
        ))
    } else if scope.len() > MAX_SCOPE_BYTES || !scope.split(' ').all(is_token) {
        Err(Failure::InvalidScope(
            "names with single spaces between, at most 1000 bytes",
        ))
    } else if !scope.split(' ').all(|token| policy.scopes.allows(token)) {
        Err(Failure::InvalidScope(
            "this caller may not ask for one of these; the operator lists them in its `scopes`",
        ))
    } else {
        Ok(scope.to_owned())
    }
}

/// Whom the subject token is about, by the app's own session resolver.
async fn identify(
    service: &Service,
    snapshot: &Snapshot,
    app: &App,
    subject_token: &str,
) -> Result<Identity<'static>, Failure> {
    let browser = snapshot.browsers.get(app.name().as_str());
    let Some(Resolver::Jwt(session)) = browser.map(|browser| &browser.resolver) else {
        return Err(Denial::of(
            DenialCode::AppNotAllowed,
            "/audience",
            "the app takes no subject tokens: its session resolver is not `jwt`",
        )
        .into());
    };
    let identified = session
        .identify(subject_token, service.clock.now())
        .instrument(telemetry::session_span("jwt"))
        .await;
    match identified {
        Ok(identity) => Ok(identity),
        Err(Unresolved::NoSession { reason }) => Err(Failure::BadSubjectToken(reason)),
        Err(unavailable) => Err(unavailable.into()),
    }
}
