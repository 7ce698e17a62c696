//! `signet token issue|inspect|explain`: tokens without the service.

use std::io::Read;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Configuration, Trouble, print};
use crate::clock::Timestamp;
use crate::random;
use crate::service::Snapshot;
use crate::signing::{Key, KeyId, UnverifiedToken, VerifyError};
use crate::token::{Allowed, App, Asked, Denial, Dice, Finding, MintError, Policy, mint_with};

/// The longest request and token that is read, in bytes.
const MAX_INPUT_BYTES: u64 = 64 * 1024;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print a token for trying a platform out; the app's own limits apply, no caller's
    Issue(Box<Issue>),
    /// Decode a token, verify it with the configured keys, and say what is wrong with it
    Inspect {
        /// The token; `-` reads it from standard input, where no process list shows it
        token: String,
        #[command(flatten)]
        configuration: Configuration,
    },
    /// Say what signet would decide on a request (JSON on standard input), rule by rule; signs nothing
    Explain {
        /// Who would ask
        #[arg(long)]
        caller: String,
        #[command(flatten)]
        configuration: Configuration,
    },
}

#[derive(clap::Args)]
pub(super) struct Issue {
    /// The app's name in the configuration
    #[arg(long)]
    app: String,
    /// The user's ID
    #[arg(long, default_value = "usr_1")]
    user_id: String,
    /// The user's email address
    #[arg(long)]
    email: Option<String>,
    /// A role of the user; may be repeated
    #[arg(long = "role")]
    roles: Vec<String>,
    /// The user's plan
    #[arg(long)]
    plan: Option<String>,
    /// An attribute as NAME=VALUE, the value JSON or else text; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// The lifetime in seconds
    #[arg(long)]
    ttl: Option<i64>,
    /// The key that signs, by its ID, to try one out before its time
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(command: Command) -> Result<(), Trouble> {
    match command {
        Command::Issue(issue) => issue.run(),
        Command::Inspect {
            token,
            configuration,
        } => inspect(&token, configuration),
        Command::Explain {
            caller,
            configuration,
        } => explain(&caller, configuration),
    }
}

impl Issue {
    fn run(self) -> Result<(), Trouble> {
        let request = self.request()?;
        let (loaded, sources) = self.configuration.load()?;
        let app = find_app(&loaded.snapshot, &self.app)?;
        let key = self.key.as_deref().map(KeyId::from);
        if let Some(id) = &key
            && app.keyring().position(id).is_none()
        {
            let ids: Vec<_> = app
                .keyring()
                .keys()
                .iter()
                .map(|scheduled| scheduled.key.id().as_str())
                .collect();
            return Err(Trouble::Usage(format!(
                "app `{}` has no key `{id}`; it has {}",
                self.app,
                ids.join(", ")
            )));
        }
        let policy = Policy {
            apps: vec![Arc::clone(app)],
            roles: Allowed::Any,
            plans: Allowed::Any,
            attributes: Allowed::Any,
            scopes: Allowed::Any,
            max_ttl_seconds: None,
        };
        let body = serde_json::to_vec(&request).expect("a value is always JSON");
        let (asked, faults) = Asked::parse(&body).expect("what was just written is JSON");
        let grant = policy
            .decide(app, asked, faults, anonymous_id, &mut ())
            .map_err(|denial| refused(&denial))?;
        let [jitter, token_id @ ..] = random::bytes::<17>();
        let minted = mint_with(
            app,
            &grant,
            None,
            Dice { token_id, jitter },
            sources.clock.now(),
            key.as_ref(),
        );
        let minted = minted.map_err(|error| match error {
            MintError::Denied(denial) => refused(&denial),
            MintError::NoKey => Trouble::Refused(format!("no key of app `{}` signs now", self.app)),
        })?;
        print(minted.token.expose())
    }

    fn request(&self) -> Result<Value, Trouble> {
        let mut request = Map::new();
        request.insert("userId".to_owned(), self.user_id.as_str().into());
        let mut put = |name: &str, value: Option<Value>| {
            value.map(|value| request.insert(name.to_owned(), value))
        };
        put("userEmail", self.email.as_deref().map(Value::from));
        put(
            "userRoles",
            (!self.roles.is_empty()).then(|| self.roles.as_slice().into()),
        );
        put("plan", self.plan.as_deref().map(Value::from));
        put("ttl", self.ttl.map(Value::from));
        let mut attributes = Map::new();
        for attribute in &self.attributes {
            let (name, value) = attribute
                .split_once('=')
                .ok_or_else(|| Trouble::Usage("write an attribute as NAME=VALUE".to_owned()))?;
            attributes.insert(
                name.to_owned(),
                serde_json::from_str(value).unwrap_or_else(|_| value.into()),
            );
        }
        put(
            "attributes",
            (!attributes.is_empty()).then_some(Value::Object(attributes)),
        );
        Ok(Value::Object(request))
    }
}

fn find_app<'s>(snapshot: &'s Snapshot, name: &str) -> Result<&'s Arc<App>, Trouble> {
    snapshot.apps.get(name).ok_or_else(|| {
        let mut names: Vec<_> = snapshot.apps.keys().map(String::as_str).collect();
        names.sort_unstable();
        Trouble::Usage(format!(
            "there is no app `{name}`; there are {}",
            names.join(", ")
        ))
    })
}

fn refused(denial: &Denial) -> Trouble {
    let faults = denial
        .faults
        .iter()
        .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
        .collect::<Vec<_>>();
    Trouble::Refused(if faults.is_empty() {
        denial.detail.clone()
    } else {
        faults.join("\n")
    })
}

fn anonymous_id() -> String {
    format!("anon_{}", URL_SAFE_NO_PAD.encode(random::bytes::<16>()))
}

fn explain(caller: &str, configuration: Configuration) -> Result<(), Trouble> {
    let (loaded, _) = configuration.load()?;
    let caller = loaded.snapshot.callers.find(caller).ok_or_else(|| {
        let names: Vec<_> = loaded
            .snapshot
            .callers
            .iter()
            .map(|caller| &*caller.name)
            .collect();
        Trouble::Usage(format!(
            "there is no caller `{caller}`; there are {}",
            names.join(", ")
        ))
    })?;
    let request = read_input()?;
    let mut findings: Vec<Finding> = Vec::new();
    let (asked, faults) =
        Asked::parse(&request).map_err(|error| Trouble::Refused(error.to_string()))?;
    let decided = match caller.policy.choose_app(&asked, &mut findings) {
        Ok(app) => caller
            .policy
            .decide(app, asked, faults, anonymous_id, &mut findings)
            .map(|grant| (app, grant)),
        Err(_) if !faults.is_empty() => Err(Denial::invalid(faults)),
        Err(denial) => Err(denial),
    };
    let rules: Vec<_> = findings
        .iter()
        .map(|finding| json!({ "rule": finding.rule, "pointer": finding.pointer, "verdict": finding.verdict, "detail": finding.detail }))
        .collect();
    let (text, allowed) = match &decided {
        Ok((app, grant)) => (
            json!({ "decision": "allowed", "app": app.name().as_str(), "userId": grant.identity.user_id, "ttl": grant.ttl_seconds, "rules": rules }),
            true,
        ),
        Err(denial) => {
            let errors: Vec<_> = denial
                .faults
                .iter()
                .map(|fault| json!({ "pointer": fault.pointer, "detail": fault.detail }))
                .collect();
            (
                json!({ "decision": "refused", "detail": denial.detail, "errors": errors, "rules": rules }),
                false,
            )
        }
    };
    print(&format!("{text:#}"))?;
    if allowed {
        Ok(())
    } else {
        Err(Trouble::Refused(String::new()))
    }
}

fn inspect(token: &str, configuration: Configuration) -> Result<(), Trouble> {
    let input;
    let token = if token == "-" {
        input = String::from_utf8(read_input()?)
            .map_err(|_| Trouble::Refused(VerifyError::Malformed.to_string()))?;
        input.trim()
    } else {
        token
    };
    let (loaded, sources) = configuration.load()?;
    let parsed =
        UnverifiedToken::parse(token).map_err(|error| Trouble::Refused(error.to_string()))?;
    let mut problems = Vec::new();
    let signer = find_signer(&loaded.snapshot, token);
    match &signer {
        Some((app, key)) => check_key(app, key, &parsed, &mut problems),
        None => problems.push(why_unsigned(&loaded.snapshot, &parsed)),
    }
    check_times(&parsed.claims, sources.clock.now(), &mut problems);
    let verdict = json!({
        "header": parsed.header,
        "claims": parsed.claims,
        "app": signer.map(|(app, _)| app.name().as_str()),
        "key": signer.map(|(_, key)| key.id().as_str()),
        "valid": problems.is_empty(),
        "problems": problems,
    });
    print(&format!("{verdict:#}"))?;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Trouble::Refused(String::new()))
    }
}

fn find_signer<'s>(snapshot: &'s Snapshot, token: &str) -> Option<(&'s Arc<App>, &'s Key)> {
    let keys = snapshot.apps.values().flat_map(|app| {
        app.keyring()
            .keys()
            .iter()
            .map(move |scheduled| (app, &scheduled.key))
    });
    keys.into_iter().find(|(_, key)| key.verify(token).is_ok())
}

fn check_key(app: &App, key: &Key, token: &UnverifiedToken, problems: &mut Vec<String>) {
    if let Some(kid) = token.header.get("kid")
        && kid != key.id().as_str()
    {
        problems.push(format!(
            "the header's `kid` is not the name of the key that signed it, `{}`",
            key.id()
        ));
    }
    for claim in ["tenantId", "client_id"] {
        if token
            .claims
            .get(claim)
            .is_some_and(|value| value != app.client_id())
        {
            problems.push(format!(
                "`{claim}` is not the client ID of app `{}`",
                app.name()
            ));
        }
    }
}

fn why_unsigned(snapshot: &Snapshot, token: &UnverifiedToken) -> String {
    let algorithm = token
        .header
        .get("alg")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let known = snapshot.apps.values().any(|app| {
        app.keyring()
            .keys()
            .iter()
            .any(|scheduled| scheduled.key.algorithm().name() == algorithm)
    });
    if known {
        "no configured key made this signature: the token was changed, or signed elsewhere"
            .to_owned()
    } else {
        format!("no configured key signs with the header's algorithm, {algorithm:?}")
    }
}

fn check_times(claims: &Map<String, Value>, now: Timestamp, problems: &mut Vec<String>) {
    let mut time = |name: &str| match claims.get(name) {
        None => None,
        Some(value) => {
            let seconds = value.as_i64();
            if seconds.is_none() {
                problems.push(format!("`{name}` is not a whole number of seconds"));
            }
            seconds
        }
    };
    let (issued, starts, expires) = (time("iat"), time("nbf"), time("exp"));
    let now = now.seconds();
    if claims.get("exp").is_none() {
        problems.push("there is no `exp`: it would be valid for ever".to_owned());
    }
    if let Some(expires) = expires.filter(|expires| *expires <= now) {
        problems.push(format!("it expired {} seconds ago", now - expires));
    }
    if let Some(issued) = issued.filter(|issued| *issued > now) {
        problems.push(format!(
            "`iat` is {} seconds ahead of this clock",
            issued - now
        ));
    }
    if let Some(starts) = starts.filter(|starts| *starts > now) {
        problems.push(format!(
            "it is not valid for another {} seconds",
            starts - now
        ));
    }
    if let (Some(issued), Some(expires)) = (issued, expires)
        && expires <= issued
    {
        problems.push("`exp` is not after `iat`".to_owned());
    }
}

fn read_input() -> Result<Vec<u8>, Trouble> {
    let mut input = Vec::new();
    std::io::stdin()
        .take(MAX_INPUT_BYTES + 1)
        .read_to_end(&mut input)?;
    if input.len() as u64 > MAX_INPUT_BYTES {
        Err(Trouble::Refused(
            "the input is longer than 64 KiB".to_owned(),
        ))
    } else {
        Ok(input)
    }
}
