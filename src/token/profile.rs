//! The shape of an app's tokens: a profile's TOML, checked and compiled once into templates.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::source::Source;
use super::template::{Node, Standing, check_name, compile, compile_table};
use crate::signing::Algorithm;

/// A profile as its file says it, with tables as JSON objects in the file's order.
#[derive(Clone, Debug)]
pub struct ProfileSource {
    /// What apps call it.
    pub name: String,
    /// Which algorithms its platform verifies.
    pub algorithms: Vec<Algorithm>,
    /// The longest lifetime of a token, in seconds.
    pub max_ttl_seconds: i64,
    /// The default of the apps' audience.
    pub audience: Option<String>,
    /// Whether its clients show `errors[0].msg`, so that every error must have one.
    pub sdk_errors: bool,
    /// The JOSE header's members beside `alg` and `typ`.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    /// The members of the answer.
    pub answer: Map<String, Value>,
}

/// Something in a profile that can't be; the path is relative to the profile's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileProblem {
    /// Such as `claims.sub`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A profile that has been checked. Apps bind it to what they know (see [`super::App`]).
#[derive(Debug)]
pub struct Profile {
    pub(super) name: String,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) max_ttl_seconds: i64,
    pub(super) audience: Option<String>,
    pub(super) sdk_errors: bool,
    pub(super) header: Vec<(String, Node)>,
    pub(super) claims: Node,
    pub(super) answer: Node,
    carries: Carries,
}

/// What of a user a profile's tokens say, and so which members a request may have.
#[derive(Debug, Default)]
struct Carries {
    email: bool,
    roles: bool,
    plan: bool,
    scope: bool,
    anonymous: bool,
    token_id: bool,
    needs_token_id: bool,
    issuer: bool,
    audience: bool,
    attributes: BTreeSet<String>,
    /// Those of them that stand inside a text.
    attributes_in_text: BTreeSet<String>,
    /// What of a user no token is made without.
    required: Vec<Source>,
}

impl Profile {
    /// Checks and compiles a profile.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn compile(source: ProfileSource) -> Result<Self, Vec<ProfileProblem>> {
        let mut problems = Vec::new();
        let header = check_header(&source.header, &mut problems);
        let claims = compile_table(&source.claims, "claims", &mut problems);
        let answer = compile_table(&source.answer, "answer", &mut problems);
        check_times(&source.claims, &mut problems);
        check_places(&claims, &answer, &mut problems);
        if source.algorithms.is_empty() {
            problems.push(problem(
                "algorithms",
                "name at least one algorithm, such as \"HS256\"",
            ));
        }
        if source.max_ttl_seconds < 1 {
            problems.push(problem("max_ttl", "must be at least one second"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut carries = Carries::default();
        for node in [&claims, &answer]
            .into_iter()
            .chain(header.iter().map(|(_, node)| node))
        {
            node.visit(&mut |source, standing| carries.note(source, standing));
        }
        Ok(Self {
            name: source.name,
            algorithms: source.algorithms,
            max_ttl_seconds: source.max_ttl_seconds,
            audience: source.audience,
            sdk_errors: source.sdk_errors,
            header,
            claims,
            answer,
            carries,
        })
    }

    /// What apps call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which algorithms its platform verifies.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// The longest lifetime of a token, in seconds.
    #[must_use]
    pub fn max_ttl_seconds(&self) -> i64 {
        self.max_ttl_seconds
    }

    /// Whether its clients show `errors[0].msg`, so that every error must have one.
    #[must_use]
    pub fn sdk_errors(&self) -> bool {
        self.sdk_errors
    }

    /// Whether its tokens say the user's email address.
    #[must_use]
    pub fn carries_email(&self) -> bool {
        self.carries.email
    }

    /// Whether its tokens say the user's roles.
    #[must_use]
    pub fn carries_roles(&self) -> bool {
        self.carries.roles
    }

    /// Whether its tokens say the user's plan.
    #[must_use]
    pub fn carries_plan(&self) -> bool {
        self.carries.plan
    }

    /// Whether its tokens say the scope that an OAuth client was given.
    #[must_use]
    pub fn carries_scope(&self) -> bool {
        self.carries.scope
    }

    /// Whether its tokens say that a user is anonymous.
    #[must_use]
    pub fn carries_anonymous(&self) -> bool {
        self.carries.anonymous
    }

    /// Whether its tokens say the attribute `name`.
    #[must_use]
    pub fn carries_attribute(&self, name: &str) -> bool {
        self.carries.attributes.contains(name)
    }

    /// Whether its tokens say the attribute `name` inside a text, which no list or table can be.
    pub(super) fn carries_in_text(&self, name: &str) -> bool {
        self.carries.attributes_in_text.contains(name)
    }

    /// What of a user its tokens always say: there is none without it.
    pub(super) fn required_of_users(&self) -> &[Source] {
        &self.carries.required
    }

    /// Whether an app with it needs an issuer (`server.public_url`).
    #[must_use]
    pub fn needs_issuer(&self) -> bool {
        self.carries.issuer
    }

    /// Whether an app with it needs an audience and the profile has none of its own.
    #[must_use]
    pub fn needs_audience(&self) -> bool {
        self.carries.audience && self.audience.is_none()
    }

    /// Whether its token ID can't be turned off: some `${token.id}` is without a `?`.
    #[must_use]
    pub fn needs_token_id(&self) -> bool {
        self.carries.needs_token_id
    }

    /// Whether its tokens have an ID, be it one that can be turned off.
    pub(super) fn carries_token_id(&self) -> bool {
        self.carries.token_id
    }
}

impl Carries {
    fn note(&mut self, source: &Source, standing: Standing) {
        let required = !standing.optional;
        let of_user = matches!(
            source,
            Source::UserAttribute(_) | Source::UserEmail | Source::UserPlan | Source::UserRoles
        );
        if required && of_user && !self.required.contains(source) {
            self.required.push(source.clone());
        }
        match source {
            Source::UserEmail => self.email = true,
            Source::UserRoles => self.roles = true,
            Source::UserPlan => self.plan = true,
            Source::UserAnonymous => self.anonymous = true,
            Source::UserAttribute(name) => {
                self.attributes.insert(name.clone());
                if standing.in_text {
                    self.attributes_in_text.insert(name.clone());
                }
            }
            Source::TokenScope => self.scope = true,
            Source::TokenId => {
                self.token_id = true;
                self.needs_token_id |= required;
            }
            Source::AppIssuer => self.issuer |= required,
            Source::AppAudience => self.audience |= required,
            Source::AppClientId
            | Source::CallerName
            | Source::KeyId
            | Source::Token
            | Source::TokenExpiresAt
            | Source::TokenExpiresIn
            | Source::TokenIssuedAt
            | Source::TokenRefreshAfter
            | Source::UserId => {}
        }
    }
}

fn problem(path: &str, message: impl Into<String>) -> ProfileProblem {
    ProfileProblem {
        path: path.to_owned(),
        message: message.into(),
    }
}

/// Header members that a verifier might act on, or that are signet's own to write.
const RESERVED_HEADERS: &[&str] = &[
    "alg", "b64", "crit", "enc", "epk", "jku", "jwk", "x5c", "x5t", "x5t#S256", "x5u", "zip",
];

fn check_header(
    header: &Map<String, Value>,
    problems: &mut Vec<ProfileProblem>,
) -> Vec<(String, Node)> {
    let mut members = Vec::new();
    for (name, value) in header {
        let path = format!("header.{name}");
        check_name(name, &path, problems);
        if RESERVED_HEADERS.contains(&name.as_str()) {
            problems.push(problem(
                &path,
                "this member is not a profile's to set; leave it out (signet writes `alg` itself)",
            ));
            continue;
        }
        let node = compile(value, &path, problems);
        node.visit(&mut |source, _| {
            if !matches!(
                source,
                Source::AppClientId | Source::AppAudience | Source::AppIssuer | Source::KeyId
            ) {
                problems.push(problem(
                    &path,
                    "a header may use app.client_id, app.audience, app.issuer and key.id only",
                ));
            }
        });
        if name == "typ" && !matches!(value, Value::String(text) if !text.contains("${")) {
            problems.push(problem(&path, "must be a plain string, such as \"JWT\""));
        }
        members.push((name.clone(), node));
    }
    members
}

fn check_times(claims: &Map<String, Value>, problems: &mut Vec<ProfileProblem>) {
    let mut times = |name: &str, placeholder: &str, required: bool| {
        match claims.get(name) {
        None if required => problems.push(problem(
            "claims",
            format!("has no `{name}`; add `{name} = \"{placeholder}\"`: a token without it would be valid for ever"),
        )),
        Some(Value::String(text)) if text == placeholder => {}
        None => {}
        Some(_) => problems.push(problem(&format!("claims.{name}"), format!("must be exactly \"{placeholder}\""))),
    }
    };
    times("exp", "${token.expires_at}", true);
    times("iat", "${token.issued_at}", false);
    times("nbf", "${token.issued_at}", false);
}

fn check_places(claims: &Node, answer: &Node, problems: &mut Vec<ProfileProblem>) {
    let uses_token = |node: &Node| {
        let mut used = false;
        node.visit(&mut |source, _| used |= *source == Source::Token);
        used
    };
    if uses_token(claims) {
        problems.push(problem(
            "claims",
            "a token can't contain itself; ${token} belongs in the answer",
        ));
    }
    if !uses_token(answer) {
        problems.push(problem(
            "answer",
            "has no ${token}; add a member such as `token = \"${token}\"`",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(header: Value, claims: Value, answer: Value) -> ProfileSource {
        let object = |value: Value| value.as_object().unwrap().clone();
        ProfileSource {
            name: "helpdesk".into(),
            algorithms: vec![Algorithm::HS256],
            max_ttl_seconds: 900,
            audience: None,
            sdk_errors: false,
            header: object(header),
            claims: object(claims),
            answer: object(answer),
        }
    }

    fn problems(header: Value, claims: Value, answer: Value) -> Vec<String> {
        let problems = Profile::compile(source(header, claims, answer)).unwrap_err();
        problems
            .into_iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect()
    }

    #[test]
    fn a_profile_knows_what_it_carries() {
        let claims = json!({"exp": "${token.expires_at}", "email": "${user.email?}", "ctx": {"room": "${user.attributes.room}"}});
        let profile =
            Profile::compile(source(json!({}), claims, json!({"t": "${token}"}))).unwrap();
        assert!(
            profile.carries_email()
                && !profile.carries_roles()
                && !profile.carries_plan()
                && !profile.carries_anonymous()
        );
        assert!(profile.carries_attribute("room") && !profile.carries_attribute("role"));
    }

    #[test]
    fn a_profile_without_expiry_or_token_is_refused() {
        assert_eq!(
            problems(json!({}), json!({"sub": "${user.id}"}), json!({"a": 1})),
            [
                "claims: has no `exp`; add `exp = \"${token.expires_at}\"`: a token without it would be valid for ever",
                "answer: has no ${token}; add a member such as `token = \"${token}\"`",
            ]
        );
    }

    #[test]
    fn times_can_not_be_made_up() {
        let found = problems(
            json!({}),
            json!({"exp": 4102444800_i64, "iat": "${token.expires_at}", "nbf": 0}),
            json!({"t": "${token}"}),
        );
        assert_eq!(
            found,
            [
                "claims.exp: must be exactly \"${token.expires_at}\"",
                "claims.iat: must be exactly \"${token.issued_at}\"",
                "claims.nbf: must be exactly \"${token.issued_at}\"",
            ]
        );
    }

    #[test]
    fn a_header_is_fixed_per_key_and_points_nowhere() {
        let found = problems(
            json!({"alg": "none", "jku": "https://example.com", "x": "${user.id}", "typ": "${key.id}"}),
            json!({"exp": "${token.expires_at}"}),
            json!({"t": "${token}"}),
        );
        assert_eq!(found.len(), 4);
        assert!(found[2].starts_with("header.x: a header may use"));
        assert!(found[3].starts_with("header.typ: must be a plain string"));
    }

    #[test]
    fn an_answer_is_a_table_and_nothing_that_could_be_absent() {
        let found = problems(
            json!({"${key.id}": "x"}),
            json!({"exp": "${token.expires_at}"}),
            json!({"${json}": "${token}${app.audience?}"}),
        );
        assert_eq!(
            found,
            [
                "header.${key.id}: a name can't hold a placeholder",
                "answer.${json}: a name can't hold a placeholder",
            ]
        );
    }

    #[test]
    fn a_token_inside_itself_is_refused() {
        let found = problems(
            json!({}),
            json!({"exp": "${token.expires_at}", "t": "${token}"}),
            json!({"t": "${token}"}),
        );
        assert_eq!(
            found,
            ["claims: a token can't contain itself; ${token} belongs in the answer"]
        );
    }
}
