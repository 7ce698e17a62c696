//! Dice, handed in rather than rolled where they are used: the one place that draws random bytes.

use std::cell::RefCell;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroize;

/// Draws `N` random bytes, good for keys and IDs, from the operating system.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Makes TLS and asymmetric keys ready, whose own generator takes tens of milliseconds to seed itself: call it
/// before, or beside, the first request.
pub fn seed_cryptography() {
    // Where it fails, whoever draws from it next says so.
    let _ = SystemRandom::new().fill(&mut [0]);
}

/// [`seed_cryptography`] on a thread of its own, for TLS that is spoken soon: nobody waits for it before that.
pub fn seed_cryptography_aside() {
    // Without a thread, whoever draws first waits.
    let _ = std::thread::Builder::new()
        .name("signet-seed".to_owned())
        .spawn(seed_cryptography);
}

/// How many bytes are drawn at once for IDs: a draw costs more than the bytes do.
const POOL: usize = 1024;

thread_local! {
    /// Bytes that nobody has had yet, and how many are left of them.
    static UNUSED: RefCell<([u8; POOL], usize)> = const { RefCell::new(([0; POOL], 0)) };
}

/// Draws `N` random bytes, at most 1,024, for IDs that nobody must guess: as good as [`bytes()`] and cheaper,
/// since one draw serves many. For keys and secrets take [`bytes()`], which leaves nothing lying in wait.
#[must_use]
pub fn id<const N: usize>() -> [u8; N] {
    const { assert!(N <= POOL) };
    UNUSED.with_borrow_mut(|(pool, left)| {
        if *left < N {
            *pool = bytes();
            *left = POOL;
        }
        let mut id = [0; N];
        let taken = &mut pool[*left - N..*left];
        id.copy_from_slice(taken);
        // What one has got can't be read here any more.
        taken.zeroize();
        *left -= N;
        id
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_id_is_given_twice_over_many_refills() {
        let ids: HashSet<[u8; 17]> = (0..10_000).map(|_| id()).collect();
        assert_eq!(ids.len(), 10_000);
        let zeros = ids.iter().filter(|id| id.starts_with(&[0; 8])).count();
        assert_eq!(zeros, 0, "an ID came out of what was used before");
    }
}
