//! Dice, handed in rather than rolled where they are used: the one place that draws random bytes.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// Draws `N` random bytes, good for keys and IDs. The first draw of a process takes tens of
/// milliseconds while the generator seeds itself: draw one before readiness.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}
