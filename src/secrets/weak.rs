//! Secrets that anyone could guess: published samples, placeholders, repetitions.

/// Why a secret could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Few different bytes, a short piece over and over, or one step after another.
    #[error("the secret repeats itself; `signet secret new` prints a good one")]
    Repetition,
    /// It contains the words of a placeholder such as `change-me`.
    #[error("the secret is a placeholder; `signet secret new` prints a good one")]
    Placeholder,
    /// It stands in a public sample, a tutorial or a product's defaults.
    #[error(
        "the secret is a published sample that anyone can look up; `signet secret new` prints a good one"
    )]
    WellKnown,
}

/// Secrets that are published: debuggers, tutorials, products' defaults. Compared without case.
/// Ones shorter than 32 bytes can't be a HMAC secret here and are left out.
const WELL_KNOWN: &[&str] = &[
    "404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970",
    "a-string-secret-at-least-256-bits-long",
    "a-string-secret-at-least-384-bits-long-which-is-long",
    "a-valid-string-secret-that-is-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-384-bits-long-which-is-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "a-very-secret-key-that-is-at-least-32-characters-long",
    "a_very_long_and_secure_secret_key_for_jwt",
    "abcdefghijklmnopqrstuvwxyz123456",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8=",
    "eyjhbgcioijiuzi1niisinr5cci6ikpxvcj9",
    "my-32-character-ultra-secure-and-ultra-long-secret",
    "my_super_secret_key_that_is_32_characters_long",
    "mysecretkeymysecretkeymysecretkey",
    "mysupersecretkeythatisatleast32characterslong",
    "qwertyuiopasdfghjklzxcvbnm123456",
    "qwertyuiopasdfghjklzxcvbnm1234567890",
    "secret-key-at-least-32-characters-long",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "supersecretkeyyoushouldnotcommit",
    "supersecretkeythatisatleast32characterslong",
    "the-quick-brown-fox-jumps-over-the-lazy-dog",
    "this is my custom secret key for authentication",
    "this is my custom secret key for authnetication",
    "this-is-a-very-secure-secret-key-for-jwt",
    "thisisasecretkeyforjwtauthentication",
    "thisismysupersecretkeyforjwtauthentication",
    "your-256-bit-secret-your-256-bit-secret",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
];

/// Words that only a placeholder contains.
const PLACEHOLDERS: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "replaceme",
    "replace-me",
    "replace_me",
    "your-secret",
    "your_secret",
    "yoursecret",
    "your-super-secret",
    "your_jwt_secret",
    "your-jwt-secret",
    "your-256-bit",
    "your-512-bit",
    "insert-secret",
    "placeholder",
    "example-secret",
    "keyboard cat",
    "not-so-secret",
    "dummy-secret",
    "please-change",
    "todo",
];

pub(super) fn weakness(secret: &[u8]) -> Option<Weakness> {
    let folded = zeroize::Zeroizing::new(secret.to_ascii_lowercase());
    if WELL_KNOWN
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(&folded))
    {
        return Some(Weakness::WellKnown);
    }
    // A random text of 64 base64 characters holds one of these by chance once in ten million or more;
    // words of four letters would be met too often, so `todo` counts only where it opens the text.
    let holds = |word: &str| match word.len() {
        ..=4 => folded.starts_with(word.as_bytes()),
        length => folded
            .windows(length)
            .any(|window| window == word.as_bytes()),
    };
    if PLACEHOLDERS.iter().any(|word| holds(word)) {
        return Some(Weakness::Placeholder);
    }
    repeats(secret).then_some(Weakness::Repetition)
}

fn repeats(secret: &[u8]) -> bool {
    let few_values = {
        let mut seen = [false; 256];
        secret
            .iter()
            .for_each(|byte| seen[usize::from(*byte)] = true);
        seen.iter().filter(|seen| **seen).count() < 8
    };
    // A piece of at most half the length, over and over.
    let periodic = (1..=secret.len() / 2)
        .any(|period| secret.iter().zip(&secret[period..]).all(|(a, b)| a == b));
    // `0123…`, `abcd…`, `zyxw…`.
    let steps = |step: u8| {
        secret
            .windows(2)
            .filter(|pair| pair[0].wrapping_add(step) == pair[1])
            .count()
    };
    let mostly = secret.len() * 3 / 4;
    few_values || periodic || steps(1) >= mostly || steps(255) >= mostly
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_samples_are_weak_whatever_their_case() {
        for sample in [
            "a-string-secret-at-least-256-bits-long",
            "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
            "SuperSecretKeyYouShouldNotCommit",
        ] {
            assert_eq!(
                weakness(sample.as_bytes()),
                Some(Weakness::WellKnown),
                "{sample}"
            );
        }
    }

    #[test]
    fn placeholders_are_weak() {
        for sample in [
            "please-change-me-please-1234567890ab",
            "YOUR_SECRET_goes_here_0123456789abcdef",
            "todo: put a real secret here, soon",
        ] {
            assert_eq!(
                weakness(sample.as_bytes()),
                Some(Weakness::Placeholder),
                "{sample}"
            );
        }
    }

    #[test]
    fn repetitions_are_weak() {
        for sample in [
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "s3cr3t!s3cr3t!s3cr3t!s3cr3t!s3cr3t!",
            "0123456789:;<=>?@ABCDEFGHIJKLMNO",
            "zyxwvutsrqponmlkjihgfedcbaZYXWVU",
            "12121212343434341212121234343434",
        ] {
            assert_eq!(
                weakness(sample.as_bytes()),
                Some(Weakness::Repetition),
                "{sample}"
            );
        }
    }

    #[test]
    fn random_secrets_are_not_weak() {
        for sample in [
            "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE",
            "5f2c9a0e7b1d4386fa9c0b2e6d8f1a3755e0c4b9",
            "dmVyeSByYW5kb20gYnl0ZXMgb2YgMzIgIQ==",
        ] {
            assert_eq!(weakness(sample.as_bytes()), None, "{sample}");
        }
    }
}
