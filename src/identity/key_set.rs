//! Public keys as a JWK Set (RFC 7517) gives them, each bound to the algorithms that fit it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::jwt_verifier::JwtRejected;

/// What the cryptography verifies with: NIST SP 800-131A asks for at least the lower bound.
const RSA_MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Public keys to verify signatures with. Never empty, and never a shared secret.
pub struct KeySet(Vec<PublicKey>);

struct PublicKey {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    /// The one algorithm that its owner allows, where the key says so.
    only: Option<KeyAlgorithm>,
    key: DecodingKey,
}

/// A text that gives no key to verify with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeySet {
    /// None of the keys can be used.
    #[error(
        "no key in it can verify a signature: RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 can"
    )]
    NoUsableKey,
    /// It isn't a JWK Set.
    #[error("it is not a JSON object with an array `keys`")]
    NotAKeySet,
}

impl KeySet {
    /// Reads a JWK Set. Keys of other kinds, for other uses or too weak are left out, as RFC 7517
    /// section 5 asks; shared secrets (`oct`) always are.
    ///
    /// # Errors
    /// [`BadKeySet`] when it isn't a JWK Set or no key is left.
    pub fn from_json(json: &[u8]) -> Result<Self, BadKeySet> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        // serde would take an array for the struct.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(BadKeySet::NotAKeySet);
        }
        let document: Document = serde_json::from_slice(json).map_err(|_| BadKeySet::NotAKeySet)?;
        let keys: Vec<_> = document
            .keys
            .into_iter()
            .filter_map(PublicKey::from_jwk)
            .collect();
        if keys.is_empty() {
            Err(BadKeySet::NoUsableKey)
        } else {
            Ok(Self(keys))
        }
    }

    /// The key that a JWT's header means: by its ID, or, without one, the only key that fits.
    pub(super) fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&DecodingKey, JwtRejected> {
        let mut fitting = self.0.iter().filter(|key| key.fits(algorithm));
        if let Some(id) = id {
            let named = fitting.find(|key| key.id.as_deref() == Some(id));
            return named.map(|named| &named.key).ok_or(JwtRejected::UnknownKey);
        }
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(&only.key),
            (None, _) => Err(JwtRejected::UnknownKey),
            (Some(_), Some(_)) => Err(JwtRejected::AmbiguousKey),
        }
    }
}

impl PublicKey {
    fn from_jwk(json: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let common = jwk.common;
        let verifies = common
            .public_key_use
            .is_none_or(|usage| usage == PublicKeyUse::Signature)
            && common
                .key_operations
                .is_none_or(|allowed| allowed.contains(&KeyOperations::Verify));
        if !verifies {
            return None;
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let (algorithms, key): (&[Algorithm], _) = match jwk.algorithm {
            AlgorithmParameters::EllipticCurve(ec) => {
                let (algorithms, coordinate_bytes): (&[Algorithm], _) = match ec.curve {
                    EllipticCurve::P256 => (&[Algorithm::ES256], 32),
                    EllipticCurve::P384 => (&[Algorithm::ES384], 48),
                    _ => return None,
                };
                // RFC 7518 section 6.2.1.2: leading zeros stay.
                let whole = |text: &str| decode(text).is_some_and(|c| c.len() == coordinate_bytes);
                if !whole(&ec.x) || !whole(&ec.y) {
                    return None;
                }
                (
                    algorithms,
                    DecodingKey::from_ec_components(&ec.x, &ec.y).ok()?,
                )
            }
            AlgorithmParameters::OctetKeyPair(ed) => {
                if ed.curve != EllipticCurve::Ed25519 || decode(&ed.x)?.len() != 32 {
                    return None;
                }
                (
                    &[Algorithm::EdDSA],
                    DecodingKey::from_ed_components(&ed.x).ok()?,
                )
            }
            AlgorithmParameters::RSA(rsa) => {
                if !RSA_MODULUS_BITS.contains(&bits(&decode(&rsa.n)?)) {
                    return None;
                }
                (RSA, DecodingKey::from_rsa_components(&rsa.n, &rsa.e).ok()?)
            }
            _ => return None,
        };
        Some(Self {
            id: common.key_id,
            algorithms,
            only: common.key_algorithm,
            key,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
            && self
                .only
                .is_none_or(|only| only == KeyAlgorithm::from(algorithm))
    }
}

/// How long a big-endian number is, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| {
        (number.len() - zeros) * 8 - first.leading_zeros() as usize
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xff; bytes])
    }

    fn rsa(bytes: usize) -> Value {
        json!({ "kty": "RSA", "kid": "r", "n": encoded(bytes), "e": "AQAB" })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn read(keys: &[Value]) -> Result<KeySet, BadKeySet> {
        KeySet::from_json(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn finds(key: Value, algorithm: Algorithm) -> bool {
        read(&[key]).is_ok_and(|set| set.find(None, algorithm).is_ok())
    }

    #[test]
    fn each_kind_of_key_fits_its_own_algorithms_alone() {
        let p256 = json!({ "kty": "EC", "crv": "P-256", "x": encoded(32), "y": encoded(32) });
        let p384 = json!({ "kty": "EC", "crv": "P-384", "x": encoded(48), "y": encoded(48) });
        let ed25519 = json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(32) });
        let kinds = [
            (rsa(256), RSA),
            (p256, &[Algorithm::ES256]),
            (p384, &[Algorithm::ES384]),
            (ed25519, &[Algorithm::EdDSA]),
        ];
        let others = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        let all = kinds
            .iter()
            .flat_map(|(_, algorithms)| algorithms.iter().copied())
            .chain(others);
        for algorithm in all {
            for (key, fitting) in &kinds {
                assert_eq!(
                    finds(key.clone(), algorithm),
                    fitting.contains(&algorithm),
                    "{algorithm:?} {key}"
                );
            }
        }
    }

    #[test]
    fn a_key_that_names_its_algorithm_serves_no_other() {
        let key = with(rsa(256), "alg", json!("PS256"));
        assert!(finds(key.clone(), Algorithm::PS256));
        assert!(!finds(key, Algorithm::RS256));
        assert!(!finds(
            with(rsa(256), "alg", json!("RSA-OAEP")),
            Algorithm::RS256
        ));
        assert!(!finds(
            with(rsa(256), "alg", json!("made-up")),
            Algorithm::RS256
        ));
    }

    #[test]
    fn keys_for_another_use_are_left_out() {
        assert!(finds(with(rsa(256), "use", json!("sig")), Algorithm::RS256));
        assert!(finds(
            with(rsa(256), "key_ops", json!(["verify"])),
            Algorithm::RS256
        ));
        assert!(!finds(
            with(rsa(256), "use", json!("enc")),
            Algorithm::RS256
        ));
        assert!(!finds(
            with(rsa(256), "key_ops", json!(["encrypt"])),
            Algorithm::RS256
        ));
    }

    #[test]
    fn weak_broken_and_shared_keys_are_left_out() {
        let leading_zeros = URL_SAFE_NO_PAD.encode([vec![0; 128], vec![0xff; 128]].concat());
        for key in [
            rsa(128),
            rsa(255),
            rsa(1025),
            with(rsa(256), "n", json!(leading_zeros)),
            with(rsa(256), "n", json!("!")),
            json!({ "kty": "EC", "crv": "P-256", "x": encoded(31), "y": encoded(32) }),
            json!({ "kty": "EC", "crv": "P-521", "x": encoded(66), "y": encoded(66) }),
            json!({ "kty": "EC", "crv": "Ed25519", "x": encoded(32), "y": encoded(32) }),
            json!({ "kty": "OKP", "crv": "P-256", "x": encoded(32) }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(31) }),
            json!({ "kty": "oct", "k": encoded(64) }),
            json!({ "kty": "RSA" }),
            json!("RSA"),
        ] {
            assert!(
                matches!(
                    read(std::slice::from_ref(&key)),
                    Err(BadKeySet::NoUsableKey)
                ),
                "{key}"
            );
            assert!(read(&[key, rsa(256)]).is_ok());
        }
    }

    #[test]
    fn a_key_is_found_by_its_id_or_by_being_the_only_one() {
        let set = read(&[rsa(256), with(rsa(256), "kid", json!("s"))]).unwrap();
        assert!(set.find(Some("s"), Algorithm::RS256).is_ok());
        assert_eq!(
            set.find(Some("t"), Algorithm::RS256).unwrap_err(),
            JwtRejected::UnknownKey
        );
        assert_eq!(
            set.find(Some("s"), Algorithm::ES256).unwrap_err(),
            JwtRejected::UnknownKey
        );
        assert_eq!(
            set.find(None, Algorithm::RS256).unwrap_err(),
            JwtRejected::AmbiguousKey
        );
        assert_eq!(
            set.find(None, Algorithm::ES256).unwrap_err(),
            JwtRejected::UnknownKey
        );
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for text in ["", "[]", "[[]]", "null", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert!(
                matches!(
                    KeySet::from_json(text.as_bytes()),
                    Err(BadKeySet::NotAKeySet)
                ),
                "{text}"
            );
        }
        assert!(matches!(read(&[]), Err(BadKeySet::NoUsableKey)));
    }
}
