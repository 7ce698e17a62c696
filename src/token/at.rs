//! Where a value stands in a request, spelt out as a JSON Pointer only when something is wrong there.

use std::fmt::{self, Write};

/// A name goes back to the client that sent it, so no more of it than this, in characters.
const MAX_NAME: usize = 64;

/// A place in a request: each step points to the one before, so that walking in costs nothing.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    /// An item of an array.
    Item(&'a Self, usize),
    /// A member of an object.
    Member(&'a Self, &'a str),
    /// The request itself.
    Whole,
}

impl<'a> At<'a> {
    /// A member of the request.
    pub(super) const fn member(name: &'a str) -> Self {
        Self::Member(&At::Whole, name)
    }

    /// One of the request's attributes.
    pub(super) const fn attribute(name: &'a str) -> Self {
        Self::Member(&At::Member(&At::Whole, "attributes"), name)
    }
}

/// A JSON Pointer, escaped as RFC 6901 section 3 says; a long name is cut.
impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(array, index) => write!(f, "{array}/{index}"),
            Self::Member(object, name) => {
                write!(f, "{object}/")?;
                name.chars().take(MAX_NAME).try_for_each(|c| match c {
                    '~' => f.write_str("~0"),
                    '/' => f.write_str("~1"),
                    _ => f.write_char(c),
                })
            }
            Self::Whole => Ok(()),
        }
    }
}

impl From<At<'_>> for String {
    fn from(at: At<'_>) -> Self {
        at.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_escape_their_names_and_cut_long_ones() {
        assert_eq!(At::Whole.to_string(), "");
        assert_eq!(At::attribute("a/b~c").to_string(), "/attributes/a~1b~0c");
        let roles = At::member("roles");
        assert_eq!(At::Item(&roles, 3).to_string(), "/roles/3");
        let long = "n".repeat(65);
        assert_eq!(At::member(&long).to_string().len(), 65);
    }
}
