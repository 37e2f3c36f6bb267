//! Cursors: sorted entries, one after the other.
//!
//! A cursor stands on an entry or beside all of them. Its motions return `Result`, so that an
//! error cannot be forgotten, and its key and value are lent, so that nothing is copied: `std`'s
//! `Iterator` can do neither.

use crate::error::Result;
use crate::key::{InternalKeyRef, Seq};

#[cfg(any(test, feature = "testing"))]
mod motion;
#[cfg(any(test, feature = "testing"))]
mod vec;

#[cfg(any(test, feature = "testing"))]
pub use motion::Motion;
#[cfg(any(test, feature = "testing"))]
pub use vec::VecCursor;

/// A position among entries in the order of [`InternalKeyRef`].
///
/// A new cursor stands on nothing. After an error the cursor stands on nothing, until a seek
/// succeeds.
pub trait Cursor {
    /// Whether the cursor stands on an entry.
    fn valid(&self) -> bool;

    /// The key of the entry. Requires: [`valid`](Cursor::valid).
    fn key(&self) -> InternalKeyRef<'_>;

    /// The key of the entry, if the cursor stands on one.
    #[inline]
    fn peek(&self) -> Option<InternalKeyRef<'_>> {
        self.valid().then(|| self.key())
    }

    /// The value of the entry, empty for a tombstone. Requires: [`valid`](Cursor::valid).
    fn value(&self) -> &[u8];

    /// Moves to the first entry.
    fn seek_to_first(&mut self) -> Result<()>;

    /// Moves to the last entry.
    fn seek_to_last(&mut self) -> Result<()>;

    /// Moves to the first entry at or behind the point (`user_key`, `seq`): the newest version of
    /// `user_key` that a reader at `seq` sees, or else what comes next.
    fn seek(&mut self, user_key: &[u8], seq: Seq) -> Result<()>;

    /// Moves to the last entry before the point (`user_key`, `seq`).
    fn seek_before(&mut self, user_key: &[u8], seq: Seq) -> Result<()>;

    /// Moves to the next entry, or beside all. Requires: [`valid`](Cursor::valid).
    fn next(&mut self) -> Result<()>;

    /// Moves to the entry before, or beside all. Requires: [`valid`](Cursor::valid).
    fn prev(&mut self) -> Result<()>;
}
