//! An upstream on a port of its own, a signer for any token, and one verb per action.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, signature::RsaEncoding};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use serde_json::{Value, json};
use signet::clock::Timestamp;
use signet::upstream::{UpstreamClient, UpstreamUrl};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Interval;

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_763_650_000);
pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const AUDIENCE: &str = "https://app.example.com";

/// How an upstream answers from now on.
#[derive(Clone)]
pub(crate) enum Says {
    Hangs,
    /// A body that comes one space every few milliseconds, for ever.
    Drips,
    Status(u16, &'static [(&'static str, &'static str)]),
    Text(&'static [(&'static str, &'static str)], String),
    /// So many mebibytes, by and by; counts what was taken of it.
    Huge {
        mebibytes: usize,
        announced: bool,
    },
}

pub(crate) fn json_text(value: &Value) -> Says {
    Says::Text(&[("content-type", "application/json")], value.to_string())
}

/// A real server that counts its requests and can change its mind.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    hits: watch::Receiver<usize>,
    headers: Arc<Mutex<HeaderMap>>,
    pub(crate) bytes_taken: Arc<Mutex<usize>>,
}

impl Upstream {
    pub(crate) async fn that(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (count, hits) = watch::channel(0);
        let upstream = Self {
            address,
            says: Arc::new(Mutex::new(says)),
            hits,
            headers: Arc::default(),
            bytes_taken: Arc::default(),
        };
        let says = Arc::clone(&upstream.says);
        let headers = Arc::clone(&upstream.headers);
        let taken = Arc::clone(&upstream.bytes_taken);
        let router = Router::new().fallback(move |request: Request| {
            *headers.lock().expect("no test panics with it") = request.headers().clone();
            count.send_modify(|count| *count += 1);
            let says = says.lock().expect("no test panics with it").clone();
            answer(says, Arc::clone(&taken))
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        upstream
    }

    pub(crate) fn now(&self, says: Says) {
        *self.says.lock().expect("no test panics with it") = says;
    }

    pub(crate) fn url(&self) -> UpstreamUrl {
        url(&format!("http://{}/session", self.address))
    }

    pub(crate) fn hits(&self) -> usize {
        *self.hits.borrow()
    }

    pub(crate) async fn was_asked(&self, times: usize) {
        let mut hits = self.hits.clone();
        hits.wait_for(|hits| *hits >= times)
            .await
            .expect("the upstream is up");
    }

    /// The headers of the last request.
    pub(crate) fn last_headers(&self) -> HeaderMap {
        self.headers.lock().expect("no test panics with it").clone()
    }
}

async fn answer(says: Says, taken: Arc<Mutex<usize>>) -> Response {
    let (status, headers, body) = match says {
        Says::Hangs => pending().await,
        Says::Drips => {
            let body = Drip(tokio::time::interval(Duration::from_millis(5)));
            return Body::new(body).into_response();
        }
        Says::Status(status, headers) => (status, headers, String::new()),
        Says::Text(headers, text) => (200, headers, text),
        Says::Huge {
            mebibytes,
            announced,
        } => {
            let body = Flood {
                left: mebibytes * 64,
                taken,
            };
            let mut response = Body::new(body).into_response();
            if announced {
                response
                    .headers_mut()
                    .insert(CONTENT_LENGTH, (mebibytes << 20).into());
            }
            return response;
        }
    };
    let mut response = body.into_response();
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(*name, value.parse().expect("a header value"));
    }
    response
}

struct Drip(Interval);

impl http_body::Body for Drip {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        ready!(self.0.poll_tick(context));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

struct Flood {
    left: usize,
    taken: Arc<Mutex<usize>>,
}

impl http_body::Body for Flood {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static PIECE: [u8; 16 * 1024] = [b' '; 16 * 1024];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        *self.taken.lock().expect("no test panics with it") += PIECE.len();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }
}

pub(crate) fn url(text: &str) -> UpstreamUrl {
    text.parse().expect("a URL of the test's own")
}

pub(crate) fn client() -> UpstreamClient {
    UpstreamClient::new(None).expect("no additional roots")
}

/// Lets `time` go by for timers, while sockets keep to the real time.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A key that signs any header and claims, however wrong.
pub(crate) enum Signer {
    Ed25519(Ed25519KeyPair),
    Hmac(Vec<u8>),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// Making one takes a while.
pub(crate) static RSA: LazyLock<Signer> = LazyLock::new(|| rsa(&RSA_PKCS1_SHA256));
pub(crate) static OTHER_RSA: LazyLock<Signer> = LazyLock::new(|| rsa(&RSA_PKCS1_SHA256));
pub(crate) static RSA_PSS: LazyLock<Signer> = LazyLock::new(|| rsa(&RSA_PSS_SHA256));

fn rsa(padding: &'static dyn RsaEncoding) -> Signer {
    Signer::Rsa(
        RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"),
        padding,
    )
}

impl Signer {
    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().expect("an Ed25519 key"))
    }

    pub(crate) fn p256() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::P256(key.expect("a P-256 key"))
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn sign_texts(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = match self {
            Self::Ed25519(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Hmac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            Self::P256(key) => {
                let signature = key.sign(&SystemRandom::new(), message.as_bytes());
                signature.expect("a signature").as_ref().to_vec()
            }
            Self::Rsa(key, padding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    *padding,
                    &SystemRandom::new(),
                    message.as_bytes(),
                    &mut signature,
                )
                .expect("a signature");
                signature
            }
        };
        format!("{message}.{}", encode(signature))
    }

    /// The public key as a JWK.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(key.public_key()) })
            }
            Self::Hmac(secret) => json!({ "kty": "oct", "kid": id, "k": encode(secret) }),
            Self::P256(key) => {
                // RFC 5480 section 2.2: a byte that says "uncompressed", then both coordinates.
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": encode(x), "y": encode(y) })
            }
            Self::Rsa(key, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({ "kty": "RSA", "kid": id, "n": encode(public.n), "e": encode(public.e) })
            }
        }
    }

    /// The public RSA key in the forms that a confused verifier might take for a HMAC secret.
    pub(crate) fn public_forms(&self) -> Vec<Vec<u8>> {
        let Self::Rsa(key, _) = self else {
            panic!("only RSA keys are confused with secrets")
        };
        let der = key
            .public_key()
            .as_der()
            .expect("a key that can be written");
        let lines: Vec<_> = STANDARD.encode(der.as_ref()).into_bytes();
        let lines: Vec<_> = lines
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            lines.join("\n")
        );
        let modulus = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key()).n;
        let with_newline = format!("{pem}\n").into_bytes();
        vec![
            pem.into_bytes(),
            with_newline,
            der.as_ref().to_vec(),
            modulus,
        ]
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Claims that hold at [`NOW`].
pub(crate) fn claims() -> Value {
    let now = NOW.seconds();
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "usr_1", "iat": now - 10, "exp": now + 300 })
}

pub(crate) fn key_set(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}
