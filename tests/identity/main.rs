//! The resolvers against real servers, and the JWT verifier against forged tokens.

mod introspect;
mod jwks;
mod jwt;
mod support;
