//! Where a placeholder's value comes from, by the names that profiles use.

/// Where a placeholder's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `app.audience`
    AppAudience,
    /// `app.client_id`
    AppClientId,
    /// `app.issuer`
    AppIssuer,
    /// `caller.name`: the backend that asked; absent where a browser did.
    CallerName,
    /// `key.id`
    KeyId,
    /// `token`: the sealed token, in an answer only.
    Token,
    /// `token.expires_at`
    TokenExpiresAt,
    /// `token.expires_in`
    TokenExpiresIn,
    /// `token.id`
    TokenId,
    /// `token.issued_at`
    TokenIssuedAt,
    /// `token.refresh_after`
    TokenRefreshAfter,
    /// `token.scope`: what an OAuth client asked for and was given.
    TokenScope,
    /// `user.anonymous`
    UserAnonymous,
    /// `user.attributes.NAME`
    UserAttribute(String),
    /// `user.email`
    UserEmail,
    /// `user.id`
    UserId,
    /// `user.plan`
    UserPlan,
    /// `user.roles`
    UserRoles,
}

const SOURCES: &[(&str, Source)] = &[
    ("app.audience", Source::AppAudience),
    ("app.client_id", Source::AppClientId),
    ("app.issuer", Source::AppIssuer),
    ("caller.name", Source::CallerName),
    ("key.id", Source::KeyId),
    ("token", Source::Token),
    ("token.expires_at", Source::TokenExpiresAt),
    ("token.expires_in", Source::TokenExpiresIn),
    ("token.id", Source::TokenId),
    ("token.issued_at", Source::TokenIssuedAt),
    ("token.refresh_after", Source::TokenRefreshAfter),
    ("token.scope", Source::TokenScope),
    ("user.anonymous", Source::UserAnonymous),
    ("user.email", Source::UserEmail),
    ("user.id", Source::UserId),
    ("user.plan", Source::UserPlan),
    ("user.roles", Source::UserRoles),
];

const ATTRIBUTE: &str = "user.attributes.";

impl Source {
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if let Some(attribute) = name.strip_prefix(ATTRIBUTE) {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            return if (1..=64).contains(&attribute.len()) && attribute.chars().all(fits) {
                Ok(Self::UserAttribute(attribute.to_owned()))
            } else {
                Err("an attribute's name has 1 to 64 letters, digits, `_` and `-`".to_owned())
            };
        }
        if let Some((_, source)) = SOURCES.iter().find(|(known, _)| *known == name) {
            return Ok(source.clone());
        }
        let nearest = SOURCES
            .iter()
            .map(|(known, _)| (strsim::jaro_winkler(known, name), *known))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness > 0.7);
        Err(match nearest {
            Some((_, known)) => format!("there is no source `{name}`; did you mean `{known}`?"),
            None => format!(
                "there is no source `{name}`; the sources are app.*, key.id, user.* and token.*"
            ),
        })
    }
}
