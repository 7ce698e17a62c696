//! What a string may hold before it may stand in a token.

use unicode_general_category::{GeneralCategory, get_general_category};

use super::eight;

/// What is wrong with a string; the message goes to the client and repeats nothing of the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Nothing in it.
    #[error("must not be empty; leave the member out instead")]
    Empty,
    /// A character that shows as nothing, or turns the text around.
    #[error(
        "must not contain control, format or bidirectional characters (Unicode Cc, Cf, Zl, Zp)"
    )]
    ForbiddenCharacter,
    /// Not `local@domain`.
    #[error("must be an email address")]
    NotAnAddress,
    /// White space at its beginning or end.
    #[error("must not begin or end with white space")]
    SurroundingSpace,
    /// Too many bytes of UTF-8.
    #[error("must have at most {0} bytes")]
    TooLong(usize),
}

/// Whether `text` has 1 to `max_bytes` bytes, no character of Cc, Cf, Zl or Zp, and no white space at its ends.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_text(text: &str, max_bytes: usize) -> Result<(), TextFault> {
    if text.is_empty() {
        return Err(TextFault::Empty);
    }
    if text.len() > max_bytes {
        return Err(TextFault::TooLong(max_bytes));
    }
    // Nearly every text is visible ASCII, which is seen at a glance.
    let invisible =
        |eight| eight::controls(eight) | eight::equal(eight, 0x7f) | eight::beyond_ascii(eight);
    let plain = !eight::any(text, invisible);
    let forbidden = |c: char| {
        matches!(
            get_general_category(c),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
        )
    };
    if !plain && text.chars().any(forbidden) {
        return Err(TextFault::ForbiddenCharacter);
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(TextFault::SurroundingSpace);
    }
    Ok(())
}

/// Whether `text` is an email address of at most 254 bytes in the form that the web's forms accept:
/// one `@`, something before it, a host name behind it (internationalised ones included).
///
/// # Errors
/// The first rule that it breaks.
pub fn check_email(text: &str) -> Result<(), TextFault> {
    check_text(text, 254)?;
    // Byte by byte, as all that is looked for is ASCII but for white space, of which there is more.
    let at = text.bytes().rposition(|byte| byte == b'@');
    let at = at.ok_or(TextFault::NotAnAddress)?;
    let (local, domain) = (&text[..at], &text[at + 1..]);
    let label = |label: &[u8]| {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || !byte.is_ascii();
        (1..=63).contains(&label.len())
            && !label.starts_with(b"-")
            && !label.ends_with(b"-")
            && label.iter().all(fits)
    };
    let special = |byte: u8| {
        matches!(
            byte,
            b' ' | b'@'
                | b'"'
                | b'('
                | b')'
                | b','
                | b':'
                | b';'
                | b'<'
                | b'>'
                | b'['
                | b']'
                | b'\\'
        )
    };
    if (1..=64).contains(&local.len())
        && !local.bytes().any(special)
        && domain.as_bytes().split(|byte| *byte == b'.').all(label)
        && (text.is_ascii() || !text.contains(char::is_whitespace))
    {
        Ok(())
    } else {
        Err(TextFault::NotAnAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_of_any_language_is_taken() {
        for text in [
            "usr_1",
            "Zoë O'Neil",
            "日本語",
            "a b",
            "👍",
            "${user.id}",
            "\"\\/",
        ] {
            assert_eq!(check_text(text, 200), Ok(()), "{text}");
        }
    }

    #[test]
    fn characters_that_deceive_are_refused() {
        for text in [
            "a\u{0}b",
            "a\nb",
            "a\u{7f}b",
            "a\u{85}b",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{feff}b",
            "a\u{ad}b",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\u{e0041}b",
        ] {
            assert_eq!(
                check_text(text, 200),
                Err(TextFault::ForbiddenCharacter),
                "{text:?}"
            );
        }
    }

    #[test]
    fn white_space_at_the_ends_is_refused() {
        for text in [" a", "a ", "\u{a0}a", "a\u{3000}"] {
            assert_eq!(
                check_text(text, 200),
                Err(TextFault::SurroundingSpace),
                "{text:?}"
            );
        }
    }

    #[test]
    fn length_is_counted_in_bytes() {
        assert_eq!(check_text("", 3), Err(TextFault::Empty));
        assert_eq!(check_text("日", 3), Ok(()));
        assert_eq!(check_text("日a", 3), Err(TextFault::TooLong(3)));
    }

    #[test]
    fn addresses_are_told_from_other_text() {
        for text in [
            "a@b.co",
            "first.last+tag@sub.example.com",
            "a@localhost",
            "zoë@exämple.com",
            "o'neil@example.com",
        ] {
            assert_eq!(check_email(text), Ok(()), "{text}");
        }
        for text in [
            "a", "@b.co", "a@", "a@b@c", "a b@c.co", "a@b..co", "a@-b.co", "a@b.co.", "<a@b.co>",
            "a@b c",
        ] {
            assert_eq!(check_email(text), Err(TextFault::NotAnAddress), "{text}");
        }
    }
}
