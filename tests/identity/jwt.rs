//! Session JWTs: what holds, and every way of forging one.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use signet::identity::JwtAlgorithm as Algorithm;
use signet::identity::{
    BadVerifier, JwtRejected, JwtRules, JwtSession, JwtVerifier, KeySet, KeySource, Presented,
    Resolver, SessionRequest, Unresolved,
};
use signet::token::Identity;

use crate::support::{
    AUDIENCE, ISSUER, NOW, OTHER_RSA, RSA, RSA_PSS, Says, Signer, Upstream, claims, key_set,
};

const SECRET: &[u8] = b"a-session-secret-of-thirty-three-b";

fn rules(algorithms: &[Algorithm]) -> JwtRules {
    JwtRules {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        algorithms: algorithms.to_vec(),
    }
}

fn fixed(keys: &[Value]) -> KeySource {
    let set = KeySet::from_json(key_set(keys).to_string().as_bytes()).expect("usable keys");
    KeySource::Fixed(Arc::new(set))
}

fn secret(bytes: &[u8]) -> KeySource {
    KeySource::Secret(bytes.to_vec().into())
}

fn by_secret() -> JwtVerifier {
    JwtVerifier::new(rules(&[Algorithm::HS256]), secret(SECRET)).expect("good rules")
}

fn by_rsa() -> JwtVerifier {
    JwtVerifier::new(rules(&[Algorithm::RS256]), fixed(&[RSA.jwk("k1")])).expect("good rules")
}

fn hmac() -> Signer {
    Signer::Hmac(SECRET.to_vec())
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().expect("an object").remove(name);
    object
}

async fn rejected(verifier: &JwtVerifier, token: &str) -> JwtRejected {
    verifier
        .verify(token, NOW)
        .await
        .expect_err("a token to be refused")
}

#[tokio::test]
async fn a_token_holds_under_each_kind_of_key() {
    let (p256, ed25519) = (Signer::p256(), Signer::ed25519());
    for (alg, algorithm, signer) in [
        ("RS256", Algorithm::RS256, &*RSA),
        ("PS256", Algorithm::PS256, &*RSA_PSS),
        ("ES256", Algorithm::ES256, &p256),
        ("EdDSA", Algorithm::EdDSA, &ed25519),
    ] {
        let keys = fixed(&[OTHER_RSA.jwk("k0"), signer.jwk("k1")]);
        let verifier = JwtVerifier::new(rules(&[algorithm]), keys).expect("good rules");
        let token = signer.sign(&json!({ "alg": alg, "typ": "JWT", "kid": "k1" }), &claims());
        let found = verifier
            .verify(&token, NOW)
            .await
            .expect("a token that holds");
        assert_eq!(Value::Object(found), claims(), "{alg}");

        let forged = token.replace('.', "x.").replacen("x.", ".", 1);
        assert!(verifier.verify(&forged, NOW).await.is_err());
    }
    let token = hmac().sign(&json!({ "alg": "HS256" }), &claims());
    assert!(by_secret().verify(&token, NOW).await.is_ok());
}

#[tokio::test]
async fn a_token_that_another_key_signed_is_refused() {
    let header = json!({ "alg": "RS256", "kid": "k1" });
    let token = OTHER_RSA.sign(&header, &claims());
    assert_eq!(rejected(&by_rsa(), &token).await, JwtRejected::BadSignature);
    let token = Signer::Hmac(b"guess".to_vec()).sign(&json!({ "alg": "HS256" }), &claims());
    assert_eq!(
        rejected(&by_secret(), &token).await,
        JwtRejected::BadSignature
    );
}

#[tokio::test]
async fn claims_cannot_be_exchanged_under_a_signature() {
    let token = hmac().sign(&json!({ "alg": "HS256" }), &claims());
    let other = hmac().sign(
        &json!({ "alg": "HS256" }),
        &with(claims(), "sub", json!("usr_2")),
    );
    let (message, _) = other.rsplit_once('.').expect("three parts");
    let (_, signature) = token.rsplit_once('.').expect("three parts");
    let mixed = format!("{message}.{signature}");
    assert_eq!(
        rejected(&by_secret(), &mixed).await,
        JwtRejected::BadSignature
    );
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        for verifier in [by_secret(), by_rsa()] {
            let signed = hmac().sign(&json!({ "alg": alg, "kid": "k1" }), &claims());
            let (message, _) = signed.rsplit_once('.').expect("three parts");
            for token in [format!("{message}."), signed.clone()] {
                assert_eq!(
                    rejected(&verifier, &token).await,
                    JwtRejected::AlgorithmNotAllowed
                );
            }
        }
    }
    let signed = hmac().sign(&json!({ "alg": "HS256" }), &claims());
    let (message, _) = signed.rsplit_once('.').expect("three parts");
    assert_eq!(
        rejected(&by_secret(), &format!("{message}.")).await,
        JwtRejected::BadSignature
    );
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_a_shared_secret() {
    for form in RSA.public_forms() {
        let header = json!({ "alg": "HS256", "kid": "k1" });
        let token = Signer::Hmac(form).sign(&header, &claims());
        assert_eq!(
            rejected(&by_rsa(), &token).await,
            JwtRejected::AlgorithmNotAllowed
        );
    }
    let misfit = |algorithm, keys| Err(BadVerifier::Misfit { algorithm, keys });
    let made =
        |algorithms: &[Algorithm], keys| JwtVerifier::new(rules(algorithms), keys).map(|_| ());
    let both = [Algorithm::RS256, Algorithm::HS256];
    assert_eq!(
        made(&both, fixed(&[RSA.jwk("k1")])),
        misfit(Algorithm::HS256, "public keys")
    );
    assert_eq!(
        made(&both, secret(SECRET)),
        misfit(Algorithm::RS256, "a shared secret")
    );
    assert_eq!(
        made(&[Algorithm::HS256], secret(&RSA.public_forms()[0])),
        Err(BadVerifier::PemAsSecret)
    );
}

#[tokio::test]
async fn an_algorithm_that_is_not_listed_is_refused_though_its_key_is_known() {
    let token = RSA_PSS.sign(&json!({ "alg": "PS256", "kid": "k1" }), &claims());
    let keys = fixed(&[RSA_PSS.jwk("k1")]);
    let verifier = JwtVerifier::new(rules(&[Algorithm::RS256]), keys).expect("good rules");
    assert_eq!(
        rejected(&verifier, &token).await,
        JwtRejected::AlgorithmNotAllowed
    );
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_never_used_nor_fetched() {
    let evil = Upstream::that(crate::support::json_text(&key_set(&[OTHER_RSA.jwk("k1")]))).await;
    let address = format!("http://{}/jwks.json", evil.address);
    for (name, value) in [
        ("jwk", OTHER_RSA.jwk("k1")),
        ("jku", json!(address)),
        ("x5u", json!(address)),
        ("x5c", json!(["MAA="])),
    ] {
        for (kid, reason) in [
            ("k1", JwtRejected::BadSignature),
            ("k2", JwtRejected::UnknownKey),
        ] {
            let header = with(json!({ "alg": "RS256", "kid": kid }), name, value.clone());
            assert_eq!(
                rejected(&by_rsa(), &OTHER_RSA.sign(&header, &claims())).await,
                reason
            );
        }
        // They don't make a good token bad.
        let header = with(json!({ "alg": "RS256", "kid": "k1" }), name, value);
        assert!(
            by_rsa()
                .verify(&RSA.sign(&header, &claims()), NOW)
                .await
                .is_ok()
        );
    }
    assert_eq!(evil.hits(), 0);
}

#[tokio::test]
async fn a_token_that_demands_an_extension_is_refused() {
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), Value::Null] {
        let header = with(json!({ "alg": "HS256", "b64": false }), "crit", crit);
        let token = hmac().sign(&header, &claims());
        assert_eq!(
            rejected(&by_secret(), &token).await,
            JwtRejected::CriticalExtension
        );
    }
}

#[tokio::test]
async fn what_is_not_three_parts_of_base64url_with_objects_is_refused() {
    let good = hmac().sign(&json!({ "alg": "HS256" }), &claims());
    let twice = hmac().sign_texts(r#"{"alg":"none","alg":"HS256"}"#, &claims().to_string());
    let header = r#"{"alg":"HS256"}"#;
    for token in [
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{good}.x"),
        format!(".{good}"),
        format!(" {good}"),
        twice,
        hmac().sign_texts(r#"["HS256",null]"#, &claims().to_string()),
        hmac().sign_texts(r#"{"alg":["HS256"]}"#, &claims().to_string()),
        hmac().sign_texts(r#"{"alg":"HS256","kid":7}"#, &claims().to_string()),
        hmac().sign_texts("{}", &claims().to_string()),
        hmac().sign_texts(header, "[]"),
        hmac().sign_texts(header, "null"),
        hmac().sign_texts(header, r#"{"exp":1e999}"#),
        hmac().sign_texts(header, ""),
    ] {
        assert_eq!(
            rejected(&by_secret(), &token).await,
            JwtRejected::Malformed,
            "{token}"
        );
    }
    for token in [format!("{good}="), format!("{good}\n"), format!("{good} ")] {
        assert_eq!(
            rejected(&by_secret(), &token).await,
            JwtRejected::BadSignature,
            "{token:?}"
        );
    }
}

#[tokio::test]
async fn a_token_beyond_8_kib_is_refused_before_anything_is_read_of_it() {
    let filled = |bytes| {
        let header = json!({ "alg": "HS256" });
        hmac().sign(&header, &with(claims(), "fill", json!("x".repeat(bytes))))
    };
    assert!(by_secret().verify(&filled(5_000), NOW).await.is_ok());
    assert_eq!(
        rejected(&by_secret(), &filled(7_000)).await,
        JwtRejected::TooLong
    );
}

#[tokio::test]
async fn claims_are_checked_by_type_as_well_as_by_value() {
    let now = NOW.seconds();
    for (claims, expected) in [
        (without(claims(), "exp"), Err(JwtRejected::BadClaim("exp"))),
        (
            with(claims(), "exp", json!((now + 300).to_string())),
            Err(JwtRejected::BadClaim("exp")),
        ),
        (
            with(claims(), "exp", Value::Null),
            Err(JwtRejected::BadClaim("exp")),
        ),
        (
            with(claims(), "exp", json!([now + 300])),
            Err(JwtRejected::BadClaim("exp")),
        ),
        (
            with(claims(), "exp", json!(true)),
            Err(JwtRejected::BadClaim("exp")),
        ),
        (with(claims(), "exp", json!(now)), Err(JwtRejected::Expired)),
        (
            with(claims(), "exp", json!(now - 1)),
            Err(JwtRejected::Expired),
        ),
        (with(claims(), "exp", json!(-1)), Err(JwtRejected::Expired)),
        (with(claims(), "exp", json!(now + 1)), Ok(())),
        (
            with(claims(), "exp", json!(NOW.seconds() as f64 + 0.5)),
            Ok(()),
        ),
        (with(claims(), "exp", json!(u64::MAX)), Ok(())),
        (with(claims(), "nbf", json!(now)), Ok(())),
        (with(claims(), "nbf", json!(now + 5)), Ok(())),
        (
            with(claims(), "nbf", json!(now + 6)),
            Err(JwtRejected::NotYetValid),
        ),
        (
            with(claims(), "nbf", json!(now.to_string())),
            Err(JwtRejected::BadClaim("nbf")),
        ),
        (
            with(claims(), "nbf", Value::Null),
            Err(JwtRejected::BadClaim("nbf")),
        ),
        (without(claims(), "iat"), Ok(())),
        (
            with(claims(), "iat", json!("yesterday")),
            Err(JwtRejected::BadClaim("iat")),
        ),
        (without(claims(), "iss"), Err(JwtRejected::BadClaim("iss"))),
        (
            with(claims(), "iss", json!([ISSUER])),
            Err(JwtRejected::BadClaim("iss")),
        ),
        (
            with(claims(), "iss", json!(format!("{ISSUER}/"))),
            Err(JwtRejected::WrongIssuer),
        ),
        (
            with(claims(), "iss", json!("")),
            Err(JwtRejected::WrongIssuer),
        ),
        (without(claims(), "aud"), Err(JwtRejected::BadClaim("aud"))),
        (
            with(claims(), "aud", json!({ AUDIENCE: true })),
            Err(JwtRejected::BadClaim("aud")),
        ),
        (
            with(claims(), "aud", json!([AUDIENCE, 1])),
            Err(JwtRejected::BadClaim("aud")),
        ),
        (
            with(claims(), "aud", json!([])),
            Err(JwtRejected::WrongAudience),
        ),
        (
            with(
                claims(),
                "aud",
                json!("https://app.example.com.evil.example"),
            ),
            Err(JwtRejected::WrongAudience),
        ),
        (with(claims(), "aud", json!(["other", AUDIENCE])), Ok(())),
    ] {
        let token = hmac().sign(&json!({ "alg": "HS256" }), &claims);
        let outcome = by_secret().verify(&token, NOW).await.map(|_| ());
        assert_eq!(outcome, expected, "{claims}");
    }
}

#[tokio::test]
async fn rules_that_would_keep_nobody_out_are_refused() {
    let made = |rules, keys| JwtVerifier::new(rules, keys).map(|_| ());
    let hs256 = || rules(&[Algorithm::HS256]);
    let issuer = String::new();
    let audience = String::new();
    assert_eq!(
        made(JwtRules { issuer, ..hs256() }, secret(SECRET)),
        Err(BadVerifier::Empty("issuer"))
    );
    assert_eq!(
        made(
            JwtRules {
                audience,
                ..hs256()
            },
            secret(SECRET)
        ),
        Err(BadVerifier::Empty("audience"))
    );
    assert_eq!(
        made(rules(&[]), secret(SECRET)),
        Err(BadVerifier::Empty("algorithms"))
    );

    let short = |algorithm, needed| Err(BadVerifier::ShortSecret { algorithm, needed });
    assert_eq!(made(hs256(), secret(&[7; 31])), short(Algorithm::HS256, 32));
    assert_eq!(made(hs256(), secret(&[7; 32])), Ok(()));
    let both = rules(&[Algorithm::HS512, Algorithm::HS256]);
    assert_eq!(
        made(both.clone(), secret(&[7; 63])),
        short(Algorithm::HS512, 64)
    );
    assert_eq!(made(both, secret(&[7; 64])), Ok(()));
}

fn session(presented: Presented) -> Resolver {
    let identity = signet::identity::Pointers {
        user_id: "/sub".parse().expect("a pointer"),
        email: Some("/email".parse().expect("a pointer")),
        roles: Some("/groups".parse().expect("a pointer")),
        plan: None,
        attributes: std::collections::BTreeMap::default(),
    };
    Resolver::Jwt(JwtSession::new(presented, by_secret(), identity))
}

async fn resolve(resolver: &Resolver, headers: HeaderMap) -> Result<Identity<'static>, Unresolved> {
    let request = SessionRequest {
        headers: &headers,
        peer_is_trusted_proxy: false,
        traceparent: None,
    };
    resolver.resolve(&request, NOW).await
}

fn header(name: http::HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a header value"))])
}

#[tokio::test]
async fn the_identity_is_read_from_the_claims_of_a_session_that_holds() {
    let claims = with(
        with(claims(), "groups", json!(["user"])),
        "email",
        json!("a@example.com"),
    );
    let token = hmac().sign(&json!({ "alg": "HS256" }), &claims);
    let expected = Identity {
        user_id: "usr_1".into(),
        email: Some("a@example.com".into()),
        roles: Some(vec!["user".into()]),
        ..Identity::default()
    };
    let cookie = session(Presented::Cookie("sid".to_owned()));
    let found = resolve(&cookie, header(COOKIE, &format!("a=b; sid={token}"))).await;
    assert_eq!(found, Ok(expected.clone()));
    let bearer = session(Presented::Bearer);
    let found = resolve(&bearer, header(AUTHORIZATION, &format!("Bearer {token}"))).await;
    assert_eq!(found, Ok(expected));

    // Each looks in its own place only.
    let found = resolve(&cookie, header(AUTHORIZATION, &format!("Bearer {token}"))).await;
    assert!(found.expect_err("no cookie").is_no_session());
    let found = resolve(&bearer, header(COOKIE, &format!("sid={token}"))).await;
    assert!(found.expect_err("no header").is_no_session());
}

#[tokio::test]
async fn a_stale_forged_or_nameless_session_is_no_session() {
    let alg = json!({ "alg": "HS256" });
    let expired = hmac().sign(&alg, &with(claims(), "exp", json!(NOW.seconds() - 1)));
    let forged = Signer::Hmac(b"guess".to_vec()).sign(&alg, &claims());
    let nameless = hmac().sign(&alg, &without(claims(), "sub"));
    for token in [expired, forged, nameless, "garbage".to_owned()] {
        let bearer = session(Presented::Bearer);
        let found = resolve(&bearer, header(AUTHORIZATION, &format!("Bearer {token}")));
        let unresolved = found.await.expect_err("no session");
        assert!(unresolved.is_no_session());
        assert!(!unresolved.to_string().contains(&token), "{unresolved}");
    }
}

#[tokio::test]
async fn an_identity_that_no_token_may_carry_is_the_issuers_fault() {
    for claims in [
        with(claims(), "sub", json!(["usr_1"])),
        with(claims(), "groups", json!("admin")),
    ] {
        let token = hmac().sign(&json!({ "alg": "HS256" }), &claims);
        let bearer = session(Presented::Bearer);
        let found = resolve(&bearer, header(AUTHORIZATION, &format!("Bearer {token}")));
        assert!(!found.await.expect_err("a wrong type").is_no_session());
    }
}

#[tokio::test]
async fn a_session_whose_keys_cannot_be_had_is_not_refused_but_postponed() {
    let down = Upstream::that(Says::Status(500, &[])).await;
    let timeout = std::time::Duration::from_secs(5);
    let cache = signet::identity::JwksCache::new(down.url(), timeout, crate::support::client());
    let verifier =
        JwtVerifier::new(rules(&[Algorithm::RS256]), KeySource::Url(cache)).expect("good rules");
    let identity = signet::identity::Pointers {
        user_id: "/sub".parse().expect("a pointer"),
        email: None,
        roles: None,
        plan: None,
        attributes: std::collections::BTreeMap::default(),
    };
    let resolver = Resolver::Jwt(JwtSession::new(Presented::Bearer, verifier, identity));
    let token = RSA.sign(&json!({ "alg": "RS256", "kid": "k1" }), &claims());
    let found = resolve(&resolver, header(AUTHORIZATION, &format!("Bearer {token}"))).await;
    assert!(
        matches!(found, Err(Unresolved::Unavailable { .. })),
        "{found:?}"
    );
    assert_eq!(resolver.name(), "jwt");
}
