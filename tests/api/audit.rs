//! The audit trail when it can't be written: a token without its line, or none.

use serde_json::json;

use crate::support::{PAGE, Signet};

const REQUIRED: (&str, &str) = ("AUDIT__REQUIRED", "true");

#[tokio::test]
async fn where_the_trail_is_required_no_route_issues_a_token_that_cannot_be_written_down() {
    let signet = Signet::with(&[REQUIRED]);
    signet.break_log(true);
    // Only a write tells that they fail: this is the line that is lost.
    signet.get("/apps/nowhere/token").send().await;
    signet.post("/token").send().await;
    assert_eq!(signet.audit().len(), 0);

    let answer = signet.shop_asks(&json!({ "userId": "usr_1" })).send().await;
    answer.is_refused(503, "audit_unavailable");
    assert_eq!(answer.seconds("retry-after"), 1);
    assert!(!answer.text().contains("eyJ"), "{}", answer.text());
    for ask in [
        signet.get("/apps/acme/token"),
        signet.post("/apps/acme/token"),
        signet.get("/api/support/token"),
    ] {
        let answer = ask.origin(PAGE).session(&json!({})).send().await;
        answer.is_refused(503, "audit_unavailable");
        answer.is_readable_by(PAGE);
        assert!(!answer.text().contains("eyJ"), "{}", answer.text());
    }
    let metrics = signet.metrics().await;
    for line in [
        r#"signet_requests_total{route="/token",outcome="audit_unavailable"} 1"#,
        r#"signet_tokens_total{app="acme",caller="shop",outcome="audit_unavailable"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains(r#"outcome="issued"} 1"#), "{metrics}");
}

#[tokio::test]
async fn what_was_refused_for_want_of_the_trail_finds_out_that_it_works_again() {
    let signet = Signet::with(&[REQUIRED]);
    let asked = json!({ "userId": "usr_1" });
    signet.break_log(true);
    signet.post("/token").send().await;
    assert_eq!(signet.audit().len(), 0);
    let refused = signet.shop_asks(&asked).send().await;
    refused.is_refused(503, "audit_unavailable");
    assert_eq!(signet.audit().len(), 0);

    signet.break_log(false);
    let refused = signet.shop_asks(&asked).send().await;
    refused.is_refused(503, "audit_unavailable");
    // Its own line was the one that went through.
    let lines = signet.audit();
    assert_eq!(
        (lines.len(), &lines[0]["outcome"], &lines[0]["user"]),
        (1, &json!("audit_unavailable"), &json!("usr_1"))
    );
    assert_eq!(lines[0].get("key_id"), None, "no token was issued");
    signet.shop_asks(&asked).send().await.token();
    assert_eq!(signet.audit()[1]["outcome"], "issued");
}

#[tokio::test]
async fn where_the_trail_is_not_required_tokens_are_issued_and_lost_lines_counted() {
    let signet = Signet::start();
    signet.break_log(true);
    for _ in 0..3 {
        let asked = json!({ "userId": "usr_1" });
        signet.shop_asks(&asked).send().await.token();
        assert_eq!(signet.audit().len(), 0);
    }
    let metrics = signet.metrics().await;
    assert!(
        metrics.contains("signet_log_lines_dropped_total 3"),
        "{metrics}"
    );
}
