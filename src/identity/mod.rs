//! Who a browser's user is: a session turned into an identity, by one of a closed set of resolvers.
//!
//! What the browser says of itself is never one of them. To add a resolver: one file, one variant
//! of [`Resolver`], and the compiler lists the rest. [`JwtVerifier`] stands apart from sessions,
//! since OAuth subject tokens and callers' workload tokens are proved by the same rules.

mod anonymous;
mod bounds;
mod introspect;
mod jwks_cache;
mod jwt_session;
mod jwt_verifier;
mod key_set;
mod mapping;
mod trusted_header;
mod unverified_jwt;

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

pub use anonymous::anonymous;
pub use bounds::{BadMember, check_session_identity};
pub use introspect::{BadForwardHeaders, Introspect, IntrospectSettings};
pub use jsonwebtoken::Algorithm as JwtAlgorithm;
pub use jwks_cache::JwksCache;
pub use jwt_session::{JwtSession, Presented};
pub use jwt_verifier::{BadVerifier, JwtRejected, JwtRules, JwtVerifier, KeySource};
pub use key_set::{BadKeySet, KeySet};
pub use mapping::{BadPointer, Pointer, Pointers};
pub use trusted_header::TrustedHeader;

use crate::clock::Timestamp;
use crate::token::Identity;

/// When an upstream doesn't say after what time to ask again.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(2);

/// As much of a browser's request as says who its user is.
pub struct SessionRequest<'a> {
    /// The request's headers, as they came.
    pub headers: &'a HeaderMap,
    /// Whether the connection's other end is in `server.trusted_proxies`.
    pub peer_is_trusted_proxy: bool,
    /// The W3C trace context to hand to an upstream.
    pub traceparent: Option<&'a HeaderValue>,
}

/// How an app's sessions are turned into identities.
pub enum Resolver {
    /// Nobody is known: each request gets a fresh user.
    Anonymous,
    /// The app's own session URL is asked.
    Introspect(Introspect),
    /// A session JWT is verified.
    Jwt(JwtSession),
    /// A trusted proxy has done the work.
    TrustedHeader(TrustedHeader),
}

impl Resolver {
    /// The name under which the configuration, the log and the metrics know this resolver.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Introspect(_) => "introspect",
            Self::Jwt(_) => "jwt",
            Self::TrustedHeader(_) => "trusted-header",
        }
    }

    /// Finds out who the user behind `request` is; `now` is what a session JWT's times are held
    /// against.
    ///
    /// # Errors
    /// [`Unresolved`]: nobody is logged in, or it can't be told at the moment.
    pub async fn resolve(
        &self,
        request: &SessionRequest<'_>,
        now: Timestamp,
    ) -> Result<Identity<'static>, Unresolved> {
        match self {
            Self::Anonymous => Ok(anonymous()),
            Self::Introspect(resolver) => resolver.resolve(request).await,
            Self::Jwt(resolver) => resolver.resolve(request, now).await,
            Self::TrustedHeader(resolver) => resolver.resolve(request),
        }
    }
}

/// Why a request has no identity. The reasons are for the log alone, and hold no value of a
/// session.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// Nobody is logged in; only logging in helps.
    #[error("there is no session: {reason}")]
    NoSession {
        /// What the request lacks, or what is wrong with its session.
        reason: Cow<'static, str>,
    },
    /// Whether anybody is logged in can't be told; asking again may help.
    #[error("the session can't be looked up: {reason}")]
    Unavailable {
        /// What went wrong, and where.
        reason: Cow<'static, str>,
        /// When to ask again, between one second and one minute.
        retry_after: Duration,
    },
}

impl Unresolved {
    /// Whether logging in is what helps.
    #[must_use]
    pub const fn is_no_session(&self) -> bool {
        matches!(self, Self::NoSession { .. })
    }

    fn no_session(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::NoSession {
            reason: reason.into(),
        }
    }

    fn unavailable(reason: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            retry_after,
        }
    }
}
