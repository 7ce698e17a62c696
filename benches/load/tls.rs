//! The first token over HTTPS: from the start of the process to the answer, with the first random number in between.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::process::{Server, free_address, request, signet_command};

/// Starts the program with a certificate of its own and asks it for one token.
pub(crate) fn first_token() -> Result<Duration> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let folder = tempfile::tempdir()?;
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    // The client's own first random number is not what is measured.
    ClientConnection::new(Arc::clone(&config), "localhost".try_into()?)?;

    let address = free_address()?;
    let mut command = signet_command(address)?;
    command
        .env("SIGNET__SERVER__TLS__CERTIFICATE", certificate)
        .env("SIGNET__SERVER__TLS__PRIVATE_KEY", key);
    let (server, started) = Server::spawn(command, address)?;
    while started.elapsed() < Duration::from_secs(20) {
        // Refused until it listens.
        if let Ok(stream) = TcpStream::connect(server.address()) {
            ask(stream, &config, address)?;
            return Ok(started.elapsed());
        }
    }
    bail!("signet didn't listen for HTTPS within 20 seconds of its start")
}

fn ask(stream: TcpStream, config: &Arc<ClientConfig>, address: SocketAddr) -> Result<()> {
    let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(&request(address, 0))?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    ensure!(
        &answer == b"HTTP/1.1 200",
        "an answer over HTTPS wasn't 200"
    );
    Ok(())
}
