//! Counters that all replicas share, in Redis or Valkey, and a way around them while they are away.
//!
//! GCRA runs inside the server as one script: one round trip decides all limits of a request, by
//! one clock, atomically. Only a writable master will do, as it is a script that writes; a cluster
//! will not, as the keys of one request lie on different nodes.
//!
//! The connection is the circuit breaker. The first failure, or the first answer that takes longer
//! than [`ANSWER_WITHIN`], hangs up; from then on requests are told at once that the store is away.
//! A task of its own dials again, and a line that has proven itself by a real answer closes the circuit.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, Script};
use secrecy::ExposeSecret;
use tokio::sync::{Semaphore, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::outage::{Complaints, Fault, NOT_REDIS};
use super::passage::Counted;
use super::quota::{LONGEST_REFILL, LimitName, Quota};
use super::settings::{LimitsError, SharedSettings};
use super::statistics::Counters;

/// How long an answer may take. A request that meets a hung store waits this long, once, and is
/// still decided within 100 ms.
const ANSWER_WITHIN: Duration = Duration::from_millis(60);

/// How often the runtime goes round its tasks and sockets once more before an answer counts as late.
///
/// Where there is little to do this takes microseconds. Where there is much, the question may not
/// have been written yet, or the answer be here unread: without this a busy replica took a healthy
/// store for a hung one, and stopped sharing just when it mattered.
const ROUNDS_OF_GRACE: usize = 8;

/// How many requests may wait for an answer at once. The time of those behind them doesn't run yet:
/// a crowd that this process is slow to work off would pass for a slow store.
const AT_ONCE: usize = 32;

/// How long a request may stand in that queue. A store that answers in time, but not often enough
/// for all who ask, would else let them wait ever longer.
const TURN_WITHIN: Duration = Duration::from_secs(1);

/// How long dialling may take, with name look-up, TLS and authentication. No request waits for it.
const DIAL_WITHIN: Duration = Duration::from_secs(2);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The key of the HMAC where no pepper is set: it only keeps these digests apart from others.
const NO_PEPPER: &[u8] = b"signet limits";

/// One limit's part in a round trip.
pub(super) struct Question {
    name: String,
    quota: Quota,
    counts: bool,
}

/// What the store says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    /// By the question with this index; one more may pass after this time.
    Refused(usize, Duration),
}

/// The store cannot be asked: `on_outage` decides.
#[derive(Debug)]
pub(super) struct Away;

pub(super) struct SharedStore {
    settings: SharedSettings,
    client: Client,
    script: Script,
    pseudonyms: hmac::Key,
    state: watch::Sender<State>,
    counters: Arc<Counters>,
    complaints: Complaints,
}

enum State {
    /// Nobody has asked yet.
    Untried,
    /// The first attempt at a new line is under way.
    Dialling,
    /// An attempt has failed; others follow.
    Down,
    Up(Line),
}

#[derive(Clone)]
struct Line {
    number: u64,
    connection: MultiplexedConnection,
    turns: Arc<Semaphore>,
}

impl SharedStore {
    /// Reads the URL, and connects to nothing yet.
    pub(super) fn new(
        settings: SharedSettings,
        counters: Arc<Counters>,
    ) -> Result<Arc<Self>, LimitsError> {
        // The error is dropped: it may quote the URL, and with it a password.
        let client = Client::open(settings.url.expose_secret()).map_err(|_| LimitsError::Url)?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = client.get_connection_info().addr() {
            return Err(LimitsError::Insecure);
        }
        let pepper = settings.pepper.as_ref();
        let pepper = pepper.map_or(NO_PEPPER, |it| it.expose_secret().as_bytes());
        Ok(Arc::new(Self {
            pseudonyms: hmac::Key::new(hmac::HMAC_SHA256, pepper),
            settings,
            client,
            script: Script::new(include_str!("gcra.lua")),
            state: watch::Sender::new(State::Untried),
            counters,
            complaints: Complaints::new(),
        }))
    }

    /// Whether a store with these settings would be this one.
    pub(super) fn fits(&self, settings: &SharedSettings) -> bool {
        self.settings.same_counters(settings)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }

    /// Dials, unless that has been done, and waits until the store is up, for at most `patience`.
    pub(super) async fn connect(self: &Arc<Self>, patience: Duration) -> bool {
        let mut state = self.state.subscribe();
        self.start_dialling();
        let up = state.wait_for(|state| matches!(state, State::Up(_)));
        matches!(timeout(patience, up).await, Ok(Ok(_)))
    }

    /// What to ask the store about one limit.
    pub(super) fn question(
        &self,
        limit: LimitName,
        quota: Quota,
        who: Counted<'_>,
        counts: bool,
    ) -> Question {
        let mut digest = hmac::Context::with_key(&self.pseudonyms);
        match who {
            Counted::Address(address) => digest.update(&address.to_bytes()),
            Counted::Caller(caller) => digest.update(caller.as_bytes()),
            Counted::User(app, user) => {
                // With the length of the first, no two pairs run together to the same bytes.
                digest.update(&(app.len() as u64).to_be_bytes());
                digest.update(app.as_bytes());
                digest.update(user.as_bytes());
            }
        }
        let digest = URL_SAFE_NO_PAD.encode(&digest.sign().as_ref()[..16]);
        // With the quota in its name, a counter starts afresh when the quota changes, and replicas
        // before and after such a change don't disturb each other.
        let name = format!(
            "{}:{limit}:{}us-{}:{digest}",
            self.settings.prefix,
            microseconds(quota.period()),
            quota.burst(),
        );
        Question {
            name,
            quota,
            counts,
        }
    }

    /// Asks all `questions` in one round trip.
    pub(super) async fn ask(self: &Arc<Self>, questions: &[Question]) -> Result<Verdict, Away> {
        let redial_by = Instant::now() + ANSWER_WITHIN;
        let line = match self.line() {
            Some(line) => line,
            None if self.start_dialling() => self.redialled(redial_by).await?,
            None => return Err(Away),
        };
        match self.ask_on(&line, questions).await {
            Ok(verdict) => Ok(verdict),
            // A line may have been closed while it was idle, or by a restart that is over. Whether
            // the store is away shows when the next one is dialled. At worst the request is counted
            // twice, never less than once.
            Err(fault) if fault.line_broke => {
                let line = self.redialled(redial_by).await?;
                let answer = self.ask_on(&line, questions).await;
                answer.map_err(|_| Away)
            }
            Err(_) => Err(Away),
        }
    }

    async fn ask_on(
        self: &Arc<Self>,
        line: &Line,
        questions: &[Question],
    ) -> Result<Verdict, Fault> {
        let turn = timeout(TURN_WITHIN, line.turns.acquire()).await;
        let answer = match &turn {
            Ok(Ok(_)) => self.evaluate(line, questions).await,
            // Somebody has hung up meanwhile.
            Ok(Err(_)) => return Err(Fault::LINE_BROKE),
            Err(_) => Err(Fault::new("it is too slow for so many requests")),
        };
        if let Err(fault) = &answer {
            // With the turn still in hand, or the next in the queue would get it and wait as well.
            self.hang_up(line, fault);
        }
        answer
    }

    /// The line that comes of the attempt under way, if it comes in time.
    async fn redialled(&self, by: Instant) -> Result<Line, Away> {
        let mut state = self.state.subscribe();
        let dialled = state.wait_for(|state| !matches!(state, State::Dialling));
        // Too late, and there is no line, which is all that matters.
        let _ = timeout_at(by, dialled).await;
        self.line().ok_or(Away)
    }

    fn line(&self) -> Option<Line> {
        match &*self.state.borrow() {
            State::Up(line) => Some(line.clone()),
            State::Untried | State::Dialling | State::Down => None,
        }
    }

    async fn evaluate(&self, line: &Line, questions: &[Question]) -> Result<Verdict, Fault> {
        let mut call = self.script.prepare_invoke();
        for question in questions {
            call.key(&question.name)
                .arg(microseconds(question.quota.period()))
                .arg(question.quota.burst().get())
                .arg(u8::from(question.counts));
        }
        let mut connection = line.connection.clone();
        let mut answer = pin!(call.invoke_async::<(u64, u64)>(&mut connection));
        let mut answered = timeout(ANSWER_WITHIN, &mut answer).await;
        for _ in 0..ROUNDS_OF_GRACE {
            if answered.is_err() {
                yield_now().await;
                answered = timeout(Duration::ZERO, &mut answer).await;
            }
        }
        let (refused, wait) = answered.map_err(|_| Fault::new("it takes too long to answer"))??;
        let wait = Duration::from_micros(wait);
        match usize::try_from(refused) {
            Ok(0) if wait.is_zero() => Ok(Verdict::Admitted),
            Ok(n @ 1..) if n <= questions.len() && wait <= LONGEST_REFILL => {
                Ok(Verdict::Refused(n - 1, wait))
            }
            _ => Err(Fault::new(NOT_REDIS)),
        }
    }

    fn hang_up(self: &Arc<Self>, broken: &Line, fault: &Fault) {
        let hung_up = self.state.send_if_modified(|state| match state {
            State::Up(line) if line.number == broken.number => {
                line.turns.close();
                *state = State::Dialling;
                true
            }
            _ => false,
        });
        if hung_up {
            self.counters.count_outage();
            self.complaints.complain(fault);
            tokio::spawn(dial_until_up(Arc::downgrade(self), broken.number + 1));
        }
    }

    /// Says whether it was the first time; later on, who hangs up also dials.
    fn start_dialling(self: &Arc<Self>) -> bool {
        let starts = self.state.send_if_modified(|state| {
            let untried = matches!(state, State::Untried);
            if untried {
                *state = State::Dialling;
            }
            untried
        });
        if starts {
            tokio::spawn(dial_until_up(Arc::downgrade(self), 0));
        }
        starts
    }

    async fn dial(&self, number: u64) -> Result<Line, Fault> {
        // The time-outs are ours, around all of it.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let dialling = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(DIAL_WITHIN, dialling)
            .await
            .map_err(|_| Fault::new("it takes too long to connect"))??;
        let line = Line {
            number,
            connection,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        };
        // An open connection proves little: a read-only replica, a hung server and a stranger have
        // one to give as well.
        let probe = Question {
            name: format!("{}:probe", self.settings.prefix),
            quota: Quota::PROBE,
            counts: true,
        };
        self.evaluate(&line, &[probe]).await?;
        Ok(line)
    }
}

async fn dial_until_up(store: Weak<SharedStore>, number: u64) {
    let mut pause = FIRST_PAUSE;
    while let Some(store) = store.upgrade() {
        match store.dial(number).await {
            Ok(line) => {
                store.state.send_replace(State::Up(line));
                store.complaints.withdraw();
                return;
            }
            Err(fault) => {
                store.state.send_replace(State::Down);
                store.complaints.complain(&fault);
            }
        }
        drop(store);
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// A period in the script's unit, rounded up, so that no limit is laxer here than in memory.
fn microseconds(period: Duration) -> u64 {
    u64::try_from(period.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}
