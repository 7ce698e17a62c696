//! Which route a request is for, as layers and metrics need to know it before a handler does.

use axum::http::Method;

/// A route of the public port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    AppKeys,
    AppToken,
    Health,
    Keys,
    Metadata,
    Other,
    Token,
}

/// The names of the routes that issue tokens.
pub const TOKEN_ROUTES: &[&str] = &[Route::Token.name(), Route::AppToken.name()];

impl Route {
    /// The route of a path; `has_browser` is whether the path is a browser endpoint that exists.
    pub(super) fn of(path: &str, has_browser: bool) -> Self {
        match path {
            "/.well-known/jwks.json" => Self::Keys,
            "/.well-known/oauth-authorization-server" => Self::Metadata,
            "/healthz" => Self::Health,
            "/token" => Self::Token,
            _ if has_browser => Self::AppToken,
            _ if app_of_keys(path).is_some() => Self::AppKeys,
            _ => Self::Other,
        }
    }

    /// Its name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AppKeys => "/apps/{app}/jwks.json",
            Self::AppToken => "/apps/{app}/token",
            Self::Health => "/healthz",
            Self::Keys => "/.well-known/jwks.json",
            Self::Metadata => "/.well-known/oauth-authorization-server",
            Self::Other => "other",
            Self::Token => "/token",
        }
    }

    /// The methods that it takes; none where there is nothing.
    pub(super) const fn methods(self) -> &'static [Method] {
        match self {
            Self::AppKeys | Self::Health | Self::Keys | Self::Metadata => {
                &[Method::GET, Method::HEAD]
            }
            Self::AppToken => &[Method::GET, Method::HEAD, Method::POST],
            Self::Other => &[],
            Self::Token => &[Method::POST],
        }
    }

    /// Whether it is about tokens, so that every request is audited.
    pub(super) const fn issues_tokens(self) -> bool {
        matches!(self, Self::AppToken | Self::Token)
    }

    /// Whether anybody's page may read it, without credentials.
    pub(super) const fn is_public_document(self) -> bool {
        matches!(self, Self::AppKeys | Self::Keys | Self::Metadata)
    }
}

/// The app's name in `/apps/{app}/token`.
pub(super) fn app_of_token(path: &str) -> Option<&str> {
    path.strip_prefix("/apps/")?.strip_suffix("/token")
}

/// The app's name in `/apps/{app}/jwks.json`.
pub(super) fn app_of_keys(path: &str) -> Option<&str> {
    let app = path.strip_prefix("/apps/")?.strip_suffix("/jwks.json")?;
    Some(app).filter(|app| !app.is_empty() && !app.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_only_look_like_a_route_are_none() {
        for path in [
            "/apps//jwks.json",
            "/apps/a/b/jwks.json",
            "/apps/acme/jwks.json/",
            "/token/",
            "/.well-known/jwks.json/x",
        ] {
            assert_eq!(Route::of(path, false), Route::Other, "{path}");
        }
        assert_eq!(Route::of("/apps/acme/jwks.json", false), Route::AppKeys);
    }
}
