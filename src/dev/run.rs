//! The whole picture on one machine, with nothing to prepare and nothing left behind.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Origins, StandIns, router, side_router};
use crate::caller::{KeyDigest, new_key};
use crate::clock::Clock;
use crate::config::Environment;
use crate::random;
use crate::secrets::{Secret, Variables, new_secret};
use crate::server::{self, Gauges, Peer, Settings, TlsIdentity, TlsSlot};
use crate::service::{self, Sources};
use crate::telemetry::{self, Audit, Format, Sink};

/// What a listener serves to each peer.
type Routes = Box<dyn Fn(Peer) -> Router + Send + Sync>;

const TENANT: &str = "ten_acme";
const CALLER: &str = "shop";
/// Short enough to be watched while it expires.
const TOKEN_SECONDS: u64 = 20;
/// How much of that lies in the past when a token is issued.
const BACKDATE_SECONDS: u64 = 5;

/// Serves everything on `listen`, which is a loopback address, until Ctrl-C; what it prints and logs
/// goes through `sink`.
///
/// # Errors
/// When an address is taken, or the temporary folder can't be written to.
pub fn run(listen: SocketAddr, sink: &Sink) -> anyhow::Result<()> {
    anyhow::ensure!(
        listen.ip().is_loopback(),
        "`signet dev` listens on this machine only; name 127.0.0.1, or use `signet serve`"
    );
    Dev::prepare()?.serve(listen, sink)
}

/// What lives as long as the command.
struct Dev {
    secret: Zeroizing<String>,
    key: Zeroizing<String>,
    certificate: CertificateFile,
    tls: TlsIdentity,
}

/// The certificate as a file for `curl`, removed with the command.
struct CertificateFile(PathBuf);

impl CertificateFile {
    fn write(pem: &str) -> anyhow::Result<Self> {
        let name = format!(
            "signet-dev-{}.pem",
            Uuid::from_bytes(random::bytes()).simple()
        );
        let file = Self(std::env::temp_dir().join(name));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&file.0)?
            .write_all(pem.as_bytes())?;
        Ok(file)
    }
}

impl Drop for CertificateFile {
    fn drop(&mut self) {
        // What can't be removed holds nothing secret.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Dev {
    fn prepare() -> anyhow::Result<Self> {
        let names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let made = rcgen::generate_simple_self_signed(names)?;
        let chain = made.cert.pem();
        let private_key = Zeroizing::new(made.signing_key.serialize_pem());
        let tls = TlsIdentity::from_pem(chain.as_bytes(), private_key.as_bytes())?;
        Ok(Self {
            secret: new_secret(),
            key: new_key(),
            certificate: CertificateFile::write(&chain)?,
            tls,
        })
    }

    #[tokio::main]
    async fn serve(self, listen: SocketAddr, sink: &Sink) -> anyhow::Result<()> {
        let free = |ip: IpAddr| bind(SocketAddr::new(ip, 0));
        let main = bind(listen)?;
        let (partner, stranger) = (free(listen.ip())?, free(listen.ip())?);
        let (session, admin) = (free(listen.ip())?, free(listen.ip())?);
        let at = |listener: &TcpListener| listener.local_addr();
        let origins = Origins::at(at(&main)?, at(&partner)?, at(&stranger)?);
        // From the first on: what ends the command must leave no certificate behind.
        let mut terminated = signal(SignalKind::terminate())?;
        let clock = Clock::System;
        let sources = self.sources(&origins, at(&session)?, clock.clone());
        let loaded = sources.load(None)?;
        // An error only says that a log is running already.
        let _ = telemetry::start(sink, Format::for_stdout(), LevelFilter::INFO, None);
        let service = service::start(
            loaded.snapshot,
            clock.clone(),
            Audit::new(sink.clone(), Format::for_stdout()),
        );
        let stand_ins = StandIns::new(
            TENANT,
            self.secret.as_bytes(),
            TOKEN_SECONDS - BACKDATE_SECONDS,
            origins.clone(),
            clock,
        );
        let demo = router(Arc::clone(&stand_ins));
        let side = side_router(&stand_ins);
        let public = service::public(&service);
        let slot = Arc::new(TlsSlot::new(self.tls.clone()));
        let stopping = CancellationToken::new();
        let start = |listener: TcpListener, tls: Option<Arc<TlsSlot>>, routes: Routes| {
            let gauges = Arc::new(Gauges::default());
            let settings = Settings {
                shutdown_grace: std::time::Duration::from_secs(2),
                ..Settings::default()
            };
            tokio::spawn(server::serve(
                listener,
                tls,
                routes,
                settings,
                gauges,
                stopping.clone(),
            ))
        };
        let (session_at, admin_at) = (at(&session)?, at(&admin)?);
        tracing::debug!(%session_at, "the stand-in for the app's session listens on {session_at}");
        let same = |routes: &Router| -> Routes {
            let routes = routes.clone();
            Box::new(move |_| routes.clone())
        };
        let everything = {
            let demo = demo.clone();
            Box::new(move |peer| demo.clone().fallback_service(public.service(peer)))
        };
        let servers = [
            start(main, Some(Arc::clone(&slot)), everything),
            start(partner, Some(Arc::clone(&slot)), same(&side)),
            start(stranger, Some(slot), same(&side)),
            start(session, None, same(&demo)),
            start(admin, None, Box::new(service::admin(service))),
        ];
        sink.write_lines(self.greeting(&origins, admin_at).as_bytes());
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminated.recv() => {}
        }
        stopping.cancel();
        for server in servers {
            let _ = server.await;
        }
        Ok(())
    }

    fn sources(&self, origins: &Origins, session: SocketAddr, clock: Clock) -> Sources {
        let hash = KeyDigest::of(self.key.as_bytes()).to_hex();
        let environment: Environment = [
            // The certificate isn't a file, so signet itself isn't told that it has one.
            ("SIGNET__SERVER__REQUIRE_HTTPS", "false".to_owned()),
            ("SIGNET__APPS__DEMO__PROFILE", "support-widget".to_owned()),
            ("SIGNET__APPS__DEMO__CLIENT_ID", TENANT.to_owned()),
            ("SIGNET__APPS__DEMO__ALGORITHM", "HS256".to_owned()),
            ("SIGNET__APPS__DEMO__TOKEN_TTL", format!("{TOKEN_SECONDS}s")),
            (
                "SIGNET__APPS__DEMO__BACKDATE",
                format!("{BACKDATE_SECONDS}s"),
            ),
            ("SIGNET__APPS__DEMO__SECRET__ENV", "DEV_SECRET".to_owned()),
            (
                "SIGNET__APPS__DEMO__BROWSER__PATH",
                "/api/support/token".to_owned(),
            ),
            (
                "SIGNET__APPS__DEMO__BROWSER__ORIGINS",
                format!("{},{}", origins.main, origins.partner),
            ),
            (
                "SIGNET__APPS__DEMO__BROWSER__SESSION__RESOLVER",
                "introspect".to_owned(),
            ),
            (
                "SIGNET__APPS__DEMO__BROWSER__SESSION__URL",
                format!("http://{session}/demo/session"),
            ),
            (
                "SIGNET__APPS__DEMO__BROWSER__SESSION__IDENTITY__USER_ID",
                "/user/id".to_owned(),
            ),
            (
                "SIGNET__APPS__DEMO__BROWSER__SESSION__IDENTITY__EMAIL",
                "/user/email".to_owned(),
            ),
            (
                "SIGNET__APPS__DEMO__BROWSER__SESSION__IDENTITY__ROLES",
                "/user/roles".to_owned(),
            ),
            (
                "SIGNET__APPS__DEMO__BROWSER__SESSION__IDENTITY__PLAN",
                "/user/plan".to_owned(),
            ),
            ("SIGNET__CALLERS__SHOP__KEY_SHA256", hash),
            ("SIGNET__CALLERS__SHOP__APPS", "demo".to_owned()),
            ("SIGNET__CALLERS__SHOP__ROLES", "*".to_owned()),
            ("SIGNET__CALLERS__SHOP__PLANS", "*".to_owned()),
        ]
        .into_iter()
        .collect();
        let secrets = [("DEV_SECRET".to_owned(), Secret::from(self.secret.as_str()))];
        Sources::new(None, environment, Variables::Given(secrets.into()), clock)
    }

    fn greeting(&self, origins: &Origins, admin: SocketAddr) -> String {
        let Origins {
            main,
            partner,
            stranger,
        } = origins;
        format!(
            "signet dev: all of this lives in this process and ends with it (Ctrl-C)

page     {main}/
         (its certificate is fresh and self-signed: let your browser accept it)
admin    http://{admin}/readyz  /metrics  /whoami
partner  {partner}/partner.html  (an allowed second origin)
stranger {stranger}/partner.html  (an origin that is not allowed)

A web backend (the caller `{CALLER}`) gets a token for a user of `{TENANT}`:

curl --cacert {certificate} {main}/token \\
  -H 'Authorization: Bearer {key}' \\
  -H 'Content-Type: application/json' \\
  -d '{{\"userId\":\"usr_1\",\"userEmail\":\"ada@example.com\",\"userRoles\":[\"user\"],\"plan\":\"pro\"}}'
",
            certificate = self.certificate.0.display(),
            key = *self.key,
        )
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    server::bind(address).map_err(|error| {
        anyhow::anyhow!("can't listen on {address}: {error}; name another address with --listen, such as 127.0.0.1:0")
    })
}
