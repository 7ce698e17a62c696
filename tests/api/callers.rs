//! Who may ask for tokens: keys, names, and what a stranger learns.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{
    ACME_SECRET, Answer, DESK_KEY, SHOP_KEY, SHOP_NEXT_KEY, Signet, watched_body,
};

fn asked() -> Value {
    json!({"app": "acme", "userId": "usr_1"})
}

/// A refusal without what differs from request to request.
fn told(answer: &Answer) -> (Value, Vec<(String, String)>) {
    answer.is_refused(401, "invalid_client");
    let mut problem = answer.json();
    problem["requestId"] = Value::Null;
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "x-request-id");
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (problem, headers.collect())
}

#[tokio::test]
async fn a_key_is_taken_as_bearer_and_as_basic() {
    let signet = Signet::start();
    let ask = || signet.post("/token").json(&asked());
    for answer in [
        ask().bearer(SHOP_KEY).send().await,
        ask()
            .header("authorization", &format!("bearer {SHOP_KEY}"))
            .send()
            .await,
        ask().basic("shop", SHOP_KEY).send().await,
        ask().basic("desk", DESK_KEY).send().await,
    ] {
        answer.token();
    }
}

#[tokio::test]
async fn both_live_keys_of_a_caller_are_its_own() {
    let signet = Signet::start();
    for key in [SHOP_KEY, SHOP_NEXT_KEY] {
        signet
            .post("/token")
            .bearer(key)
            .json(&asked())
            .send()
            .await
            .token();
        signet
            .post("/token")
            .basic("shop", key)
            .json(&asked())
            .send()
            .await
            .token();
    }
    let callers: Vec<_> = signet
        .audit()
        .iter()
        .map(|line| line["caller"].clone())
        .collect();
    assert_eq!(callers, ["shop"; 4]);
}

#[tokio::test]
async fn a_stranger_a_wrong_key_and_a_wrong_name_are_told_the_same() {
    let signet = Signet::with(&[("LIMITS__FAILED_AUTH__BURST", "100")]);
    let ask = || signet.post("/token").json(&asked());
    let missing = told(&ask().send().await);
    let (_, headers) = &missing;
    let challenges: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(
        challenges,
        [
            "Bearer realm=\"signet\"",
            "Basic realm=\"signet\", charset=\"UTF-8\""
        ]
    );
    let shorter = &SHOP_KEY[..SHOP_KEY.len() - 1];
    let longer = format!("{SHOP_KEY}x");
    for answer in [
        ask().bearer("wrong-key").send().await,
        ask().bearer(shorter).send().await,
        ask().bearer(&longer).send().await,
        ask().bearer("").send().await,
        // The signing secret proves nobody.
        ask().bearer(ACME_SECRET).send().await,
        ask().basic("shop", "wrong-key").send().await,
        ask().basic("shop", "").send().await,
        // A right key under another caller's name, or under none that exists.
        ask().basic("desk", SHOP_KEY).send().await,
        ask().basic("nonesuch", SHOP_KEY).send().await,
        ask().basic("", SHOP_KEY).send().await,
        ask().basic("SHOP", SHOP_KEY).send().await,
        ask()
            .header("authorization", &format!("Basic {SHOP_KEY}"))
            .send()
            .await,
        ask().header("authorization", SHOP_KEY).send().await,
        ask()
            .header("authorization", &format!("Digest {SHOP_KEY}"))
            .send()
            .await,
        ask()
            .header("authorization", &format!("Bearer {SHOP_KEY} {SHOP_KEY}"))
            .send()
            .await,
        ask().header("authorization", "Bearer \u{e9}").send().await,
        ask().bearer(SHOP_KEY).bearer(SHOP_KEY).send().await,
        ask().bearer(SHOP_KEY).bearer("wrong-key").send().await,
    ] {
        assert_eq!(told(&answer), missing);
    }
}

#[tokio::test]
async fn a_key_in_the_body_or_the_address_is_no_proof() {
    let signet = Signet::start();
    let body = json!({"userId": "usr_1", "client_secret": SHOP_KEY});
    told(&signet.post("/token").json(&body).send().await);
    let path = format!("/token?access_token={SHOP_KEY}");
    told(&signet.post(&path).json(&asked()).send().await);
}

#[tokio::test]
async fn a_strangers_body_is_never_read() {
    let signet = Signet::start();
    for (key, length) in [("wrong-key", "20"), ("wrong-key", "999999"), ("", "20")] {
        let (body, polled) = watched_body();
        let ask = signet.post("/token").bearer(key).json_text(body);
        let answer = ask.header("content-length", length).send().await;
        answer.is_refused(401, "invalid_client");
        assert!(!polled.load(Ordering::SeqCst));
    }
    // Nor what it is called: a stranger learns nothing of what would be taken.
    let answer = signet
        .post("/token")
        .header("content-type", "text/html")
        .send()
        .await;
    answer.is_refused(401, "invalid_client");
}

#[tokio::test]
async fn a_stranger_is_written_down_without_a_name() {
    let signet = Signet::start();
    signet
        .post("/token")
        .basic("shop", "wrong-key")
        .json(&asked())
        .send()
        .await;
    let line = &signet.audit()[0];
    assert_eq!(line["outcome"], "invalid_client");
    for absent in ["caller", "user", "app"] {
        assert_eq!(line.get(absent), None, "{line}");
    }
}
