//! What files held when they were looked at: whether one has changed since, whatever the change was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

/// Files that are longer than anything that is read from them are told apart by their beginning and length.
const MOST_BYTES: u64 = 1024 * 1024;

/// What each file held when it was looked at.
#[derive(Default, PartialEq, Eq)]
pub struct Fingerprints(BTreeMap<PathBuf, Vec<u8>>);

impl Fingerprints {
    /// Looks at the files now. Blocks on the file system, but never on a pipe.
    #[must_use]
    pub fn of<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        let look = |path: &PathBuf| (path.clone(), fingerprint(path));
        Self(files.into_iter().map(look).collect())
    }
}

/// Something that changes whenever what could be read from `path` does.
fn fingerprint(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let read = || {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(b"not a file".to_vec());
        }
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        std::fs::File::open(path)?
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)?;
        let mut print = digest(&SHA256, &bytes).as_ref().to_vec();
        print.extend_from_slice(&metadata.len().to_le_bytes());
        Ok(print)
    };
    read().unwrap_or_else(|error: std::io::Error| error.kind().to_string().into_bytes())
}
