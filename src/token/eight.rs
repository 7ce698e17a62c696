//! Looking through a text eight bytes at a time, for what nearly no text holds.

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// Whether `finds` marks anything in any eight bytes of `text`; one of fewer is filled up with spaces.
#[inline]
pub(super) fn any(text: &str, finds: impl Fn(u64) -> u64) -> bool {
    let bytes = text.as_bytes();
    // The last eight are looked at whole, some of them for a second time.
    let last = bytes.last_chunk().copied().unwrap_or_else(|| {
        let mut few = [b' '; 8];
        few[..bytes.len()].copy_from_slice(bytes);
        few
    });
    let marks = |marks, eight: &[u8; 8]| marks | finds(u64::from_le_bytes(*eight));
    let (eights, _) = bytes.as_chunks();
    eights.iter().fold(marks(0, &last), marks) != 0
}

/// Marks if any of the eight is a control character of ASCII but DEL.
pub(super) const fn controls(eight: u64) -> u64 {
    eight.wrapping_sub(ONES * 0x20) & !eight & HIGHS
}

/// Marks if any of the eight is `byte`.
pub(super) const fn equal(eight: u64, byte: u8) -> u64 {
    let zero = eight ^ (ONES * byte as u64);
    zero.wrapping_sub(ONES) & !zero & HIGHS
}

/// Marks if any of the eight is no ASCII.
pub(super) const fn beyond_ascii(eight: u64) -> u64 {
    eight & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_found_wherever_it_stands_and_no_other() {
        for byte in 0..=0xff_u8 {
            for place in 0..8 {
                for neighbour in [0x20, 0x21, 0x5b, 0x7e] {
                    let mut bytes = [neighbour; 8];
                    bytes[place] = byte;
                    let eight = u64::from_le_bytes(bytes);
                    assert_eq!(controls(eight) != 0, byte < 0x20, "{bytes:?}");
                    assert_eq!(beyond_ascii(eight) != 0, byte > 0x7f, "{bytes:?}");
                    let found = bytes.contains(&b'"');
                    assert_eq!(equal(eight, b'"') != 0, found, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn all_of_a_text_is_looked_at() {
        for length in 0..40 {
            let text = "x".repeat(length);
            assert!(!any(&text, |eight| equal(eight, b'y')));
            for place in 0..length {
                let mut text = text.clone();
                text.replace_range(place..=place, "y");
                assert!(any(&text, |eight| equal(eight, b'y')));
            }
        }
    }
}
