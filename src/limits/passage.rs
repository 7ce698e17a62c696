//! One request's way through the limits, in their order.

use std::net::IpAddr;

use super::address::AddressKey;
use super::quota::LimitName;
use super::{Limits, Refusal};

/// One request's way through the limits. Ask in this order, each as soon as it can be asked:
///
/// 1. [`Passage::admit_address`];
/// 2. [`Passage::record_failed_authentication`] when the key was wrong, and the request ends;
/// 3. [`Passage::admit_caller`];
/// 4. [`Passage::admit_user`].
///
/// In memory each is decided when it is asked, without a wait.
pub struct Passage<'a> {
    limits: &'a Limits,
    address: AddressKey,
}

impl<'a> Passage<'a> {
    pub(super) fn new(limits: &'a Limits, address: IpAddr) -> Self {
        Self {
            limits,
            address: AddressKey::of(address),
        }
    }

    /// May this address ask at all? Looks whether wrong keys have spent its failed-auth limit.
    ///
    /// The per-IP limit itself is not asked here: `tower_governor`'s layer has done so.
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] while it is spent.
    pub async fn admit_address(&mut self) -> Result<(), Refusal> {
        let key = self.limits.key(self.address);
        self.limits.look(LimitName::FailedAuth, key)
    }

    /// Counts a wrong key. `Ok` means that the client is to be told so (401).
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] when the limit had been spent before: it is told that instead.
    pub async fn record_failed_authentication(&mut self) -> Result<(), Refusal> {
        let key = self.limits.key(self.address);
        self.limits.take(LimitName::FailedAuth, key)
    }

    /// May this authenticated caller ask now?
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] if it has asked too often.
    pub async fn admit_caller(&mut self, caller: &str) -> Result<(), Refusal> {
        self.limits
            .take(LimitName::PerCaller, self.limits.key(caller))
    }

    /// May a token be issued for this user of this app now?
    ///
    /// # Errors
    ///
    /// [`Refusal::Exceeded`] if too many have been.
    pub async fn admit_user(&mut self, app: &str, user: &str) -> Result<(), Refusal> {
        self.limits
            .take(LimitName::PerUser, self.limits.key((app, user)))
    }
}
