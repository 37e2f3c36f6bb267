//! Fences: between which user keys each block stands, in the form in which they are searched.
//!
//! ```text
//!  0  block count n       u32
//!  4  flags               u32          0; reserved (uniform distribution, partitions)
//!  8  common prefix len   u32
//! 12  separator bytes     u32          length of the separators
//! 16  prefixes            n x u64      first 8 bytes of each separator, as a big-endian number
//!     block offsets       (n + 1) x u32   in units of 8 bytes; the last is the end of the data
//!     separator offsets   (n + 1) x u32   into the separators; the last is their end
//!     common prefix
//!     separators          each without the common prefix
//!     checksum            u64
//! ```
//!
//! Invariant: separator i is at or above every user key of block i and below every user key of
//! block i + 1, unless the versions of one key straddle the two: then it is that key. So a search
//! begins at the first block whose separator is at or above the key, and goes on to the next block
//! only if the separator *is* the key. All keys, and so all separators, begin with the common
//! prefix; the prefixes are taken behind it, so that they tell most blocks apart without a look at
//! a separator.
//!
//! A search of 16,000 prefixes by halves meets a cold cache line at most steps. So every sixteenth
//! prefix is copied when the table is opened: those few kilobytes stay in the nearest cache, and
//! lead to the two lines of the file that hold the answer.

use std::cmp::Ordering;
use std::ops::{Deref, Range};

use lsm_base::key::{compare_user_keys, key_prefix};

use crate::block::BLOCK_ALIGN;
use crate::flaw::Flaw;

const HEADER_LEN: usize = 16;
/// One prefix in this many is a sample.
const SAMPLE: usize = 16;

/// Collects the separators and lengths of the blocks of a table.
#[derive(Debug, Default)]
pub(crate) struct FencesBuilder {
    separators: Vec<u8>,
    separator_ends: Vec<usize>,
    block_offsets: Vec<u32>,
}

impl FencesBuilder {
    /// Adds the block that begins at `offset`.
    pub(crate) fn add(&mut self, separator: &[u8], offset: u64) {
        self.separators.extend_from_slice(separator);
        self.separator_ends.push(self.separators.len());
        self.block_offsets.push(to_units(offset));
    }

    /// The length of the region without its checksum, at most, as far as it is known.
    pub(crate) fn estimated_len(&self) -> u64 {
        let n = self.block_offsets.len() + 1;
        (HEADER_LEN + 16 * n + self.separators.len()) as u64
    }

    /// Appends the region without its checksum. All separators begin with `common_prefix`.
    pub(crate) fn finish(&self, common_prefix: &[u8], data_end: u64, out: &mut Vec<u8>) {
        let count = self.block_offsets.len();
        let cut = common_prefix.len();
        let starts = std::iter::once(0).chain(self.separator_ends.iter().copied());
        let suffixes = starts
            .zip(&self.separator_ends)
            .map(|(start, &end)| &self.separators[start + cut..end]);
        let suffix_bytes = self.separators.len() - cut * count;
        let word = |value: usize| {
            u32::try_from(value).expect("fences are smaller than the data").to_le_bytes()
        };
        out.extend_from_slice(&word(count));
        out.extend_from_slice(&word(0));
        out.extend_from_slice(&word(cut));
        out.extend_from_slice(&word(suffix_bytes));
        for suffix in suffixes.clone() {
            out.extend_from_slice(&key_prefix(suffix).to_le_bytes());
        }
        for offset in self.block_offsets.iter().copied().chain([to_units(data_end)]) {
            out.extend_from_slice(&offset.to_le_bytes());
        }
        let mut end = 0;
        out.extend_from_slice(&word(end));
        for suffix in suffixes.clone() {
            end += suffix.len();
            out.extend_from_slice(&word(end));
        }
        out.extend_from_slice(common_prefix);
        suffixes.for_each(|suffix| out.extend_from_slice(suffix));
    }
}

/// The largest offset that fences can name.
pub(crate) const MAX_DATA_LEN: u64 = u32::MAX as u64 * BLOCK_ALIGN as u64;

fn to_units(offset: u64) -> u32 {
    assert_eq!(offset % BLOCK_ALIGN as u64, 0, "blocks are aligned");
    u32::try_from(offset / BLOCK_ALIGN as u64).expect("the builder keeps to MAX_DATA_LEN")
}

/// The two words at `at`, where one thing begins and where it ends; empty where there are none.
#[inline]
fn pair(bytes: &[u8], at: usize) -> (u64, u64) {
    let pair = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    let pair = u64::from_le_bytes(pair.copied().unwrap_or_default());
    (pair & u64::from(u32::MAX), pair >> 32)
}

/// The fences over the bytes of their region, wherever they are.
#[derive(Debug)]
pub(crate) struct Fences<B> {
    bytes: B,
    count: usize,
    block_offsets_at: usize,
    separator_offsets_at: usize,
    common_prefix_at: usize,
    separators_at: usize,
    /// The last prefix of each group of [`SAMPLE`].
    samples: Box<[u64]>,
}

impl<B: Deref<Target = [u8]>> Fences<B> {
    /// The fences in this region, whose checksum was found right and cut off, of a data section of
    /// `data_len` bytes.
    pub(crate) fn new(bytes: B, data_len: u64) -> Result<Fences<B>, Flaw> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Flaw::corrupt(0, "fences shorter than their header"));
        };
        let (words, _) = header.as_chunks::<4>();
        let word = |at: usize| u32::from_le_bytes(words[at / 4]);
        if word(4) != 0 {
            return Err(Flaw::unsupported(format!("fences with flags {:#x}", word(4))));
        }
        let count = word(0) as usize;
        let block_offsets_at = HEADER_LEN + 8 * count;
        let separator_offsets_at = block_offsets_at + 4 * (count + 1);
        let common_prefix_at = separator_offsets_at + 4 * (count + 1);
        let separators_at = common_prefix_at + word(8) as usize;
        if count == 0 || bytes.len() != separators_at + word(12) as usize {
            return Err(Flaw::corrupt(0, "fences of another length than their header says"));
        }
        let mut fences = Fences {
            bytes,
            count,
            block_offsets_at,
            separator_offsets_at,
            common_prefix_at,
            separators_at,
            samples: Box::default(),
        };
        fences.check(data_len)?;
        let groups = fences.prefixes().chunks_exact(SAMPLE);
        fences.samples = groups.map(|group| u64::from_le_bytes(group[SAMPLE - 1])).collect();
        Ok(fences)
    }

    /// How many blocks there are.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The bytes of the fences, in place or not.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The memory that they take beside their bytes.
    pub(crate) fn own_memory(&self) -> usize {
        size_of_val(&*self.samples)
    }

    /// Where a block stands in the data section; empty if there is no such block.
    #[inline]
    pub(crate) fn block(&self, index: usize) -> Range<u64> {
        if self.count <= index {
            return 0..0;
        }
        let (start, end) = pair(&self.bytes, self.block_offsets_at + 4 * index);
        start * BLOCK_ALIGN as u64..end * BLOCK_ALIGN as u64
    }

    /// The common prefix of all separators.
    pub(crate) fn common_prefix(&self) -> &[u8] {
        self.common_prefix_in(&self.bytes)
    }

    #[inline]
    fn common_prefix_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.common_prefix_at..self.separators_at).unwrap_or_default()
    }

    /// A separator behind the common prefix.
    #[inline]
    pub(crate) fn suffix(&self, index: usize) -> &[u8] {
        let bytes = &*self.bytes;
        let (start, end) = pair(bytes, self.separator_offsets_at + 4 * index);
        let range = self.separators_at + start as usize..self.separators_at + end as usize;
        bytes.get(range).unwrap_or_default()
    }

    /// The first block whose separator is at or above `user_key`, and whether it is that key;
    /// `None` if the key is above all.
    #[inline]
    pub(crate) fn search(&self, user_key: &[u8]) -> Option<Fence> {
        // Once: where they are is asked for every time.
        let bytes = &*self.bytes;
        let common = self.common_prefix_in(bytes);
        let Some(suffix) = user_key.strip_prefix(common) else {
            return match compare_user_keys(user_key, common) {
                Ordering::Greater => None,
                _ => Some(Fence { index: 0, is_exact: false }),
            };
        };
        let prefix = key_prefix(suffix);
        let prefixes = self.prefixes_in(bytes);
        let group = SAMPLE * self.samples.partition_point(|&sample| sample < prefix);
        let group_end = prefixes.len().min(group + SAMPLE);
        // Counting them all is faster than halving: no load waits for another.
        let below = |bytes: &&[u8; 8]| u64::from_le_bytes(**bytes) < prefix;
        let mut index = group + prefixes.get(group..group_end)?.iter().filter(below).count();
        // Only separators that share the eight bytes have to be read.
        while prefixes.get(index).is_some_and(|&bytes| u64::from_le_bytes(bytes) == prefix) {
            match compare_user_keys(self.suffix(index), suffix) {
                Ordering::Less => index = self.skip_ties(index, prefix, suffix),
                order => return Some(Fence { index, is_exact: order == Ordering::Equal }),
            }
        }
        (index < self.count).then_some(Fence { index, is_exact: false })
    }

    /// The fence behind `index`, for a search that goes on there.
    pub(crate) fn following(&self, index: usize, user_key: &[u8]) -> Fence {
        let index = index + 1;
        let suffix = user_key.strip_prefix(self.common_prefix());
        Fence { index, is_exact: suffix == Some(self.suffix(index)) }
    }

    #[inline]
    fn prefixes(&self) -> &[[u8; 8]] {
        self.prefixes_in(&self.bytes)
    }

    #[inline]
    fn prefixes_in<'a>(&self, bytes: &'a [u8]) -> &'a [[u8; 8]] {
        bytes.get(HEADER_LEN..self.block_offsets_at).unwrap_or_default().as_chunks().0
    }

    /// The first separator behind `index` that is at or above `suffix`, where the ones in between
    /// share their eight bytes with it.
    fn skip_ties(&self, index: usize, prefix: u64, suffix: &[u8]) -> usize {
        let prefixes = &self.prefixes()[index..];
        let ties = prefixes.partition_point(|&bytes| u64::from_le_bytes(bytes) == prefix);
        let (mut low, mut high) = (index + 1, index + ties);
        while low < high {
            let middle = low.midpoint(high);
            if compare_user_keys(self.suffix(middle), suffix) == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Checks that every offset stays inside, so that no search has to.
    fn check(&self, data_len: u64) -> Result<(), Flaw> {
        let mut data_end = 0;
        let mut separators_end = 0;
        for index in 0..self.count {
            let block = self.block(index);
            if block.start != data_end || block.end <= block.start {
                return Err(Flaw::corrupt(self.block_offsets_at, "blocks out of order"));
            }
            data_end = block.end;
            let at = self.separator_offsets_at + 4 * index;
            let (start, end) = pair(&self.bytes, at);
            if start != separators_end || end < start {
                return Err(Flaw::corrupt(at, "separators out of order"));
            }
            separators_end = end;
            let suffix = self.suffix(index);
            let is_ordered = index == 0 || self.suffix(index - 1) <= suffix;
            let prefix = self.prefixes().get(index).copied().map(u64::from_le_bytes);
            if !is_ordered || prefix != Some(key_prefix(suffix)) {
                return Err(Flaw::corrupt(at, "separators out of order"));
            }
        }
        if data_end != data_len || self.separators_at + separators_end as usize != self.bytes.len()
        {
            return Err(Flaw::corrupt(0, "fences that do not span the data"));
        }
        Ok(())
    }
}

/// The block at which a search begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fence {
    pub(crate) index: usize,
    /// Whether the separator is the key itself, so that older versions may stand in the next block.
    pub(crate) is_exact: bool,
}

/// A short key s with `last <= s < next`, where `last < next`.
///
/// Between `the quick` and `the who`, `the r` is enough.
pub(crate) fn separator(last: &[u8], next: &[u8]) -> Vec<u8> {
    let common = last.iter().zip(next).take_while(|(a, b)| a == b).count();
    let (Some(&a), Some(&b)) = (last.get(common), next.get(common)) else {
        // `last` is a prefix of `next`: nothing between them is shorter.
        return last.to_vec();
    };
    let mut separator = last[..common].to_vec();
    if a + 1 < b {
        separator.push(a + 1);
        return separator;
    }
    // One more byte of `last` keeps below `next`; the first byte behind it that can be raised ends
    // the separator.
    separator.push(a);
    for &byte in &last[common + 1..] {
        if byte < 0xff {
            separator.push(byte + 1);
            return separator;
        }
        separator.push(byte);
    }
    separator
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    fn build(separators: &[Vec<u8>], common: usize) -> Vec<u8> {
        let mut builder = FencesBuilder::default();
        for (index, separator) in separators.iter().enumerate() {
            builder.add(separator, 16 * index as u64);
        }
        let mut bytes = Vec::new();
        builder.finish(&separators[0][..common], 16 * separators.len() as u64, &mut bytes);
        // What the common prefix saves is not known before the end, and is counted for one more.
        let saved = 8 + common * (separators.len() - 1);
        assert_eq!(builder.estimated_len(), (bytes.len() + saved) as u64);
        bytes
    }

    proptest! {
        #[test]
        fn a_separator_stands_between(a in vec(0xfd_u8.., 0..6), b in vec(0xfd_u8.., 0..6)) {
            if a < b {
                let between = separator(&a, &b);
                prop_assert!(a <= between && between < b && between.len() <= a.len());
            }
        }

        #[test]
        fn searches_agree_with_a_linear_one(
            common in vec(any::<u8>(), 0..3),
            suffixes in btree_set(vec(prop_oneof![Just(0_u8), Just(1), Just(0xff)], 0..12), 1..80),
            repeat in 0_usize..40,
            asked in vec(vec(prop_oneof![Just(0_u8), Just(1), Just(0xff)], 0..12), 20),
        ) {
            let with_common = |suffix: &Vec<u8>| [common.as_slice(), suffix].concat();
            let mut separators: Vec<Vec<u8>> = suffixes.iter().map(with_common).collect();
            // The versions of one key may straddle blocks.
            let twice = separators[repeat % separators.len()].clone();
            separators.push(twice);
            separators.sort();
            let bytes = build(&separators, common.len());
            let fences = Fences::new(bytes, 16 * separators.len() as u64).unwrap();
            for key in asked.iter().map(with_common).chain(asked.clone()).chain(separators.clone()) {
                let index = separators.partition_point(|separator| *separator < key);
                let expected = separators.get(index)
                    .map(|separator| Fence { index, is_exact: *separator == key });
                prop_assert_eq!(fences.search(&key), expected);
            }
        }
    }

    #[test]
    fn the_worked_example_holds() {
        assert_eq!(separator(b"the quick", b"the who"), b"the r");
        assert_eq!(separator(b"abc", b"abd"), b"abc");
        assert_eq!(separator(b"abcd", b"abd"), b"abce"[..].to_vec());
        assert_eq!(separator(b"ab", b"abc"), b"ab");
    }

    #[test]
    fn offsets_that_leave_the_data_are_refused() {
        let good = build(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], 0);
        assert!(Fences::new(good.clone(), 48).is_ok());
        assert!(Fences::new(good.clone(), 56).is_err());
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                // Whatever is accepted must be searchable without a panic.
                if let Ok(fences) = Fences::new(bytes, 48) {
                    for key in [b"".as_slice(), b"a", b"b", b"zz"] {
                        if let Some(fence) = fences.search(key) {
                            assert!(fences.block(fence.index).end <= 48);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn each_rule_is_checked_by_itself() {
        let separators: Vec<Vec<u8>> =
            [b"first separator", b"other separator", b"third separator"].map(Vec::from).into();
        let good = build(&separators, 0);
        let sound = Fences::new(good.clone(), 48).unwrap();
        let (blocks_at, ends_at) = (sound.block_offsets_at, sound.separator_offsets_at);
        let last_at = sound.separators_at + 30;
        for (rule, at, value) in [
            ("the first block begins the data", blocks_at, 1),
            ("no block is empty", blocks_at + 4, 4),
            ("no block begins before the one before ends", blocks_at + 8, 1),
            ("the last block ends the data", blocks_at + 12, 7),
            ("the first separator begins them", ends_at, 1),
            ("no separator ends before it begins", ends_at + 8, 14),
            ("the last separator ends the region", ends_at + 12, 44),
            ("separators ascend", last_at, u32::from_le_bytes(*b"ahir")),
            ("a prefix is that of its separator", HEADER_LEN + 8, 0),
        ] {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            // What is broken is not to show by a prefix.
            for index in (0..3).filter(|index| at != HEADER_LEN + 8 * index) {
                let ends: [u32; 2] = [0, 4].map(|next| {
                    u32::from_le_bytes(*bytes[ends_at + 4 * index + next..].first_chunk().unwrap())
                });
                let [start, end] = ends.map(|end| sound.separators_at + end as usize);
                let prefix = key_prefix(bytes.get(start..end).unwrap_or_default());
                let at = HEADER_LEN + 8 * index;
                bytes[at..at + 8].copy_from_slice(&prefix.to_le_bytes());
            }
            let flaw = Fences::new(bytes, 48).map(|_| rule).unwrap_err();
            assert!(matches!(flaw, Flaw::Corrupt { .. }), "{rule}: {flaw:?}");
        }
    }

    #[test]
    fn samples_are_all_that_fences_hold_beside_their_bytes() {
        let separators: Vec<Vec<u8>> = (0..40_u8).map(|index| vec![index]).collect();
        let bytes = build(&separators, 0);
        let fences = Fences::new(bytes.clone(), 16 * 40).unwrap();
        assert_eq!((fences.len(), fences.own_memory()), (bytes.len(), 40 / SAMPLE * 8));
        assert_eq!((fences.block(39), fences.block(40)), (16 * 39..16 * 40, 0..0));
    }

    #[test]
    fn the_largest_offset_has_a_number() {
        assert_eq!(to_units(MAX_DATA_LEN), u32::MAX);
    }
}
