//! `POST /token`: a web backend asks for a user's token.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tracing::Instrument;

use super::Body;
use super::body::{self, Arriving, MediaType};
use super::envelope::{Context, Issued, Trail, headers_around_token};
use super::error::Failure;
use super::exchange;
use super::known_headers::KnownHeaders;
use super::snapshot::Service;
use super::who_asks;
use crate::caller::Caller;
use crate::limits::Passage;
use crate::random;
use crate::telemetry;
use crate::token::{App, Asked, Denial, Dice, Grant, Json, MintError, Minted, mint};

/// The route.
///
/// # Errors
/// Every reason for which no token is issued.
pub(super) async fn issue<'a>(
    service: &Service,
    context: &'a Context,
    head: &Parts,
    body: impl Arriving,
    trail: &mut Trail<'a>,
) -> Result<Response<Body>, Failure> {
    let mut passage = context.snapshot.limits.passage(context.client.address);
    let mut issued = if context.is_oauth() {
        // Boxed, as a request in JSON would carry the room for it.
        let exchange = exchange::decide_and_mint(service, context, head, body, &mut passage, trail);
        Box::pin(exchange).await
    } else {
        decide_and_mint(service, context, head, body, &mut passage, trail).await
    };
    // A request that ends early has met limits all the same.
    if issued.is_err()
        && let Err(refusal) = passage.settle().await
    {
        issued = Err(refusal.into());
    }
    issued
}

async fn decide_and_mint<'a>(
    service: &Service,
    context: &'a Context,
    head: &Parts,
    body: impl Arriving,
    passage: &mut Passage<'_>,
    trail: &mut Trail<'a>,
) -> Result<Response<Body>, Failure> {
    let snapshot = &**context.snapshot;
    // Who asks: decided from the headers alone, so that a stranger's body is never read.
    passage.admit_address()?;
    let caller = who_asks::by_header(service, snapshot, &head.headers, passage)
        .await?
        .ok_or(Failure::InvalidClient)?;
    trail.caller = Some(caller);

    // How often.
    passage.admit_caller(&caller.name)?;

    // For what, and may they.
    if context.headers.body != MediaType::Json {
        return Err(Failure::UnsupportedMediaType(
            "application/json or application/x-www-form-urlencoded",
        ));
    }
    let body = body::read(
        context.headers.body_length,
        body,
        snapshot.max_body,
        snapshot.request_timeout,
    )
    .await?;
    let (app, grant) = may_have(caller, &body, trail)?;
    passage
        .admit_user(app.name().as_str(), &grant.identity.user_id)
        .instrument(telemetry::limits_span())
        .await?;

    // What does it say; seal it; write it down.
    let minted = mint_off_thread(service, app, grant, Some(&caller.name)).await?;
    trail.issued = Some(Issued::from(&minted));
    Ok(carry(minted, &context.headers))
}

/// What the body asks for, and whether the caller may have it. Not a part of the future around it, which would keep room
/// for the whole request.
fn may_have<'a, 'b>(
    caller: &'a Caller,
    body: &'b [u8],
    trail: &mut Trail<'a>,
) -> Result<(&'a Arc<App>, Grant<'b>), Failure> {
    let (asked, faults) = Asked::read(Json::parse(body)?);
    let app = match caller.policy.choose_app(&asked, &mut ()) {
        Ok(app) => app,
        Err(_) if !faults.is_empty() => return Err(Denial::invalid(faults).into()),
        Err(denial) => return Err(denial.into()),
    };
    trail.app = Some(app);
    trail.user = asked.user_id.as_ref().map(|given| given.value.to_string());
    let grant = caller
        .policy
        .decide(app, asked, faults, anonymous_id, &mut ())?;
    Ok((app, grant))
}

/// Mints here, or on a thread of its own where the signature takes long.
pub(super) async fn mint_off_thread(
    service: &Service,
    app: &Arc<App>,
    grant: Grant<'_>,
    caller: Option<&Arc<str>>,
) -> Result<Minted, MintError> {
    let now = service.clock.now();
    let [jitter, token_id @ ..] = random::id::<17>();
    let dice = Dice { token_id, jitter };
    let span = telemetry::signing_span(app.name().as_str());
    if app
        .active_key(now)
        .is_some_and(|key| key.algorithm().is_slow())
    {
        let app = Arc::clone(app);
        let (grant, caller) = (grant.into_owned(), caller.cloned());
        let minting = move || span.in_scope(|| mint(&app, &grant, caller.as_deref(), dice, now));
        tokio::task::spawn_blocking(minting)
            .await
            .unwrap_or(Err(MintError::NoKey))
    } else {
        let caller = caller.map(|name| &**name);
        span.in_scope(|| mint(app, &grant, caller, dice, now))
    }
}

/// A fresh random user ID for an anonymous user.
pub(super) fn anonymous_id() -> String {
    format!("anon_{}", URL_SAFE_NO_PAD.encode(random::id::<16>()))
}

/// The answer that carries a token, in the form that the client wants.
pub(super) fn carry(minted: Minted, headers: &KnownHeaders) -> Response<Body> {
    let mut around = headers_around_token(&headers.request_id);
    let body = match headers.bare_token {
        Some(kind) => {
            around.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            Body::from(minted.token.expose_bytes().to_owned())
        }
        None => Body::from(minted.answer),
    };
    let mut response = Response::new(body);
    *response.headers_mut() = around;
    response
}
