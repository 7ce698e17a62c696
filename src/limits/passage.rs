//! One request's way through the limits, in their order.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::address::AddressKey;
use super::quota::LimitName;
use super::shared::Question;
use super::{Limits, Refusal};

/// Whom a limit counts.
#[derive(Clone, Copy)]
pub(super) enum Counted<'a> {
    Address(AddressKey),
    Caller(&'a str),
    /// A user of an app, the app first.
    User(&'a str, &'a str),
}

/// Which of them it is needn't be mixed in, as every limit has a table of its own.
impl Hash for Counted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Address(address) => address.hash(state),
            Self::Caller(name) => name.hash(state),
            Self::User(app, user) => {
                app.hash(state);
                user.hash(state);
            }
        }
    }
}

/// One limit that a request meets.
pub(super) struct Step {
    pub(super) limit: LimitName,
    /// Under which key this process counts it.
    pub(super) key: u64,
    /// `false` only looks whether the limit is spent.
    pub(super) counts: bool,
}

/// One request's way through the limits. Ask in this order, each as soon as it can be asked:
///
/// 1. [`Passage::admit_address`];
/// 2. [`Passage::record_failed_authentication`] when the key was wrong, and the request ends;
/// 3. [`Passage::admit_caller`];
/// 4. [`Passage::admit_user`];
/// 5. [`Passage::settle`] before the answer, however it ends, and before any work that is dear, such as
///    asking another service.
///
/// In memory each is decided when it is asked, without a wait, and `settle` has nothing to do.
///
/// With a shared store a decision is a round trip, so the first, third and fourth only note what is to be
/// asked; the second and fifth ask all that is noted, in the same order. That is one round
/// trip for a request that needs one. What comes between a note and its decision is reading the
/// headers and a bounded body of a caller whose key was right, which costs less than the trip.
pub struct Passage<'a> {
    limits: &'a Limits,
    ip: IpAddr,
    // What is noted: the same steps twice, once for this process and once for the store.
    steps: Vec<Step>,
    questions: Vec<Question>,
}

impl<'a> Passage<'a> {
    pub(super) fn new(limits: &'a Limits, ip: IpAddr) -> Self {
        Self {
            limits,
            ip,
            steps: Vec::new(),
            questions: Vec::new(),
        }
    }

    /// May this address ask at all? It meets the per-IP limit (unless it is exempt), and must not
    /// have spent its failed-auth limit with wrong keys.
    ///
    /// In memory the per-IP limit is not met here: `tower_governor`'s layer has seen to it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] if not; with a shared store not from here.
    pub fn admit_address(&mut self) -> Result<(), Refusal> {
        self.admit_browser()?;
        self.meet(
            LimitName::FailedAuth,
            Counted::Address(AddressKey::of(self.ip)),
            false,
        )
    }

    /// May a browser at this address ask at all? It meets the per-IP limit, unless the layer has seen
    /// to that; a backend's wrong keys from there are not a browser's.
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] if not; with a shared store not from here.
    pub fn admit_browser(&mut self) -> Result<(), Refusal> {
        if self.limits.is_shared() && !self.limits.is_exempt(self.ip) {
            self.meet(
                LimitName::PerIp,
                Counted::Address(AddressKey::of(self.ip)),
                true,
            )?;
        }
        Ok(())
    }

    /// Counts a wrong key. `Ok` means that the client is to be told so (401).
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] when a limit had been spent before: the client is told that instead.
    /// [`Refusal::Unavailable`] if the shared store is away and `on_outage` is `closed`.
    pub async fn record_failed_authentication(&mut self) -> Result<(), Refusal> {
        let address = Counted::Address(AddressKey::of(self.ip));
        self.meet(LimitName::FailedAuth, address, true)?;
        self.settle().await
    }

    /// May this authenticated caller ask now?
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] if it has asked too often; with a shared store not from here.
    pub fn admit_caller(&mut self, caller: &str) -> Result<(), Refusal> {
        self.meet(LimitName::PerCaller, Counted::Caller(caller), true)
    }

    /// May a token be issued for this user of this app now?
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] if too many have been; with a shared store not from here.
    pub fn admit_user(&mut self, app: &str, user: &str) -> Result<(), Refusal> {
        self.meet(LimitName::PerUser, Counted::User(app, user), true)
    }

    /// Whether nothing is noted that [`Passage::settle`] would ask.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.steps.is_empty()
    }

    /// Decides what has only been noted so far.
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] if anything that was noted says so.
    /// [`Refusal::Unavailable`] if the shared store is away and `on_outage` is `closed`.
    pub async fn settle(&mut self) -> Result<(), Refusal> {
        if self.is_settled() {
            return Ok(());
        }
        // Boxed, as requests that never leave this process would carry the room for it.
        Box::pin(self.decide_noted()).await
    }

    async fn decide_noted(&mut self) -> Result<(), Refusal> {
        let steps = std::mem::take(&mut self.steps);
        let questions = std::mem::take(&mut self.questions);
        match &self.limits.shared {
            Some(shared) => {
                let deciding = self.limits.decide_shared(shared, &steps, &questions);
                deciding.await
            }
            None => Ok(()),
        }
    }

    fn meet(&mut self, limit: LimitName, who: Counted<'_>, counts: bool) -> Result<(), Refusal> {
        // Nearly always nobody has given a wrong key lately, and whom that is about needn't be found out.
        if !counts && self.limits.holds_nothing(limit) {
            return Ok(());
        }
        let step = Step {
            limit,
            key: self.limits.key(who),
            counts,
        };
        let Some(shared) = &self.limits.shared else {
            let decided = self.limits.decide(&step);
            return decided.or_else(|wait| self.limits.refuse(limit, wait));
        };
        let quota = self.limits.quota(limit);
        self.steps.push(step);
        self.questions
            .push(shared.store.question(limit, quota, who, counts));
        Ok(())
    }
}
