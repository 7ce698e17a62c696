//! The stand-in for an app's own session: log in, log out, and the URL that signet's `introspect` resolver asks.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::StandIns;
use crate::random;

const COOKIE_NAME: &str = "demo_session";
/// A script that logs in for ever must not fill the memory.
const MAX_SESSIONS: usize = 1_000;

/// Somebody who can log in without a password, in the shape in which an app describes its user.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct User {
    id: &'static str,
    email: &'static str,
    roles: &'static [&'static str],
    plan: &'static str,
    login: &'static str,
}

const USERS: &[User] = &[
    User {
        id: "usr_ada",
        email: "ada@example.com",
        roles: &["user", "admin"],
        plan: "enterprise",
        login: "ada",
    },
    User {
        id: "usr_grace",
        email: "grace@example.com",
        roles: &["agent"],
        plan: "pro",
        login: "grace",
    },
    User {
        id: "usr_linus",
        email: "linus@example.com",
        roles: &["user"],
        plan: "free",
        login: "linus",
    },
];

/// What the stand-in app does when it is asked whose session it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    UpstreamDown,
}

/// Everybody who is logged in, oldest first to leave when there are too many.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Table>);

#[derive(Default)]
struct Table {
    users: HashMap<String, &'static User>,
    oldest_first: VecDeque<String>,
    fault: Fault,
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic between two statements of this file leaves nothing half done that matters to a demo.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, user: &'static User) -> String {
        let id = format!("{:032x}", u128::from_ne_bytes(random::bytes()));
        let mut table = self.table();
        if table.oldest_first.len() >= MAX_SESSIONS
            && let Some(oldest) = table.oldest_first.pop_front()
        {
            table.users.remove(&oldest);
        }
        table.users.insert(id.clone(), user);
        table.oldest_first.push_back(id.clone());
        id
    }

    fn close(&self, id: &str) {
        let mut table = self.table();
        if table.users.remove(id).is_some() {
            table.oldest_first.retain(|each| each != id);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    user: String,
}

/// `POST /demo/login`: a new session for one of the demo's users.
pub(super) async fn log_in(
    State(stand_ins): State<Arc<StandIns>>,
    Json(asked): Json<LogIn>,
) -> Response {
    let Some(user) = USERS.iter().find(|user| user.login == asked.user) else {
        let names: Vec<_> = USERS.iter().map(|user| user.login).collect();
        let detail = format!("there is no such user; try {}", names.join(", "));
        return (StatusCode::BAD_REQUEST, Json(json!({ "detail": detail }))).into_response();
    };
    let id = stand_ins.sessions.open(user);
    let cookie = format!("{COOKIE_NAME}={id}; HttpOnly; Secure; SameSite=Lax; Path=/");
    (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response()
}

/// `POST /demo/logout`: ends the session, on both sides. The body is JSON so that no other site's form can send it.
pub(super) async fn log_out(
    State(stand_ins): State<Arc<StandIns>>,
    headers: HeaderMap,
    Json(Nothing {}): Json<Nothing>,
) -> Response {
    if let Some(id) = session_id(&headers) {
        stand_ins.sessions.close(id);
    }
    let cookie = format!("{COOKIE_NAME}=; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=0");
    (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// `GET /demo/session`: who the cookie's user is. Signet forwards the browser's cookie to this URL.
pub(super) async fn show(State(stand_ins): State<Arc<StandIns>>, headers: HeaderMap) -> Response {
    let table = stand_ins.sessions.table();
    if table.fault == Fault::UpstreamDown {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    match session_id(&headers).and_then(|id| table.users.get(id)) {
        Some(user) => Json(json!({ "user": user })).into_response(),
        None => {
            let body = json!({ "detail": "nobody is logged in" });
            (StatusCode::UNAUTHORIZED, Json(body)).into_response()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetFault {
    fault: Fault,
}

/// `POST /demo/fault`: breaks the stand-in app, or mends it.
pub(super) async fn set_fault(
    State(stand_ins): State<Arc<StandIns>>,
    Json(asked): Json<SetFault>,
) -> StatusCode {
    stand_ins.sessions.table().fault = asked.fault;
    StatusCode::NO_CONTENT
}

fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}
