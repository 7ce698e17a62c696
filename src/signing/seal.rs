//! Sealing and opening: JWS compact serialisation, RFC 7515 section 3.1.

use std::fmt;
use std::sync::LazyLock;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::{NO_PAD, URL_SAFE_NO_PAD};
use hmac::Mac;
use serde_json::{Map, Value};

use super::Key;
use super::key::Signer;

/// A sealed token. It has no `Display` and its `Debug` prints nothing. It isn't wiped when dropped: it is made
/// to be given away, and the buffers through which it leaves aren't wiped either.
pub struct Jwt(Vec<u8>);

impl Jwt {
    /// The token as text, for the answer that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64url is ASCII")
    }

    /// The same as bytes, for whoever only passes it on.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a sealed token has at least two dots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwt(…)")
    }
}

/// A JOSE header in base64url with the dot behind it, made once per key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedHeader(Box<str>);

/// The key failed to sign; it says no more, because that may be about the key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key could not sign")]
pub struct SealError;

/// Why a token isn't one of this key's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not three base64url parts around JSON objects.
    #[error("this is not a JWT: it wants three base64url parts with dots between them")]
    Malformed,
    /// Signed by another key, or changed since.
    #[error("the signature is not this key's")]
    Signature,
    /// Another algorithm than the key's.
    #[error("the header names another algorithm than the key's")]
    WrongAlgorithm,
}

/// A token taken apart without believing it.
#[derive(Debug)]
pub struct UnverifiedToken {
    /// The JOSE header as it claims to be.
    pub header: Map<String, Value>,
    /// The claims as they claim to be.
    pub claims: Map<String, Value>,
}

impl UnverifiedToken {
    /// Takes a compact JWS apart; verifies nothing.
    ///
    /// # Errors
    /// When it isn't three base64url parts, the first two of JSON objects.
    pub fn parse(token: &str) -> Result<Self, VerifyError> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifyError::Malformed);
        };
        let object = |part: &str| {
            let bytes = URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| VerifyError::Malformed)?;
            serde_json::from_slice(&bytes).map_err(|_| VerifyError::Malformed)
        };
        Ok(Self {
            header: object(header)?,
            claims: object(claims)?,
        })
    }
}

impl Key {
    /// Encodes a JOSE header, a JSON object whose `alg` is this key's, for use in every seal.
    #[must_use]
    pub fn encode_header(&self, json: &[u8]) -> EncodedHeader {
        let mut text = URL_SAFE_NO_PAD.encode(json);
        text.push('.');
        EncodedHeader(text.into_boxed_str())
    }

    /// Seals `claims`, a JSON object's bytes, under `header`.
    ///
    /// # Errors
    /// When the signature can't be made; nothing is said of the reason.
    pub fn seal(&self, header: &EncodedHeader, claims: &[u8]) -> Result<Jwt, SealError> {
        let capacity = header.0.len() + claims.len().div_ceil(3) * 4 + 1 + self.signature_room();
        let mut text = Vec::with_capacity(capacity);
        text.extend_from_slice(header.0.as_bytes());
        append_base64url(&mut text, claims);
        match &self.signer {
            Signer::Hs256(key) => append_tag(&mut text, &**key),
            Signer::Hs384(key) => append_tag(&mut text, &**key),
            Signer::Hs512(key) => append_tag(&mut text, &**key),
            Signer::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &rand::SystemRandom::new(), &text, &mut signature)
                    .map_err(|_| SealError)?;
                append_signature(&mut text, &signature);
            }
            Signer::Ecdsa(pair) => {
                let signature = pair
                    .sign(&rand::SystemRandom::new(), &text)
                    .map_err(|_| SealError)?;
                append_signature(&mut text, signature.as_ref());
            }
            Signer::Ed25519(pair) => {
                let signature = pair.try_sign(&text).map_err(|_| SealError)?;
                append_signature(&mut text, signature.as_ref());
            }
        }
        Ok(Jwt(text))
    }

    /// Verifies a token's signature and algorithm, and gives its claims. Times are not looked at.
    ///
    /// # Errors
    /// When it isn't a JWT, names another algorithm, or isn't signed by this key.
    pub fn verify(&self, token: &str) -> Result<Map<String, Value>, VerifyError> {
        let unverified = UnverifiedToken::parse(token)?;
        let algorithm = self.algorithm();
        if unverified.header.get("alg") != Some(&algorithm.name().into()) {
            return Err(VerifyError::WrongAlgorithm);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(VerifyError::Malformed)?;
        // Not `decode`: it stumbles over a `sub`, `iss` or `aud` of another type than a string, which
        // a profile may write, and would call the signature wrong.
        let verified = jsonwebtoken::crypto::verify(
            signature,
            message.as_bytes(),
            &self.verifier,
            algorithm.verifying(),
        );
        match verified {
            Ok(true) => Ok(unverified.claims),
            _ => Err(VerifyError::Signature),
        }
    }

    fn signature_room(&self) -> usize {
        match &self.signer {
            Signer::Rsa(pair, _) => pair.public_modulus_len().div_ceil(3) * 4,
            // At most 96 bytes: ES384.
            _ => 128,
        }
    }
}

fn append_tag<M: Mac + Clone>(text: &mut Vec<u8>, key: &M) {
    let tag = key.clone().chain_update(&*text).finalize();
    append_signature(text, &tag.into_bytes());
}

fn append_signature(text: &mut Vec<u8>, signature: &[u8]) {
    text.push(b'.');
    append_base64url(text, signature);
}

/// Base64url without padding, by the processor's wide instructions where it has some.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64URL: LazyLock<base64::engine::Simd> =
    LazyLock::new(|| base64::engine::Simd::url_safe(NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static BASE64URL: LazyLock<base64::engine::GeneralPurpose> = LazyLock::new(|| URL_SAFE_NO_PAD);

/// In place: `encode_string` goes through a buffer that it looks at once more.
fn append_base64url(text: &mut Vec<u8>, bytes: &[u8]) {
    let start = text.len();
    let length =
        base64::encoded_len(bytes.len(), false).expect("a token is far from the largest number");
    text.resize(start + length, 0);
    BASE64URL
        .encode_slice(bytes, &mut text[start..])
        .expect("there is exactly the room for it");
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::secrets::Secret;
    use crate::signing::{Algorithm, KeyError, KeyId};

    const SECRET: &str = "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aEkR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5xY";
    // RSA keys take a while to make, so the 2048-bit one and the short one are fixed test keys.
    const RSA_PKCS8: &str = include_str!("../../tests/keys/rsa2048.pkcs8.pem");
    const RSA_PKCS1: &str = include_str!("../../tests/keys/rsa2048.pkcs1.pem");
    const RSA_1024: &str = include_str!("../../tests/keys/rsa1024.pkcs8.pem");
    const EC_P256_SEC1: &str = include_str!("../../tests/keys/p256.sec1.pem");
    const EC_P384: &str = include_str!("../../tests/keys/p384.pkcs8.pem");
    const ED25519: &str = include_str!("../../tests/keys/ed25519.pkcs8.pem");

    fn pem(algorithm: Algorithm, text: &str) -> Result<Key, KeyError> {
        Key::from_pem(None, algorithm, &Secret::from(text))
    }

    fn secret(algorithm: Algorithm, text: &str) -> Result<Key, KeyError> {
        Key::from_secret(KeyId::from("k"), algorithm, &Secret::from(text))
    }

    fn sealed(key: &Key) -> Jwt {
        let header =
            key.encode_header(format!(r#"{{"alg":"{}","typ":"JWT"}}"#, key.algorithm()).as_bytes());
        key.seal(&header, br#"{"sub":"usr_1"}"#).unwrap()
    }

    #[test]
    fn every_algorithm_seals_what_the_other_implementation_verifies() {
        let keys = [
            secret(Algorithm::HS256, SECRET),
            secret(Algorithm::HS384, SECRET),
            secret(Algorithm::HS512, SECRET),
            pem(Algorithm::RS256, RSA_PKCS8),
            pem(Algorithm::RS384, RSA_PKCS1),
            pem(Algorithm::RS512, RSA_PKCS8),
            pem(Algorithm::ES256, EC_P256_SEC1),
            pem(Algorithm::ES384, EC_P384),
            pem(Algorithm::EdDSA, ED25519),
        ];
        for key in keys {
            let key = key.unwrap();
            let claims = key.verify(sealed(&key).expose()).unwrap();
            assert_eq!(claims["sub"], "usr_1", "{key:?}");
        }
    }

    #[test]
    fn hs256_matches_the_vector_of_rfc_7515_appendix_a_1() {
        let bytes = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let key = Key::from_secret(
            KeyId::from("k"),
            Algorithm::HS256,
            &Secret::new(Zeroizing::new(bytes)),
        )
        .unwrap();
        let header = key.encode_header(b"{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}");
        let claims =
            b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        assert_eq!(
            key.seal(&header, claims).unwrap().expose(),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
    }

    #[test]
    fn a_changed_token_and_another_algorithm_are_refused() {
        let key = secret(Algorithm::HS256, SECRET).unwrap();
        let token = sealed(&key);
        let (body, signature) = token.expose().rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let turned = format!("{first}{}", &signature[1..]);
        assert_eq!(
            key.verify(&format!("{body}.{turned}")).unwrap_err(),
            VerifyError::Signature
        );
        let other = secret(Algorithm::HS512, SECRET).unwrap();
        assert_eq!(
            other.verify(token.expose()).unwrap_err(),
            VerifyError::WrongAlgorithm
        );
        assert_eq!(key.verify("a.b").unwrap_err(), VerifyError::Malformed);
    }

    #[test]
    fn a_signature_holds_whatever_the_claims_are() {
        let key = secret(Algorithm::HS256, SECRET).unwrap();
        let header = key.encode_header(br#"{"alg":"HS256"}"#);
        for claims in [
            r#"{"sub":{}}"#,
            r#"{"iss":7,"aud":[[]],"exp":"x","nbf":{}}"#,
        ] {
            let token = key.seal(&header, claims.as_bytes()).unwrap();
            let verified = key.verify(token.expose()).unwrap();
            assert_eq!(Value::Object(verified).to_string(), claims);
        }
    }

    #[test]
    fn secrets_shorter_than_their_hash_are_refused() {
        for (algorithm, need) in [
            (Algorithm::HS256, 32),
            (Algorithm::HS384, 48),
            (Algorithm::HS512, 64),
        ] {
            let error = secret(algorithm, &SECRET[..need - 1]).unwrap_err();
            assert_eq!(
                error,
                KeyError::SecretTooShort {
                    algorithm,
                    have: need - 1,
                    need
                }
            );
            secret(algorithm, &SECRET[..need]).unwrap();
        }
    }

    #[test]
    fn weak_secrets_and_pem_texts_are_refused_as_hmac_secrets() {
        assert!(matches!(
            secret(Algorithm::HS256, &"ab".repeat(20)).unwrap_err(),
            KeyError::Weak(_)
        ));
        assert_eq!(
            secret(Algorithm::HS256, RSA_PKCS8).unwrap_err(),
            KeyError::PemAsSecret(Algorithm::HS256)
        );
    }

    #[test]
    fn private_keys_of_another_kind_or_too_short_are_refused() {
        assert_eq!(
            pem(Algorithm::RS256, RSA_1024).unwrap_err(),
            KeyError::RsaTooShort
        );
        assert_eq!(
            pem(Algorithm::RS256, EC_P384).unwrap_err(),
            KeyError::WrongKind(Algorithm::RS256)
        );
        assert_eq!(
            pem(Algorithm::ES256, EC_P384).unwrap_err(),
            KeyError::WrongKind(Algorithm::ES256)
        );
        assert_eq!(
            pem(Algorithm::EdDSA, RSA_PKCS8).unwrap_err(),
            KeyError::WrongKind(Algorithm::EdDSA)
        );
        assert_eq!(
            pem(Algorithm::HS256, RSA_PKCS8).unwrap_err(),
            KeyError::WrongKind(Algorithm::HS256)
        );
        assert_eq!(
            secret(Algorithm::RS256, SECRET).unwrap_err(),
            KeyError::WrongKind(Algorithm::RS256)
        );
        assert_eq!(
            pem(Algorithm::RS256, "no pem").unwrap_err(),
            KeyError::NotAPrivateKey
        );
    }

    #[test]
    fn a_public_key_is_named_by_its_thumbprint_and_shows_no_private_part() {
        let key = pem(Algorithm::ES256, EC_P256_SEC1).unwrap();
        let jwk = serde_json::to_value(key.public_jwk().unwrap()).unwrap();
        assert_eq!(jwk["kid"], key.id().as_str());
        assert_eq!(key.id().as_str().len(), 43);
        assert_eq!(jwk.get("d"), None);
        assert_eq!(jwk["use"], "sig");
    }

    #[test]
    fn neither_a_key_nor_a_token_prints_itself() {
        let key = secret(Algorithm::HS256, SECRET).unwrap();
        assert_eq!(
            format!("{key:?}"),
            r#"Key { id: "k", algorithm: HS256, .. }"#
        );
        assert_eq!(format!("{:?}", sealed(&key)), "Jwt(…)");
    }
}
