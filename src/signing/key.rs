//! One signing key: checked when it is made, ready to sign, and unable to print itself.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RsaEncoding,
};
use hmac::{Hmac, KeyInit};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Sha256, Sha384, Sha512};

use super::Algorithm;
use crate::secrets::{Secret, Weakness};

/// The name of a key: a header's `kid` where the profile writes one (RFC 7515 section 4.1.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as text that may be kept without a copy.
    #[must_use]
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl From<&str> for KeyId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a key can't be used. No message repeats a byte of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a PEM text, or not a private key.
    #[error("this is not a private key in PEM form (PKCS#8, PKCS#1 or SEC 1, unencrypted)")]
    NotAPrivateKey,
    /// A PEM text where an HMAC secret belongs.
    #[error(
        "a PEM text is not a secret for {0}; name it as `private_key` and choose an RS, ES or EdDSA algorithm"
    )]
    PemAsSecret(Algorithm),
    /// An RSA modulus under 2048 bits (RFC 7518 section 3.3).
    #[error(
        "the RSA key has fewer than 2048 bits; make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`"
    )]
    RsaTooShort,
    /// An HMAC secret shorter than its hash (RFC 7518 section 3.2).
    #[error(
        "the secret has {have} bytes and {algorithm} needs {need}; `signet secret new` prints one that fits HS256"
    )]
    SecretTooShort {
        /// The algorithm that it is for.
        algorithm: Algorithm,
        /// How many bytes it has.
        have: usize,
        /// How many it needs.
        need: usize,
    },
    /// The key doesn't verify what it signed.
    #[error("the key does not verify what it signed itself")]
    SelfTest,
    /// A secret that could be guessed.
    #[error(transparent)]
    Weak(#[from] Weakness),
    /// Another kind of key than the algorithm's.
    #[error("the private key is not one for {0}; name the algorithm that fits it, or another key")]
    WrongKind(Algorithm),
}

/// A key that signs, with what verifies its signatures.
pub struct Key {
    id: KeyId,
    algorithm: Algorithm,
    pub(super) signer: Signer,
    pub(super) verifier: DecodingKey,
    public: Option<Jwk>,
}

pub(super) enum Signer {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    // The key's first blocks are hashed once, when it is made, and wiped with it.
    Hs256(Box<Hmac<Sha256>>),
    Hs384(Box<Hmac<Sha384>>),
    Hs512(Box<Hmac<Sha512>>),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
}

impl Key {
    /// A key of a shared secret for HS256, HS384 or HS512; `secret`'s bytes are the key.
    ///
    /// # Errors
    /// When the secret is too short for its hash, well known, repetitive or a PEM text.
    pub fn from_secret(id: KeyId, algorithm: Algorithm, secret: &Secret) -> Result<Self, KeyError> {
        let signer = match algorithm {
            Algorithm::HS256 => Signer::Hs256(prepared(secret)),
            Algorithm::HS384 => Signer::Hs384(prepared(secret)),
            Algorithm::HS512 => Signer::Hs512(prepared(secret)),
            _ => return Err(KeyError::WrongKind(algorithm)),
        };
        if secret
            .expose()
            .trim_ascii_start()
            .starts_with(b"-----BEGIN")
        {
            return Err(KeyError::PemAsSecret(algorithm));
        }
        let (have, need) = (secret.len(), algorithm.min_secret_bytes());
        if have < need {
            return Err(KeyError::SecretTooShort {
                algorithm,
                have,
                need,
            });
        }
        if let Some(weakness) = secret.weakness() {
            return Err(weakness.into());
        }
        Self {
            id,
            algorithm,
            signer,
            verifier: DecodingKey::from_secret(secret.expose()),
            public: None,
        }
        .tested()
    }

    /// A key pair from a PEM text: PKCS#8 for every kind, PKCS#1 for RSA, SEC 1 for elliptic curves.
    /// Without an `id` it is named by its RFC 7638 thumbprint.
    ///
    /// # Errors
    /// When it isn't an unencrypted private key, isn't of the algorithm's kind and curve, or is RSA under 2048 bits.
    pub fn from_pem(
        id: Option<KeyId>,
        algorithm: Algorithm,
        pem: &Secret,
    ) -> Result<Self, KeyError> {
        let der =
            PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| KeyError::NotAPrivateKey)?;
        let wrong_kind = |_| KeyError::WrongKind(algorithm);
        let (signer, encoding) = match algorithm {
            Algorithm::RS256 => rsa(pem, &der, &RSA_PKCS1_SHA256, algorithm)?,
            Algorithm::RS384 => rsa(pem, &der, &RSA_PKCS1_SHA384, algorithm)?,
            Algorithm::RS512 => rsa(pem, &der, &RSA_PKCS1_SHA512, algorithm)?,
            Algorithm::ES256 => ecdsa(&der, &ECDSA_P256_SHA256_FIXED_SIGNING, algorithm)?,
            Algorithm::ES384 => ecdsa(&der, &ECDSA_P384_SHA384_FIXED_SIGNING, algorithm)?,
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_der())
                    .map_err(wrong_kind)?;
                (
                    Signer::Ed25519(pair),
                    EncodingKey::from_ed_der(der.secret_der()),
                )
            }
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                return Err(KeyError::WrongKind(algorithm));
            }
        };
        let mut public = Jwk::from_encoding_key(&encoding, algorithm.verifying())
            .map_err(|_| KeyError::WrongKind(algorithm))?;
        let id = match id {
            Some(id) => id,
            None => KeyId::from(
                public
                    .thumbprint(ThumbprintHash::SHA256)
                    .map_err(|_| KeyError::WrongKind(algorithm))?
                    .as_str(),
            ),
        };
        public.common.key_id = Some(id.to_string());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let verifier =
            DecodingKey::from_jwk(&public).map_err(|_| KeyError::WrongKind(algorithm))?;
        Self {
            id,
            algorithm,
            signer,
            verifier,
            public: Some(public),
        }
        .tested()
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The one algorithm that it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half as a JWK (RFC 7517); none for a shared secret.
    #[must_use]
    pub fn public_jwk(&self) -> Option<&Jwk> {
        self.public.as_ref()
    }

    /// Signs a probe and verifies it with the other implementation.
    ///
    /// # Errors
    /// When the signature doesn't verify.
    pub fn self_test(&self) -> Result<(), KeyError> {
        let header =
            self.encode_header(format!(r#"{{"alg":"{}","typ":"JWT"}}"#, self.algorithm).as_bytes());
        let probe = self
            .seal(&header, br#"{"probe":true}"#)
            .map_err(|_| KeyError::SelfTest)?;
        let claims = self
            .verify(probe.expose())
            .map_err(|_| KeyError::SelfTest)?;
        if claims.get("probe") == Some(&serde_json::Value::Bool(true)) {
            Ok(())
        } else {
            Err(KeyError::SelfTest)
        }
    }

    fn tested(self) -> Result<Self, KeyError> {
        self.self_test().map(|()| self)
    }
}

fn prepared<M: KeyInit>(secret: &Secret) -> Box<M> {
    let key = M::new_from_slice(secret.expose());
    Box::new(key.expect("HMAC takes keys of any length"))
}

fn rsa(
    pem: &Secret,
    der: &PrivateKeyDer<'_>,
    encoding: &'static dyn RsaEncoding,
    algorithm: Algorithm,
) -> Result<(Signer, EncodingKey), KeyError> {
    let pair = match der {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(KeyError::WrongKind(algorithm)),
    };
    // The library refuses shorter ones, as one of its several reasons.
    let pair = pair.map_err(|error| match error.to_string().as_str() {
        "TooSmall" => KeyError::RsaTooShort,
        _ => KeyError::WrongKind(algorithm),
    })?;
    if pair.public_modulus_len() < 256 {
        return Err(KeyError::RsaTooShort);
    }
    Ok((
        Signer::Rsa(Box::new(pair), encoding),
        EncodingKey::from_rsa_pem(pem.expose()).map_err(|_| KeyError::WrongKind(algorithm))?,
    ))
}

fn ecdsa(
    der: &PrivateKeyDer<'_>,
    curve: &'static EcdsaSigningAlgorithm,
    algorithm: Algorithm,
) -> Result<(Signer, EncodingKey), KeyError> {
    let pair = match der {
        PrivateKeyDer::Pkcs8(der) => EcdsaKeyPair::from_pkcs8(curve, der.secret_pkcs8_der()),
        PrivateKeyDer::Sec1(der) => {
            EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der())
        }
        _ => return Err(KeyError::WrongKind(algorithm)),
    }
    .map_err(|_| KeyError::WrongKind(algorithm))?;
    // In PKCS#8 whatever it was before: the other implementation reads nothing else.
    let pkcs8 = pair
        .to_pkcs8v1()
        .map_err(|_| KeyError::WrongKind(algorithm))?;
    let encoding = EncodingKey::from_ec_der(pkcs8.as_ref());
    Ok((Signer::Ecdsa(pair), encoding))
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id.as_str())
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
