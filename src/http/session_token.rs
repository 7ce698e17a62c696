//! `GET` and `POST /apps/{app}/token`: a browser's widget asks for its user's token.
//!
//! Who the user is comes from the session resolver alone. What the body says of it can only be
//! refused, never believed.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use axum::http::request::Parts;
use axum::http::{HeaderName, Response};
use bytes::Bytes;
use tracing::Instrument;

use super::Body;
use super::body::{self, Arriving, MediaType};
use super::csrf;
use super::envelope::{Context, Trail};
use super::error::Failure;
use super::snapshot::{Browser, Service};
use super::token::{Minting, anonymous_id, hand_over};
use crate::identity::SessionRequest;
use crate::telemetry;
use crate::token::{Denial, DenialCode, Fault, Grant, Identity, Json, MintError};

/// The route.
///
/// # Errors
/// Every reason for which no token is issued.
pub(super) async fn issue<'a>(
    service: &Service,
    context: &'a Context,
    head: &Parts,
    body: &mut impl Arriving,
    trail: &mut Trail<'a>,
) -> Result<Response<Body>, Failure> {
    let snapshot = &context.snapshot;
    let browser = context.browser.as_ref().ok_or(Failure::NotFound)?;
    let app = &browser.app;
    trail.app = Some(app);

    // May this page ask at all: before anything of its user is looked at.
    if !csrf::may_call(
        &head.headers,
        &head.uri,
        context.client.encrypted,
        &browser.origins,
    ) {
        return Err(Failure::OriginNotAllowed);
    }

    // How often, before anybody else is asked about it.
    let mut passage = snapshot.limits.passage(context.client.address);
    passage.admit_browser()?;
    passage
        .settle()
        .instrument(telemetry::limits_span())
        .await?;

    // Who is it.
    let span = telemetry::session_span(&browser.resolver_name);
    let traceparent = telemetry::traceparent(&span);
    let session = SessionRequest {
        headers: &head.headers,
        peer_is_trusted_proxy: context.client.through_proxy,
        traceparent: traceparent
            .as_ref()
            .or_else(|| head.headers.get(HeaderName::from_static("traceparent"))),
    };
    let resolved = browser
        .resolver
        .resolve(&session, service.clock.now())
        .instrument(span)
        .await;
    let known = match resolved {
        Ok(identity) => Some(identity),
        Err(unresolved) if unresolved.is_no_session() && browser.allow_anonymous => None,
        Err(unresolved) => return Err(unresolved.into()),
    };
    trail.user = known.as_ref().map(|identity| identity.user_id.to_string());

    // Does the page agree.
    let body = body::read(
        context.headers.body_length,
        body,
        snapshot.max_body,
        snapshot.request_timeout,
    )
    .await?;
    let said = Said::read(context.headers.body, &body)?;
    warn_of_secret(browser, &said);
    let identity = agree(browser, &said, known)?;
    trail.user = Some(identity.user_id.to_string());

    // How often for one user. An anonymous user is new each time; the address bounds those.
    if !identity.anonymous {
        passage.admit_user(app.name().as_str(), &identity.user_id)?;
        passage
            .settle()
            .instrument(telemetry::limits_span())
            .await?;
    }

    // What does it say; seal it; write it down.
    let grant = Grant {
        identity,
        ttl_seconds: app.token_ttl_seconds(),
        scope: None,
    };
    let minted = Minting::now(service, app)
        .mint_aside(grant, None)
        .await
        .map_err(session_lacks)?;
    Ok(hand_over(minted, context, trail))
}

/// A session that doesn't say what the app's tokens always carry is the session store's fault, and
/// nothing that the browser could mend.
fn session_lacks(error: MintError) -> Failure {
    match error {
        MintError::Denied(denial) if denial.code == DenialCode::InvalidRequest => {
            let member = denial
                .faults
                .first()
                .map(|fault| fault.pointer.clone())
                .unwrap_or_default();
            tracing::warn!(
                member,
                "the session lacks `{member}`, which the app's tokens always carry"
            );
            Failure::SessionUnavailable(std::time::Duration::from_secs(5))
        }
        other => other.into(),
    }
}

/// What a body says; all of it is only compared.
#[derive(Debug, Default, PartialEq)]
struct Said<'a> {
    client_id: Option<Cow<'a, str>>,
    has_client_secret: bool,
    identity: Option<Cow<'a, str>>,
    audience: Option<Cow<'a, str>>,
    anonymous: Option<bool>,
}

impl<'a> Said<'a> {
    /// Reads a body in any of the forms that widgets send; an empty one says nothing.
    fn read(kind: MediaType, body: &'a Bytes) -> Result<Self, Failure> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let members = match kind {
            MediaType::Form => form_urlencoded::parse(body)
                .map(|(name, value)| (name, Json::String(value)))
                .collect(),
            MediaType::Json => match Json::parse(body)? {
                Json::Object(members) => members,
                other => {
                    return Err(Denial::invalid(vec![Fault::new(
                        "",
                        format!("must be a JSON object, not {}", other.kind()),
                    )])
                    .into());
                }
            },
            MediaType::None | MediaType::Other => {
                return Err(Failure::UnsupportedMediaType(
                    "no body, application/json or application/x-www-form-urlencoded",
                ));
            }
        };
        let mut said = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        let mut faults = Vec::new();
        for (name, value) in members {
            let known = match &*name {
                "clientId" | "tenantId" => "clientId",
                "identity" | "userId" => "identity",
                "clientSecret" => "clientSecret",
                "aud" => "aud",
                "isAnonymous" => "isAnonymous",
                _ => continue,
            };
            if seen.contains(&known) {
                faults.push(Fault::new(
                    format!("/{name}"),
                    "appears twice; give it once",
                ));
                continue;
            }
            seen.push(known);
            if let Err(detail) = said.take(known, value) {
                faults.push(Fault::new(format!("/{name}"), detail));
            }
        }
        if faults.is_empty() {
            Ok(said)
        } else {
            Err(Denial::invalid(faults).into())
        }
    }

    fn take(&mut self, name: &str, value: Json<'a>) -> Result<(), &'static str> {
        if name == "isAnonymous" {
            self.anonymous = match value {
                Json::Bool(value) => Some(value),
                Json::Null => None,
                Json::String(text) => match &*text {
                    "" => None,
                    "true" | "1" => Some(true),
                    "false" | "0" => Some(false),
                    _ => return Err("must be true, false, 1 or 0"),
                },
                Json::Number(number) if number.as_u64().is_some_and(|number| number < 2) => {
                    Some(number.as_u64() == Some(1))
                }
                _ => return Err("must be true or false"),
            };
            return Ok(());
        }
        let text = match value {
            Json::Null => None,
            Json::String(text) => Some(text).filter(|text| !text.is_empty()),
            _ => return Err("must be a string"),
        };
        match name {
            "clientId" => self.client_id = text,
            "identity" => self.identity = text,
            "aud" => self.audience = text,
            _ => self.has_client_secret = text.is_some(),
        }
        Ok(())
    }
}

fn warn_of_secret(browser: &Browser, said: &Said<'_>) {
    if said.has_client_secret && !browser.warned_of_secret.swap(true, Ordering::Relaxed) {
        let app = browser.app.name();
        tracing::warn!(%app, "a page of app `{app}` sends a `clientSecret`; take it out of the page and rotate it: browsers show it to everyone");
    }
}

/// The identity that the token is about, if what the body says can stand beside it.
fn agree(
    browser: &Browser,
    said: &Said<'_>,
    known: Option<Identity<'static>>,
) -> Result<Identity<'static>, Failure> {
    let app = &browser.app;
    if said
        .client_id
        .as_ref()
        .is_some_and(|given| *given != app.client_id())
    {
        return Err(Denial::of(
            DenialCode::TenantMismatch,
            "/clientId",
            "this is not the app's client ID",
        )
        .into());
    }
    if said
        .audience
        .as_ref()
        .is_some_and(|given| Some(&**given) != app.audience())
    {
        return Err(Denial::of(
            DenialCode::AudienceNotAllowed,
            "/aud",
            "this is not the app's audience; leave it out",
        )
        .into());
    }
    let mismatch = |pointer| {
        Failure::from(Denial::of(
            DenialCode::IdentityMismatch,
            pointer,
            "this is not who the session says; leave it out",
        ))
    };
    let says_anonymous = said.anonymous == Some(true);
    match known {
        Some(identity) if identity.anonymous => match said.identity {
            Some(_) if !says_anonymous => Err(mismatch("/identity")),
            _ => Ok(identity),
        },
        Some(identity) => match &said.identity {
            _ if says_anonymous => Err(mismatch("/isAnonymous")),
            Some(given)
                if *given != identity.user_id
                    && identity.email.as_ref().is_none_or(|email| email != given) =>
            {
                Err(mismatch("/identity"))
            }
            _ => Ok(identity),
        },
        // A page that names somebody expects that somebody's session: logging in is what helps.
        None if said.identity.is_some() && !says_anonymous => Err(Failure::LoginRequired),
        None => Ok(Identity {
            user_id: anonymous_id().into(),
            anonymous: true,
            ..Identity::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: MediaType, body: &str) -> Result<String, Failure> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Said::read(kind, &body).map(|said| format!("{said:?}"))
    }

    fn said(kind: MediaType, body: &'static str) -> String {
        read(kind, body).unwrap()
    }

    #[test]
    fn a_form_and_a_json_object_say_the_same() {
        let form = said(
            MediaType::Form,
            "clientId=cs-1&clientSecret=s&identity=a%40b.co&aud=&isAnonymous=false&other=x",
        );
        let json = said(
            MediaType::Json,
            r#"{"clientId":"cs-1","clientSecret":"s","identity":"a@b.co","aud":null,"isAnonymous":false,"other":[]}"#,
        );
        assert_eq!(form, json);
    }

    #[test]
    fn booleans_are_taken_in_the_spellings_of_real_clients_and_no_others() {
        for (text, expected) in [
            ("true", "Some(true)"),
            ("1", "Some(true)"),
            ("false", "Some(false)"),
            ("0", "Some(false)"),
            ("", "None"),
        ] {
            assert!(
                said(
                    MediaType::Form,
                    Box::leak(format!("isAnonymous={text}").into_boxed_str())
                )
                .contains(&format!("anonymous: {expected}")),
                "{text}"
            );
        }
        for body in ["isAnonymous=yes", "isAnonymous=TRUE", "isAnonymous=2"] {
            read(MediaType::Form, body).unwrap_err();
        }
        read(MediaType::Json, r#"{"isAnonymous":2}"#).unwrap_err();
    }

    #[test]
    fn repeated_members_and_wrong_types_are_refused() {
        for (kind, body) in [
            (MediaType::Form, "identity=a&identity=b"),
            (MediaType::Form, "identity=a&userId=a"),
            (MediaType::Json, r#"{"identity":"a","\u0069dentity":"a"}"#),
            (MediaType::Json, r#"{"identity":7}"#),
            (MediaType::Json, "[]"),
            (MediaType::Json, "[object Object]"),
            (MediaType::None, "x"),
            (MediaType::Other, "{}"),
        ] {
            read(kind, body).unwrap_err();
        }
    }

    #[test]
    fn an_empty_body_says_nothing_whatever_it_is_called() {
        for kind in [
            MediaType::Form,
            MediaType::Json,
            MediaType::None,
            MediaType::Other,
        ] {
            assert_eq!(Said::read(kind, &Bytes::new()).unwrap(), Said::default());
        }
    }
}
