//! The listeners: addresses that don't collide, HTTPS that can be had, bounds that hold.

use std::net::SocketAddr;
use std::time::Duration;

use super::Check;
use crate::config::checked::{Admin, Server, TlsFiles};
use crate::config::{raw, text};

/// The longest time that a request may take: slow readers hold a connection no longer.
const LONGEST_REQUEST: Duration = Duration::from_secs(15);
const LONGEST_GRACE: Duration = Duration::from_secs(3600);
/// A body holds one small JSON object.
const BODY_BYTES: std::ops::RangeInclusive<usize> = 256..=1024 * 1024;

impl Check<'_> {
    pub(super) fn server(
        &mut self,
        raw: &raw::Server,
        admin: &raw::Admin,
    ) -> Option<(Server, Admin)> {
        let listen = self.read("server.listen", raw.listen.as_ref(), text::address);
        let admin_listen = self.read("admin.listen", admin.listen.as_ref(), text::address);
        if let (Some(public), Some(admin)) = (listen, admin_listen)
            && collide(public, admin)
        {
            self.report(
                "admin.listen",
                "is the public listener's address too; give it another port",
            );
        }
        let public_url = self.optional(
            "server.public_url",
            raw.public_url.as_ref(),
            text::public_url,
        );
        let proxies = self.each(
            "server.trusted_proxies",
            raw.trusted_proxies.as_ref(),
            text::network,
        );
        let tls = match &raw.tls {
            Some(tls) => self.tls(tls).map(Some),
            None => Some(None),
        };
        self.https_can_be_had(raw);
        let timeout = self.read(
            "server.request_timeout",
            raw.request_timeout.as_ref(),
            text::duration,
        );
        let timeout = self.within(
            "server.request_timeout",
            timeout,
            Duration::from_millis(10),
            LONGEST_REQUEST,
        );
        let grace = self.read(
            "server.shutdown_grace",
            raw.shutdown_grace.as_ref(),
            text::duration,
        );
        let grace = self.within(
            "server.shutdown_grace",
            grace,
            Duration::ZERO,
            LONGEST_GRACE,
        );
        let max_body = self.read("server.max_body", raw.max_body.as_ref(), |text| {
            let size = text::size(text)?;
            if BODY_BYTES.contains(&size) {
                Ok(size)
            } else {
                Err("must be from 256B to 1MiB".into())
            }
        });
        let server = Server {
            listen: listen?,
            public_url: public_url?,
            require_https: raw.require_https?,
            trusted_proxies: proxies?,
            request_timeout: timeout?,
            shutdown_grace: grace?,
            max_body: max_body?,
            max_connections: usize::try_from(raw.max_connections?).ok()?,
            max_in_flight: usize::try_from(raw.max_in_flight?).ok()?,
            tls: tls?,
        };
        let admin = Admin {
            listen: admin_listen?,
        };
        Some((server, admin))
    }

    fn tls(&mut self, raw: &raw::Tls) -> Option<TlsFiles> {
        let certificate = self.file("server.tls.certificate", raw.certificate.as_ref());
        let private_key = self.file("server.tls.private_key", raw.private_key.as_ref());
        Some(TlsFiles {
            certificate: certificate?,
            private_key: private_key?,
        })
    }

    fn https_can_be_had(&mut self, raw: &raw::Server) {
        let no_proxy = raw.trusted_proxies.as_ref().is_some_and(Vec::is_empty);
        if raw.require_https == Some(true)
            && raw.tls.is_none()
            && no_proxy
            && !self.spoiled("server.tls")
        {
            let message = format!(
                "nothing could be served: cleartext is refused, and HTTPS has no way in; set {} and {}, or {} to the proxy that ends TLS, or this to false",
                self.setting("server.tls.certificate"),
                self.setting("server.tls.private_key"),
                self.setting("server.trusted_proxies"),
            );
            self.report("server.require_https", message);
        }
    }
}

/// Whether two listeners want the same port of the same address. Port 0 is any free one.
fn collide(left: SocketAddr, right: SocketAddr) -> bool {
    let same_address =
        left.ip() == right.ip() || left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() == right.port() && left.port() != 0 && same_address
}
