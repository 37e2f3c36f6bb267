//! Builds one data block after the other.

use lsm_base::InternalKeyRef;
use lsm_base::coding::{put_varint, varint_len};
use lsm_base::key::Kind;

use super::{BLOCK_ALIGN, HEADER_LEN, KINDS_PRESENT, WIDE_OFFSETS, tag_of};
use crate::format::{CHECKSUM_LEN, DATA, seal_region};
use crate::options::Compression;

/// What an entry takes besides its own bytes: tag, offset, and four bytes of sequence as a guess.
const COLUMN_BYTES: usize = 7;

/// The entries of a block that is not written yet.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    tags: Vec<u8>,
    /// Where each entry ends.
    ends: Vec<u32>,
    seqs: Vec<u64>,
    kinds: Vec<u8>,
    entries: Vec<u8>,
    payload: Vec<u8>,
    compressed: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// About how long the block would be without compression.
    pub(crate) fn estimated_len(&self) -> usize {
        let fixed = HEADER_LEN + CHECKSUM_LEN;
        fixed + self.tags.len() * COLUMN_BYTES + self.entries.len()
    }

    /// About how much longer an entry would make the block.
    pub(crate) fn entry_len(key: InternalKeyRef<'_>, value: &[u8]) -> usize {
        let key_len = key.user_key.len();
        COLUMN_BYTES + varint_len(key_len as u64) + key_len + value.len()
    }

    /// Appends an entry whose user key has this hash.
    pub(crate) fn push(&mut self, key: InternalKeyRef<'_>, hash: u64, value: &[u8]) {
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
        let base_seq = self.seqs.iter().copied().min().unwrap_or(0);
        let seq_width = self.build_payload(base_seq);
        let codec = self.compress(compression);
        let stored = match codec {
            Compression::None => &self.payload,
            Compression::Lz4 => &self.compressed,
        };
        let is_wide = u32::from(u16::MAX) < self.ends.last().copied().unwrap_or(0);
        let has_kinds = self.has_kinds();
        let flags =
            if is_wide { WIDE_OFFSETS } else { 0 } | if has_kinds { KINDS_PRESENT } else { 0 };

        out.extend_from_slice(&(self.tags.len() as u32).to_le_bytes());
        out.extend_from_slice(&[flags, codec.code(), 0, seq_width]);
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        out.extend_from_slice(&base_seq.to_le_bytes());
        out.extend_from_slice(&self.tags);
        for entry_offset in std::iter::once(0).chain(self.ends.iter().copied()) {
            let width = if is_wide { 4 } else { 2 };
            out.extend_from_slice(&entry_offset.to_le_bytes()[..width]);
        }
        out.extend_from_slice(stored);
        let len = (out.len() - start + CHECKSUM_LEN).next_multiple_of(BLOCK_ALIGN);
        out.resize(start + len - CHECKSUM_LEN, 0);
        seal_region(out, start, id, offset, DATA);
        self.clear();
    }

    fn has_kinds(&self) -> bool {
        self.kinds.iter().any(|&kind| kind != Kind::Put.code())
    }

    /// Fills `self.payload` and returns the width of a sequence.
    fn build_payload(&mut self, base_seq: u64) -> u8 {
        let span = self.seqs.iter().map(|seq| seq - base_seq).max().unwrap_or(0);
        let seq_width = match span {
            0 => 0,
            1..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        };
        self.payload.clear();
        for seq in &self.seqs {
            let delta = (seq - base_seq).to_le_bytes();
            self.payload.extend_from_slice(&delta[..usize::from(seq_width)]);
        }
        if self.has_kinds() {
            self.payload.extend_from_slice(&self.kinds);
        }
        self.payload.extend_from_slice(&self.entries);
        seq_width
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
