//! Data blocks: entries in key order, each reached without reading another.
//!
//! ```text
//!  0  entry count        u32
//!  4  flags              u8    1 wide offsets, 2 common prefix stripped (reserved), 4 kinds present
//!  5  codec              u8    0 none, 1 LZ4
//!  6  transform          u8    0; other values (encryption) are reserved
//!  7  sequence width     u8    bytes of a sequence delta: 0, 1, 2, 4 or 8
//!  8  payload length     u32   before compression
//! 12  stored length      u32   after it
//! 16  base sequence      u64   the smallest in the block
//! 24  tags               count x u8              (hash of the user key >> 32), one byte
//!     offsets            (count + 1) x u16|u32   of the entries in the entry area; the last is its end
//!     payload                                    the codec applies to this part alone:
//!        sequences       count x width           delta to the base
//!        kinds           count x u8              absent if every entry is a put
//!        entry area      count x { key length varint | user key | value }
//!     padding            zeros up to a multiple of 8, checksum included, or to the end of a page
//!     checksum           u64
//! ```
//!
//! A point get compares its tag with all tags and looks at the entries that agree, one in most
//! cases; no tag that agrees means that the key is not in the block, and then a compressed payload
//! stays compressed.
//!
//! Invariant: a block is *admitted* once, when its bytes were read and their checksum was found
//! right: [`Layout::parse`] checks the frame and [`Block::check`] every entry. After that reads do
//! not validate again, but still cut slices with checks, so that bytes which change under a map
//! are answered with an error and never with a panic.

use std::cmp::Ordering;

use lsm_base::key::{InternalKeyRef, Kind, MAX_KEY_LEN, Seq, compare_user_keys};

use crate::flaw::Flaw;
use crate::format::CHECKSUM_LEN;

mod builder;
mod layout;
mod tags;

pub(crate) use self::builder::BlockBuilder;
pub(crate) use self::layout::Layout;
pub(crate) use self::tags::tag_of;

use self::tags::TagMatches;

pub(crate) const HEADER_LEN: usize = 24;
/// Blocks begin at multiples of this and are as long as a multiple of this.
pub(crate) const BLOCK_ALIGN: usize = 8;
/// A block whose payload is not compressed, or no longer.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
}

/// Where an entry stands in the bytes of its block, and when and what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Where the user key begins.
    pub(crate) key_at: usize,
    /// Where the value begins: at the end of the key.
    pub(crate) value_at: usize,
    /// Where the value ends.
    pub(crate) end: usize,
    pub(crate) seq: Seq,
    pub(crate) kind: Kind,
}

impl<'a> Block<'a> {
    /// The block of this layout.
    pub(crate) const fn new(bytes: &'a [u8], layout: &'a Layout) -> Block<'a> {
        Block { bytes, layout }
    }

    /// A block without entries.
    pub(crate) const fn empty() -> Block<'static> {
        Block { bytes: &[], layout: &Layout::EMPTY }
    }

    /// Admits the block: checks that every entry can be read, and reads as something we know.
    pub(crate) fn check(&self) -> Result<(), Flaw> {
        let layout = self.layout;
        let Some(area) = self.bytes.get(layout.entries_at..layout.payload_end()) else {
            return Err(Flaw::corrupt(8, "a payload shorter than its columns"));
        };
        let ends = (self.offset(0), self.offset(layout.count));
        if ends != (Some(0), Some(area.len())) {
            return Err(Flaw::corrupt(layout.offsets_at, "offsets that miss the entries"));
        }
        for index in 0..layout.count {
            let Some(entry) = self.entry(index) else { return Err(self.entry_flaw(index)) };
            if entry.kind == Kind::Delete && entry.value_at < entry.end {
                return Err(Flaw::corrupt(entry.value_at, "a tombstone with a value"));
            }
        }
        Ok(())
    }

    /// How many entries the block has.
    #[inline]
    pub(crate) const fn count(&self) -> usize {
        self.layout.count
    }

    /// The entry with this index; `None` if there is no such entry or it cannot be read.
    #[inline]
    pub(crate) fn entry(&self, index: usize) -> Option<Entry> {
        let (start, end) = self.bounds(index)?;
        let area = self.bytes.get(start..end)?;
        let (key_len, prefix_len) = read_key_len(area)?;
        let (key_at, value_at) = (start + prefix_len, start + prefix_len + key_len);
        if end < value_at {
            return None;
        }
        let (seq, kind) = (self.seq(index)?, self.kind(index)?);
        Some(Entry { key_at, value_at, end, seq, kind })
    }

    /// The user key of an entry, without a look at what else it has.
    #[inline]
    fn user_key(&self, index: usize) -> Option<&'a [u8]> {
        let (start, end) = self.bounds(index)?;
        let area = self.bytes.get(start..end)?;
        let (key_len, prefix_len) = read_key_len(area)?;
        area.get(prefix_len..prefix_len + key_len)
    }

    /// The internal key of an entry.
    #[inline]
    pub(crate) fn key(&self, entry: &Entry) -> InternalKeyRef<'a> {
        let user_key = self.bytes.get(entry.key_at..entry.value_at).unwrap_or_default();
        InternalKeyRef::new(user_key, entry.seq, entry.kind)
    }

    /// The value of an entry.
    #[inline]
    pub(crate) fn value(&self, entry: &Entry) -> &'a [u8] {
        self.bytes.get(entry.value_at..entry.end).unwrap_or_default()
    }

    /// The tag of each entry.
    pub(crate) fn tags(&self) -> &'a [u8] {
        self.layout.tags(self.bytes).unwrap_or_default()
    }

    /// The newest version of `user_key` that a reader at `seq` sees, if it is in this block.
    #[inline]
    pub(crate) fn find(&self, user_key: &[u8], tag: u8, seq: Seq) -> Result<Option<Entry>, Flaw> {
        let Some(tags) = self.layout.tags(self.bytes) else { return Err(changed()) };
        // The versions of a key stand newest first, so the first that is old enough is the one.
        for index in TagMatches::new(tags, tag) {
            let Some(entry) = self.entry(index) else { return Err(changed()) };
            if entry.seq <= seq && self.bytes.get(entry.key_at..entry.value_at) == Some(user_key) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The index of the first entry at or behind the point (`user_key`, `seq`); the number of
    /// entries if all stand before it.
    pub(crate) fn lower_bound(&self, user_key: &[u8], seq: Seq) -> Result<usize, Flaw> {
        let (mut low, mut high) = (0, self.layout.count);
        while low < high {
            let middle = low.midpoint(high);
            let Some(key) = self.user_key(middle) else { return Err(changed()) };
            let order = match compare_user_keys(key, user_key) {
                Ordering::Equal => self.seq(middle).map(|found| seq.cmp(&found)),
                order => Some(order),
            };
            if order.ok_or_else(changed)? == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    #[inline]
    fn offset(&self, index: usize) -> Option<usize> {
        if self.layout.has_wide_offsets {
            let at = self.layout.offsets_at + 4 * index;
            self.bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize)
        } else {
            let at = self.layout.offsets_at + 2 * index;
            let bytes = self.bytes.get(at..)?.first_chunk()?;
            Some(usize::from(u16::from_le_bytes(*bytes)))
        }
    }

    /// Where an entry begins and where it ends.
    #[inline]
    fn bounds(&self, index: usize) -> Option<(usize, usize)> {
        let Layout { offsets_at, entries_at, has_wide_offsets, .. } = *self.layout;
        let (start, end) = if has_wide_offsets {
            let pair =
                u64::from_le_bytes(*self.bytes.get(offsets_at + 4 * index..)?.first_chunk()?);
            (pair as u32 as usize, (pair >> 32) as usize)
        } else {
            let pair =
                u32::from_le_bytes(*self.bytes.get(offsets_at + 2 * index..)?.first_chunk()?);
            (usize::from(pair as u16), (pair >> 16) as usize)
        };
        Some((entries_at + start, entries_at + end))
    }

    #[inline]
    fn seq(&self, index: usize) -> Option<Seq> {
        let width = self.layout.seq_width;
        if width == 0 {
            return Seq::try_new(self.layout.base_seq);
        }
        let at = self.layout.payload_at + width * index;
        let column = self.bytes.get(at..)?;
        let delta = match width {
            1 => u64::from(*column.first()?),
            2 => u64::from(u16::from_le_bytes(*column.first_chunk()?)),
            4 => u64::from(u32::from_le_bytes(*column.first_chunk()?)),
            _ => u64::from_le_bytes(*column.first_chunk()?),
        };
        Seq::try_new(self.layout.base_seq.checked_add(delta)?)
    }

    #[inline]
    fn kind(&self, index: usize) -> Option<Kind> {
        if self.layout.has_kinds {
            Kind::from_code(*self.bytes.get(self.layout.kinds_at + index)?)
        } else {
            Some(Kind::Put)
        }
    }

    /// Why an entry cannot be read.
    #[cold]
    fn entry_flaw(&self, index: usize) -> Flaw {
        let kind = self.bytes.get(self.layout.kinds_at + index).copied();
        match kind {
            Some(code) if self.layout.has_kinds && Kind::is_reserved(code) => {
                Flaw::unsupported(format!("an entry of kind {code}"))
            }
            _ => Flaw::corrupt(0, format!("entry {index} of the block cannot be read")),
        }
    }
}

/// Bytes that were admitted and now read differently: the file changed under the map.
#[cold]
pub(crate) fn changed() -> Flaw {
    Flaw::corrupt(0, "a checked block has changed")
}

/// Checks and parses a stored block with its checksum already found right and cut off.
pub(crate) fn admit_stored(content: &[u8]) -> Result<Layout, Flaw> {
    let layout = Layout::parse(content)?;
    layout.check_stored(content)?;
    Ok(layout)
}

/// Writes the block `content` with its payload decompressed into `out`, in place of what is there.
///
/// Requires: `layout` was admitted for `content`.
pub(crate) fn decompress(content: &[u8], layout: &Layout, out: &mut Vec<u8>) -> Result<(), Flaw> {
    let (Some(head), Some(stored)) = (
        content.get(..layout.payload_at),
        content.get(layout.payload_at..layout.payload_at + layout.stored_len),
    ) else {
        return Err(changed());
    };
    // LZ4 cannot do better than 255 to 1, so a small block cannot claim a large allocation.
    if 255 * stored.len() + 64 < layout.payload_len {
        return Err(Flaw::corrupt(8, "a payload larger than its compressed form allows"));
    }
    out.clear();
    out.reserve_exact(layout.payload_end());
    out.extend_from_slice(head);
    out.resize(layout.payload_end(), 0);
    match lz4_flex::block::decompress_into(stored, &mut out[layout.payload_at..]) {
        Ok(len) if len == layout.payload_len => Ok(()),
        Ok(_) => Err(Flaw::corrupt(8, "a payload of another length than its header says")),
        Err(error) => Err(Flaw::corrupt(layout.payload_at, format!("LZ4: {error}"))),
    }
}

/// The length of a key and of the varint that says so.
#[inline]
fn read_key_len(area: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*area.first()?);
    if 0 < first && first < 0x80 {
        return Some((first, 1));
    }
    read_long_key_len(area)
}

fn read_long_key_len(area: &[u8]) -> Option<(usize, usize)> {
    let mut reader = lsm_base::coding::Reader::new(area);
    let len = reader.varint_u32()? as usize;
    (1..=MAX_KEY_LEN).contains(&len).then_some((len, reader.offset()))
}

/// The stored content of a block and its checksum, cut apart without a look at either.
pub(crate) fn without_checksum(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..bytes.len().checked_sub(CHECKSUM_LEN)?)
}

#[cfg(test)]
mod tests;
