//! How a table is written, and how it is read.

use std::fmt;

/// How blocks are compressed.
///
/// A block that compression does not make at least an eighth smaller is stored as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Compression {
    /// Not at all: gets and scans use the bytes of the file in place.
    #[default]
    None,
    /// LZ4 block format.
    Lz4,
}

impl Compression {
    /// The code on disk.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Lz4 => 1,
        }
    }

    /// The compression with this code, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Compression> {
        match code {
            0 => Some(Compression::None),
            1 => Some(Compression::Lz4),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
        })
    }
}

/// How a table is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableOptions {
    /// The size that blocks aim at before compression, in bytes; at most [`MAX_BLOCK_SIZE`].
    ///
    /// A block ends before the entry that would carry it beyond. An entry larger than this gets a
    /// block of its own, so every size works, the smallest as one entry a block.
    pub block_size: u32,
    /// How blocks are compressed.
    pub compression: Compression,
    /// Filter bits for each user key, at most [`MAX_BLOOM_BITS_PER_KEY`]; 0 for no filter.
    ///
    /// 10 bits let about 1.2 % of the absent keys through, 14 about 0.4 %.
    pub bloom_bits_per_key: u32,
}

/// Largest [`TableOptions::block_size`].
pub const MAX_BLOCK_SIZE: u32 = 16 << 20;

/// Largest [`TableOptions::bloom_bits_per_key`].
pub const MAX_BLOOM_BITS_PER_KEY: u32 = 32;

impl Default for TableOptions {
    fn default() -> Self {
        TableOptions { block_size: 4096, compression: Compression::Lz4, bloom_bits_per_key: 10 }
    }
}

/// Where reads take the bytes of a table from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ReadMode {
    /// From a memory map, once each block was read and checked; right while the tables fit memory.
    #[default]
    Map,
    /// By `pread` into the block cache; an error of the disk is an `Err` at every read.
    Pread,
}

/// What a cursor is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum CursorMode {
    /// A reader: blocks come from the map or the cache, and fill it.
    #[default]
    Read,
    /// Compaction: every block is read and checked anew, and none enters the cache.
    Compaction,
}
