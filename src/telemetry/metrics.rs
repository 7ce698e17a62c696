//! Every metric by name. Labels are bounded: routes, apps, callers, outcomes; never a user.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Outcome;
use crate::signing::KeyState;

/// The media type of [`Metrics::render`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A name that is shared rather than copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Arc<str>);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        (&*self.0).encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    route: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByApp {
    app: Name,
    caller: Name,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLimit {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

/// No label at all. As a family, such a metric is only there once it has been read: a process without a
/// shared store shows nothing of one.
type Unlabelled = [(&'static str, &'static str); 0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySwitch {
    app: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKey {
    app: Name,
    key: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKeyState {
    app: Name,
    key: Name,
    state: &'static str,
}

/// One key of an app at the moment of reading.
#[derive(Clone, Debug)]
pub struct KeyReading {
    /// The app's name.
    pub app: Arc<str>,
    /// The key's ID.
    pub key: Arc<str>,
    /// Where it is in its life.
    pub state: KeyState,
    /// For how many seconds it has been in use, where that is known.
    pub age_seconds: Option<i64>,
}

/// What is read off elsewhere when metrics are asked for.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// Open connections on the public port.
    pub connections: u64,
    /// Handshakes that failed so far.
    pub handshakes_failed: u64,
    /// Lines of log and audit trail dropped so far.
    pub log_lines_dropped: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// Per limit: its name, how often it refused, how often it would have, how many keys it remembers.
    pub limits: Vec<(&'static str, u64, u64, u64)>,
    /// The limits' shared store, where there is one: whether it answers, how often it went away, and
    /// how many requests were decided without it.
    pub store: Option<(bool, u64, u64)>,
    /// How many secrets are older than they may be.
    pub stale_secrets: u64,
    /// Every key of every app.
    pub keys: Vec<KeyReading>,
    /// The seconds until an app's next key takes over, for apps where one is waiting.
    pub switches: Vec<(Arc<str>, i64)>,
}

/// One route's counters, looked up once: every token is counted here.
struct OfRoute {
    route: &'static str,
    issued: Counter,
    duration: Histogram,
}

/// The tokens of one app for one caller, looked up once.
#[derive(Clone)]
struct OfPair {
    counter: Counter,
    /// Kept, so that nothing else comes to stand where they stand.
    _names: [Arc<str>; 2],
}

/// How a request for a token ends that gets one.
const ISSUED: &str = Outcome::Issued.name();

/// The counters of a process.
pub struct Metrics {
    registry: Registry,
    of_routes: Vec<OfRoute>,
    requests: Family<ByOutcome, Counter>,
    decisions: Family<ByApp, Counter>,
    /// Those of `decisions` that issued, by where the two names stand: to compare names costs more than to count.
    issued: ArcSwap<BTreeMap<(usize, usize), OfPair>>,
    durations: Family<ByRoute, Histogram>,
    reloads: Family<ByResult, Counter>,
    last_reload_applied: Gauge,
    stale_secrets: Gauge,
    key_age: Family<ByKey, Gauge>,
    key_state: Family<ByKeyState, Gauge>,
    key_switch: Family<BySwitch, Gauge>,
    /// Keys come and go with reloads, so their families are emptied before each reading.
    reading: Mutex<()>,
    connections: Gauge,
    in_flight: Gauge,
    handshakes_failed: Counter,
    log_lines_dropped: Counter,
    limit_refusals: Family<ByLimit, Counter>,
    limit_shadow_refusals: Family<ByLimit, Counter>,
    store_up: Family<Unlabelled, Gauge>,
    store_outages: Family<Unlabelled, Counter>,
    decided_without_store: Family<Unlabelled, Counter>,
    limit_keys: Family<ByLimit, Gauge>,
}

impl Metrics {
    /// Counters that are at hand for `routes`, the one that is asked most first. Others are counted as well.
    #[must_use]
    pub fn new(routes: &[&'static str]) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("signet"),
            of_routes: Vec::new(),
            requests: Family::default(),
            decisions: Family::default(),
            issued: ArcSwap::default(),
            // From a token out of memory to a slow session store.
            durations: Family::new_with_constructor(|| {
                Histogram::new([
                    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1,
                    0.25, 1.0, 2.5, 5.0, 15.0,
                ])
            }),
            reloads: Family::default(),
            last_reload_applied: Gauge::default(),
            stale_secrets: Gauge::default(),
            key_age: Family::default(),
            key_state: Family::default(),
            key_switch: Family::default(),
            reading: Mutex::default(),
            connections: Gauge::default(),
            in_flight: Gauge::default(),
            handshakes_failed: Counter::default(),
            log_lines_dropped: Counter::default(),
            limit_refusals: Family::default(),
            limit_shadow_refusals: Family::default(),
            store_up: Family::default(),
            store_outages: Family::default(),
            decided_without_store: Family::default(),
            limit_keys: Family::default(),
        };
        metrics.register();
        let of_route = |route: &&'static str| OfRoute {
            route,
            issued: metrics.of_outcome(route, ISSUED).clone(),
            duration: metrics.durations.get_or_create(&ByRoute { route }).clone(),
        };
        metrics.of_routes = routes.iter().map(of_route).collect();
        // The start was a load that went well.
        metrics.last_reload_applied.set(1);
        metrics
    }

    fn of_outcome(
        &self,
        route: &'static str,
        outcome: &'static str,
    ) -> impl std::ops::Deref<Target = Counter> {
        self.requests.get_or_create(&ByOutcome { route, outcome })
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Requests by route and outcome (`ok`, `issued` or an error code)",
            self.requests.clone(),
        );
        registry.register(
            "tokens",
            "Decisions by app, caller (or session resolver) and outcome",
            self.decisions.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From a request's head to its answer, in seconds",
            self.durations.clone(),
        );
        registry.register(
            "reloads",
            "Reloads of the configuration by result (`applied` or `refused`)",
            self.reloads.clone(),
        );
        registry.register(
            "last_reload_applied",
            "1 when the configuration as it was last read is in use, 0 when it was refused",
            self.last_reload_applied.clone(),
        );
        registry.register(
            "secrets_stale",
            "Secrets that are older than their max_stale, because where they are fetched from fails",
            self.stale_secrets.clone(),
        );
        registry.register(
            "key_age_seconds",
            "For how long a key has been in use, where its activate_at says since when",
            self.key_age.clone(),
        );
        registry.register(
            "key_state",
            "1 for the state that a key is in, 0 for the others",
            self.key_state.clone(),
        );
        registry.register(
            "key_switch_seconds",
            "How long until an app's next key takes over, where one is waiting",
            self.key_switch.clone(),
        );
        registry.register(
            "connections",
            "Open connections on the public port",
            self.connections.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests being answered now",
            self.in_flight.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "TLS handshakes that failed",
            self.handshakes_failed.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Lines of log and audit trail that were dropped, because their reader was too slow or gone",
            self.log_lines_dropped.clone(),
        );
        registry.register(
            "limit_refusals",
            "Requests that a limit refused",
            self.limit_refusals.clone(),
        );
        registry.register(
            "limit_shadow_refusals",
            "Requests that a limit would have refused, had it been enforced",
            self.limit_shadow_refusals.clone(),
        );
        registry.register(
            "limits_store_up",
            "1 while the limits' shared store answers, 0 while `on_outage` decides",
            self.store_up.clone(),
        );
        registry.register(
            "limits_store_outages",
            "How often the limits' shared store went away",
            self.store_outages.clone(),
        );
        registry.register(
            "limits_decided_without_store",
            "Decisions that `on_outage` took in place of the limits' shared store",
            self.decided_without_store.clone(),
        );
        registry.register(
            "limit_keys",
            "Addresses, callers or users that a limit remembers in this process",
            self.limit_keys.clone(),
        );
        let build = Family::<[(&'static str, &'static str); 1], Gauge>::default();
        build
            .get_or_create(&[("version", env!("CARGO_PKG_VERSION"))])
            .set(1);
        registry.register("build_info", "The running version", build);
    }

    /// Counts one answer: its route, how it ended and how long it took.
    pub fn count_request(&self, route: &'static str, outcome: &'static str, took: Duration) {
        let took = took.as_secs_f64();
        let of_route = self.of_routes.iter().find(|it| it.route == route);
        match of_route {
            Some(of_route) if outcome == ISSUED => of_route.issued.inc(),
            _ => self.of_outcome(route, outcome).inc(),
        };
        match of_route {
            Some(of_route) => of_route.duration.observe(took),
            None => self
                .durations
                .get_or_create(&ByRoute { route })
                .observe(took),
        }
    }

    /// Counts one decision about a token. `caller` is the caller's name or the session resolver's.
    pub fn count_decision(&self, app: &Arc<str>, caller: &Arc<str>, outcome: &'static str) {
        if outcome == ISSUED {
            return self.count_issued(app, caller);
        }
        self.of_decision(app, caller, outcome).inc();
    }

    fn count_issued(&self, app: &Arc<str>, caller: &Arc<str>) {
        let key = (app.as_ptr().addr(), caller.as_ptr().addr());
        if let Some(issued) = self.issued.load().get(&key) {
            issued.counter.inc();
            return;
        }
        let counter = self.of_decision(app, caller, ISSUED).clone();
        counter.inc();
        let issued = OfPair {
            counter,
            _names: [Arc::clone(app), Arc::clone(caller)],
        };
        self.issued.rcu(|at_hand| {
            let mut at_hand = (**at_hand).clone();
            at_hand.insert(key, issued.clone());
            at_hand
        });
    }

    fn of_decision(
        &self,
        app: &Arc<str>,
        caller: &Arc<str>,
        outcome: &'static str,
    ) -> impl std::ops::Deref<Target = Counter> {
        let labels = ByApp {
            app: Name(Arc::clone(app)),
            caller: Name(Arc::clone(caller)),
            outcome,
        };
        self.decisions.get_or_create(&labels)
    }

    /// Counts one reload: `applied` or `refused`.
    pub fn count_reload(&self, applied: bool) {
        // Its apps and callers have names of their own.
        self.issued.store(Arc::default());
        self.reloads
            .get_or_create(&ByResult {
                result: if applied { "applied" } else { "refused" },
            })
            .inc();
        self.last_reload_applied.set(i64::from(applied));
    }

    /// Everything in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self, readings: &Readings) -> String {
        let gauge = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let counter = |counter: &Counter, value: u64| {
            counter.inner().store(value, Ordering::Relaxed);
        };
        gauge(&self.connections, readings.connections);
        gauge(&self.in_flight, readings.in_flight);
        gauge(&self.stale_secrets, readings.stale_secrets);
        counter(&self.handshakes_failed, readings.handshakes_failed);
        counter(&self.log_lines_dropped, readings.log_lines_dropped);
        if let Some((up, outages, decided_without)) = readings.store {
            gauge(&self.store_up.get_or_create(&[]), u64::from(up));
            counter(&self.store_outages.get_or_create(&[]), outages);
            counter(
                &self.decided_without_store.get_or_create(&[]),
                decided_without,
            );
        }
        for (limit, refusals, would_have, keys) in &readings.limits {
            let limit = ByLimit { limit };
            counter(&self.limit_refusals.get_or_create(&limit), *refusals);
            counter(
                &self.limit_shadow_refusals.get_or_create(&limit),
                *would_have,
            );
            gauge(&self.limit_keys.get_or_create(&limit), *keys);
        }
        let _alone = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_keys(readings);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes every metric");
        text
    }

    fn read_keys(&self, readings: &Readings) {
        self.key_age.clear();
        self.key_state.clear();
        self.key_switch.clear();
        for reading in &readings.keys {
            let (app, key) = (&reading.app, &reading.key);
            for state in KeyState::ALL {
                let labels = ByKeyState {
                    app: Name(Arc::clone(app)),
                    key: Name(Arc::clone(key)),
                    state: state.name(),
                };
                let is_it = i64::from(state == reading.state);
                self.key_state.get_or_create(&labels).set(is_it);
            }
            if let Some(age) = reading.age_seconds {
                let labels = ByKey {
                    app: Name(Arc::clone(app)),
                    key: Name(Arc::clone(key)),
                };
                self.key_age.get_or_create(&labels).set(age);
            }
        }
        for (app, seconds) in &readings.switches {
            let labels = BySwitch {
                app: Name(Arc::clone(app)),
            };
            self.key_switch.get_or_create(&labels).set(*seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_before_and_after_a_reload_are_one_series() {
        let metrics = Metrics::new(&[]);
        for _ in 0..2 {
            let (app, caller) = (Arc::from("acme"), Arc::from("shop"));
            metrics.count_decision(&app, &caller, ISSUED);
            metrics.count_decision(&app, &caller, ISSUED);
            metrics.count_reload(true);
        }
        let text = metrics.render(&Readings::default());
        let line = r#"signet_tokens_total{app="acme",caller="shop",outcome="issued"} 4"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn every_metric_is_named_after_signet_and_labelled_with_bounded_names() {
        let metrics = Metrics::new(&[]);
        metrics.count_request("/token", "issued", Duration::from_micros(80));
        metrics.count_decision(&"acme".into(), &"shop".into(), "issued");
        metrics.count_reload(true);
        let text = metrics.render(&Readings {
            connections: 3,
            limits: vec![("per-ip", 2, 0, 5)],
            store: Some((true, 4, 7)),
            ..Readings::default()
        });
        for line in [
            r#"signet_requests_total{route="/token",outcome="issued"} 1"#,
            r#"signet_tokens_total{app="acme",caller="shop",outcome="issued"} 1"#,
            r#"signet_request_duration_seconds_count{route="/token"} 1"#,
            r#"signet_reloads_total{result="applied"} 1"#,
            "signet_connections 3",
            "signet_last_reload_applied 1",
            r#"signet_limit_refusals_total{limit="per-ip"} 2"#,
            "signet_limits_store_up{} 1",
            "signet_limits_store_outages_total{} 4",
            "signet_limits_decided_without_store_total{} 7",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .all(|line| line.starts_with("signet_")),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_key_that_a_reload_took_away_is_shown_no_more() {
        let metrics = Metrics::new(&[]);
        let reading = |key: &str, state, age_seconds| KeyReading {
            app: "acme".into(),
            key: key.into(),
            state,
            age_seconds,
        };
        let text = metrics.render(&Readings {
            keys: vec![
                reading("old", KeyState::Active, None),
                reading("new", KeyState::Prepared, None),
            ],
            switches: vec![("acme".into(), 90)],
            ..Readings::default()
        });
        for line in [
            r#"signet_key_state{app="acme",key="old",state="active"} 1"#,
            r#"signet_key_state{app="acme",key="old",state="retired"} 0"#,
            r#"signet_key_switch_seconds{app="acme"} 90"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let text = metrics.render(&Readings {
            keys: vec![reading("new", KeyState::Active, Some(7))],
            ..Readings::default()
        });
        assert!(text.contains(r#"signet_key_age_seconds{app="acme",key="new"} 7"#));
        assert!(!text.contains(r#"key="old""#), "{text}");
        assert!(!text.contains("signet_key_switch_seconds{"), "{text}");
    }
}
