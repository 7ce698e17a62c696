//! What a backend asks for: the members of `POST /token`, read strictly, with every fault at once.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::at::At;
use super::json::{self, Json, Name, NotJson};
use super::plan::Unfilled;
use super::source::Source;
use super::text::{TextFault, check_email, check_text};

/// One thing wrong with one member: where, and what to do. Repeats no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A JSON Pointer (RFC 6901) into the request.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Fault {
    /// A fault of the member that `pointer` names.
    #[must_use]
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

impl From<Unfilled> for Fault {
    fn from(unfilled: Unfilled) -> Self {
        let (source, detail) = match unfilled {
            Unfilled::Missing(source) => {
                let what = match &source {
                    Source::TokenScope => "a scope",
                    Source::UserAttribute(_) => "this attribute",
                    Source::UserEmail => "the user's email address",
                    Source::UserId => "the user's ID",
                    Source::UserPlan => "the user's plan",
                    Source::UserRoles => "the user's roles",
                    _ => "more than this kind of request can give",
                };
                let detail = format!("is required: the app's tokens always carry {what}");
                (source, detail)
            }
            Unfilled::NotText(source) => {
                let detail = "must be a string, a number, true or false: the app's tokens carry it inside a text";
                (source, detail.to_owned())
            }
        };
        let at = match source {
            Source::TokenScope => "/scope".to_owned(),
            Source::UserAttribute(name) => At::attribute(&name).into(),
            Source::UserEmail => "/userEmail".to_owned(),
            Source::UserId => "/userId".to_owned(),
            Source::UserPlan => "/plan".to_owned(),
            Source::UserRoles => "/userRoles".to_owned(),
            _ => String::new(),
        };
        Self::new(at, detail)
    }
}

/// A member's value with the name under which it was given: several have two.
#[derive(Clone, Debug, PartialEq)]
pub struct Given<T> {
    /// The name in the request.
    pub name: &'static str,
    /// The value.
    pub value: T,
}

impl<T> Given<T> {
    pub(super) const fn at(&self) -> At<'_> {
        At::member(self.name)
    }

    /// The member's JSON Pointer.
    #[must_use]
    pub fn pointer(&self) -> String {
        self.at().to_string()
    }
}

/// An object's members as they were written.
type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// A request whose members are each in order; whether they are allowed is the policy's to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked<'a> {
    /// `app`
    pub app: Option<Given<Cow<'a, str>>>,
    /// `tenantId` or `clientId`
    pub client_id: Option<Given<Cow<'a, str>>>,
    /// `userId` or `identity`
    pub user_id: Option<Given<Cow<'a, str>>>,
    /// `userEmail` or `email`
    pub email: Option<Given<Cow<'a, str>>>,
    /// `userRoles` or `roles`
    pub roles: Option<Given<Vec<Cow<'a, str>>>>,
    /// `plan`
    pub plan: Option<Given<Cow<'a, str>>>,
    /// `isAnonymous`
    pub anonymous: Option<Given<bool>>,
    /// `attributes`, each at most 1,000 bytes as JSON
    pub attributes: Option<Given<Members<'a>>>,
    /// `ttl`, in seconds
    pub ttl_seconds: Option<Given<i64>>,
}

/// The most members that an object may have; no request needs as many.
const MAX_MEMBERS: usize = 64;
const MAX_ROLES: usize = 30;
const MAX_ATTRIBUTE_BYTES: usize = 1000;
/// 2^53: from here on a number that isn't a 64-bit integer loses digits.
const INEXACT_FROM: f64 = 9_007_199_254_740_992.0;
const NAMES: &[&str] = &[
    "app",
    "attributes",
    "clientId",
    "email",
    "identity",
    "isAnonymous",
    "plan",
    "roles",
    "tenantId",
    "ttl",
    "userEmail",
    "userId",
    "userRoles",
];

impl<'a> Asked<'a> {
    /// The name of every member that a request may have, sorted.
    pub const MEMBERS: &'static [&'static str] = NAMES;

    /// Reads a body, one JSON text. What can be read stands in the first half even when the second isn't empty.
    ///
    /// # Errors
    /// Where the text stops being JSON.
    pub fn parse(body: &'a [u8]) -> Result<(Self, Vec<Fault>), NotJson> {
        let mut asked = Self::default();
        let mut faults = Vec::new();
        let reading = Reading {
            asked: &mut asked,
            faults: &mut faults,
        };
        json::parse(body, reading)?;
        Ok((asked, faults))
    }

    /// Whether it says that the user is anonymous.
    pub(super) fn is_anonymous(&self) -> bool {
        self.anonymous.as_ref().is_some_and(|given| given.value)
    }

    /// Each name stands here a second time, as the constant by which the request's member is known from now on.
    fn take(&mut self, name: &str, value: Json<'a>, faults: &mut Vec<Fault>) {
        let up_to = |max_bytes| move |value, at: At<'_>| text(value, max_bytes, at);
        match name {
            "app" => put(&mut self.app, "app", value, faults, up_to(64)),
            "attributes" => put(
                &mut self.attributes,
                "attributes",
                value,
                faults,
                attributes,
            ),
            "clientId" => put(&mut self.client_id, "clientId", value, faults, up_to(200)),
            "email" => put(&mut self.email, "email", value, faults, email),
            "identity" => put(&mut self.user_id, "identity", value, faults, up_to(200)),
            "isAnonymous" => put(&mut self.anonymous, "isAnonymous", value, faults, boolean),
            "plan" => put(&mut self.plan, "plan", value, faults, up_to(80)),
            "roles" => put(&mut self.roles, "roles", value, faults, roles),
            "tenantId" => put(&mut self.client_id, "tenantId", value, faults, up_to(200)),
            "ttl" => put(&mut self.ttl_seconds, "ttl", value, faults, seconds),
            "userEmail" => put(&mut self.email, "userEmail", value, faults, email),
            "userId" => put(&mut self.user_id, "userId", value, faults, up_to(200)),
            "userRoles" => put(&mut self.roles, "userRoles", value, faults, roles),
            _ => faults.push(Fault::new(At::member(name), unknown_member(name))),
        }
    }
}

/// A request being read member by member as they come, so that nothing is kept of them but what they say.
struct Reading<'r, 'a> {
    asked: &'r mut Asked<'a>,
    faults: &'r mut Vec<Fault>,
}

impl Reading<'_, '_> {
    fn refuse(self, value: &Json<'_>) {
        let detail = format!("must be a JSON object, not {}", value.kind());
        self.faults.push(Fault::new("", detail));
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(Name(name)) = members.next_key()? {
            let value = members.next_value()?;
            count += 1;
            if count <= MAX_MEMBERS {
                self.asked.take(&name, value, self.faults);
            }
        }
        if count > MAX_MEMBERS {
            let detail = format!("has more than {MAX_MEMBERS} members");
            *self.asked = Asked::default();
            *self.faults = vec![Fault::new("", detail)];
        }
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.refuse(&Json::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.refuse(&Json::Number(value.into()));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.refuse(&Json::Number(value.into()));
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.refuse(&Json::Number(0.into()));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.refuse(&Json::String(value.into()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.refuse(&Json::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<Json<'_>>()?.is_some() {}
        self.refuse(&Json::Array(Vec::new()));
        Ok(())
    }
}

fn put<'a, T>(
    slot: &mut Option<Given<T>>,
    name: &'static str,
    value: Json<'a>,
    faults: &mut Vec<Fault>,
    read: impl FnOnce(Json<'a>, At<'_>) -> Result<T, Vec<Fault>>,
) {
    let at = At::member(name);
    if let Some(first) = slot {
        let detail = if first.name == name {
            "appears twice; give it once".to_owned()
        } else {
            format!("is another name of `{}`; give one of them", first.name)
        };
        faults.push(Fault::new(at, detail));
        return;
    }
    match read(value, at) {
        Ok(value) => *slot = Some(Given { name, value }),
        Err(found) => faults.extend(found),
    }
}

fn wrong_kind<T>(at: At<'_>, wanted: &str, found: &Json<'_>) -> Result<T, Vec<Fault>> {
    let remedy = if *found == Json::Null {
        "; leave the member out instead"
    } else {
        ""
    };
    Err(vec![Fault::new(
        at,
        format!("must be {wanted}, not {}{remedy}", found.kind()),
    )])
}

fn string<'a>(
    value: Json<'a>,
    at: At<'_>,
    check: impl FnOnce(&str) -> Result<(), TextFault>,
) -> Result<Cow<'a, str>, Vec<Fault>> {
    match value {
        Json::String(text) => match check(&text) {
            Ok(()) => Ok(text),
            Err(fault) => Err(vec![Fault::new(at, fault.to_string())]),
        },
        other => wrong_kind(at, "a string", &other),
    }
}

fn text<'a>(value: Json<'a>, max_bytes: usize, at: At<'_>) -> Result<Cow<'a, str>, Vec<Fault>> {
    string(value, at, |text| check_text(text, max_bytes))
}

fn email<'a>(value: Json<'a>, at: At<'_>) -> Result<Cow<'a, str>, Vec<Fault>> {
    string(value, at, check_email)
}

fn boolean(value: Json<'_>, at: At<'_>) -> Result<bool, Vec<Fault>> {
    match value {
        Json::Bool(value) => Ok(value),
        other => wrong_kind(at, "true or false", &other),
    }
}

fn roles<'a>(value: Json<'a>, at: At<'_>) -> Result<Vec<Cow<'a, str>>, Vec<Fault>> {
    let items = match value {
        Json::Array(items) if items.len() > MAX_ROLES => {
            return Err(vec![Fault::new(
                at,
                format!("must have at most {MAX_ROLES} roles"),
            )]);
        }
        Json::Array(items) => items,
        other => return wrong_kind(at, "an array of strings", &other),
    };
    let mut faults = Vec::new();
    let mut roles = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        match text(item, 80, At::Item(&at, index)) {
            Ok(role) => roles.push(role),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() {
        Ok(roles)
    } else {
        Err(faults)
    }
}

fn seconds(value: Json<'_>, at: At<'_>) -> Result<i64, Vec<Fault>> {
    match value {
        Json::Number(number) => match number.as_i64() {
            Some(seconds) if seconds > 0 => Ok(seconds),
            _ => Err(vec![Fault::new(
                at,
                "must be a whole number of seconds, more than 0",
            )]),
        },
        other => wrong_kind(at, "a whole number of seconds", &other),
    }
}

fn attributes<'a>(value: Json<'a>, at: At<'_>) -> Result<Members<'a>, Vec<Fault>> {
    let members = match value {
        Json::Object(members) => members,
        other => return wrong_kind(at, "an object", &other),
    };
    let mut faults = Vec::new();
    check_members(&members, at, &mut faults);
    if faults.is_empty() {
        Ok(members)
    } else {
        Err(faults)
    }
}

fn check_members(members: &[(Cow<'_, str>, Json<'_>)], at: At<'_>, faults: &mut Vec<Fault>) {
    if members.len() > MAX_MEMBERS {
        faults.push(Fault::new(
            at,
            format!("has more than {MAX_MEMBERS} members"),
        ));
        return;
    }
    for (index, (name, value)) in members.iter().enumerate() {
        let at = At::Member(&at, name);
        if members[..index].iter().any(|(earlier, _)| earlier == name) {
            faults.push(Fault::new(at, "appears twice; give it once"));
        }
        if let Err(fault) = check_text(name, 64) {
            faults.push(Fault::new(at, format!("its name {fault}")));
        }
        check_value(value, at, faults);
    }
}

fn check_value(value: &Json<'_>, at: At<'_>, faults: &mut Vec<Fault>) {
    match value {
        Json::Array(items) if items.len() > MAX_MEMBERS => {
            faults.push(Fault::new(
                at,
                format!("must have at most {MAX_MEMBERS} items"),
            ));
        }
        Json::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| check_value(item, At::Item(&at, index), faults));
        }
        Json::Bool(_) => {}
        Json::Number(number) => {
            if !number.is_i64()
                && !number.is_u64()
                && number
                    .as_f64()
                    .is_none_or(|value| value.abs() >= INEXACT_FROM)
            {
                faults.push(Fault::new(
                    at,
                    "is a number too large to be kept exactly; give it as a string",
                ));
            }
        }
        Json::Null => faults.push(Fault::new(
            at,
            "must not be null; leave the member out instead",
        )),
        Json::Object(members) => check_members(members, at, faults),
        Json::String(text) => {
            if let Err(fault) = check_text(text, MAX_ATTRIBUTE_BYTES) {
                faults.push(Fault::new(at, fault.to_string()));
            }
        }
    }
}

fn unknown_member(name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    let nearest = NAMES
        .iter()
        .map(|known| (strsim::jaro_winkler(known, &short), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75);
    match nearest {
        Some((_, known)) => format!("there is no such member; did you mean `{known}`?"),
        None => "there is no such member; leave it out".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(body: &str) -> Vec<String> {
        let (_, faults) = Asked::parse(body.as_bytes()).unwrap();
        faults
            .into_iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
            .collect()
    }

    #[test]
    fn a_whole_request_is_read_under_both_sets_of_names() {
        let (asked, faults) = Asked::parse(br#"{"app":"acme","tenantId":"ten_acme","userId":"usr_1","userEmail":"a@b.co","userRoles":[],"plan":"pro","isAnonymous":false,"attributes":{"room":1},"ttl":60}"#).unwrap();
        assert_eq!(faults, []);
        assert_eq!(asked.user_id.as_ref().unwrap().pointer(), "/userId");
        assert_eq!(asked.roles.unwrap().value, Vec::<Cow<'_, str>>::new());
        let (asked, faults) = Asked::parse(
            br#"{"clientId":"cs-1","identity":"usr_1","email":"a@b.co","roles":["user"]}"#,
        )
        .unwrap();
        assert_eq!(faults, []);
        assert_eq!(asked.user_id.unwrap().pointer(), "/identity");
    }

    #[test]
    fn anything_but_an_object_is_refused() {
        for (body, kind) in [
            ("[]", "an array"),
            (r#"["acme",null,"usr_1"]"#, "an array"),
            ("null", "null"),
            ("\"a\"", "a string"),
            ("7", "a number"),
            ("true", "a boolean"),
        ] {
            assert_eq!(
                faults(body),
                [format!(": must be a JSON object, not {kind}")]
            );
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        assert_eq!(
            faults(
                r#"{"userID":"x","userEmail":"nobody","userRoles":["ok","",7," x"],"plan":null,"isAnonymous":"false","ttl":1.5,"zzzz":1}"#
            ),
            [
                "/userID: there is no such member; did you mean `userId`?",
                "/userEmail: must be an email address",
                "/userRoles/1: must not be empty; leave the member out instead",
                "/userRoles/2: must be a string, not a number",
                "/userRoles/3: must not begin or end with white space",
                "/plan: must be a string, not null; leave the member out instead",
                "/isAnonymous: must be true or false, not a string",
                "/ttl: must be a whole number of seconds, more than 0",
                "/zzzz: there is no such member; leave it out",
            ]
        );
    }

    #[test]
    fn a_member_given_twice_is_refused_however_it_is_spelt() {
        assert_eq!(
            faults(r#"{"userId":"a","user\u0049d":"a"}"#),
            ["/userId: appears twice; give it once"]
        );
        assert_eq!(
            faults(r#"{"userId":"a","identity":"a"}"#),
            ["/identity: is another name of `userId`; give one of them"]
        );
        assert_eq!(
            faults(r#"{"attributes":{"a":1,"\u0061":2,"b":{"c":1,"c":1}}}"#),
            [
                "/attributes/a: appears twice; give it once",
                "/attributes/b/c: appears twice; give it once",
            ]
        );
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        let at = |name: &str, length: usize| {
            faults(&format!(r#"{{"{name}":"{}"}}"#, "x".repeat(length)))
        };
        for (name, max) in [
            ("userId", 200),
            ("plan", 80),
            ("tenantId", 200),
            ("app", 64),
        ] {
            assert_eq!(at(name, max), Vec::<String>::new());
            assert_eq!(
                at(name, max + 1),
                [format!("/{name}: must have at most {max} bytes")]
            );
        }
        let many = |count: usize| {
            faults(&format!(
                r#"{{"roles":[{}]}}"#,
                vec!["\"r\""; count].join(",")
            ))
        };
        assert_eq!(many(30), Vec::<String>::new());
        assert_eq!(many(31), ["/roles: must have at most 30 roles"]);
        for ttl in ["0", "-1", "9223372036854775808", "1e30"] {
            assert_eq!(
                faults(&format!(r#"{{"ttl":{ttl}}}"#)),
                ["/ttl: must be a whole number of seconds, more than 0"]
            );
        }
    }

    #[test]
    fn a_number_that_would_change_is_refused() {
        for number in ["12345678901234567890123", "-9223372036854775809", "1e300"] {
            assert_eq!(
                faults(&format!(r#"{{"attributes":{{"a":[{number}]}}}}"#)),
                ["/attributes/a/0: is a number too large to be kept exactly; give it as a string"]
            );
        }
        for number in [
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "-1.5e-300",
            "122.416294033786585",
        ] {
            let body = format!(r#"{{"attributes":{{"a":{number}}}}}"#);
            let (asked, faults) = Asked::parse(body.as_bytes()).unwrap();
            assert_eq!(faults, []);
            let (_, value) = asked.attributes.unwrap().value.remove(0);
            let written: f64 = value.into_value().to_string().parse().unwrap();
            assert_eq!(written.to_bits(), number.parse::<f64>().unwrap().to_bits());
        }
    }

    #[test]
    fn attributes_are_bounded_and_hold_no_null() {
        assert_eq!(
            faults(r#"{"attributes":[]}"#),
            ["/attributes: must be an object, not an array"]
        );
        assert_eq!(
            faults(r#"{"attributes":{"a":null,"b":["\u202e"]}}"#),
            [
                "/attributes/a: must not be null; leave the member out instead",
                "/attributes/b/0: must not contain control, format or bidirectional characters (Unicode Cc, Cf, Zl, Zp)",
            ]
        );
        let members = (0..65)
            .map(|n| format!(r#""m{n}":1"#))
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(
            faults(&format!("{{{members}}}")),
            [": has more than 64 members"]
        );
        assert_eq!(
            faults(&format!(r#"{{"attributes":{{{members}}}}}"#)),
            ["/attributes: has more than 64 members"]
        );
    }
}
