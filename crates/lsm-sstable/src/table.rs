//! Tables: immutable files of sorted entries, read by many threads at once.
//!
//! A point get costs one hash (the caller's), one line of the filter, one search of the fences, a
//! comparison of tags and one of keys. It allocates nothing and touches no counter that threads
//! share, unless the block is compressed or the mode is pread; then it takes the block from the
//! cache.
//!
//! Invariant: an error of the disk or of the bytes is an `Err` of that one call. It is not
//! remembered, and never becomes "not found".

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lsm_base::{Error, File, FileName, Fs, Kind, Result, Seq};

use crate::block::{Block, Entry, Layout, tag_of};
use crate::cache::BlockCache;
use crate::cursor::TableCursor;
use crate::options::{CursorMode, ReadMode};
use crate::properties::TableProperties;
use crate::value::{TableEntry, TableValue};

pub(crate) mod opened;
mod verify;

pub use self::verify::VerifyReport;

use self::opened::{Held, Lookup, OpenTable};

/// A table, opened when it is first used.
#[derive(Debug)]
pub struct Table {
    source: TableSource,
    mode: ReadMode,
    cache: Arc<BlockCache>,
    opened: OnceLock<Box<OpenTable>>,
}

/// Which file a table is, as the MANIFEST names it.
#[derive(Clone, Debug)]
pub struct TableSource {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The file.
    pub path: PathBuf,
    /// Its number, for people; nothing in the file depends on it.
    pub number: u64,
    /// The random id of the table.
    pub id: u64,
    /// The length of the file in bytes.
    pub len: u64,
}

/// An answer that was asked for without reading the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resident<T> {
    /// The answer.
    Known(T),
    /// Only a call that may read the disk can tell.
    WouldTouchDisk,
}

impl Table {
    /// The table in this file. Nothing is read before its first use.
    #[must_use]
    pub fn new(source: TableSource, mode: ReadMode, cache: Arc<BlockCache>) -> Arc<Table> {
        Arc::new(Table { source, mode, cache, opened: OnceLock::new() })
    }

    /// Opens a table file that no MANIFEST describes: its own footer names it.
    ///
    /// The caller sees to it that nothing writes or truncates the file while the table lives.
    ///
    /// # Errors
    /// [`Error::MissingFile`], [`Error::Io`]; [`Error::Corruption`] or
    /// [`Error::UnsupportedFormat`] if the file is no table, not whole, or of a later release.
    pub fn open_standalone(
        fs: Arc<dyn Fs>,
        path: &Path,
        mode: ReadMode,
        cache: Arc<BlockCache>,
    ) -> Result<Arc<Table>> {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(FileName::parse);
        let number = match name {
            Some(FileName::Table(number)) => number,
            _ => 0,
        };
        let mut source = TableSource { fs, path: path.to_owned(), number, id: 0, len: 0 };
        let file = source.open_file()?;
        source.len = file.len()?;
        source.id = opened::read_footer(&*file, path, source.len)?.id;
        let table = Table::new(source, mode, cache);
        table.opened()?;
        Ok(table)
    }

    /// The newest version of `user_key` that a reader at `seq` sees. `hash` is
    /// [`hash_user_key`](lsm_base::key::hash_user_key) of the key.
    ///
    /// # Errors
    /// Those of the first use ([`Error::MissingFile`], [`Error::UnsupportedFormat`]), and
    /// [`Error::Io`] or [`Error::Corruption`] for the block that the key belongs to.
    pub fn get(&self, user_key: &[u8], hash: u64, seq: Seq) -> Result<Option<TableEntry>> {
        self.probe(hash)?.map_or(Ok(None), |probe| probe.get(user_key, seq))
    }

    /// Like [`get`](Table::get), but lends the value to `read` and pins nothing.
    ///
    /// # Errors
    /// As [`get`](Table::get).
    #[inline]
    pub fn get_with<R>(
        &self,
        user_key: &[u8],
        hash: u64,
        seq: Seq,
        read: impl FnOnce(Seq, Kind, &[u8]) -> R,
    ) -> Result<Option<R>> {
        self.probe(hash)?.map_or(Ok(None), |probe| probe.get_with(user_key, seq, read))
    }

    /// Like [`get`](Table::get), but answers only if that takes no read of the disk: from the
    /// filter, from a block that was touched before, or from the cache. (The system may have
    /// dropped a touched block from memory since; a read of a map cannot tell.)
    ///
    /// # Errors
    /// [`Error::Corruption`] for a block that has changed under the map.
    pub fn get_resident(
        &self,
        user_key: &[u8],
        hash: u64,
        seq: Seq,
    ) -> Result<Resident<Option<TableEntry>>> {
        match self.probe_resident(hash) {
            Resident::Known(Some(probe)) => probe.get_resident(user_key, seq),
            Resident::Known(None) => Ok(Resident::Known(None)),
            Resident::WouldTouchDisk => Ok(Resident::WouldTouchDisk),
        }
    }

    /// The way to the keys with this hash, if the filter lets them through; `None` is certain.
    ///
    /// # Errors
    /// Those of the first use.
    #[inline]
    pub fn probe(&self, hash: u64) -> Result<Option<Probe<'_>>> {
        let opened = self.opened()?;
        Ok(opened.may_contain(hash).then_some(Probe { opened, hash }))
    }

    /// Like [`probe`](Table::probe), if the table was used before.
    #[must_use]
    pub fn probe_resident(&self, hash: u64) -> Resident<Option<Probe<'_>>> {
        match self.opened.get() {
            Some(opened) => {
                Resident::Known(opened.may_contain(hash).then_some(Probe { opened, hash }))
            }
            None => Resident::WouldTouchDisk,
        }
    }

    /// A cursor over all entries. It holds the table, and opens it when it first moves.
    #[must_use]
    pub fn cursor(self: &Arc<Self>, mode: CursorMode) -> TableCursor {
        TableCursor::new(Arc::clone(self), mode)
    }

    /// The properties.
    ///
    /// # Errors
    /// Those of the first use.
    pub fn properties(&self) -> Result<&TableProperties> {
        Ok(&self.opened()?.properties)
    }

    /// About how many bytes of the file stand before `user_key`, to the block.
    ///
    /// # Errors
    /// Those of the first use.
    pub fn approximate_offset(&self, user_key: &[u8]) -> Result<u64> {
        let opened = self.opened()?;
        Ok(match opened.fences.search(user_key) {
            Some(fence) => opened.place(fence.index).offset,
            None => opened.data.end(),
        })
    }

    /// Reads and checks every byte of the file, the order of its entries, and that filter, fences
    /// and properties agree with them. Uses neither the map nor the cache.
    ///
    /// # Errors
    /// The first fault that it meets.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(&mut |_| {})
    }

    /// Like [`verify`](Table::verify), and calls `note_read` every 256 KiB with how many bytes of
    /// data blocks were read and found to be whole.
    ///
    /// # Errors
    /// As [`verify`](Table::verify).
    pub fn verify_with(&self, note_read: &mut dyn FnMut(u64)) -> Result<VerifyReport> {
        verify::verify(&self.source, &self.cache, note_read)
    }

    /// Forgets which blocks were read and checked, so that each is read and checked again at its
    /// next use. The engine's scrubber calls it.
    pub fn forget_verified(&self) {
        if let Some(opened) = self.opened.get() {
            opened.forget_touched();
        }
    }

    /// The memory that fences, filter and bookkeeping take, in bytes, for as long as the table is
    /// held; what is used in the map is not among it. 0 before the first use.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        self.opened.get().map_or(0, |opened| opened.pinned_bytes())
    }

    /// Where the table comes from.
    #[must_use]
    pub fn source(&self) -> &TableSource {
        &self.source
    }

    /// The open table; the first call that succeeds opens it.
    #[inline]
    pub(crate) fn opened(&self) -> Result<&OpenTable> {
        match self.opened.get() {
            Some(opened) => Ok(opened),
            None => self.open(),
        }
    }

    #[cold]
    fn open(&self) -> Result<&OpenTable> {
        let opened = OpenTable::open(&self.source, self.mode, &self.cache)?;
        // No lock over I/O: threads that meet here each open the file, and one result stays.
        Ok(self.opened.get_or_init(|| Box::new(opened)))
    }
}

impl TableSource {
    /// Opens the file; that it must exist is known.
    pub(crate) fn open_file(&self) -> Result<Arc<dyn File>> {
        self.fs.open(&self.path).map_err(|error| {
            if error.is_not_found() { Error::MissingFile(self.path.clone()) } else { error }
        })
    }
}

/// The way to the keys of a table with one hash, which its filter has let through. The methods are those
/// of [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    opened: &'a OpenTable,
    hash: u64,
}

impl Probe<'_> {
    /// [`Table::get`].
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corruption`] for the block that the key belongs to.
    pub fn get(&self, user_key: &[u8], seq: Seq) -> Result<Option<TableEntry>> {
        let answer = self.opened.find(user_key, self.hash, seq, Access::Any)?;
        Ok(answer.found().map(|found| found.pin(self.opened)))
    }

    /// [`Table::get_with`].
    ///
    /// # Errors
    /// As [`get`](Probe::get).
    #[inline]
    pub fn get_with<R>(
        &self,
        user_key: &[u8],
        seq: Seq,
        read: impl FnOnce(Seq, Kind, &[u8]) -> R,
    ) -> Result<Option<R>> {
        let answer = self.opened.find(user_key, self.hash, seq, Access::Any)?;
        let found = answer.found();
        Ok(found.map(|it| read(it.entry.seq, it.entry.kind, it.value(self.opened))))
    }

    /// [`Table::get_resident`].
    ///
    /// # Errors
    /// [`Error::Corruption`] for a block that has changed under the map.
    pub fn get_resident(&self, user_key: &[u8], seq: Seq) -> Result<Resident<Option<TableEntry>>> {
        Ok(match self.opened.find(user_key, self.hash, seq, Access::Resident)? {
            Answer::Absent => Resident::Known(None),
            Answer::Found(found) => Resident::Known(Some(found.pin(self.opened))),
            Answer::WouldTouchDisk => Resident::WouldTouchDisk,
        })
    }
}

/// Whether a search may read the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Any,
    Resident,
}

/// The result of a search.
enum Answer {
    Absent,
    Found(Found),
    WouldTouchDisk,
}

/// A version that was found, and the block that holds it.
struct Found {
    held: Held,
    entry: Entry,
}

impl OpenTable {
    #[inline]
    fn may_contain(&self, hash: u64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_contain(hash))
    }

    /// The newest version of a key that a reader at `seq` sees. The filter is the caller's to ask.
    #[inline]
    fn find(&self, user_key: &[u8], hash: u64, seq: Seq, access: Access) -> Result<Answer> {
        let tag = tag_of(hash);
        let Some(mut fence) = self.fences.search(user_key) else { return Ok(Answer::Absent) };
        loop {
            let held = match self.lookup(fence.index) {
                Lookup::Ready(held) => Some(held),
                Lookup::Unread if access == Access::Resident => return Ok(Answer::WouldTouchDisk),
                Lookup::Unread => Some(self.load(fence.index)?),
                Lookup::Compressed(content) => self.decompress_for(fence.index, content, tag)?,
            };
            if let Some(held) = held {
                let content = self.bytes(&held);
                let entry = match &held {
                    Held::Cached(block) => block.block().find(user_key, tag, seq),
                    Held::Mapped { .. } => Layout::parse(content)
                        .and_then(|layout| Block::new(content, &layout).find(user_key, tag, seq)),
                };
                match entry {
                    Ok(Some(entry)) => return Ok(Answer::Found(Found { held, entry })),
                    Ok(None) => {}
                    Err(flaw) => return Err(self.flaw(fence.index, flaw)),
                }
            }
            // Older versions of the key may stand in the next block, if it ends this one.
            if !fence.is_exact || self.fences.count() <= fence.index + 1 {
                return Ok(Answer::Absent);
            }
            fence = self.fences.following(fence.index, user_key);
        }
    }

    /// A compressed block of the map, decompressed if one of its entries has the tag. The tags are
    /// outside the compressed bytes: mostly they spare the work.
    #[cold]
    fn decompress_for(&self, index: usize, content: &[u8], tag: u8) -> Result<Option<Held>> {
        let layout = self.parse(index, content)?;
        if !layout.tags(content).unwrap_or_default().contains(&tag) {
            return Ok(None);
        }
        self.decompress(index, content, &layout).map(Some)
    }
}

impl Answer {
    #[inline]
    fn found(self) -> Option<Found> {
        match self {
            Answer::Found(found) => Some(found),
            Answer::Absent | Answer::WouldTouchDisk => None,
        }
    }
}

impl Found {
    #[inline]
    fn value<'a>(&'a self, opened: &'a OpenTable) -> &'a [u8] {
        opened.bytes(&self.held).get(self.entry.value_at..self.entry.end).unwrap_or_default()
    }

    fn pin(self, opened: &OpenTable) -> TableEntry {
        let Entry { value_at, end, seq, kind, .. } = self.entry;
        let len = end - value_at;
        let value = match (&self.held, &opened.map) {
            (Held::Cached(block), _) => TableValue::in_block(block, value_at, len),
            (Held::Mapped { start, .. }, Some(map)) => {
                TableValue::in_map(map, start + value_at, len)
            }
            (Held::Mapped { .. }, None) => unreachable!("only a map holds mapped blocks"),
        };
        TableEntry { seq, kind, value }
    }
}

#[cfg(test)]
mod tests;
