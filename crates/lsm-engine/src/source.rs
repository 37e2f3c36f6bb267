//! The cursors that a read merges: one for each memtable, each table of level 0, and each run.

use lsm_base::{Cursor, InternalKeyRef, Result, Seq};
use lsm_memtable::MemtableCursor;
use lsm_sstable::{RunCursor, TableCursor};

/// A sorted source of entries.
#[derive(Debug)]
pub(crate) enum Source {
    /// A memtable.
    Memtable(MemtableCursor),
    /// A table of level 0.
    Table(TableCursor),
    /// The disjoint tables of a deeper level.
    Run(RunCursor),
}

macro_rules! delegate {
    ($self:ident, $cursor:ident => $call:expr) => {
        match $self {
            Source::Memtable($cursor) => $call,
            Source::Table($cursor) => $call,
            Source::Run($cursor) => $call,
        }
    };
}

impl Cursor for Source {
    fn valid(&self) -> bool {
        delegate!(self, cursor => cursor.valid())
    }

    fn key(&self) -> InternalKeyRef<'_> {
        delegate!(self, cursor => cursor.key())
    }

    fn peek(&self) -> Option<InternalKeyRef<'_>> {
        delegate!(self, cursor => cursor.peek())
    }

    fn value(&self) -> &[u8] {
        delegate!(self, cursor => cursor.value())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        delegate!(self, cursor => cursor.seek_to_first())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        delegate!(self, cursor => cursor.seek_to_last())
    }

    fn seek(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        delegate!(self, cursor => cursor.seek(user_key, seq))
    }

    fn seek_before(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        delegate!(self, cursor => cursor.seek_before(user_key, seq))
    }

    fn next(&mut self) -> Result<()> {
        delegate!(self, cursor => cursor.next())
    }

    fn prev(&mut self) -> Result<()> {
        delegate!(self, cursor => cursor.prev())
    }
}
