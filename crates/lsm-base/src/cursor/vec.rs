//! A cursor over entries in memory, for the tests of whatever consumes cursors.

use std::path::Path;

use super::Cursor;
use crate::error::{Error, Result};
use crate::key::{InternalKey, InternalKeyRef, Seq};

/// A cursor over a vector of entries, whose motions can be made to fail.
#[derive(Clone, Debug, Default)]
pub struct VecCursor {
    entries: Vec<(InternalKey, Vec<u8>)>,
    /// The entry that the cursor stands on; the length of `entries` for none.
    position: usize,
    motions_left: Option<usize>,
}

impl VecCursor {
    /// A cursor over `entries`, in whatever order they come, standing on nothing.
    #[must_use]
    pub fn new(mut entries: Vec<(InternalKey, Vec<u8>)>) -> VecCursor {
        entries.sort();
        VecCursor::unsorted(entries)
    }

    /// A cursor over `entries` in the order in which they come, as from a table that is not what it
    /// should be.
    #[must_use]
    pub fn unsorted(entries: Vec<(InternalKey, Vec<u8>)>) -> VecCursor {
        VecCursor { position: entries.len(), entries, motions_left: None }
    }

    /// Lets `count` more motions succeed and makes the one after them fail, as a read fails; those
    /// after that succeed again.
    pub fn fail_after(&mut self, count: usize) {
        self.motions_left = Some(count);
    }

    fn place(&mut self, position: Option<usize>) -> Result<()> {
        self.position = self.entries.len();
        match self.motions_left {
            Some(0) => {
                self.motions_left = None;
                let source = std::io::Error::other("a motion that was to fail");
                return Err(Error::io("read", Path::new("vector"), source));
            }
            Some(left) => self.motions_left = Some(left - 1),
            None => {}
        }
        self.position = position.unwrap_or(self.entries.len());
        Ok(())
    }

    /// How many entries stand before the point.
    fn rank(&self, user_key: &[u8], seq: Seq) -> usize {
        self.entries.partition_point(|(key, _)| key.as_ref().cmp_point(user_key, seq).is_lt())
    }
}

impl Cursor for VecCursor {
    fn valid(&self) -> bool {
        self.position < self.entries.len()
    }

    fn key(&self) -> InternalKeyRef<'_> {
        self.entries[self.position].0.as_ref()
    }

    fn value(&self) -> &[u8] {
        &self.entries[self.position].1
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.place(Some(0))
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.place(self.entries.len().checked_sub(1))
    }

    fn seek(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        self.place(Some(self.rank(user_key, seq)))
    }

    fn seek_before(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        self.place(self.rank(user_key, seq).checked_sub(1))
    }

    fn next(&mut self) -> Result<()> {
        assert!(self.valid(), "next() on a cursor that stands on nothing");
        self.place(Some(self.position + 1))
    }

    fn prev(&mut self) -> Result<()> {
        assert!(self.valid(), "prev() on a cursor that stands on nothing");
        self.place(self.position.checked_sub(1))
    }
}
