//! The sockets from outside: slow clients, TLS, caps, floods and the drain.

mod drain;
mod http2;
mod requests;
mod room;
mod slow;
mod support;
mod tls;
