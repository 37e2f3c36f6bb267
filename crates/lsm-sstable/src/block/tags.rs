//! Hash tags: one byte for each entry of a block, compared eight at a time.

/// The tag of a user key with this hash.
///
/// The filter takes its line from the top of these bits and its probes from the low half, so the
/// tag tells apart what the filter let through.
pub(crate) const fn tag_of(hash: u64) -> u8 {
    (hash >> 32) as u8
}

/// The indices at which a tag stands, ascending; eight tags a step.
pub(super) struct TagMatches<'a> {
    chunks: &'a [[u8; 8]],
    rest: &'a [u8],
    wanted: u8,
    /// The high bit of each byte of the current chunk that agrees and was not given out yet.
    matches: u64,
    /// The index of the current chunk's first tag.
    base: usize,
    next_chunk: usize,
}

impl<'a> TagMatches<'a> {
    #[inline]
    pub(super) fn new(tags: &'a [u8], wanted: u8) -> TagMatches<'a> {
        let (chunks, rest) = tags.as_chunks();
        TagMatches { chunks, rest, wanted, matches: 0, base: 0, next_chunk: 0 }
    }
}

impl Iterator for TagMatches<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.matches == 0 {
            self.base = 8 * self.next_chunk;
            let chunk = match self.chunks.get(self.next_chunk) {
                Some(chunk) => *chunk,
                None if self.next_chunk == self.chunks.len() && !self.rest.is_empty() => {
                    // Fill up with what does not agree.
                    let mut chunk = [!self.wanted; 8];
                    chunk[..self.rest.len()].copy_from_slice(self.rest);
                    chunk
                }
                None => return None,
            };
            self.matches = zero_bytes(u64::from_le_bytes(chunk) ^ splat(self.wanted));
            self.next_chunk += 1;
        }
        let index = self.base + self.matches.trailing_zeros() as usize / 8;
        self.matches &= self.matches - 1;
        Some(index)
    }
}

const fn splat(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// The high bit of every byte that is zero, and no other bit.
const fn zero_bytes(word: u64) -> u64 {
    let low_bits = splat(0x7f);
    !(((word & low_bits) + low_bits) | word | low_bits)
}
