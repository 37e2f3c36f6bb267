//! The cache of data blocks that are not used in place: compressed ones, and all in pread mode.
//!
//! Invariant: what is in the cache is a decompressed block that was admitted when it was first read: its
//! checksum was right, and every entry could be read. Blocks are named by table id and offset, and the checksum binds a block
//! to both, so that a cache may be shared by all tables of all databases of a process.

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::block::{self, Block, Layout};
use crate::flaw::Flaw;
use crate::options::Compression;

/// A cache of decompressed data blocks, shared by many tables.
pub struct BlockCache {
    blocks: Cache<BlockKey, Arc<CachedBlock>, ByBytes>,
}

impl BlockCache {
    /// A cache that holds at most `bytes` bytes of blocks; with 0 it holds none.
    #[must_use]
    pub fn new(bytes: u64) -> Arc<BlockCache> {
        // An estimate of the number of blocks is enough: it sizes the table of recent evictions.
        let blocks = (bytes / 4096).clamp(16, 1 << 24) as usize;
        Arc::new(BlockCache { blocks: Cache::with_weighter(blocks, bytes, ByBytes) })
    }

    /// How many bytes it holds at most.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.blocks.capacity()
    }

    /// Sets how many bytes it holds at most, and drops what is beyond that.
    pub fn set_capacity(&self, bytes: u64) {
        self.blocks.set_capacity(bytes);
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.blocks.weight()
    }

    /// How many look-ups found their block.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.blocks.hits()
    }

    /// How many look-ups did not.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.blocks.misses()
    }

    pub(crate) fn get(&self, table: u64, offset: u64) -> Option<Arc<CachedBlock>> {
        self.blocks.get(&BlockKey { table, offset })
    }

    pub(crate) fn insert(&self, table: u64, offset: u64, block: Arc<CachedBlock>) {
        self.blocks.insert(BlockKey { table, offset }, block);
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockCache({} of {} bytes)", self.used_bytes(), self.capacity())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct BlockKey {
    table: u64,
    offset: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<BlockKey, Arc<CachedBlock>> for ByBytes {
    fn weight(&self, _: &BlockKey, block: &Arc<CachedBlock>) -> u64 {
        // The cache itself takes about this much for an entry.
        const OVERHEAD: u64 = 128;
        block.bytes.len() as u64 + OVERHEAD
    }
}

/// A block on the heap, with its payload decompressed.
#[derive(Debug)]
pub(crate) struct CachedBlock {
    bytes: Box<[u8]>,
    layout: Layout,
}

impl CachedBlock {
    /// Copies a stored block whose checksum was found right and cut off. Its entries are the caller's to
    /// [check](Block::check), once.
    pub(crate) fn new(content: &[u8], layout: Layout) -> Result<Arc<CachedBlock>, Flaw> {
        let bytes = match layout.codec() {
            Compression::None => content.to_vec(),
            Compression::Lz4 => {
                let mut bytes = Vec::new();
                block::decompress(content, &layout, &mut bytes)?;
                bytes
            }
        };
        Ok(Arc::new(CachedBlock { bytes: bytes.into_boxed_slice(), layout }))
    }

    #[inline]
    pub(crate) fn block(&self) -> Block<'_> {
        Block::new(&self.bytes, &self.layout)
    }

    #[inline]
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
