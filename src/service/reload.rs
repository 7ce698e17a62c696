//! Reloading: the same walk as a start, then one swap; what is wrong leaves the last good state serving.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use super::changes::{Described, changes, needs_restart};
use super::fingerprints::Fingerprints;
use super::{Loaded, SecretPrints, Sources};
use crate::config::Config;
use crate::http::{Preview, RefusedReload, Service};
use crate::server::TlsSlot;

/// How often the files are looked at. Looking sees every kind of change: renames, writes in place and
/// Kubernetes' symlink swaps, on file systems with events and without.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watches everything that the configuration was made from.
pub struct Reloader {
    sources: Arc<Sources>,
    /// The state that serves.
    now: Described,
    /// The files as they were when they were last looked at for a reload, be it a refused one.
    seen: Fingerprints,
    service: Arc<Service>,
    tls: Option<Arc<TlsSlot>>,
    previews: mpsc::Receiver<oneshot::Sender<Preview>>,
}

impl Reloader {
    /// A reloader of a service that runs with `config`, which was made from files as they were `seen` and
    /// from `secrets`.
    #[must_use]
    pub fn new(
        sources: Sources,
        config: Config,
        seen: Fingerprints,
        secrets: SecretPrints,
        service: Arc<Service>,
        tls: Option<Arc<TlsSlot>>,
    ) -> Self {
        let (sender, previews) = mpsc::channel(1);
        // Somebody else's would go on; there is one reloader in a process.
        let _ = service.previews.set(sender);
        Self {
            sources: Arc::new(sources),
            now: Described {
                config,
                secrets,
                tls: tls.is_some(),
            },
            seen,
            service,
            tls,
            previews,
        }
    }

    /// Reloads whenever `asked` says so, or a file or a fetched secret has changed, for as long as
    /// it is polled.
    pub async fn run(self, asked: Arc<Notify>) {
        let fetched = Notify::new();
        let refreshing = refresh_forever(Arc::clone(&self.sources), &fetched);
        tokio::select! {
            () = refreshing => (),
            () = self.watch(&asked, &fetched) => (),
        }
    }

    async fn watch(mut self, asked: &Notify, fetched: &Notify) {
        loop {
            let (told, due) = tokio::select! {
                () = asked.notified() => (true, true),
                () = fetched.notified() => (false, true),
                Some(answer) = self.previews.recv() => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.preview().await);
                    continue;
                }
                () = tokio::time::sleep(LOOK_EVERY) => (false, false),
            };
            let now = self.look().await;
            if due || now.as_ref().is_some_and(|now| *now != self.seen) {
                self.reload(told, now).await;
            }
        }
    }

    async fn look(&self) -> Option<Fingerprints> {
        let files: Vec<PathBuf> = self.now.config.watched_files().iter().cloned().collect();
        if files.is_empty() {
            return Some(Fingerprints::default());
        }
        tokio::task::spawn_blocking(move || Fingerprints::of(&files))
            .await
            .ok()
    }

    /// What a reload would change, or why it would be refused. Everything is fetched for this alone: what a
    /// reload would find as good as new stays as it is.
    async fn preview(&self) -> Preview {
        let sources = self.sources.afresh();
        let loading = tokio::task::spawn_blocking(move || sources.load(None));
        let loaded = loading
            .await
            .map_err(|_| vec!["loading panicked".to_owned()])?;
        let loaded = loaded.map_err(|problems| {
            let told = problems.into_iter().map(|it| it.to_string());
            told.collect::<Vec<_>>()
        })?;
        Ok(changes(&self.now, &loaded.into()))
    }

    /// Loads anew; `told` by the operator, it fetches every secret again. `before` is how the files were.
    async fn reload(&mut self, told: bool, before: Option<Fingerprints>) {
        let sources = Arc::clone(&self.sources);
        let previous = self.service.snapshot.load_full();
        // Reads files and tests keys.
        let loading = tokio::task::spawn_blocking(move || sources.load_again(&previous, told));
        let loading = loading.await;
        // Looked at before they were read: what changes meanwhile is seen as a change.
        match (&loading, before) {
            (Ok(Ok(_)), _) | (_, None) => (),
            (_, Some(before)) => self.seen = before,
        }
        match loading {
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
            seen,
            secrets,
        } = loaded;
        let speaks_tls = tls.is_some();
        for setting in needs_restart(&self.now.config, &config, speaks_tls != self.now.tls) {
            tracing::warn!(
                setting,
                "`{setting}` has changed and needs a restart; the rest is reloaded"
            );
        }
        if let (Some(slot), Some(identity)) = (&self.tls, tls) {
            slot.replace(identity);
        }
        self.service.snapshot.store(Arc::new(snapshot));
        self.service.refused_reload.store(None);
        self.service.metrics.count_reload(true);
        self.seen = seen;
        self.now = Described {
            config,
            secrets,
            // One that is off stays off.
            tls: self.tls.is_some(),
        };
        tracing::info!(
            apps = self.now.config.apps.len(),
            callers = self.now.config.callers.len(),
            "reloaded the configuration"
        );
    }
}

/// Fetches the secrets that are due again and again, and rings when one is another.
async fn refresh_forever(sources: Arc<Sources>, fetched: &Notify) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // A thread that was made at a busy time, and never rests again, would keep what lies around it from being
        // given back.
        if sources.fetcher.is_idle() {
            continue;
        }
        let sources = Arc::clone(&sources);
        let asking = tokio::task::spawn_blocking(move || sources.refresh());
        if asking.await.unwrap_or(false) {
            fetched.notify_one();
        }
    }
}
