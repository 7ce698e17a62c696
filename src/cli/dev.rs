//! `signet dev`: everything at once, to try it out.

use std::net::SocketAddr;

use super::Trouble;
use crate::dev;
use crate::telemetry::Sink;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to listen, on this machine only; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let sink = Sink::new(std::io::stdout())?;
    let ended = dev::run(arguments.listen, &sink);
    sink.flush();
    Ok(ended?)
}
