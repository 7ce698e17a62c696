//! Keys by URL: how often they are fetched, and what an outage or a bad answer does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signet::identity::JwtAlgorithm as Algorithm;
use signet::identity::{JwksCache, JwtRejected, JwtRules, JwtVerifier, KeySource};
use tokio::task::JoinSet;

use crate::support::{
    AUDIENCE, ISSUER, NOW, OTHER_RSA, RSA, Says, Upstream, claims, client, json_text, key_set, pass,
};

const MINUTE: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(600);
/// Longer than the pause that the cache keeps between two fetches.
const PAUSE: Duration = Duration::from_secs(7);

/// A provider that publishes one key as `k1`, and a verifier of its tokens.
async fn provider() -> (Upstream, Arc<JwtVerifier>) {
    let upstream = Upstream::that(json_text(&key_set(&[RSA.jwk("k1")]))).await;
    let verifier = verifier(&cache(&upstream, Duration::from_secs(5)));
    (upstream, verifier)
}

fn cache(upstream: &Upstream, timeout: Duration) -> JwksCache {
    JwksCache::new(upstream.url(), timeout, client())
}

fn verifier(cache: &JwksCache) -> Arc<JwtVerifier> {
    let rules = JwtRules {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        algorithms: vec![Algorithm::RS256],
    };
    Arc::new(JwtVerifier::new(rules, KeySource::Url(cache.clone())).expect("good rules"))
}

fn token(kid: &str) -> String {
    RSA.sign(&header(kid), &claims())
}

fn header(kid: &str) -> Value {
    json!({ "alg": "RS256", "kid": kid })
}

async fn verify(verifier: &JwtVerifier, token: &str) -> Result<(), JwtRejected> {
    verifier.verify(token, NOW).await.map(|_| ())
}

fn is_unavailable(outcome: &Result<(), JwtRejected>) -> bool {
    matches!(outcome, Err(JwtRejected::KeysUnavailable { .. }))
}

/// A thousand tokens of one kind at the same time.
async fn a_thousand(verifier: &Arc<JwtVerifier>, token: &str) -> Vec<Result<(), JwtRejected>> {
    let mut all = JoinSet::new();
    for _ in 0..1000 {
        let (verifier, token) = (Arc::clone(verifier), token.to_owned());
        all.spawn(async move { verify(&verifier, &token).await });
    }
    all.join_all().await
}

#[tokio::test]
async fn a_thousand_first_requests_share_one_fetch() {
    let (upstream, verifier) = provider().await;
    assert!(
        a_thousand(&verifier, &token("k1"))
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(upstream.hits(), 1);
    assert!(upstream.last_headers().get("cookie").is_none());
}

#[tokio::test]
async fn a_thousand_unknown_key_ids_within_five_seconds_are_one_fetch() {
    let (upstream, verifier) = provider().await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    pass(PAUSE).await;
    for _ in 0..5 {
        let outcomes = a_thousand(&verifier, &token("k2")).await;
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == Err(JwtRejected::UnknownKey))
        );
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(upstream.hits(), 2);
}

#[tokio::test]
async fn a_rotated_key_is_found_by_its_first_token() {
    let (upstream, verifier) = provider().await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    upstream.now(json_text(&key_set(&[RSA.jwk("k1"), OTHER_RSA.jwk("k2")])));
    pass(PAUSE).await;
    let rotated = OTHER_RSA.sign(&header("k2"), &claims());
    assert!(
        a_thousand(&verifier, &rotated)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(upstream.hits(), 2);
}

#[tokio::test]
async fn a_thousand_requests_while_the_provider_is_down_are_one_fetch() {
    for says in [
        Says::Status(500, &[]),
        Says::Hangs,
        Says::Status(302, &[("location", "/x")]),
    ] {
        let upstream = Upstream::that(says).await;
        let verifier = verifier(&cache(&upstream, Duration::from_millis(300)));
        let outcomes = a_thousand(&verifier, &token("k1")).await;
        assert!(outcomes.iter().all(is_unavailable));
        let Err(JwtRejected::KeysUnavailable { retry_after }) =
            verify(&verifier, &token("k1")).await
        else {
            panic!("the provider is down");
        };
        assert!((1..=7).contains(&retry_after.as_secs()), "{retry_after:?}");
        assert_eq!(upstream.hits(), 1);

        upstream.now(json_text(&key_set(&[RSA.jwk("k1")])));
        pass(PAUSE).await;
        assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    }
}

#[tokio::test]
async fn a_set_that_is_empty_huge_or_garbage_serves_nobody() {
    let text = |text: &str| Says::Text(&[], text.to_owned());
    for says in [
        json_text(&key_set(&[])),
        json_text(&json!({})),
        json_text(&key_set(&[
            json!({ "kty": "oct", "kid": "k1", "k": "c2VjcmV0" }),
        ])),
        text("<html>"),
        Says::Huge {
            mebibytes: 10,
            announced: false,
        },
    ] {
        let upstream = Upstream::that(says).await;
        let verifier = verifier(&cache(&upstream, Duration::from_secs(5)));
        assert!(is_unavailable(&verify(&verifier, &token("k1")).await));
        assert!(is_unavailable(&verify(&verifier, &token("k1")).await));
        assert_eq!(upstream.hits(), 1);
    }
}

#[tokio::test]
async fn a_bad_answer_does_not_replace_a_good_set() {
    let (upstream, verifier) = provider().await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    for (says, asked) in [
        (json_text(&key_set(&[])), 2),
        (
            Says::Huge {
                mebibytes: 10,
                announced: true,
            },
            3,
        ),
        (Says::Text(&[], "<html>".to_owned()), 4),
        (Says::Status(503, &[]), 5),
    ] {
        upstream.now(says);
        pass(PAUSE).await;
        // Whether this key exists can't be told now.
        assert!(is_unavailable(&verify(&verifier, &token("k2")).await));
        assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
        assert_eq!(upstream.hits(), asked);
    }
}

#[tokio::test]
async fn an_outage_is_survived_for_a_day_and_no_longer() {
    let (upstream, verifier) = provider().await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    upstream.now(Says::Status(503, &[]));
    pass(LIFETIME + MINUTE).await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    pass(MINUTE * 60 * 23).await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    pass(MINUTE * 60).await;
    assert!(is_unavailable(&verify(&verifier, &token("k1")).await));

    upstream.now(json_text(&key_set(&[RSA.jwk("k1")])));
    pass(PAUSE).await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
}

#[tokio::test]
async fn a_provider_known_to_be_away_delays_nobody() {
    let upstream = Upstream::that(json_text(&key_set(&[RSA.jwk("k1")]))).await;
    let verifier = verifier(&cache(&upstream, Duration::from_millis(300)));
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    upstream.now(Says::Hangs);
    pass(LIFETIME + MINUTE).await;
    // The first to find the set expired waits once, in case the key was withdrawn.
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    pass(PAUSE).await;

    let (began, token) = (Instant::now(), token("k1"));
    assert_eq!(verify(&verifier, &token).await, Ok(()));
    assert!(began.elapsed() < Duration::from_millis(200));
    upstream.was_asked(3).await;
}

#[tokio::test]
async fn a_set_is_renewed_in_the_background_before_it_expires() {
    let (upstream, verifier) = provider().await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    pass(LIFETIME * 4 / 5 - MINUTE).await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    assert_eq!(upstream.hits(), 1);

    pass(MINUTE).await;
    upstream.now(Says::Hangs);
    let (began, token) = (Instant::now(), token("k1"));
    assert_eq!(verify(&verifier, &token).await, Ok(()));
    upstream.was_asked(2).await;
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_withdrawn_key_stops_serving_when_its_set_expires() {
    let (upstream, verifier) = provider().await;
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    upstream.now(json_text(&key_set(&[OTHER_RSA.jwk("k2")])));
    pass(LIFETIME).await;
    assert_eq!(
        verify(&verifier, &token("k1")).await,
        Err(JwtRejected::UnknownKey)
    );
    assert_eq!(upstream.hits(), 2);
}

#[tokio::test]
async fn a_request_that_is_given_up_does_not_take_the_fetch_with_it() {
    let (upstream, verifier) = provider().await;
    let first = {
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move { verify(&verifier, &token("k1")).await })
    };
    upstream.was_asked(1).await;
    first.abort();
    assert_eq!(verify(&verifier, &token("k1")).await, Ok(()));
    assert_eq!(upstream.hits(), 1);
}

#[tokio::test]
async fn a_cache_kept_over_a_reload_keeps_its_keys() {
    let upstream = Upstream::that(json_text(&key_set(&[RSA.jwk("k1")]))).await;
    let cache = cache(&upstream, Duration::from_secs(5));
    assert_eq!(verify(&verifier(&cache), &token("k1")).await, Ok(()));
    upstream.now(Says::Status(500, &[]));
    assert_eq!(verify(&verifier(&cache), &token("k1")).await, Ok(()));
    assert_eq!(upstream.hits(), 1);
    assert_eq!(*cache.url(), upstream.url());
}
