//! An open table: what its first use read, and how its blocks are reached.
//!
//! Opening reads the footer, the section directory, the fences, the filter and the properties, each
//! by `pread` and each checked before a byte of it is believed. In map mode fences and filter are
//! then used in place, and their copies are dropped.
//!
//! Every data block goes through `pread` and its checksum once ([`OpenTable::load`]). In map mode
//! a bit then says so, and later reads use the map: in place if the block is not compressed, else
//! to decompress it into the cache again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_base::{Error, File, Result};

use super::TableSource;
use crate::block::{self, Block, Layout};
use crate::cache::{BlockCache, CachedBlock};
use crate::fences::Fences;
use crate::filter::Filter;
use crate::flaw::Flaw;
use crate::format::{self, CHECKSUM_LEN, DATA, Directory, FENCES, FILTER, FOOTER_LEN, Footer};
use crate::format::{PROPERTIES, Section};
use crate::map::FileMap;
use crate::options::{Compression, ReadMode};
use crate::properties::TableProperties;
use crate::region::RegionBytes;

/// A table whose frame was read and checked.
#[derive(Debug)]
pub(crate) struct OpenTable {
    pub(crate) file: Arc<dyn File>,
    pub(crate) id: u64,
    pub(crate) len: u64,
    pub(crate) map: Option<Arc<FileMap>>,
    pub(crate) fences: Fences<RegionBytes>,
    pub(crate) filter: Option<Filter<RegionBytes>>,
    pub(crate) data: Section,
    pub(crate) footer: Footer,
    pub(crate) directory: Directory,
    pub(crate) properties: TableProperties,
    /// A bit for each block: whether it was read and found right.
    touched: Box<[AtomicU64]>,
    cache: Arc<BlockCache>,
}

/// An admitted block, wherever it is.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// In the map, not compressed.
    Mapped {
        /// Where the block begins in the file.
        start: usize,
        /// Its length without the checksum.
        len: usize,
    },
    /// On the heap.
    Cached(Arc<CachedBlock>),
}

/// What is known of a block without reading the disk.
pub(crate) enum Lookup<'a> {
    /// It can be used.
    Ready(Held),
    /// It is in the map, checked, and compressed; the cache does not have it. This is the stored
    /// block without its checksum.
    Compressed(&'a [u8]),
    /// It was not read yet, or is cached no longer.
    Unread,
}

impl OpenTable {
    /// Opens a table and checks its frame.
    pub(crate) fn open(
        source: &TableSource,
        mode: ReadMode,
        cache: &Arc<BlockCache>,
    ) -> Result<OpenTable> {
        let path = source.path.as_path();
        let file = source.open_file()?;
        let file_len = file.len()?;
        if file_len != source.len {
            let detail = format!("{file_len} bytes long; {} are recorded", source.len);
            return Err(Error::corruption(path, file_len.min(source.len), detail));
        }
        let footer = read_footer(&*file, path, file_len)?;
        if footer.id != source.id {
            let detail = format!("table id {:016x}; {:016x} is recorded", footer.id, source.id);
            let offset = file_len - FOOTER_LEN as u64 + 16;
            return Err(Error::corruption(path, offset, detail));
        }
        let directory = read_directory(&*file, path, &footer)?;
        let at_directory = |flaw: Flaw| flaw.at(path, footer.directory_offset);
        let data = directory.require(DATA).map_err(at_directory)?;
        let fences = directory.require(FENCES).map_err(at_directory)?;
        let filter = directory.find(FILTER).map_err(at_directory)?;
        let properties = directory.require(PROPERTIES).map_err(at_directory)?;
        let map = match mode {
            ReadMode::Map => Some(Arc::new(FileMap::new(&*file, file_len)?)),
            ReadMode::Pread => None,
        };
        let reader = RegionReader { file: &*file, path, id: footer.id, map: map.as_ref() };
        let fences = reader.resident(fences, |bytes| Fences::new(bytes, data.len))?;
        let filter = filter.map(|section| reader.resident(section, Filter::new)).transpose()?;
        let properties = TableProperties::decode(&reader.read(properties)?)
            .map_err(|flaw| flaw.at(path, properties.offset))?;
        let touched = (0..fences.count().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let (id, cache) = (footer.id, Arc::clone(cache));
        Ok(OpenTable {
            file,
            id,
            len: file_len,
            map,
            fences,
            filter,
            data,
            footer,
            directory,
            properties,
            touched,
            cache,
        })
    }

    /// What is known of a block without reading the disk.
    #[inline]
    pub(crate) fn lookup(&self, index: usize) -> Lookup<'_> {
        let place = self.place(index);
        let Some(map) = &self.map else {
            return match self.cache.get(self.id, place.offset) {
                Some(block) => Lookup::Ready(Held::Cached(block)),
                None => Lookup::Unread,
            };
        };
        if !self.is_touched(index) {
            return Lookup::Unread;
        }
        let start = place.offset as usize;
        let content =
            block::without_checksum(map.get(start..start + place.len).unwrap_or_default())
                .unwrap_or_default();
        if Layout::is_raw(content) {
            return Lookup::Ready(Held::Mapped { start, len: content.len() });
        }
        match self.cache.get(self.id, place.offset) {
            Some(block) => Lookup::Ready(Held::Cached(block)),
            None => Lookup::Compressed(content),
        }
    }

    /// A block, read from the disk if it has to be.
    pub(crate) fn hold(&self, index: usize) -> Result<Held> {
        match self.lookup(index) {
            Lookup::Ready(held) => Ok(held),
            Lookup::Compressed(content) => {
                let layout = self.parse(index, content)?;
                self.decompress(index, content, &layout)
            }
            Lookup::Unread => self.load(index),
        }
    }

    /// Reads a block from the disk, checks it and admits it.
    #[cold]
    pub(crate) fn load(&self, index: usize) -> Result<Held> {
        let mut bytes = Vec::new();
        let layout = self.read_block(index, &mut bytes)?;
        let content = block::without_checksum(&bytes).unwrap_or_default();
        let place = self.place(index);
        let is_in_place = self.map.is_some() && layout.codec() == Compression::None;
        if is_in_place {
            Block::new(content, &layout).check().map_err(|flaw| self.flaw(index, flaw))?;
            self.set_touched(index);
            return Ok(Held::Mapped { start: place.offset as usize, len: content.len() });
        }
        let block = CachedBlock::new(content, layout).and_then(|block| {
            block.block().check()?;
            Ok(block)
        });
        let held = self.cache(index, block.map_err(|flaw| self.flaw(index, flaw))?);
        self.set_touched(index);
        Ok(held)
    }

    /// Decompresses a block that was admitted before.
    pub(crate) fn decompress(&self, index: usize, content: &[u8], layout: &Layout) -> Result<Held> {
        let block = CachedBlock::new(content, *layout).map_err(|flaw| self.flaw(index, flaw))?;
        Ok(self.cache(index, block))
    }

    fn cache(&self, index: usize, block: Arc<CachedBlock>) -> Held {
        self.cache.insert(self.id, self.place(index).offset, Arc::clone(&block));
        Held::Cached(block)
    }

    /// Reads a stored block from the disk, with its checksum, and checks its frame.
    pub(crate) fn read_block(&self, index: usize, bytes: &mut Vec<u8>) -> Result<Layout> {
        let place = self.place(index);
        bytes.resize(place.len, 0);
        self.file.read_exact_at(bytes, place.offset)?;
        self.check_block(index, bytes)
    }

    /// Checks checksum and frame of the stored bytes of a block.
    pub(crate) fn check_block(&self, index: usize, bytes: &[u8]) -> Result<Layout> {
        format::open_region(bytes, self.id, self.place(index).offset, DATA)
            .and_then(block::admit_stored)
            .map_err(|flaw| self.flaw(index, flaw))
    }

    /// The layout of a held block.
    #[inline]
    pub(crate) fn layout(&self, index: usize, held: &Held) -> Result<Layout> {
        match held {
            Held::Cached(block) => Ok(*block.layout()),
            Held::Mapped { start, len } => self.parse(index, self.mapped(*start, *len)),
        }
    }

    /// The layout that stands in the header of a block.
    #[inline]
    pub(crate) fn parse(&self, index: usize, content: &[u8]) -> Result<Layout> {
        Layout::parse(content).map_err(|flaw| self.flaw(index, flaw))
    }

    /// The bytes of a held block.
    #[inline]
    pub(crate) fn bytes<'a>(&'a self, held: &'a Held) -> &'a [u8] {
        match held {
            Held::Cached(block) => block.bytes(),
            Held::Mapped { start, len } => self.mapped(*start, *len),
        }
    }

    /// Bytes of the map; none if there is no map or they are outside.
    #[inline]
    pub(crate) fn mapped(&self, start: usize, len: usize) -> &[u8] {
        self.map.as_ref().and_then(|map| map.get(start..start + len)).unwrap_or_default()
    }

    /// Where a block stands in the file.
    #[inline]
    pub(crate) fn place(&self, index: usize) -> Place {
        let range = self.fences.block(index);
        Place { offset: self.data.offset + range.start, len: (range.end - range.start) as usize }
    }

    /// The error for a flaw of a block.
    #[cold]
    pub(crate) fn flaw(&self, index: usize, flaw: Flaw) -> Error {
        let Place { offset, len } = self.place(index);
        flaw.within(len as u64).at(self.file.path(), offset)
    }

    /// Forgets which blocks were checked.
    pub(crate) fn forget_touched(&self) {
        for word in &self.touched {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// The memory that the open table holds on the heap.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        let own = self.fences.own_memory() + 8 * self.touched.len();
        let regions = match self.map {
            Some(_) => 0,
            None => self.fences.len() + self.filter.as_ref().map_or(0, Filter::len),
        };
        (own + regions) as u64
    }

    #[inline]
    pub(super) fn is_touched(&self, index: usize) -> bool {
        // Relaxed: the bit guards bytes of an immutable file, not memory that another thread wrote.
        self.touched
            .get(index / 64)
            .is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (index % 64) != 0)
    }

    fn set_touched(&self, index: usize) {
        if let Some(word) = self.touched.get(index / 64) {
            word.fetch_or(1 << (index % 64), Ordering::Relaxed);
        }
    }
}

/// Where a block stands in the file, checksum included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

/// Reads and checks the footer of a file of `file_len` bytes.
pub(crate) fn read_footer(file: &dyn File, path: &Path, file_len: u64) -> Result<Footer> {
    let Some(offset) = file_len.checked_sub(FOOTER_LEN as u64) else {
        return Err(Error::corruption(
            path,
            0,
            format!("{file_len} bytes are too few for a table"),
        ));
    };
    let mut bytes = [0; FOOTER_LEN];
    file.read_exact_at(&mut bytes, offset)?;
    Footer::decode(&bytes, file_len).map_err(|flaw| flaw.at(path, offset))
}

/// Reads and checks the section directory.
pub(crate) fn read_directory(file: &dyn File, path: &Path, footer: &Footer) -> Result<Directory> {
    let mut bytes = vec![0; footer.directory_len as usize];
    file.read_exact_at(&mut bytes, footer.directory_offset)?;
    Directory::decode(&bytes, footer.id, footer.directory_offset)
        .map_err(|flaw| flaw.at(path, footer.directory_offset))
}

/// Reads regions that are checked whole.
pub(crate) struct RegionReader<'a> {
    pub(crate) file: &'a dyn File,
    pub(crate) path: &'a Path,
    pub(crate) id: u64,
    pub(crate) map: Option<&'a Arc<FileMap>>,
}

impl RegionReader<'_> {
    /// The content of a section, read from the disk and checked.
    pub(crate) fn read(&self, section: Section) -> Result<Vec<u8>> {
        let mut bytes = vec![0; section.len as usize];
        self.file.read_exact_at(&mut bytes, section.offset)?;
        format::open_region(&bytes, self.id, section.offset, section.kind)
            .map_err(|flaw| flaw.at(self.path, section.offset))?;
        bytes.truncate(bytes.len() - CHECKSUM_LEN);
        Ok(bytes)
    }

    /// A section that stays in use: checked on a copy, then used in place if there is a map.
    fn resident<T>(
        &self,
        section: Section,
        open: impl FnOnce(RegionBytes) -> Result<T, Flaw>,
    ) -> Result<T> {
        let content = self.read(section)?;
        let bytes = match self.map {
            Some(map) => RegionBytes::Mapped {
                map: Arc::clone(map),
                start: section.offset as usize,
                len: content.len(),
            },
            None => RegionBytes::Owned(content.into_boxed_slice()),
        };
        open(bytes).map_err(|flaw| flaw.at(self.path, section.offset))
    }
}
