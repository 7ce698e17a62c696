//! Who is compared: signet, the constants that it is measured by, and what a user would write instead.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::same_job;
use crate::cores::Cores;
use crate::door::Door;
use crate::process::{Server, free_address};
use crate::requests::{CALLERS_KEY, CLIENT_ID, PLATFORM_SECRET};
use crate::tls::{self, Certificate};
use crate::{program, servers};

/// A server that can be started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Contestant {
    /// What the report calls it.
    pub(super) title: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One of ours that makes no token.
    Constant(&'static str),
    /// A folder of `benches/compare`, whose `start` becomes the server.
    Folder(&'static str),
    /// One of ours that makes tokens.
    Rust(&'static str),
    Signet,
}

pub(super) const AXUM: Contestant = Contestant {
    title: "bare axum, a constant",
    kind: Kind::Constant("axum"),
};
pub(super) const GO: Contestant = Contestant {
    title: "Go net/http, golang-jwt",
    kind: Kind::Folder("go"),
};
pub(super) const HYPER: Contestant = Contestant {
    title: "bare hyper, a constant",
    kind: Kind::Constant("hyper"),
};
pub(super) const NAIVE: Contestant = Contestant {
    title: "axum, tower_governor, jsonwebtoken",
    kind: Kind::Rust("naive"),
};
pub(super) const SIGNET: Contestant = Contestant {
    title: "**signet**, everything on",
    kind: Kind::Signet,
};

impl Contestant {
    /// The one that lives in the folder `name`.
    pub(super) fn in_folder(name: &str) -> Result<Self> {
        let (title, folder) = match name {
            "bun" => ("Bun", "bun"),
            "express" => ("Express, jsonwebtoken", "express"),
            "fastapi" => ("FastAPI, PyJWT", "fastapi"),
            "fastify" => ("Fastify, fast-jwt", "fastify"),
            "go" => return Ok(GO),
            "nginx" => ("nginx with Lua", "nginx"),
            _ => anyhow::bail!("{name:?} has no title yet"),
        };
        Ok(Self {
            title,
            kind: Kind::Folder(folder),
        })
    }

    /// Starts it, sees that it does what the others do, and gives it with the time from its start to its first token.
    pub(super) fn start(
        &self,
        cores: Cores,
        certificate: Option<&Certificate>,
    ) -> Result<(Server, Duration)> {
        let address = free_address()?;
        let command = match self.kind {
            Kind::Constant(name) | Kind::Rust(name) => {
                servers::command(name, cores, address, certificate)?
            }
            Kind::Folder(name) => from_folder(name, cores, address.port(), certificate)?,
            Kind::Signet => program::command(cores, address, certificate)?,
        };
        let tls = certificate.map(|_| tls::client(false)).transpose()?;
        let (server, elapsed) = Server::start(command, Door { address, tls })
            .with_context(|| format!("starting {}", self.title))?;
        if certificate.is_none() && !matches!(self.kind, Kind::Constant(_)) {
            same_job::verify(address).with_context(|| format!("asking {}", self.title))?;
        }
        Ok((server, elapsed))
    }
}

fn from_folder(
    name: &str,
    cores: Cores,
    port: u16,
    certificate: Option<&Certificate>,
) -> Result<Command> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare")).join(name);
    let start = folder.join("start");
    let mut command = cores.run(start.to_str().context("a path that isn't text")?);
    command
        .env("PORT", port.to_string())
        .env("CLIENT_ID", CLIENT_ID)
        .env("CLIENT_SECRET", PLATFORM_SECRET)
        .env("API_KEY", CALLERS_KEY);
    if let Some(certificate) = certificate {
        command
            .env("TLS_CERTIFICATE", certificate.chain())
            .env("TLS_PRIVATE_KEY", certificate.key());
    }
    Ok(command)
}
