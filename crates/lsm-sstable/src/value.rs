//! Values that outlive the call that found them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use lsm_base::{Kind, Seq};

use crate::cache::CachedBlock;
use crate::map::FileMap;

/// What a table knows of a key: the newest version that the reader sees.
#[derive(Clone, Debug)]
pub struct TableEntry {
    /// When it was written.
    pub seq: Seq,
    /// What was done.
    pub kind: Kind,
    /// The value, empty for a tombstone.
    pub value: TableValue,
}

/// The bytes of a value.
///
/// A short value is copied. A long one stays where it is and pins that: the map of its table (whose
/// file may be unlinked meanwhile) or its block in the cache's memory, for as long as it lives.
#[derive(Clone)]
pub struct TableValue(Repr);

/// Values up to this length are copied into the `TableValue` itself, with no allocation.
const INLINE_LEN: usize = 38;

/// Values up to this length are copied; a copy and its allocation then cost about what a shared
/// counter costs two cores that read the same table (`benches/table.rs`).
const COPIED_LEN: usize = 512;

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_LEN] },
    Copied(Box<[u8]>),
    Mapped { map: Arc<FileMap>, start: usize, len: usize },
    Cached { block: Arc<CachedBlock>, start: usize, len: usize },
}

impl TableValue {
    /// The `len` bytes at `start` of a map.
    pub(crate) fn in_map(map: &Arc<FileMap>, start: usize, len: usize) -> TableValue {
        TableValue(if len <= COPIED_LEN {
            Repr::copy(map.get(start..start + len).unwrap_or_default())
        } else {
            Repr::Mapped { map: Arc::clone(map), start, len }
        })
    }

    /// The `len` bytes at `start` of a cached block.
    pub(crate) fn in_block(block: &Arc<CachedBlock>, start: usize, len: usize) -> TableValue {
        TableValue(if len <= COPIED_LEN {
            Repr::copy(block.bytes().get(start..start + len).unwrap_or_default())
        } else {
            Repr::Cached { block: Arc::clone(block), start, len }
        })
    }

    /// Whether the value keeps a map or a block from being freed.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        matches!(self.0, Repr::Mapped { .. } | Repr::Cached { .. })
    }
}

impl Repr {
    fn copy(value: &[u8]) -> Repr {
        if value.len() <= INLINE_LEN {
            let mut bytes = [0; INLINE_LEN];
            bytes[..value.len()].copy_from_slice(value);
            Repr::Inline { len: value.len() as u8, bytes }
        } else {
            Repr::Copied(value.into())
        }
    }
}

impl Deref for TableValue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Copied(bytes) => bytes,
            Repr::Mapped { map, start, len } => map.get(*start..*start + *len).unwrap_or_default(),
            Repr::Cached { block, start, len } => {
                block.bytes().get(*start..*start + *len).unwrap_or_default()
            }
        }
    }
}

impl AsRef<[u8]> for TableValue {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for TableValue {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for TableValue {}

impl fmt::Debug for TableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}
