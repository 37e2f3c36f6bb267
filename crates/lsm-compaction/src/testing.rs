//! Tables and cursors for the unit tests of this crate.

use std::cmp::Ordering;
use std::path::Path;

use lsm_base::{Cursor, Error, InternalKey, InternalKeyRef, KeyspaceId, Kind, Result, Seq};
use lsm_sstable::Compression;

use crate::table_meta::{Mark, TableMeta};

/// A table of 1 MiB whose first key was written last and whose last key was written first.
pub(crate) fn table(number: u64, smallest: &str, largest: &str, min: u64, max: u64) -> TableMeta {
    let key = |user_key: &str, seq: u64| InternalKey {
        user_key: user_key.as_bytes().into(),
        seq: Seq::new(seq),
        kind: Kind::Put,
    };
    TableMeta {
        number,
        id: number << 32 | 0xabcd,
        keyspace: KeyspaceId::DEFAULT,
        len: 1 << 20,
        entries: 100,
        tombstones: 0,
        smallest: key(smallest, max),
        largest: key(largest, min),
        min_seq: Seq::new(min),
        max_seq: Seq::new(max),
        compression: Compression::None,
        mark: Mark::None,
        unknown: Vec::new(),
    }
}

/// A cursor over entries in memory, which may be told to fail.
pub(crate) struct VecCursor {
    entries: Vec<(InternalKey, Vec<u8>)>,
    position: usize,
    fails_at: usize,
}

impl VecCursor {
    pub(crate) fn new(entries: Vec<(InternalKey, Vec<u8>)>) -> VecCursor {
        VecCursor { position: entries.len(), entries, fails_at: usize::MAX }
    }

    /// The move to this entry is a read error.
    pub(crate) fn failing_at(self, fails_at: usize) -> VecCursor {
        VecCursor { fails_at, ..self }
    }

    fn go(&mut self, position: usize) -> Result<()> {
        if position == self.fails_at {
            self.position = self.entries.len();
            let source = std::io::Error::from_raw_os_error(5);
            return Err(Error::io("read", Path::new("000001.sst"), source));
        }
        self.position = position;
        Ok(())
    }

    fn point(&self, user_key: &[u8], seq: Seq) -> usize {
        self.entries
            .partition_point(|(key, _)| key.as_ref().cmp_point(user_key, seq) == Ordering::Less)
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
        self.go(0)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.go(self.entries.len().wrapping_sub(1).min(self.entries.len()))
    }

    fn seek(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        self.go(self.point(user_key, seq))
    }

    fn seek_before(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        self.go(self.point(user_key, seq).wrapping_sub(1).min(self.entries.len()))
    }

    fn next(&mut self) -> Result<()> {
        self.go(self.position + 1)
    }

    fn prev(&mut self) -> Result<()> {
        self.go(self.position.wrapping_sub(1).min(self.entries.len()))
    }
}
