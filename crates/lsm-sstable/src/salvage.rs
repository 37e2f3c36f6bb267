//! What is left of a table whose file may be damaged anywhere, read from its first entry to its last.
//!
//! 1. The frame (footer, directory, properties, fences) is used as far as it is whole. The filter is
//!    not read: nothing is looked up.
//! 2. Without the fences the blocks are found one behind the other (`walk.rs`): a block says how long
//!    it is, and its checksum vouches for that.
//! 3. Each block is read once. One that is not whole is told in its place, with the keys that it lies
//!    between, and the next one follows.
//!
//! Invariant: no entry comes out of a block whose checksum was not found right, and a stretch of the
//! data that gave no entries is told.

use std::path::Path;
use std::sync::Arc;

use lsm_base::{Error, File, Fs, InternalKeyRef, Result};

use crate::block::{self, Block, Entry, Layout};
use crate::fences::Fences;
use crate::flaw::Flaw;
use crate::format::{self, DATA, Directory, FENCES, FOOTER_LEN, Footer, PROPERTIES, Section};
use crate::options::Compression;
use crate::properties::TableProperties;
use crate::table::opened::{RegionReader, read_directory, read_footer};

mod walk;

#[cfg(test)]
mod tests;

use self::walk::Walked;

/// What is known of a table from elsewhere, as from a MANIFEST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableIdentity {
    /// Its random id.
    pub id: u64,
    /// The length of its file in bytes.
    pub len: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// A table that is read for what is left of it, and where the reading stands.
#[derive(Debug)]
pub struct Salvage {
    blocks: Blocks,
    file_len: u64,
    properties: Option<TableProperties>,
    frame_damage: Option<Error>,
    next_block: usize,
    entry_index: usize,
    entry: Option<Entry>,
}

/// What comes next in a table.
#[derive(Clone, Debug)]
pub enum SalvageStep {
    /// An entry: [`Salvage::key`] and [`Salvage::value`] lend it.
    Entry,
    /// A stretch of data that is lost.
    Lost(LostBlocks),
    /// Nothing.
    End,
}

/// A stretch of a table's data that cannot be read.
#[derive(Clone, Debug)]
pub struct LostBlocks {
    /// Where it begins in the file.
    pub offset: u64,
    /// How many bytes it has; 0 if the file ends before them.
    pub len: u64,
    /// No key in it is smaller; `None` if only the table's first key bounds them.
    pub first: Option<Box<[u8]>>,
    /// No key in it is larger; `None` if only the table's last key bounds them.
    pub last: Option<Box<[u8]>>,
    /// What is wrong.
    pub error: Error,
}

impl Salvage {
    /// Opens what is left of a table. `identity` tells which one it must be, if that is known.
    ///
    /// # Errors
    /// [`Error::Corruption`] if it is another table, or if nothing says which one it is, without
    /// which no block can be told from noise; [`Error::UnsupportedFormat`] if it is whole, but of a
    /// later release; [`Error::MissingFile`], [`Error::Io`].
    pub fn open(fs: &dyn Fs, path: &Path, identity: Option<TableIdentity>) -> Result<Salvage> {
        let file = fs.open(path).map_err(|error| match error.is_not_found() {
            true => Error::MissingFile(path.to_owned()),
            false => error,
        })?;
        let file_len = file.len()?;
        let mut frame = Frame::read(&file, file_len, identity)?;
        let fences = frame.fences.take().zip(frame.data);
        let mut blocks = Blocks {
            file,
            id: frame.id,
            index: Index::Walked(Vec::new()),
            stored: Vec::new(),
            decompressed: Vec::new(),
            layout: None,
        };
        blocks.index = match fences {
            Some((fences, data)) => Index::Fences(fences, data),
            None => Index::Walked(walk::find_blocks(&mut blocks, &frame, file_len, identity)?),
        };
        // The search stands on the last block that it found.
        blocks.layout = None;
        let Frame { properties, damage, .. } = frame;
        let frame_damage = damage;
        Ok(Salvage {
            blocks,
            file_len,
            properties,
            frame_damage,
            next_block: 0,
            entry_index: 0,
            entry: None,
        })
    }

    /// The id of the table.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.blocks.id
    }

    /// The length of the file in bytes.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// The properties, if they are whole.
    #[must_use]
    pub fn properties(&self) -> Option<&TableProperties> {
        self.properties.as_ref()
    }

    /// What is wrong with the frame first. By itself it loses nothing: a stretch of data that is lost
    /// by it is told in its place.
    #[must_use]
    pub fn frame_damage(&self) -> Option<&Error> {
        self.frame_damage.as_ref()
    }

    /// How many bytes of the file the reading has passed.
    #[must_use]
    pub fn position(&self) -> u64 {
        let stretch = |index| self.blocks.index.stretch(index);
        match (stretch(self.next_block), self.next_block.checked_sub(1).and_then(stretch)) {
            (Some((offset, _)), _) => offset,
            (None, last) => last.map_or(0, |(offset, len)| offset + len),
        }
    }

    /// Goes on to the next entry, or to the next stretch that is lost.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses to read, [`Error::UnsupportedFormat`] for a block of a
    /// later release.
    pub fn step(&mut self) -> Result<SalvageStep> {
        self.entry_index += 1;
        self.entry = self.blocks.block().entry(self.entry_index);
        if self.entry.is_some() {
            return Ok(SalvageStep::Entry);
        }
        let index = self.next_block;
        let Some((offset, len)) = self.blocks.index.stretch(index) else {
            return Ok(SalvageStep::End);
        };
        self.next_block += 1;
        match self.blocks.enter(offset, len)? {
            Ok(()) => {
                self.entry_index = 0;
                self.entry = self.blocks.block().entry(0);
                Ok(SalvageStep::Entry)
            }
            Err(flaw) => {
                let error = flaw.within(len).at(self.blocks.file.path(), offset);
                let (first, last) = self.blocks.index.neighbours(index);
                Ok(SalvageStep::Lost(LostBlocks { offset, len, first, last, error }))
            }
        }
    }

    /// The key of the entry. Requires: the last step was to an entry.
    #[must_use]
    pub fn key(&self) -> InternalKeyRef<'_> {
        self.blocks.block().key(self.entry.as_ref().expect("the last step was to an entry"))
    }

    /// The value of the entry. Requires: the last step was to an entry.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.blocks.block().value(self.entry.as_ref().expect("the last step was to an entry"))
    }
}

/// What stands around the blocks, as far as it is whole.
struct Frame {
    id: u64,
    footer: Option<Footer>,
    data: Option<Section>,
    fences: Option<Fences<Vec<u8>>>,
    properties: Option<TableProperties>,
    damage: Option<Error>,
}

impl Frame {
    fn read(file: &Arc<dyn File>, file_len: u64, identity: Option<TableIdentity>) -> Result<Frame> {
        let path = file.path();
        let len = identity.map_or(file_len, |identity| identity.len);
        let footer = match file_len < len {
            true => {
                let detail = format!("{file_len} bytes long; {len} are recorded");
                Err(Error::corruption(path, file_len, detail))
            }
            false => read_footer(&**file, path, len),
        };
        // A file of another length may have become so, or be another table.
        let footer = match read_footer(&**file, path, file_len) {
            Ok(other) if footer.is_err() => Ok(other),
            _ => footer,
        };
        let id = match (&footer, identity) {
            (Ok(footer), Some(identity)) if footer.id != identity.id => {
                let detail =
                    format!("table id {:016x}; {:016x} is recorded", footer.id, identity.id);
                return Err(Error::corruption(path, len - FOOTER_LEN as u64 + 16, detail));
            }
            (Ok(footer), _) => footer.id,
            (Err(_), Some(identity)) => identity.id,
            (Err(error), None) => return Err(error.clone()),
        };
        let mut frame =
            Frame { id, footer: None, data: None, fences: None, properties: None, damage: None };
        frame.footer = frame.tolerate(footer)?;
        if let Some(footer) = frame.footer {
            let directory = frame.tolerate(read_directory(&**file, path, &footer))?;
            if let Some(directory) = directory {
                frame.read_sections(&**file, &directory, footer.directory_offset)?;
            }
        }
        Ok(frame)
    }

    fn read_sections(&mut self, file: &dyn File, directory: &Directory, at: u64) -> Result<()> {
        let path = file.path();
        let reader = RegionReader { file, path, id: self.id, map: None };
        let find = |kind| directory.require(kind).map_err(|flaw| flaw.at(path, at));
        self.data = self.tolerate(find(DATA))?;
        let properties = find(PROPERTIES).and_then(|section| {
            TableProperties::decode(&reader.read(section)?)
                .map_err(|flaw| flaw.at(path, section.offset))
        });
        self.properties = self.tolerate(properties)?;
        let Some(data) = self.data else { return Ok(()) };
        let fences = find(FENCES).and_then(|section| {
            Fences::new(reader.read(section)?, data.len)
                .map_err(|flaw| flaw.at(path, section.offset))
        });
        self.fences = self.tolerate(fences)?;
        Ok(())
    }

    /// What was read, or nothing if it is damaged; the first damage is kept.
    fn tolerate<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error @ Error::Corruption { .. }) => {
                self.damage.get_or_insert(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The data of a table, and the block of it that is read.
#[derive(Debug)]
struct Blocks {
    file: Arc<dyn File>,
    id: u64,
    index: Index,
    stored: Vec<u8>,
    decompressed: Vec<u8>,
    /// The layout of the current block; `None` if there is none.
    layout: Option<Layout>,
}

/// A key at or before all of a stretch, and one at or behind; `None` where none is known.
type Bounds = (Option<Box<[u8]>>, Option<Box<[u8]>>);

/// Where the blocks stand.
#[derive(Debug)]
enum Index {
    /// By the fences of the table.
    Fences(Fences<Vec<u8>>, Section),
    /// As they were found.
    Walked(Vec<Walked>),
}

impl Index {
    /// Offset and length of a block, or of a stretch that is none.
    fn stretch(&self, index: usize) -> Option<(u64, u64)> {
        match self {
            Index::Fences(fences, data) => {
                let range = fences.block(index);
                (!range.is_empty()).then(|| (data.offset + range.start, range.end - range.start))
            }
            Index::Walked(walked) => walked.get(index).map(|walked| (walked.offset, walked.len)),
        }
    }

    /// The keys that a stretch lies between.
    fn neighbours(&self, index: usize) -> Bounds {
        match self {
            Index::Fences(fences, _) => {
                // The versions of a key may straddle blocks, so both separators count.
                let separator = |index: usize| {
                    [fences.common_prefix(), fences.suffix(index)].concat().into_boxed_slice()
                };
                (index.checked_sub(1).map(separator), Some(separator(index)))
            }
            Index::Walked(walked) => {
                let last_key = |index: usize| walked.get(index)?.last_key.clone();
                (index.checked_sub(1).and_then(last_key), last_key(index + 1))
            }
        }
    }
}

impl Blocks {
    /// Reads a block and makes it the current one. A flaw is the block's own.
    fn enter(&mut self, offset: u64, len: u64) -> Result<Result<(), Flaw>> {
        self.layout = None;
        self.stored.resize(len as usize, 0);
        self.file.read_exact_at(&mut self.stored, offset)?;
        match self.admit(offset) {
            Ok(layout) => {
                self.layout = Some(layout);
                Ok(Ok(()))
            }
            Err(flaw @ Flaw::Unsupported(_)) => Err(flaw.at(self.file.path(), offset)),
            Err(flaw) => Ok(Err(flaw)),
        }
    }

    fn admit(&mut self, offset: u64) -> Result<Layout, Flaw> {
        let content = format::open_region(&self.stored, self.id, offset, DATA)?;
        let layout = block::admit_stored(content)?;
        let bytes = match layout.codec() {
            Compression::None => content,
            Compression::Lz4 => {
                block::decompress(content, &layout, &mut self.decompressed)?;
                &self.decompressed
            }
        };
        Block::new(bytes, &layout).check()?;
        Ok(layout)
    }

    fn block(&self) -> Block<'_> {
        match &self.layout {
            None => Block::empty(),
            Some(layout) if layout.codec() == Compression::None => {
                Block::new(block::without_checksum(&self.stored).unwrap_or_default(), layout)
            }
            Some(layout) => Block::new(&self.decompressed, layout),
        }
    }
}
