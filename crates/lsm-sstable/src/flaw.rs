//! What is wrong with bytes, before anyone knows which file they came from.
//!
//! The decoders of this crate see slices; only the table knows path and offset. So they answer a
//! [`Flaw`], and the table makes an [`Error`] of it at its place.

use std::borrow::Cow;
use std::path::Path;

use lsm_base::Error;

/// A fault found in a region of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// The bytes are not what a builder wrote.
    Corrupt {
        /// How far into the region.
        at: u64,
        /// What is wrong there.
        detail: Cow<'static, str>,
    },
    /// The bytes are whole, but a later release wrote them.
    Unsupported(String),
}

impl Flaw {
    /// A corruption `at` bytes into the region.
    pub(crate) fn corrupt(at: usize, detail: impl Into<Cow<'static, str>>) -> Flaw {
        Flaw::Corrupt { at: at as u64, detail: detail.into() }
    }

    /// A whole region of a later format.
    pub(crate) fn unsupported(detail: impl Into<String>) -> Flaw {
        Flaw::Unsupported(detail.into())
    }

    /// The same of a region of `len` bytes in the file. What lies behind those lies in a payload that
    /// was decompressed and has no place of its own: the region's beginning stands for it.
    #[must_use]
    pub(crate) fn within(self, len: u64) -> Flaw {
        match self {
            Flaw::Corrupt { at, detail } if len <= at => Flaw::Corrupt { at: 0, detail },
            other => other,
        }
    }

    /// The error for a region that begins at `offset` of the file `path`.
    #[cold]
    pub(crate) fn at(self, path: &Path, offset: u64) -> Error {
        match self {
            Flaw::Corrupt { at, detail } => {
                Error::corruption(path, offset.saturating_add(at), detail)
            }
            Flaw::Unsupported(detail) => {
                Error::unsupported(path, format!("{detail} (region at {offset})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_stands_at_the_beginning_where_its_place_is_not_in_the_file() {
        let within = |at| match Flaw::corrupt(at, "a flaw").within(10) {
            Flaw::Corrupt { at, .. } => at,
            Flaw::Unsupported(detail) => panic!("{detail}"),
        };
        assert_eq!([9, 10, 11].map(within), [9, 0, 0]);
        let unsupported = Flaw::unsupported("a flaw");
        assert_eq!(unsupported.clone().within(0), unsupported);
    }
}
