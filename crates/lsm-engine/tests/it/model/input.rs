//! Random keys, values and ranges, chosen so that keys are often overwritten, share prefixes, and
//! meet every limit of the formats now and then.

use std::ops::Bound;

use lsm_engine::base::testing::SplitMix64;

use super::oracle::Bounds;

/// A source of inputs that is a function of its seed alone.
pub(crate) struct Input {
    random: SplitMix64,
}

impl Input {
    /// The inputs of one operation: what it does depends on no operation before it, so any of them
    /// can be left out.
    pub(crate) fn of_operation(seed: u64, op: u64) -> Input {
        let seed = SplitMix64::new(seed).next_u64() ^ SplitMix64::new(op).next_u64();
        Input { random: SplitMix64::new(seed) }
    }

    /// A number of 64 bits.
    pub(crate) fn number(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of a few hot keys, of some thousand others, or of some odd ones.
    pub(crate) fn key(&mut self) -> Vec<u8> {
        match self.below(20) {
            0..8 => format!("hot{:02}", self.below(40)).into_bytes(),
            8..16 => format!("wide/{:04}", self.below(3_000)).into_bytes(),
            16 => vec![0xff; 1 + self.below(12)],
            17 => vec![self.below(256) as u8],
            18 => (self.below(300) as u32).wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec(),
            _ => {
                let mut key = vec![b'p'; 8 * self.below(60)];
                key.extend(format!("{:02}", self.below(30)).into_bytes());
                key
            }
        }
    }

    /// A value, mostly short; sometimes empty, or larger than a small memtable.
    pub(crate) fn value(&mut self) -> Vec<u8> {
        let len = match self.below(1_000) {
            0..50 => 0,
            50..500 => 1 + self.below(40),
            500..980 => 100 + self.below(100),
            980..999 => self.below(4_000),
            _ => 10_000 + self.below(20_000),
        };
        let mut value = vec![0; len];
        // Half of it compresses.
        self.random.fill(&mut value[..len / 2]);
        value
    }

    /// Any bounds; few of them are out of order or empty.
    pub(crate) fn bounds(&mut self) -> Bounds {
        let (mut start, mut end) = (self.key(), self.key());
        if end < start && !self.once_in(20) {
            std::mem::swap(&mut start, &mut end);
        }
        (self.bound(start), self.bound(end))
    }

    fn bound(&mut self, key: Vec<u8>) -> Bound<Vec<u8>> {
        match self.below(16) {
            0 => Bound::Unbounded,
            1..9 => Bound::Included(key),
            _ => Bound::Excluded(key),
        }
    }
}
