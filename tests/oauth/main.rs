//! The standards from outside: token exchange, public keys and metadata, on the real router.

mod exchange;
mod keys;
mod support;
mod workload;
