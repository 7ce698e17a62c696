//! One bounded question to another server: no redirect, no endless body, no endless wait.

use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use reqwest::{RequestBuilder, Response, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

const MAX_BODY_BYTES: usize = 64 * 1024;

/// The address of a server that is asked for sessions or keys: `http` or `https`, and without a
/// user name or password in it, since addresses end up in logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl(Url);

/// A text that can't be asked. Doesn't repeat it: a password may stand in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It names a user or a password.
    #[error("the URL holds a user name or password: leave them out")]
    Credentials,
    /// It isn't an absolute `http` or `https` URL.
    #[error("this is not a URL that begins with `https://` or `http://`")]
    NotHttp,
}

impl FromStr for UpstreamUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let url = Url::parse(text).map_err(|_| BadUrl::NotHttp)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadUrl::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadUrl::Credentials);
        }
        Ok(Self(url))
    }
}

/// Asks upstreams. Clones share one pool of connections.
///
/// Proxies named by environment variables are left alone: a user's cookies go to the configured
/// address and nowhere else.
#[derive(Clone, Debug)]
pub struct UpstreamClient(reqwest::Client);

/// Why the client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum BadRoots {
    /// The text holds something else than PEM certificates, or none.
    #[error("the file of additional root certificates must hold at least one PEM certificate")]
    NoCertificates,
    /// A certificate can't serve as a root.
    #[error("an additional root certificate can't be used: {0}")]
    Unusable(rustls::Error),
    /// The TLS library refuses its own settings.
    #[error("TLS for calls to other servers can't be set up: {0}")]
    Tls(Box<dyn Error + Send + Sync>),
}

impl UpstreamClient {
    /// A client that trusts the system's root certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` are
    /// honoured) and those in `additional_roots`, a text of PEM certificates.
    ///
    /// # Errors
    /// [`BadRoots`] when `additional_roots` can't be used.
    pub fn new(additional_roots: Option<&[u8]>) -> Result<Self, BadRoots> {
        let mut roots = RootCertStore::empty();
        // A certificate of the system that can't be read is not ours to refuse, and without any
        // `https` upstream none is needed.
        let system = rustls_native_certs::load_native_certs();
        let (trusted, _) = roots.add_parsable_certificates(system.certs);
        tracing::debug!(trusted, "loaded the system's {trusted} root certificates");
        if let Some(pem) = additional_roots {
            let before = roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| BadRoots::NoCertificates)?;
                roots.add(certificate).map_err(BadRoots::Unusable)?;
            }
            if roots.len() == before {
                return Err(BadRoots::NoCertificates);
            }
        }

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BadRoots::Tls(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .user_agent(concat!("signet/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| BadRoots::Tls(error.into()))?;
        Ok(Self(client))
    }

    /// Sends `GET url` with `headers`, and reads the body of a 200 up to 64 KiB. All of it
    /// together takes at most `timeout`.
    ///
    /// # Errors
    /// [`Unanswered`] when nothing came that can be used.
    pub async fn ask(
        &self,
        url: &UpstreamUrl,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Answer, Unanswered> {
        let question = self.0.get(url.0.clone()).headers(headers);
        send(question, &[200], timeout).await
    }

    /// The same where a 404 has something to say as well.
    ///
    /// # Errors
    /// [`Unanswered`] when nothing came that can be used.
    pub async fn look_up(
        &self,
        url: &UpstreamUrl,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Answer, Unanswered> {
        let question = self.0.get(url.0.clone()).headers(headers);
        send(question, &[200, 404], timeout).await
    }

    /// The same with `POST` and a body, which is wiped once it is sent.
    ///
    /// # Errors
    /// [`Unanswered`] when nothing came that can be used.
    pub async fn tell(
        &self,
        url: &UpstreamUrl,
        headers: HeaderMap,
        body: Zeroizing<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Answer, Unanswered> {
        let message = self.0.post(url.0.clone()).headers(headers);
        send(message.body(Bytes::from_owner(body)), &[200], timeout).await
    }
}

/// Sends it, and reads the answer's body if its status is one of `with_body`.
async fn send(
    question: RequestBuilder,
    with_body: &[u16],
    timeout: Duration,
) -> Result<Answer, Unanswered> {
    let answer = async {
        let response = question.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = if with_body.contains(&status) {
            read(response).await?
        } else {
            Zeroizing::default()
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
    };
    tokio::time::timeout(timeout, answer)
        .await
        .unwrap_or(Err(Unanswered::TimedOut))
}

/// What an upstream said.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// Empty unless the question says that this status has one.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why an upstream said nothing that can be used. No message repeats the address or an answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// There was no connection, or it broke.
    #[error("could not be asked: {0}")]
    Failed(String),
    /// It took longer than it may.
    #[error("did not answer in time")]
    TimedOut,
    /// Its body was longer than 64 KiB.
    #[error("answered with more than {MAX_BODY_BYTES} bytes")]
    TooLong,
}

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        // The address may carry a secret in its query, and the cause ("connection refused") stands
        // at the end of the chain.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            text = next.to_string();
            cause = next.source();
        }
        Self::Failed(text)
    }
}

async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, Unanswered> {
    // As large as it says, so that it is not moved and leaves no copy behind.
    let length = response.content_length().unwrap_or(0);
    let length = usize::try_from(length).map_or(MAX_BODY_BYTES, |it| it.min(MAX_BODY_BYTES));
    let mut body = Zeroizing::new(Vec::with_capacity(length));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Unanswered::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_without_credentials_can_be_asked() {
        assert!(
            "https://app.example.com/session?tenant=1"
                .parse::<UpstreamUrl>()
                .is_ok()
        );
        for text in [
            "",
            "/session",
            "ftp://app.example.com",
            "file:///etc/passwd",
            "https://",
        ] {
            assert_eq!(
                text.parse::<UpstreamUrl>(),
                Err(BadUrl::NotHttp),
                "{text:?}"
            );
        }
        for text in [
            "https://user@app.example.com",
            "https://:pass@app.example.com",
        ] {
            assert_eq!(
                text.parse::<UpstreamUrl>(),
                Err(BadUrl::Credentials),
                "{text:?}"
            );
        }
    }

    #[test]
    fn additional_roots_must_be_certificates() {
        for pem in [
            "",
            "nonsense",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        ] {
            let made = UpstreamClient::new(Some(pem.as_bytes()));
            assert!(matches!(made, Err(BadRoots::NoCertificates)), "{pem:?}");
        }
        let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            UpstreamClient::new(Some(empty.as_bytes())),
            Err(BadRoots::Unusable(_))
        ));
    }
}
