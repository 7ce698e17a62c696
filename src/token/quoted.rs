//! A text as a JSON string (RFC 8259 section 7), fast for the texts that need no escape.

use super::eight;

/// Appends `text` to `out` in quotation marks, escaped where it must be.
pub fn append_quoted(out: &mut Vec<u8>, text: &str) {
    let escaped =
        |eight| eight::controls(eight) | eight::equal(eight, b'"') | eight::equal(eight, b'\\');
    if !eight::any(text, escaped) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a string is always JSON, and a Vec takes it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_quoted_as_serde_json_would() {
        let alone = (0..=0x2_ffff).filter_map(char::from_u32).map(String::from);
        let within = [
            "",
            "usr_1",
            "a \"quoted\" name",
            "C:\\",
            "Zo\u{eb}",
            "\u{7f}",
        ];
        for text in alone.chain(within.map(String::from)) {
            let mut quoted = b"before".to_vec();
            append_quoted(&mut quoted, &text);
            let expected = serde_json::to_vec(&text).unwrap();
            assert_eq!(
                quoted.strip_prefix(b"before"),
                Some(&expected[..]),
                "{text:?}"
            );
        }
    }
}
