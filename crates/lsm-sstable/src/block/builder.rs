//! Builds one data block after the other.

use lsm_base::InternalKeyRef;
use lsm_base::coding::{put_varint, varint_len};
use lsm_base::key::Kind;

use super::layout::{KINDS_PRESENT, WIDE_OFFSETS};
use super::{BLOCK_ALIGN, HEADER_LEN, tag_of};
use crate::format::{CHECKSUM_LEN, DATA, seal_region};
use crate::options::Compression;

/// A block that ends at most a share of its length before the end of a page is padded up to it.
const PAGE_LEN: u64 = 4096;
const MAX_PADDING_SHARE: usize = 32;

/// The entries of a block that is not written yet.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    tags: Vec<u8>,
    /// Where each entry ends.
    ends: Vec<u32>,
    seqs: Vec<u64>,
    kinds: Vec<u8>,
    entries: Vec<u8>,
    shape: Shape,
    payload: Vec<u8>,
    compressed: Vec<u8>,
}

/// What decides how wide the columns of a block are.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    count: usize,
    entries_len: usize,
    min_seq: u64,
    max_seq: u64,
    has_kinds: bool,
}

impl Shape {
    /// The shape with one more entry.
    fn with(self, key: InternalKeyRef<'_>, value: &[u8]) -> Shape {
        let (key_len, seq) = (key.user_key.len(), key.seq.get());
        Shape {
            count: self.count + 1,
            entries_len: self.entries_len + varint_len(key_len as u64) + key_len + value.len(),
            min_seq: if self.count == 0 { seq } else { self.min_seq.min(seq) },
            max_seq: self.max_seq.max(seq),
            has_kinds: self.has_kinds || key.kind != Kind::Put,
        }
    }

    /// The bytes of a sequence in its column.
    fn seq_width(self) -> u8 {
        match self.max_seq - self.min_seq {
            0 => 0,
            1..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        }
    }

    /// The bytes of an offset.
    fn offset_width(self) -> usize {
        if self.entries_len <= usize::from(u16::MAX) { 2 } else { 4 }
    }

    /// The length of the block without compression and padding.
    fn block_len(self) -> usize {
        let columns =
            1 + self.offset_width() + usize::from(self.seq_width()) + usize::from(self.has_kinds);
        HEADER_LEN + self.count * columns + self.offset_width() + self.entries_len + CHECKSUM_LEN
    }
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// How long the block would be without compression.
    pub(crate) fn raw_len(&self) -> usize {
        self.shape.block_len()
    }

    /// How long the block would be with this entry too.
    pub(crate) fn raw_len_with(&self, key: InternalKeyRef<'_>, value: &[u8]) -> usize {
        self.shape.with(key, value).block_len()
    }

    /// Appends an entry whose user key has this hash.
    pub(crate) fn push(&mut self, key: InternalKeyRef<'_>, hash: u64, value: &[u8]) {
        self.shape = self.shape.with(key, value);
        self.tags.push(tag_of(hash));
        self.seqs.push(key.seq.get());
        self.kinds.push(key.kind.code());
        put_varint(&mut self.entries, key.user_key.len() as u64);
        self.entries.extend_from_slice(key.user_key);
        self.entries.extend_from_slice(value);
        let end = u32::try_from(self.entries.len()).expect("keys, values and blocks have limits");
        self.ends.push(end);
    }

    /// Appends the sealed block, which will stand at `offset`, to `out` and begins another.
    pub(crate) fn finish(
        &mut self,
        out: &mut Vec<u8>,
        compression: Compression,
        id: u64,
        offset: u64,
    ) {
        let start = out.len();
        let shape = self.shape;
        self.build_payload();
        let codec = self.compress(compression);
        let stored = match codec {
            Compression::None => &self.payload,
            Compression::Lz4 => &self.compressed,
        };
        let offset_width = shape.offset_width();
        let wide_flag = if offset_width == 4 { WIDE_OFFSETS } else { 0 };
        let kinds_flag = if shape.has_kinds { KINDS_PRESENT } else { 0 };

        out.extend_from_slice(&(self.tags.len() as u32).to_le_bytes());
        out.extend_from_slice(&[wide_flag | kinds_flag, codec.code(), 0, shape.seq_width()]);
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        out.extend_from_slice(&shape.min_seq.to_le_bytes());
        out.extend_from_slice(&self.tags);
        for entry_offset in std::iter::once(0).chain(self.ends.iter().copied()) {
            out.extend_from_slice(&entry_offset.to_le_bytes()[..offset_width]);
        }
        out.extend_from_slice(stored);
        let len = padded_len(out.len() - start + CHECKSUM_LEN, offset, codec);
        out.resize(start + len - CHECKSUM_LEN, 0);
        seal_region(out, start, id, offset, DATA);
        self.clear();
    }

    fn build_payload(&mut self) {
        let seq_width = usize::from(self.shape.seq_width());
        self.payload.clear();
        for seq in &self.seqs {
            let delta = (seq - self.shape.min_seq).to_le_bytes();
            self.payload.extend_from_slice(&delta[..seq_width]);
        }
        if self.shape.has_kinds {
            self.payload.extend_from_slice(&self.kinds);
        }
        self.payload.extend_from_slice(&self.entries);
    }

    /// Compresses the payload if that is asked for and saves an eighth, and says how it is stored.
    fn compress(&mut self, compression: Compression) -> Compression {
        if compression == Compression::None {
            return Compression::None;
        }
        let most = lz4_flex::block::get_maximum_output_size(self.payload.len());
        self.compressed.resize(most, 0);
        let len = lz4_flex::block::compress_into(&self.payload, &mut self.compressed)
            .expect("the output has the size that LZ4 asks for");
        self.compressed.truncate(len);
        if len <= self.payload.len() - self.payload.len() / 8 {
            Compression::Lz4
        } else {
            Compression::None
        }
    }

    fn clear(&mut self) {
        self.shape = Shape::default();
        self.tags.clear();
        self.ends.clear();
        self.seqs.clear();
        self.kinds.clear();
        self.entries.clear();
        // One huge value must not hold its memory to the end of the table.
        for buffer in [&mut self.entries, &mut self.payload, &mut self.compressed] {
            buffer.clear();
            buffer.shrink_to(1 << 20);
        }
    }
}

/// How long a block of `len` bytes at `offset` is made.
fn padded_len(len: usize, offset: u64, codec: Compression) -> usize {
    let len = len.next_multiple_of(BLOCK_ALIGN);
    let end = offset + len as u64;
    let gap = (end.next_multiple_of(PAGE_LEN) - end) as usize;
    // A get from a block that is used in place costs one page less if the block is within one.
    if codec == Compression::None && gap <= len / MAX_PADDING_SHARE { len + gap } else { len }
}

#[cfg(test)]
mod tests {
    use lsm_base::Seq;

    use super::*;

    /// A builder with entries of these sequences, kinds and lengths of values.
    fn builder(entries: &[(u64, Kind, usize)]) -> BlockBuilder {
        let mut builder = BlockBuilder::default();
        for (index, &(seq, kind, len)) in entries.iter().enumerate() {
            let user_key = [b'k', index as u8];
            let key = InternalKeyRef::new(&user_key, Seq::new(seq), kind);
            let value = vec![b'v'; len];
            let expected = builder.raw_len_with(key, &value);
            builder.push(key, index as u64, &value);
            assert_eq!(builder.raw_len(), expected);
        }
        builder
    }

    #[test]
    fn a_block_is_as_long_as_was_foreseen() {
        for entries in [
            &[(5, Kind::Put, 0)][..],
            &[(5, Kind::Put, 100), (5, Kind::Put, 7)],
            &[(5, Kind::Delete, 0), (300, Kind::Put, 9), (7, Kind::Put, 1)],
            &[(1 << 20, Kind::Put, 3), (1, Kind::Delete, 0)],
            &[(1 << 40, Kind::Put, 3), (0, Kind::Put, 70_000)],
        ] {
            let mut builder = builder(entries);
            let expected = padded_len(builder.raw_len(), 8, Compression::None);
            let mut out = Vec::new();
            builder.finish(&mut out, Compression::None, 1, 8);
            assert_eq!(out.len(), expected, "{entries:?}");
            assert!(builder.is_empty() && builder.raw_len() < 40);
        }
    }

    #[test]
    fn an_offset_is_wide_if_the_entries_are_longer_than_a_narrow_one_can_say() {
        // A byte for the length of the key, and two of the key.
        for (len, width) in [(65_535 - 3, 2), (65_536 - 3, 4)] {
            assert_eq!(builder(&[(5, Kind::Put, len)]).shape.offset_width(), width);
        }
    }

    #[test]
    fn a_block_that_nearly_fills_its_page_fills_it() {
        for (len, offset, codec, expected) in [
            (1, 0, Compression::None, 8),
            (3961, 0, Compression::None, 3968),
            // A gap of 120 bytes, of at most 124.
            (3969, 0, Compression::None, 4096),
            (3969, 0, Compression::Lz4, 3976),
            (3969, 8, Compression::None, 4088),
            (4096, 4096, Compression::None, 4096),
            (4097, 0, Compression::None, 4104),
            (100_000, 4096, Compression::None, 102_400),
        ] {
            assert_eq!(padded_len(len, offset, codec), expected, "{len} at {offset}, {codec}");
        }
    }

    #[test]
    fn an_eighth_must_be_saved() {
        // What does not compress, and behind it what does, up to the limit.
        let noise = |len: usize| (0..len as u64).map(|i| (i.wrapping_mul(i) >> 5) as u8 ^ i as u8);
        let (mut kept, mut at_limit) = (0, 0);
        for zeros in 0..600 {
            let mut builder = BlockBuilder::default();
            let value: Vec<u8> = noise(2000).chain(std::iter::repeat_n(0, zeros)).collect();
            builder.push(InternalKeyRef::new(b"k", Seq::new(5), Kind::Put), 1, &value);
            builder.build_payload();
            let codec = builder.compress(Compression::Lz4);
            let (before, after) = (builder.payload.len(), builder.compressed.len());
            let is_saved = before / 8 <= before.saturating_sub(after);
            assert_eq!(codec == Compression::Lz4, is_saved, "{after} of {before} bytes");
            kept += usize::from(is_saved);
            at_limit += usize::from(before / 8 + after == before);
            assert_eq!(builder.compress(Compression::None), Compression::None);
        }
        assert!(0 < at_limit && at_limit < kept && kept < 600, "{at_limit} of {kept} at the limit");
    }
}
