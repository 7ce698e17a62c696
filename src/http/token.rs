//! `POST /token`: a web backend asks for a user's token.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tracing::Instrument;

use super::Body;
use super::body::{self, Arriving, MediaType, TokenForm};
use super::envelope::{Context, Issued, Trail, headers_around_token};
use super::error::Failure;
use super::exchange;
use super::known_headers::KnownHeaders;
use super::snapshot::Service;
use super::who_asks;
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::limits::Passage;
use crate::random;
use crate::telemetry;
use crate::token::{App, Asked, Denial, Dice, Grant, MintError, Minted, mint};

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
    let mut passage = context.snapshot.limits.passage(context.client.address);
    let failure = {
        let issued = if context.is_oauth() {
            // Boxed, as a request in JSON would carry the room for it.
            let exchange =
                exchange::decide_and_mint(service, context, head, body, &mut passage, trail);
            Box::pin(exchange).await
        } else {
            decide_and_mint(service, context, head, body, &mut passage, trail).await
        };
        match issued {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        }
    };
    // A request that ends early has met limits all the same.
    if !passage.is_settled() {
        Box::pin(passage.settle()).await?;
    }
    Err(failure)
}

async fn decide_and_mint<'a>(
    service: &Service,
    context: &'a Context,
    head: &Parts,
    body: &mut impl Arriving,
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
    let (minting, grant) = match decide(service, caller, &body, passage, trail)? {
        Decided::AtOnce(minted) => return Ok(hand_over(minted, context, trail)),
        Decided::Waits(minting, grant) => (minting, grant),
    };
    // Boxed, as nearly every request would carry the room for nothing.
    let waiting = Box::pin(settle_and_mint(passage, minting, grant, &caller.name));
    Ok(hand_over(waiting.await?, context, trail))
}

/// A request that gets its token.
enum Decided<'a> {
    AtOnce(Minted),
    /// When it has met the shared limits, or on a thread of its own.
    Waits(Minting<'a>, Box<Grant<'static>>),
}

/// What the body asks for, whether the caller may have it, and the token. Not a part of the future around it, which would
/// keep room for all of that.
fn decide<'a>(
    service: &Service,
    caller: &'a Caller,
    body: &[u8],
    passage: &mut Passage<'_>,
    trail: &mut Trail<'a>,
) -> Result<Decided<'a>, Failure> {
    // For what, and may they.
    let (asked, faults) = Asked::parse(body)?;
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
    let user = &grant.identity.user_id;
    telemetry::limits_span().in_scope(|| passage.admit_user(app.name().as_str(), user))?;

    // What does it say; seal it.
    let minting = Minting::now(service, app);
    if passage.is_settled() && !minting.takes_long() {
        let minted = minting.mint(&grant, Some(&caller.name))?;
        return Ok(Decided::AtOnce(minted));
    }
    Ok(Decided::Waits(minting, Box::new(grant.into_owned())))
}

/// The end of a request that has to wait for something.
async fn settle_and_mint(
    passage: &mut Passage<'_>,
    minting: Minting<'_>,
    grant: Box<Grant<'static>>,
    caller: &Arc<str>,
) -> Result<Minted, Failure> {
    passage
        .settle()
        .instrument(telemetry::limits_span())
        .await?;
    Ok(minting.mint_aside(*grant, Some(caller)).await?)
}

/// A token of an app in the making: its time, its dice, its span.
pub(super) struct Minting<'a> {
    app: &'a Arc<App>,
    now: Timestamp,
    dice: Dice,
}

impl<'a> Minting<'a> {
    pub(super) fn now(service: &Service, app: &'a Arc<App>) -> Self {
        let [jitter, token_id @ ..] = random::id::<17>();
        Self {
            app,
            now: service.clock.now(),
            dice: Dice { token_id, jitter },
        }
    }

    /// Whether the signature takes so long that it would keep others waiting on this thread.
    pub(super) fn takes_long(&self) -> bool {
        let key = self.app.active_key(self.now);
        key.is_some_and(|key| key.algorithm().is_slow())
    }

    /// Mints here.
    pub(super) fn mint(
        &self,
        grant: &Grant<'_>,
        caller: Option<&Arc<str>>,
    ) -> Result<Minted, MintError> {
        let caller = caller.map(|name| &**name);
        telemetry::signing_span(self.app.name().as_str())
            .in_scope(|| mint(self.app, grant, caller, self.dice, self.now))
    }

    /// Mints here, or on a thread of its own where the signature takes long.
    pub(super) async fn mint_aside(
        &self,
        grant: Grant<'static>,
        caller: Option<&Arc<str>>,
    ) -> Result<Minted, MintError> {
        if !self.takes_long() {
            return self.mint(&grant, caller);
        }
        let span = telemetry::signing_span(self.app.name().as_str());
        let (app, dice, now) = (Arc::clone(self.app), self.dice, self.now);
        let caller = caller.cloned();
        let minting = move || span.in_scope(|| mint(&app, &grant, caller.as_deref(), dice, now));
        tokio::task::spawn_blocking(minting)
            .await
            .unwrap_or(Err(MintError::NoKey))
    }
}

/// The token's answer, with what is to be written down of it.
pub(super) fn hand_over(
    minted: Minted,
    context: &Context,
    trail: &mut Trail<'_>,
) -> Response<Body> {
    trail.issued = Some(Issued::from(&minted));
    carry(minted, &context.headers)
}

/// A fresh random user ID for an anonymous user.
pub(super) fn anonymous_id() -> String {
    format!("anon_{}", URL_SAFE_NO_PAD.encode(random::id::<16>()))
}

/// The answer that carries a token, in the form that the client wants.
fn carry(minted: Minted, headers: &KnownHeaders) -> Response<Body> {
    let mut around = headers_around_token(&headers.request_id);
    let mut alone = |kind| {
        around.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Body::from(minted.token.expose_bytes().to_owned())
    };
    let body = match headers.token_form {
        TokenForm::Jwt => alone("application/jwt"),
        TokenForm::Json => Body::from(minted.answer),
        TokenForm::Text => alone("text/plain"),
    };
    let mut response = Response::new(body);
    *response.headers_mut() = around;
    response
}
