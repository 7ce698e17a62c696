//! Reading a configuration's text: a regular file, of a bounded size, in UTF-8.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Reads at most `max_bytes` of text. The error says what to do and doesn't name the file.
pub(super) fn read_text(path: &Path, max_bytes: u64) -> Result<String, String> {
    let refused = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "there is no such file; create it, or correct the name".to_owned(),
        kind => format!("the file can't be read ({kind}); let signet's user read it"),
    };
    // Looked at before it is opened: opening a FIFO would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(refused)?;
    if !metadata.is_file() {
        return Err("is not a regular file; name one".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(refused)?
        .take(max_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!(
            "is longer than {} KiB; shorten it, or correct the name",
            max_bytes / 1024
        ));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8; save it as UTF-8 text".to_owned())
}
