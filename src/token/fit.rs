//! How a request fits the app's tokens: nothing that they would not say, nothing missing that they always say.

use super::at::At;
use super::json::Json;
use super::plan::Unfilled;
use super::profile::Profile;
use super::request::{Asked, Fault};
use super::source::Source;

/// Members that the app's tokens would not say: an error, because the caller believes that they do.
pub(super) fn uncarried(profile: &Profile, asked: &Asked<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut uncarried = |at: String| {
        let detail = format!(
            "the tokens of the profile `{}` do not carry this; leave it out",
            profile.name()
        );
        faults.push(Fault::new(at, detail));
    };
    if let Some(given) = asked.email.as_ref().filter(|_| !profile.carries_email()) {
        uncarried(given.pointer());
    }
    if let Some(given) = asked.roles.as_ref().filter(|_| !profile.carries_roles()) {
        uncarried(given.pointer());
    }
    if let Some(given) = asked.plan.as_ref().filter(|_| !profile.carries_plan()) {
        uncarried(given.pointer());
    }
    if let Some(given) = asked
        .anonymous
        .as_ref()
        .filter(|_| !profile.carries_anonymous())
    {
        uncarried(given.pointer());
    }
    for (name, _) in asked.attributes.iter().flat_map(|given| &given.value) {
        if !profile.carries_attribute(name) {
            uncarried(At::attribute(name).into());
        }
    }
    faults
}

/// Members that the app's tokens can't be made without, and attributes that don't fit where the
/// tokens say them. One of which `told` speaks is there but at fault, and so not missing.
pub(super) fn lacking(profile: &Profile, asked: &Asked<'_>, told: &[Fault]) -> Vec<Fault> {
    // Of a request that isn't an object nothing was read.
    if told.iter().any(|fault| fault.pointer.is_empty()) {
        return Vec::new();
    }
    let is_told = |members: &[&str]| {
        told.iter()
            .any(|fault| members.iter().any(|member| is_about(fault, member)))
    };
    let mut faults = Vec::new();
    if asked.user_id.is_none() && !asked.is_anonymous() && !is_told(&["/userId", "/identity"]) {
        let detail = "is required; give the user's ID at your site";
        faults.push(Fault::new("/userId", detail));
    }
    for source in profile.required_of_users() {
        let is_there = match source {
            Source::UserAttribute(name) => has_attribute(asked, name) || is_told(&["/attributes"]),
            Source::UserEmail => asked.email.is_some() || is_told(&["/userEmail", "/email"]),
            Source::UserPlan => asked.plan.is_some() || is_told(&["/plan"]),
            Source::UserRoles => asked.roles.is_some() || is_told(&["/userRoles", "/roles"]),
            _ => true,
        };
        if !is_there {
            faults.push(Unfilled::Missing(source.clone()).into());
        }
    }
    for (name, value) in asked.attributes.iter().flat_map(|given| &given.value) {
        if profile.carries_in_text(name) && matches!(value, Json::Array(_) | Json::Object(_)) {
            faults.push(Unfilled::NotText(Source::UserAttribute(name.to_string())).into());
        }
    }
    faults
}

fn has_attribute(asked: &Asked<'_>, name: &str) -> bool {
    let mut given = asked.attributes.iter().flat_map(|given| &given.value);
    given.any(|(given, _)| given == name)
}

/// Whether a fault is of a member or of something in it.
fn is_about(fault: &Fault, member: &str) -> bool {
    fault
        .pointer
        .strip_prefix(member)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
