//! The frame of a block, read from its header.

use super::HEADER_LEN;
use crate::flaw::Flaw;
use crate::options::Compression;

/// The flags of a block.
pub(super) const WIDE_OFFSETS: u8 = 1;
pub(super) const COMMON_PREFIX: u8 = 2;
pub(super) const KINDS_PRESENT: u8 = 4;

/// Where the codec stands in the header.
const CODEC_AT: usize = 5;

/// Where the parts of a block stand, as its header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub(super) count: usize,
    pub(super) base_seq: u64,
    pub(super) seq_width: usize,
    pub(super) has_wide_offsets: bool,
    pub(super) has_kinds: bool,
    pub(super) codec: Compression,
    pub(super) offsets_at: usize,
    pub(super) payload_at: usize,
    pub(super) payload_len: usize,
    pub(super) stored_len: usize,
    pub(super) kinds_at: usize,
    pub(super) entries_at: usize,
}

impl Layout {
    /// The layout of no block.
    pub(super) const EMPTY: Layout = Layout {
        count: 0,
        base_seq: 0,
        seq_width: 0,
        has_wide_offsets: false,
        has_kinds: false,
        codec: Compression::None,
        offsets_at: 0,
        payload_at: 0,
        payload_len: 0,
        stored_len: 0,
        kinds_at: 0,
        entries_at: 0,
    };

    /// The layout of a block that begins with these bytes.
    ///
    /// It does not look at `bytes.len()`: see [`Layout::check_stored`].
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Layout, Flaw> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Flaw::corrupt(0, "a block shorter than its header"));
        };
        let (words, _) = header.as_chunks::<4>();
        let word = |at: usize| u32::from_le_bytes(words[at / 4]);
        let [flags, codec, transform, seq_width] = words[1];
        let Some(codec) = Compression::from_code(codec) else {
            return Err(Flaw::unsupported(format!("a block with codec {codec}")));
        };
        if flags & !(WIDE_OFFSETS | KINDS_PRESENT) != 0 || transform != 0 {
            return Err(unsupported_flags(flags, transform));
        }
        let count = word(0) as usize;
        let (payload_len, stored_len) = (word(8) as usize, word(12) as usize);
        let has_wide_offsets = flags & WIDE_OFFSETS != 0;
        let has_kinds = flags & KINDS_PRESENT != 0;
        let seq_width = usize::from(seq_width);
        let offsets_at = HEADER_LEN + count;
        let payload_at = offsets_at + (count + 1) * if has_wide_offsets { 4 } else { 2 };
        let kinds_at = payload_at + count * seq_width;
        let entries_at = kinds_at + if has_kinds { count } else { 0 };
        Ok(Layout {
            count,
            base_seq: u64::from(word(16)) | u64::from(word(20)) << 32,
            seq_width,
            has_wide_offsets,
            has_kinds,
            codec,
            offsets_at,
            payload_at,
            payload_len,
            stored_len,
            kinds_at,
            entries_at,
        })
    }

    /// Whether the payload of a block that begins with these bytes is used as it is stored.
    #[inline]
    pub(crate) fn is_raw(bytes: &[u8]) -> bool {
        bytes.get(CODEC_AT) == Some(&Compression::None.code())
    }

    /// Checks that a stored block without its checksum is framed as its header says.
    pub(crate) fn check_stored(&self, content: &[u8]) -> Result<(), Flaw> {
        if self.count == 0 {
            return Err(Flaw::corrupt(0, "a block without entries"));
        }
        if !matches!(self.seq_width, 0 | 1 | 2 | 4 | 8) {
            return Err(Flaw::corrupt(7, format!("sequences of {} bytes", self.seq_width)));
        }
        if self.codec == Compression::None && self.stored_len != self.payload_len {
            return Err(Flaw::corrupt(8, "a raw payload with two lengths"));
        }
        let padding = content.get(self.payload_at + self.stored_len..);
        if padding.is_none_or(|zeros| zeros.iter().any(|&byte| byte != 0)) {
            return Err(Flaw::corrupt(12, "a payload that does not fill its block"));
        }
        if self.payload_end() < self.entries_at {
            return Err(Flaw::corrupt(8, "a payload shorter than its columns"));
        }
        Ok(())
    }

    /// The codec of the payload.
    pub(crate) const fn codec(&self) -> Compression {
        self.codec
    }

    /// How many entries the block has.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// How long the payload is once it is decompressed.
    pub(crate) const fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// How long the payload is in the file.
    pub(crate) const fn stored_len(&self) -> usize {
        self.stored_len
    }

    /// Where the payload ends once it is decompressed.
    pub(crate) const fn payload_end(&self) -> usize {
        self.payload_at + self.payload_len
    }

    /// The tags, which stand outside the payload.
    #[inline]
    pub(crate) fn tags<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(HEADER_LEN..self.offsets_at)
    }
}

#[cold]
fn unsupported_flags(flags: u8, transform: u8) -> Flaw {
    let detail = if flags & COMMON_PREFIX != 0 {
        "a block whose common prefix is stripped".to_owned()
    } else {
        format!("a block with flags {flags:#x} and transform {transform}")
    };
    Flaw::unsupported(detail)
}
