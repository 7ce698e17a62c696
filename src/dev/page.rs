//! The demo page's files, compiled in, and what a browser may load beside them: nothing from elsewhere.

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;

use super::Origins;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

type File = (&'static str, &'static str, &'static str);

/// Path, content type, content. `signet.js` is the module that users install, not a copy of it.
const MAIN: &[File] = &[
    ("/", HTML, include_str!("page/index.html")),
    ("/demo/style.css", CSS, include_str!("page/style.css")),
    ("/demo/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/demo/theme.js", JAVASCRIPT, include_str!("page/theme.js")),
    ("/demo/main.js", JAVASCRIPT, include_str!("page/main.js")),
    (
        "/demo/exchange.js",
        JAVASCRIPT,
        include_str!("page/exchange.js"),
    ),
    ("/demo/flow.js", JAVASCRIPT, include_str!("page/flow.js")),
    ("/demo/token.js", JAVASCRIPT, include_str!("page/token.js")),
    ("/demo/chat.js", JAVASCRIPT, include_str!("page/chat.js")),
    (
        "/demo/faults.js",
        JAVASCRIPT,
        include_str!("page/faults.js"),
    ),
    (
        "/demo/signet.js",
        JAVASCRIPT,
        include_str!("../../clients/browser/signet.js"),
    ),
];

const SIDE: &[File] = &[
    ("/partner.html", HTML, include_str!("page/partner.html")),
    (
        "/demo/partner.js",
        JAVASCRIPT,
        include_str!("page/partner.js"),
    ),
];

/// The demo page, which may frame the two side origins and talks to its own alone.
pub(super) fn main_files<S: Clone + Send + Sync + 'static>(origins: &Origins) -> Router<S> {
    let Origins {
        partner, stranger, ..
    } = origins;
    serving(
        MAIN,
        &format!(
            "default-src 'self'; frame-src {partner} {stranger}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        ),
    )
}

/// The page of another origin, which only the demo page may frame, and which talks to the main origin alone.
pub(super) fn side_files<S: Clone + Send + Sync + 'static>(origins: &Origins) -> Router<S> {
    let main = &origins.main;
    serving(
        SIDE,
        &format!(
            "default-src 'self'; connect-src {main}; frame-ancestors {main}; base-uri 'none'; form-action 'none'"
        ),
    )
}

fn serving<S: Clone + Send + Sync + 'static>(files: &'static [File], policy: &str) -> Router<S> {
    let policy =
        HeaderValue::from_str(policy).expect("origins made of socket addresses are visible ASCII");
    files
        .iter()
        .fold(Router::new(), |router, &(path, content_type, content)| {
            let headers = [
                (CONTENT_TYPE, HeaderValue::from_static(content_type)),
                (CONTENT_SECURITY_POLICY, policy.clone()),
            ];
            router.route(path, get(move || async move { (headers.clone(), content) }))
        })
}
