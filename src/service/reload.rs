//! Reloading: the same walk as a start, then one swap; what is wrong leaves the last good state serving.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::Notify;

use super::{Loaded, Sources};
use crate::config::Config;
use crate::http::{RefusedReload, Service};
use crate::server::TlsSlot;

/// How often the files are looked at. Looking sees every kind of change: renames, writes in place and
/// Kubernetes' symlink swaps, on file systems with events and without.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Files that are longer than anything that is read from them are told apart by their beginning and length.
const MOST_BYTES: u64 = 1024 * 1024;

/// Watches everything that the configuration was made from.
pub struct Reloader {
    sources: Arc<Sources>,
    config: Config,
    service: Arc<Service>,
    tls: Option<Arc<TlsSlot>>,
}

/// What each file held when it was last looked at.
type Seen = BTreeMap<PathBuf, Vec<u8>>;

impl Reloader {
    /// A reloader of a service that runs with `config`.
    #[must_use]
    pub fn new(
        sources: Sources,
        config: Config,
        service: Arc<Service>,
        tls: Option<Arc<TlsSlot>>,
    ) -> Self {
        Self {
            sources: Arc::new(sources),
            config,
            service,
            tls,
        }
    }

    /// Reloads whenever `asked` says so or a file has changed, for as long as it is polled.
    pub async fn run(mut self, asked: Arc<Notify>) {
        let mut seen = self.look().await;
        loop {
            let told = tokio::select! {
                () = asked.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let now = self.look().await;
            if told || now != seen {
                self.reload().await;
                // The new configuration may name other files.
                seen = self.look().await;
            }
        }
    }

    async fn look(&self) -> Seen {
        let files: Vec<PathBuf> = self
            .config
            .watched_files()
            .iter()
            .chain(&self.sources.file)
            .cloned()
            .collect();
        let look = move || {
            files
                .into_iter()
                .map(|path| (fingerprint(&path), path))
                .map(|(print, path)| (path, print))
                .collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    async fn reload(&mut self) {
        let sources = Arc::clone(&self.sources);
        let previous = self.service.snapshot.load_full();
        // Reads files and tests keys.
        let loading = tokio::task::spawn_blocking(move || sources.load(Some(&previous)));
        match loading.await {
            Ok(Ok(loaded)) => self.apply(loaded),
            Ok(Err(problems)) => {
                let mut told = Vec::new();
                for problem in problems {
                    tracing::error!(
                        origin = problem.origin,
                        path = problem.path,
                        "not reloaded, the last good state goes on: {problem}"
                    );
                    told.push(problem.to_string());
                }
                self.refuse(told);
            }
            Err(_) => {
                tracing::error!("not reloaded, the last good state goes on: loading panicked");
                self.refuse(vec!["loading panicked".to_owned()]);
            }
        }
    }

    fn refuse(&self, problems: Vec<String>) {
        self.service.metrics.count_reload(false);
        let at = self.service.clock.now();
        let refused = RefusedReload { at, problems };
        self.service.refused_reload.store(Some(Arc::new(refused)));
    }

    fn apply(&mut self, loaded: Loaded) {
        let Loaded {
            config,
            snapshot,
            tls,
        } = loaded;
        for (setting, changed) in [
            (
                "server.listen",
                config.server.listen != self.config.server.listen,
            ),
            (
                "admin.listen",
                config.admin.listen != self.config.admin.listen,
            ),
            (
                "server.max_connections",
                config.server.max_connections != self.config.server.max_connections,
            ),
            (
                "server.shutdown_grace",
                config.server.shutdown_grace != self.config.server.shutdown_grace,
            ),
            (
                "server.tls (on or off)",
                tls.is_some() != self.tls.is_some(),
            ),
            ("log", config.log != self.config.log),
        ] {
            if changed {
                tracing::warn!(
                    setting,
                    "`{setting}` has changed and needs a restart; the rest is reloaded"
                );
            }
        }
        if let (Some(slot), Some(identity)) = (&self.tls, tls) {
            slot.replace(identity);
        }
        self.service.snapshot.store(Arc::new(snapshot));
        self.service.refused_reload.store(None);
        self.service.metrics.count_reload(true);
        self.config = config;
        tracing::info!(
            apps = self.config.apps.len(),
            callers = self.config.callers.len(),
            "reloaded the configuration"
        );
    }
}

/// Something that changes whenever what could be read from `path` does.
fn fingerprint(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let read = || {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(b"not a file".to_vec());
        }
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        std::fs::File::open(path)?
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)?;
        let mut print = digest(&SHA256, &bytes).as_ref().to_vec();
        print.extend_from_slice(&metadata.len().to_le_bytes());
        Ok(print)
    };
    read().unwrap_or_else(|error: std::io::Error| error.kind().to_string().into_bytes())
}
