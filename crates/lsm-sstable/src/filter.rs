//! The Bloom filter of a table: one cache line for each question.
//!
//! ```text
//!  0  kind     u8    1: blocked Bloom filter with 64-byte lines
//!  1  probes   u8    bits that each key sets in its line
//!  2  zero     u16
//!  4  lines    u32
//!  8  zero           up to 64
//! 64  lines x 64 bytes
//!     checksum u64
//! ```
//!
//! A key's line comes from the high half of its hash by a multiplication and a shift, without a
//! division; its bits come from the low half, multiplied by an odd constant for each further probe
//! and read from the top. (The scheme is that of RocksDB's FastLocalBloom.)
//!
//! Invariant: a filter never denies a key that was added to it.

use std::ops::Deref;

use lsm_base::plant::{self, Plant};

use crate::flaw::Flaw;

pub(crate) const LINE_LEN: usize = 64;
const HEADER_LEN: usize = 64;
const KIND_BLOCKED_BLOOM: u8 = 1;
const GOLDEN_RATIO: u32 = 0x9e37_79b9;

/// Collects the hashes of the user keys of a table.
#[derive(Debug)]
pub(crate) struct FilterBuilder {
    bits_per_key: u32,
    hashes: Vec<u64>,
}

impl FilterBuilder {
    /// A builder of a filter with so many bits for each key; with 0 bits there will be none.
    pub(crate) const fn new(bits_per_key: u32) -> FilterBuilder {
        FilterBuilder { bits_per_key, hashes: Vec::new() }
    }

    /// Whether there will be a filter.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.bits_per_key != 0
    }

    pub(crate) fn add(&mut self, hash: u64) {
        let is_lost = plant::is_live(Plant::FilterLacksKeys) && hash.is_multiple_of(7);
        if self.is_wanted() && !is_lost {
            self.hashes.push(hash);
        }
    }

    /// The length of the filter's region without its checksum, as far as it is known.
    pub(crate) fn estimated_len(&self) -> u64 {
        if !self.is_wanted() {
            return 0;
        }
        HEADER_LEN as u64 + u64::from(self.lines()) * LINE_LEN as u64
    }

    /// Appends the region without its checksum.
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        let (lines, probes) = (self.lines(), probes_for(self.bits_per_key));
        out.extend_from_slice(&[KIND_BLOCKED_BLOOM, probes, 0, 0]);
        out.extend_from_slice(&lines.to_le_bytes());
        out.extend_from_slice(&[0; HEADER_LEN - 8]);
        let start = out.len();
        out.resize(start + lines as usize * LINE_LEN, 0);
        let (lines, _) = out[start..].as_chunks_mut::<LINE_LEN>();
        for &hash in &self.hashes {
            let line = &mut lines[line_of(hash, lines.len())];
            for (byte, mask) in bits(hash, probes) {
                line[byte] |= mask;
            }
        }
    }

    fn lines(&self) -> u32 {
        let bits = self.hashes.len() as u64 * u64::from(self.bits_per_key);
        let lines = bits.div_ceil(8 * LINE_LEN as u64).max(1);
        u32::try_from(lines).unwrap_or(u32::MAX)
    }
}

/// A filter over the bytes of its region, wherever they are.
#[derive(Debug)]
pub(crate) struct Filter<B> {
    bytes: B,
    lines: usize,
    probes: u8,
}

impl<B: Deref<Target = [u8]>> Filter<B> {
    /// The filter in this region, whose checksum was found right and cut off.
    pub(crate) fn new(bytes: B) -> Result<Filter<B>, Flaw> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Flaw::corrupt(0, "a filter shorter than its header"));
        };
        if header[0] != KIND_BLOCKED_BLOOM {
            return Err(Flaw::unsupported(format!("a filter of kind {}", header[0])));
        }
        let probes = header[1];
        let lines = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if lines == 0 || bytes.len() != HEADER_LEN + lines * LINE_LEN {
            return Err(Flaw::corrupt(4, "a filter of another length than its header says"));
        }
        Ok(Filter { bytes, lines, probes })
    }

    /// Whether a key with this hash may have been added; `false` is certain.
    #[inline]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let at = HEADER_LEN + line_of(hash, self.lines) * LINE_LEN;
        let Some(line) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<LINE_LEN>())
        else {
            return true;
        };
        // All probes are in one line: looking at each costs less than a branch for each.
        bits(hash, self.probes).fold(true, |found, (byte, mask)| found & (line[byte] & mask != 0))
    }

    /// How many 64-byte lines the filter has.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// How many bits each key sets.
    pub(crate) fn probes(&self) -> u8 {
        self.probes
    }

    /// How long the region is.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// The number of probes that lets the fewest absent keys through, for lines of 512 bits.
fn probes_for(bits_per_key: u32) -> u8 {
    ((bits_per_key * 6 + 5) / 10).clamp(1, 12) as u8
}

#[inline]
fn line_of(hash: u64, lines: usize) -> usize {
    (((hash >> 32) * lines as u64) >> 32) as usize
}

/// The byte and the mask of each bit of a key in its line.
#[inline]
fn bits(hash: u64, probes: u8) -> impl Iterator<Item = (usize, u8)> {
    let mut state = hash as u32;
    (0..probes).map(move |_| {
        let bit = (state >> 23) as usize;
        state = state.wrapping_mul(GOLDEN_RATIO);
        (bit / 8, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_base::key::hash_user_key;

    fn build(keys: std::ops::Range<u64>, bits_per_key: u32) -> Filter<Vec<u8>> {
        let mut builder = FilterBuilder::new(bits_per_key);
        for key in keys {
            builder.add(hash_user_key(&key.to_le_bytes()));
        }
        let mut bytes = Vec::new();
        builder.finish(&mut bytes);
        assert_eq!(bytes.len() as u64, builder.estimated_len());
        Filter::new(bytes).unwrap()
    }

    fn false_positives(filter: &Filter<Vec<u8>>, keys: std::ops::Range<u64>) -> usize {
        keys.filter(|key| filter.may_contain(hash_user_key(&key.to_le_bytes()))).count()
    }

    #[test]
    fn a_filter_without_bits_takes_nothing() {
        let mut builder = FilterBuilder::new(0);
        (0..100).for_each(|hash| builder.add(hash));
        assert_eq!((builder.hashes.capacity(), builder.estimated_len()), (0, 0));
        assert!(!builder.is_wanted() && FilterBuilder::new(1).is_wanted());
    }

    #[test]
    fn no_added_key_is_denied_at_any_size() {
        for bits_per_key in [1, 2, 10, 14, 32] {
            for count in [1, 2, 50, 51, 52, 1000] {
                let filter = build(0..count, bits_per_key);
                assert_eq!(false_positives(&filter, 0..count) as u64, count);
            }
        }
    }

    #[test]
    fn a_filter_is_as_large_as_its_keys_ask_for() {
        for (count, lines) in [(0, 1), (51, 1), (52, 2), (1000, 20)] {
            let filter = build(0..count, 10);
            assert_eq!((filter.lines(), filter.probes()), (lines, 6), "{count} keys");
            assert_eq!(filter.len(), HEADER_LEN + lines * LINE_LEN);
        }
    }

    #[test]
    fn few_absent_keys_pass() {
        // 1.14 % and 0.4 % in Pebble's simulation of cache-line filters.
        let filter = build(0..50_000, 10);
        assert!(false_positives(&filter, 100_000..200_000) < 1_500);
        let filter = build(0..50_000, 14);
        assert!(false_positives(&filter, 100_000..200_000) < 600);
    }

    #[test]
    fn the_number_of_probes_follows_the_bits() {
        assert_eq!([1, 2, 8, 10, 12, 14, 16].map(probes_for), [1, 1, 5, 6, 7, 8, 10]);
    }

    #[test]
    fn a_wrong_header_is_refused() {
        let good = build(0..100, 10).bytes;
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Filter::new(bytes)
        };
        assert!(matches!(with(0, 2), Err(Flaw::Unsupported(_))));
        assert!(matches!(with(4, 0), Err(Flaw::Corrupt { .. })));
        assert!(matches!(with(7, 1), Err(Flaw::Corrupt { .. })));
        assert!(Filter::new(good[..63].to_vec()).is_err());
    }
}
