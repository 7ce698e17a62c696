//! An app's keys and their schedule: which one signs now, and which may still be met.

use crate::clock::Timestamp;

use super::{Key, KeyId};

/// A key and when it takes over.
#[derive(Debug)]
pub struct ScheduledKey {
    /// The key.
    pub key: Key,
    /// From when on it signs; `None` is "always has".
    pub activate_at: Option<Timestamp>,
    /// Until when its tokens may be met, where the operator says so.
    pub retire_at: Option<Timestamp>,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It will sign later; public keys are published already.
    Prepared,
    /// It signs.
    Active,
    /// It signs no more, but its tokens are still alive.
    Retiring,
    /// None of its tokens is alive.
    Retired,
}

impl KeyState {
    /// Every state, in the order in which a key lives through them.
    pub const ALL: [Self; 4] = [Self::Prepared, Self::Active, Self::Retiring, Self::Retired];

    /// The state in lower case, as commands and metrics show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }
}

/// The keys of one app, the earliest first.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<ScheduledKey>,
    longest_lifetime_seconds: i64,
}

impl Keyring {
    /// Sorts the keys by the moment they take over. That no two take over at once is the
    /// configuration's to refuse; here the later in `keys` would win.
    /// `longest_lifetime_seconds` is how long a token of these keys can live.
    #[must_use]
    pub fn new(mut keys: Vec<ScheduledKey>, longest_lifetime_seconds: i64) -> Self {
        keys.sort_by_key(|scheduled| scheduled.activate_at);
        Self {
            keys,
            longest_lifetime_seconds,
        }
    }

    /// Every key, the earliest first.
    #[must_use]
    pub fn keys(&self) -> &[ScheduledKey] {
        &self.keys
    }

    /// Where in [`Keyring::keys`] the key with this name stands.
    #[must_use]
    pub fn position(&self, id: &KeyId) -> Option<usize> {
        self.keys
            .iter()
            .position(|scheduled| scheduled.key.id() == id)
    }

    /// Where in [`Keyring::keys`] the key stands that signs at `now`: the last one that has taken over.
    #[must_use]
    pub fn active(&self, now: Timestamp) -> Option<usize> {
        self.keys
            .iter()
            .rposition(|scheduled| scheduled.activate_at.is_none_or(|from| from <= now))
    }

    /// When the next key takes over, if one is waiting.
    #[must_use]
    pub fn next_switch(&self, now: Timestamp) -> Option<Timestamp> {
        self.keys
            .iter()
            .filter_map(|scheduled| scheduled.activate_at)
            .find(|from| *from > now)
    }

    /// When the key at `position` stops signing, because the next one takes over; `None` while no
    /// successor is planned.
    #[must_use]
    pub fn succession(&self, position: usize) -> Option<Timestamp> {
        self.keys.get(position + 1)?.activate_at
    }

    /// For how many seconds the key at `position` has been in use; `None` before its time, and where
    /// nobody wrote down when it began.
    #[must_use]
    pub fn age_seconds(&self, position: usize, now: Timestamp) -> Option<i64> {
        let from = self.keys[position].activate_at?;
        (from <= now).then(|| now.seconds_since(from))
    }

    /// The moment after which no token of the key at `position` is alive; `None` while no successor is planned.
    #[must_use]
    pub fn retirement(&self, position: usize) -> Option<Timestamp> {
        let successor = self.succession(position)?;
        let natural = successor.plus_seconds(self.longest_lifetime_seconds);
        Some(self.keys[position].retire_at.unwrap_or(natural))
    }

    /// The state of the key at `position`.
    #[must_use]
    pub fn state(&self, position: usize, now: Timestamp) -> KeyState {
        match self.active(now) {
            Some(active) if position == active => KeyState::Active,
            Some(active) if position < active => match self.retirement(position) {
                Some(end) if now < end => KeyState::Retiring,
                _ => KeyState::Retired,
            },
            _ => KeyState::Prepared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Secret;
    use crate::signing::Algorithm;

    fn key(id: &str, activate_at: Option<i64>, retire_at: Option<i64>) -> ScheduledKey {
        let secret = Secret::from(format!("{id}:kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE").as_str());
        ScheduledKey {
            key: Key::from_secret(KeyId::from(id), Algorithm::HS256, &secret).unwrap(),
            activate_at: activate_at.map(Timestamp::from_seconds),
            retire_at: retire_at.map(Timestamp::from_seconds),
        }
    }

    #[test]
    fn the_next_key_takes_over_on_its_second() {
        let ring = Keyring::new(vec![key("b", Some(1000), None), key("a", None, None)], 300);
        let active = |now| {
            ring.keys()[ring.active(Timestamp::from_seconds(now)).unwrap()]
                .key
                .id()
                .to_string()
        };
        assert_eq!((active(999), active(1000)), ("a".into(), "b".into()));
        assert_eq!(
            ring.next_switch(Timestamp::from_seconds(999)),
            Some(Timestamp::from_seconds(1000))
        );
        assert_eq!(ring.next_switch(Timestamp::from_seconds(1000)), None);
    }

    #[test]
    fn a_key_lives_through_its_states_in_order() {
        let ring = Keyring::new(
            vec![
                key("a", None, None),
                key("b", Some(1000), Some(5000)),
                key("c", Some(2000), None),
            ],
            300,
        );
        let states = |now| {
            (0..3)
                .map(|position| ring.state(position, Timestamp::from_seconds(now)))
                .collect::<Vec<_>>()
        };
        use KeyState::{Active, Prepared, Retired, Retiring};
        assert_eq!(states(0), [Active, Prepared, Prepared]);
        assert_eq!(states(1000), [Retiring, Active, Prepared]);
        assert_eq!(states(1300), [Retired, Active, Prepared]);
        assert_eq!(states(2000), [Retired, Retiring, Active]);
        assert_eq!(states(4999), [Retired, Retiring, Active]);
        assert_eq!(states(5000), [Retired, Retired, Active]);
    }

    #[test]
    fn a_key_has_an_age_from_the_second_on_that_it_signs() {
        let ring = Keyring::new(vec![key("a", None, None), key("b", Some(1000), None)], 300);
        let age = |position, now| ring.age_seconds(position, Timestamp::from_seconds(now));
        assert_eq!(
            (age(1, 999), age(1, 1000), age(1, 1060)),
            (None, Some(0), Some(60))
        );
        assert_eq!(age(0, 5000), None, "nobody wrote down when it began");
        assert_eq!(ring.succession(0), Some(Timestamp::from_seconds(1000)));
        assert_eq!(ring.succession(1), None);
    }

    #[test]
    fn before_every_activation_no_key_is_active() {
        let ring = Keyring::new(vec![key("a", Some(1000), None)], 300);
        assert_eq!(ring.active(Timestamp::from_seconds(0)), None);
        assert_eq!(
            ring.state(0, Timestamp::from_seconds(0)),
            KeyState::Prepared
        );
    }
}
