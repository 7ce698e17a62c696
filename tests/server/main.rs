//! The sockets from outside: slow clients, TLS, caps, floods and the drain.
#![expect(clippy::unwrap_used, reason = "in a test, what fails should stop it")]

mod drain;
mod http2;
mod requests;
mod room;
mod slow;
mod support;
mod tls;
