//! A cursor over one table.
//!
//! It holds one block at a time and decodes an entry when it moves there; key and value are lent
//! from the map, from the cached block, or from the cursor's own buffer. A step inside a block
//! allocates nothing and touches nothing that threads share.
//!
//! In [`CursorMode::Compaction`] every block is read from the disk and checked, whatever was done
//! before, into buffers of the cursor, and with reading ahead while it goes forward.

use std::sync::Arc;

use lsm_base::{Cursor, InternalKeyRef, Result, Seq};

use crate::block::{self, Block, Entry, Layout};
use crate::map::FileMap;
use crate::options::{Compression, CursorMode};
use crate::table::Table;
use crate::table::opened::{Held, OpenTable};

/// A position among the entries of a table.
#[derive(Debug)]
pub struct TableCursor {
    table: Arc<Table>,
    mode: CursorMode,
    map: Option<Arc<FileMap>>,
    window: Window,
    current: Current,
    block_index: usize,
    entry_index: usize,
    /// The entry on which the cursor stands.
    entry: Option<Entry>,
}

/// Where the bytes of the current block are.
#[derive(Debug)]
enum Current {
    Nothing,
    Held {
        held: Held,
        layout: Layout,
    },
    /// In the window's buffer, not compressed.
    Window {
        start: usize,
        len: usize,
        layout: Layout,
    },
    /// In the window's second buffer.
    Decompressed {
        layout: Layout,
    },
}

impl TableCursor {
    pub(crate) fn new(table: Arc<Table>, mode: CursorMode) -> TableCursor {
        TableCursor {
            table,
            mode,
            map: None,
            window: Window::default(),
            current: Current::Nothing,
            block_index: 0,
            entry_index: 0,
            entry: None,
        }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    #[inline]
    fn block(&self) -> Block<'_> {
        match &self.current {
            Current::Nothing => Block::empty(),
            Current::Held { held: Held::Mapped { start, len }, layout } => {
                let bytes = self.map.as_ref().and_then(|map| map.get(*start..*start + *len));
                Block::new(bytes.unwrap_or_default(), layout)
            }
            Current::Held { held: Held::Cached(block), .. } => block.block(),
            Current::Window { start, len, layout } => {
                let bytes = self.window.bytes.get(*start..*start + *len);
                Block::new(bytes.unwrap_or_default(), layout)
            }
            Current::Decompressed { layout } => Block::new(&self.window.decompressed, layout),
        }
    }

    /// Makes a block the current one. The cursor stands on nothing until it is told an entry.
    fn enter(&mut self, index: usize) -> Result<()> {
        self.entry = None;
        if self.block_index == index && !matches!(self.current, Current::Nothing) {
            // In compaction every visit reads again; a reader stays.
            if self.mode == CursorMode::Read {
                return Ok(());
            }
        }
        self.current = Current::Nothing;
        let opened = self.table.opened()?;
        self.current = match self.mode {
            CursorMode::Compaction => self.window.read(opened, index)?,
            CursorMode::Read => {
                let held = opened.hold(index)?;
                if self.map.is_none() {
                    self.map.clone_from(&opened.map);
                }
                let layout = opened.layout(index, &held)?;
                Current::Held { held, layout }
            }
        };
        self.block_index = index;
        Ok(())
    }

    /// Stands on an entry of the current block.
    #[inline]
    fn stand_on(&mut self, index: usize) -> Result<()> {
        self.entry_index = index;
        self.entry = self.block().entry(index);
        if self.entry.is_some() { Ok(()) } else { self.changed() }
    }

    #[cold]
    fn changed(&self) -> Result<()> {
        Err(self.table.opened()?.flaw(self.block_index, block::changed()))
    }

    fn enter_first(&mut self, block: usize) -> Result<()> {
        self.entry = None;
        if self.table.opened()?.fences.count() <= block {
            return Ok(());
        }
        self.enter(block)?;
        self.stand_on(0)
    }

    fn enter_last(&mut self, block: Option<usize>) -> Result<()> {
        self.entry = None;
        let Some(block) = block else { return Ok(()) };
        self.enter(block)?;
        // A block has entries, but under a map it may since read as if it had none.
        match self.block().count().checked_sub(1) {
            Some(index) => self.stand_on(index),
            None => self.changed(),
        }
    }

    /// Enters the block that the first entry at or behind the point may be in, and says which entry
    /// of it that is; one past the last if it stands in the next block. `None` if every entry
    /// stands before the point.
    fn lower_bound(&mut self, user_key: &[u8], seq: Seq) -> Result<Option<usize>> {
        self.entry = None;
        let fences = &self.table.opened()?.fences;
        let (Some(mut fence), count) = (fences.search(user_key), fences.count()) else {
            return Ok(None);
        };
        loop {
            self.enter(fence.index)?;
            let index = match self.block().lower_bound(user_key, seq) {
                Ok(index) => index,
                Err(flaw) => return Err(self.table.opened()?.flaw(fence.index, flaw)),
            };
            // Versions of the key may straddle blocks, and all in this one be too new.
            let goes_on = index == self.block().count() && fence.is_exact;
            if !goes_on || count <= fence.index + 1 {
                return Ok(Some(index));
            }
            fence = self.table.opened()?.fences.following(fence.index, user_key);
        }
    }
}

impl Cursor for TableCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.entry.is_some()
    }

    #[inline]
    fn key(&self) -> InternalKeyRef<'_> {
        let entry = self.entry.as_ref().expect("the cursor stands on an entry");
        self.block().key(entry)
    }

    #[inline]
    fn peek(&self) -> Option<InternalKeyRef<'_>> {
        self.entry.as_ref().map(|entry| self.block().key(entry))
    }

    #[inline]
    fn value(&self) -> &[u8] {
        let entry = self.entry.as_ref().expect("the cursor stands on an entry");
        self.block().value(entry)
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.enter_first(0)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.entry = None;
        let count = self.table.opened()?.fences.count();
        self.enter_last(count.checked_sub(1))
    }

    fn seek(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        let Some(index) = self.lower_bound(user_key, seq)? else { return Ok(()) };
        if index < self.block().count() {
            self.stand_on(index)
        } else {
            self.enter_first(self.block_index + 1)
        }
    }

    fn seek_before(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        match self.lower_bound(user_key, seq)? {
            None => self.seek_to_last(),
            Some(0) => self.enter_last(self.block_index.checked_sub(1)),
            Some(index) => self.stand_on(index - 1),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        assert!(self.valid(), "next of a cursor that stands on nothing");
        let index = self.entry_index + 1;
        if index < self.block().count() {
            self.stand_on(index)
        } else {
            self.enter_first(self.block_index + 1)
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        assert!(self.valid(), "prev of a cursor that stands on nothing");
        match self.entry_index.checked_sub(1) {
            Some(index) => self.stand_on(index),
            None => self.enter_last(self.block_index.checked_sub(1)),
        }
    }
}

/// How far compaction reads ahead.
const READ_AHEAD: u64 = 256 << 10;

/// A stretch of the data section, read for compaction.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    /// Where in the file `bytes` begins.
    offset: u64,
    decompressed: Vec<u8>,
    /// The block that going forward would read next.
    expected: Option<usize>,
}

impl Window {
    /// Reads a block from the disk, checks and admits it.
    fn read(&mut self, opened: &OpenTable, index: usize) -> Result<Current> {
        let place = opened.place(index);
        let is_forward = self.expected == Some(index);
        self.expected = None;
        let end = place.offset + place.len as u64;
        let is_inside = self.offset <= place.offset && end <= self.offset + self.bytes.len() as u64;
        if !(is_forward && is_inside) {
            let ahead =
                if is_forward { opened.data.end().min(place.offset + READ_AHEAD) } else { 0 };
            self.fill(opened, place.offset, end, end.max(ahead))?;
        }
        let start = (place.offset - self.offset) as usize;
        let bytes = self.bytes.get(start..start + place.len).unwrap_or_default();
        let layout = opened.check_block(index, bytes)?;
        let content = block::without_checksum(bytes).unwrap_or_default();
        let flaw = |flaw| opened.flaw(index, flaw);
        let current = match layout.codec() {
            Compression::None => {
                Block::new(content, &layout).check().map_err(flaw)?;
                Current::Window { start, len: content.len(), layout }
            }
            Compression::Lz4 => {
                block::decompress(content, &layout, &mut self.decompressed).map_err(flaw)?;
                Block::new(&self.decompressed, &layout).check().map_err(flaw)?;
                Current::Decompressed { layout }
            }
        };
        self.expected = Some(index + 1);
        Ok(current)
    }

    /// Reads from `start` to `wished`, or to `end` alone if that cannot be read.
    fn fill(&mut self, opened: &OpenTable, start: u64, end: u64, wished: u64) -> Result<()> {
        self.offset = start;
        self.bytes.resize((wished - start) as usize, 0);
        let mut result = opened.file.read_exact_at(&mut self.bytes, start);
        if result.is_err() && end < wished {
            // A sector that cannot be read fails the block it is in, not the ones before.
            self.bytes.truncate((end - start) as usize);
            result = opened.file.read_exact_at(&mut self.bytes, start);
        }
        if result.is_err() {
            self.bytes.clear();
        }
        result
    }
}
