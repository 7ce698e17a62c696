//! What is wrong with a configuration: where it was written, which setting it is, and what to do.

use std::fmt;

/// One thing that is wrong. Its message says what to do and never repeats a value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written: a file's name or a variable's.
    pub origin: String,
    /// The setting, such as `apps.acme.profile`; empty when the whole origin is meant.
    pub path: String,
    /// What is wrong and what to do: a lower-case phrase.
    pub message: String,
}

impl Problem {
    /// A problem with the setting at `path`, which was written at `origin`.
    pub fn new(
        origin: impl Into<String>,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            origin: origin.into(),
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            origin,
            path,
            message,
        } = self;
        if path.is_empty() {
            write!(f, "{origin}: {message}")
        } else {
            write!(f, "{origin}: {path}: {message}")
        }
    }
}

/// Everything that is wrong with a configuration, never empty; displayed one to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems in the order in which they were found.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
