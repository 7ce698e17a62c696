//! The measure of all things: hyper, and nothing else, answering every request with a constant of a token's size.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves in the clear, or over TLS with the files of a certificate and its key.
pub(super) async fn serve(address: &str, certificate: &[String]) -> Result<()> {
    let tls = match certificate {
        [chain, key] => Some(acceptor(chain, key)?),
        _ => None,
    };
    let body = super::constant();
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // As signet does; a refusal costs some speed and nothing else.
        let _ = stream.set_nodelay(true);
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => answer(stream, body).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, body).await;
                    }
                }
            }
        });
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, body: &'static str) {
    let constant = async |_: Request<Incoming>| {
        let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Ok::<_, Infallible>(response)
    };
    // A client that is gone is no matter.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(constant))
        .await;
}

/// With all of rustls' defaults.
fn acceptor(chain: &str, key: &str) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
