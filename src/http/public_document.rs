//! Documents that anybody may read and keep for a while: the one exception from `no-store`.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Body;
use super::envelope::Context;
use super::error::Failure;

/// How long a copy may be kept. A key that is to take over must be configured for longer than this
/// before its time, so that nobody meets its signature with a copy from before.
const CACHE_CONTROL: &str = "public, max-age=300";

/// In a response's extensions: the `Cache-Control` that it wants in place of `no-store`.
#[derive(Clone, Copy)]
pub(super) struct Cacheable(pub(super) &'static str);

/// May the client ask at all? Counters that replicas share are asked by the routes.
pub(super) async fn admit(context: &Context) -> Result<(), Failure> {
    let mut passage = context.snapshot.limits.passage(context.client.address);
    passage.admit_browser()?;
    Ok(passage.settle().await?)
}

/// `body` as the answer, or 304 when the client has it already (RFC 9110 section 13.1.2).
pub(super) fn answer(request: &HeaderMap, kind: &'static str, body: Vec<u8>) -> Response<Body> {
    let digest = digest(&SHA256, &body);
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]));
    let mut response = Response::new(Body::default());
    if has_already(request, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(body);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    let tag = HeaderValue::try_from(tag).expect("base64url in quotes is visible ASCII");
    response.headers_mut().insert(ETAG, tag);
    response.extensions_mut().insert(Cacheable(CACHE_CONTROL));
    response
}

fn has_already(request: &HeaderMap, tag: &str) -> bool {
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        // The comparison is the weak one: a proxy that compresses weakens our tag.
        .any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(if_none_match: Option<&str>) -> Response<Body> {
        let mut headers = HeaderMap::new();
        if let Some(tag) = if_none_match {
            headers.insert(IF_NONE_MATCH, tag.parse().unwrap());
        }
        answer(&headers, "application/json", b"{}".to_vec())
    }

    #[test]
    fn a_client_that_has_the_document_is_told_so_by_any_spelling_of_its_tag() {
        let first = ask(None);
        let tag = first.headers()[ETAG].to_str().unwrap();
        for given in [
            tag.to_owned(),
            format!("W/{tag}"),
            format!("\"old\", {tag}"),
            "*".to_owned(),
        ] {
            let again = ask(Some(&given));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{given}");
            assert_eq!(again.headers()[ETAG], tag);
        }
        for given in ["\"old\"", &tag[1..tag.len() - 1], ""] {
            assert_eq!(ask(Some(given)).status(), StatusCode::OK, "{given}");
        }
    }
}
