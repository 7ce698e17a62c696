//! TLS: a certificate with its key, checked before use and exchangeable while serving.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig, SupportedCipherSuite};

/// Why a certificate and key can't be used; never quotes either.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain holds something that is no certificate.
    #[error("the certificate chain is not valid PEM; check that the file is complete")]
    BadCertificate,
    /// The key is no private key that TLS can sign with.
    #[error(
        "the private key can't be used; give an unencrypted RSA, P-256, P-384 or Ed25519 key as PEM"
    )]
    BadKey,
    /// The certificate was issued for another key.
    #[error(
        "the private key doesn't belong to the first certificate of the chain; \
         put the server's own certificate first and give its key"
    )]
    Mismatch,
    /// The text has no `CERTIFICATE` block.
    #[error(
        "there is no certificate in the chain; it should begin with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate,
    /// The text has no `PRIVATE KEY` block.
    #[error("there is no private key; it should begin with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The cryptography itself did not start, or the certificate is of a kind it doesn't know.
    #[error("TLS can't be set up with this certificate: {0}")]
    Unusable(rustls::Error),
}

/// A certificate chain with its private key, known to fit each other.
#[derive(Clone)]
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
}

impl TlsIdentity {
    /// Reads a certificate chain, the server's own certificate first, and its unencrypted private
    /// key (PKCS #8, PKCS #1 or SEC 1), both as PEM (RFC 7468).
    ///
    /// Draws the process's first random numbers, which takes some 66 ms: call it before readiness.
    ///
    /// # Errors
    ///
    /// When either is missing or damaged, or they don't belong together.
    pub fn from_pem(certificate_chain: &[u8], private_key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate_chain)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::BadCertificate)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(private_key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => TlsError::NoKey,
            _ => TlsError::BadKey,
        })?;

        let provider = Arc::new(CryptoProvider {
            cipher_suites: CIPHER_SUITES.to_vec(),
            ..default_provider()
        });
        // Loaded by itself first, so that a bad key and a bad certificate are told apart.
        provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|_| TlsError::BadKey)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsError::Mismatch
                }
                rustls::Error::InvalidCertificate(_) => TlsError::BadCertificate,
                other => TlsError::Unusable(other),
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ignore_client_order = true;
        // Sessions are sealed into the client's ticket, so resumption costs no memory here. The
        // sealing key is this identity's own: after a change of certificate all see the new one.
        config.ticketer = Ticketer::new().map_err(TlsError::Unusable)?;
        // Each ticket costs an encryption and a write per handshake, and clients use one.
        config.send_tls13_tickets = 1;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity")
    }
}

/// Our order, as clients' own mostly begins with AES-256, whose key schedule and SHA-384 make a
/// handshake a quarter dearer without a gain against any known attack.
static CIPHER_SUITES: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
];

/// The identity that new connections are shown; those already open keep theirs.
pub struct TlsSlot {
    current: ArcSwap<ServerConfig>,
}

impl TlsSlot {
    /// A slot that shows `identity`.
    #[must_use]
    pub fn new(identity: TlsIdentity) -> Self {
        Self {
            current: ArcSwap::new(identity.config),
        }
    }

    /// Shows `identity` from the next handshake on.
    pub fn replace(&self, identity: TlsIdentity) {
        self.current.store(identity.config);
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

impl fmt::Debug for TlsSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSlot")
    }
}
