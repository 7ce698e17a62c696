//! Reading a secret by its name: its sources, their bounds, and the encodings of the bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, PAD};
use base64::{Engine, alphabet};
use zeroize::Zeroizing;

use super::{Fetched, Fetcher, Secret, VaultError};

/// The longest secret that is read, in bytes; a PEM file of an RSA-8192 key takes about 6,500.
pub(super) const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The name of a secret: where its bytes are, never the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretName {
    /// An environment variable.
    Env(String),
    /// What a command prints, or what a secret manager keeps.
    Fetched(Box<Fetched>),
    /// A file, which loses one trailing newline.
    File(PathBuf),
}

/// How the bytes are written at their source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// RFC 4648 section 4, with or without padding.
    Base64,
    /// RFC 4648 section 5, with or without padding.
    Base64Url,
    /// RFC 4648 section 8, either case.
    Hex,
    /// As they stand: the UTF-8 bytes are the secret.
    #[default]
    Utf8,
}

/// A secret's name and how it is written there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef {
    /// Where it is.
    pub name: SecretName,
    /// How it is written.
    pub encoding: Encoding,
}

/// The environment that secrets are read from: the process's own, or one that is handed in.
#[derive(Clone, Default)]
pub enum Variables {
    /// Exactly these, for `signet dev` and for tests.
    Given(BTreeMap<String, Secret>),
    /// The process's environment.
    #[default]
    Process,
}

/// Why a secret could not be read. No message repeats a name, a path or a byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is not written in the encoding that was named.
    #[error("the secret is not valid {0}; correct its `encoding` or the secret")]
    BadEncoding(&'static str),
    /// It ended with another status than 0.
    #[error("the command that prints it fails; run it by hand with the same variables to see why")]
    CommandFailed,
    /// The program could not be started.
    #[error("the command that prints it can't be run ({0}); correct its program's name")]
    CommandNotRun(std::io::ErrorKind),
    /// It was killed.
    #[error("the command that prints it takes longer than 10 seconds; make it faster")]
    CommandTooSlow,
    /// There is nothing in it.
    #[error("the secret is empty; `signet secret new` prints a good one")]
    Empty,
    /// A folder, a pipe or a device.
    #[error(
        "the file that it names is not a regular file; name a file that holds the secret alone"
    )]
    NotAFile,
    /// Nobody has asked its source yet.
    #[error("the secret has not been fetched")]
    NotFetched,
    /// The variable or the file doesn't exist.
    #[error("the {0} that it names does not exist; set it, or correct the name")]
    NotFound(&'static str),
    /// More than 64 KiB.
    #[error("the secret is longer than 64 KiB; name a file that holds the secret alone")]
    TooLong,
    /// The operating system refused.
    #[error("the file that it names cannot be read ({0}); let signet's user read it")]
    Unreadable(std::io::ErrorKind),
    /// Vault gave none.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl SecretRef {
    /// Reads the secret; of a fetched one the last good that `fetcher` has. Blocks on the file system.
    ///
    /// # Errors
    /// When it doesn't exist, is empty, too long, unreadable or not in its encoding.
    pub fn read(&self, variables: &Variables, fetcher: &Fetcher) -> Result<Secret, SecretError> {
        let raw = match &self.name {
            SecretName::Env(name) => variables
                .find(name)
                .ok_or(SecretError::NotFound("environment variable"))?,
            SecretName::Fetched(name) => fetcher.last_good(name)?,
            SecretName::File(path) => read_file(path)?,
        };
        let secret = self.encoding.decode(raw)?;
        if secret.is_empty() {
            Err(SecretError::Empty)
        } else {
            Ok(secret)
        }
    }
}

impl Variables {
    pub(super) fn find(&self, name: &str) -> Option<Secret> {
        match self {
            Self::Given(variables) => variables.get(name).cloned(),
            Self::Process => process_variable(name),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is where a secret's variable is read"
)]
fn process_variable(name: &str) -> Option<Secret> {
    use std::os::unix::ffi::OsStringExt;
    // A name with `=` or NUL would make the standard library panic.
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    std::env::var_os(name).map(|value| Secret::new(Zeroizing::new(value.into_vec())))
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => SecretError::NotFound("file"),
        kind => SecretError::Unreadable(kind),
    };
    // Looked at before it is opened: opening a FIFO would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(refused)?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    File::open(path)
        .map_err(refused)?
        .take(MAX_SECRET_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError::TooLong);
    }
    Ok(Secret::new(without_newline(bytes)))
}

/// The bytes without one newline at their end.
pub(super) fn without_newline(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

const LENIENT_PADDING: GeneralPurposeConfig =
    PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);

impl Encoding {
    fn decode(self, raw: Secret) -> Result<Secret, SecretError> {
        let base64 = |alphabet, name| {
            GeneralPurpose::new(alphabet, LENIENT_PADDING)
                .decode(raw.expose())
                .map(|bytes| Secret::new(Zeroizing::new(bytes)))
                .map_err(|_| SecretError::BadEncoding(name))
        };
        match self {
            Self::Base64 => base64(&alphabet::STANDARD, "base64"),
            Self::Base64Url => base64(&alphabet::URL_SAFE, "base64url"),
            Self::Hex => decode_hex(raw.expose()).ok_or(SecretError::BadEncoding("hex")),
            Self::Utf8 => Ok(raw),
        }
    }
}

fn decode_hex(text: &[u8]) -> Option<Secret> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.chunks(2) {
        let [high, low] = *pair else { return None };
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Some(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> (tempfile::NamedTempFile, SecretRef) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let name = SecretName::File(file.path().to_owned());
        (
            file,
            SecretRef {
                name,
                encoding: Encoding::Utf8,
            },
        )
    }

    fn given(value: &str, encoding: Encoding) -> Result<Secret, SecretError> {
        let variables =
            Variables::Given(BTreeMap::from([("NAME".to_owned(), Secret::from(value))]));
        SecretRef {
            name: SecretName::Env("NAME".to_owned()),
            encoding,
        }
        .read(&variables, &Fetcher::default())
    }

    #[test]
    fn a_file_loses_one_trailing_newline_and_no_more() {
        for (content, expected) in [
            (&b"abc"[..], &b"abc"[..]),
            (b"abc\n", b"abc"),
            (b"abc\r\n", b"abc"),
            (b"abc\n\n", b"abc\n"),
            (b" abc ", b" abc "),
        ] {
            let (_file, reference) = file(content);
            assert_eq!(
                reference
                    .read(&Variables::Process, &Fetcher::default())
                    .unwrap()
                    .expose(),
                expected
            );
        }
    }

    #[test]
    fn every_encoding_gives_the_same_bytes() {
        for (text, encoding) in [
            ("a>?b", Encoding::Utf8),
            ("YT4/Yg==", Encoding::Base64),
            ("YT4/Yg", Encoding::Base64),
            ("YT4_Yg", Encoding::Base64Url),
            ("613e3F62", Encoding::Hex),
        ] {
            assert_eq!(
                given(text, encoding).unwrap().expose(),
                b"a>?b",
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn what_is_not_in_its_encoding_is_refused_without_repeating_it() {
        for (text, encoding) in [
            ("sécret!", Encoding::Base64),
            ("YT4/Yg", Encoding::Base64Url),
            ("abc", Encoding::Hex),
            ("zz", Encoding::Hex),
        ] {
            let error = given(text, encoding).unwrap_err();
            assert!(matches!(error, SecretError::BadEncoding(_)));
            assert!(!error.to_string().contains(text));
        }
    }

    #[test]
    fn a_missing_variable_is_named_by_its_kind_only() {
        let reference = SecretRef {
            name: SecretName::Env("hunter2".to_owned()),
            encoding: Encoding::Utf8,
        };
        let error = reference
            .read(&Variables::Given(BTreeMap::new()), &Fetcher::default())
            .unwrap_err();
        assert_eq!(error, SecretError::NotFound("environment variable"));
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let (_file, reference) = file(b"\n");
        assert_eq!(
            reference
                .read(&Variables::Process, &Fetcher::default())
                .unwrap_err(),
            SecretError::Empty
        );
        assert_eq!(given("", Encoding::Base64).unwrap_err(), SecretError::Empty);
    }

    #[test]
    fn folders_pipes_and_huge_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |path: &Path| {
            SecretRef {
                name: SecretName::File(path.to_owned()),
                encoding: Encoding::Utf8,
            }
            .read(&Variables::Process, &Fetcher::default())
            .unwrap_err()
        };
        assert_eq!(read(folder.path()), SecretError::NotAFile);
        let pipe = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(read(&pipe), SecretError::NotAFile);
        assert_eq!(
            read(&folder.path().join("absent")),
            SecretError::NotFound("file")
        );
        let (_file, reference) = file(&vec![b'x'; 64 * 1024 + 1]);
        assert_eq!(
            reference
                .read(&Variables::Process, &Fetcher::default())
                .unwrap_err(),
            SecretError::TooLong
        );
    }
}
