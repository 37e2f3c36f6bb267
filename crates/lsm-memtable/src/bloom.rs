//! The tree's Bloom filter: most look-ups of an absent key end here, after a line or two.
//!
//! A block is four words in one cache line; a key sets one bit in each word. A tree does not know
//! how many keys it will hold, so the filter grows by tiers: the first has room for 512 keys, each
//! further one for eight times as many, and a key goes into the newest. Nothing is ever rehashed,
//! and a tree with few keys has a small filter, of which there may be a thousand.
//!
//! At 16 bits a key and at most six tiers the small ones stay in the innermost caches; a filled
//! filter lets fewer than 2 % of the absent keys pass.
//!
//! Invariant: a key's bits are set before its entry is published, so that whoever may see the
//! entry finds the bits.

use std::sync::OnceLock;

use crate::arena::AtomicWords;
use crate::sync::{AtomicUsize, Ordering, Private};

/// Keys that the first tier has room for; a model keeps it small, so that it meets a second tier.
const FIRST_TIER_KEYS: usize = if cfg!(loom) { 2 } else { 512 };
/// Each tier has room for eight times the keys of the one before.
const TIER_SHIFT: u32 = 3;
/// The ninth tier alone has room for more keys than an arena.
const TIERS: usize = 9;

const WORDS_PER_BLOCK: usize = 4;
const KEYS_PER_BLOCK: usize = 8;

/// Which keys a tree may hold.
#[derive(Default)]
pub(crate) struct Filter {
    tiers: [OnceLock<AtomicWords>; TIERS],
    /// How many tiers there are.
    count: AtomicUsize,
    /// Keys that still fit the newest tier.
    room: Private,
}

impl Filter {
    /// The memory of the filter, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let tiers = self.tiers.iter().filter_map(OnceLock::get);
        tiers.map(|tier| size_of::<u32>() * tier.len()).sum()
    }

    /// Adds a key. Requires: the caller is the writer.
    pub(crate) fn add(&self, hash: u64) {
        // Relaxed: the writer's own store.
        let mut count = self.count.load(Ordering::Relaxed);
        if self.room.get() == 0 && count < TIERS {
            let keys = FIRST_TIER_KEYS << (TIER_SHIFT * count as u32);
            let blocks = keys.div_ceil(KEYS_PER_BLOCK);
            self.tiers[count].get_or_init(|| AtomicWords::zeroed(blocks * WORDS_PER_BLOCK));
            count += 1;
            // Release: whoever counts the tier finds it.
            self.count.store(count, Ordering::Release);
            self.room.set(keys as u64);
        }
        self.room.set(self.room.get().saturating_sub(1));
        let tier = self.tiers[count - 1].get().expect("a counted tier is there");
        for (word, bit) in probes(tier, hash) {
            // Relaxed, and no read-modify-write: there is one writer, and the entry that is
            // published next carries the bits along.
            let word = tier.get(word);
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        }
    }

    /// Whether the key may have been added; `false` is certain.
    #[inline]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        // Acquire pairs with the Release in `add`. Newest first: it holds most of the keys.
        let count = self.count.load(Ordering::Acquire);
        self.tiers[..count].iter().rev().filter_map(OnceLock::get).any(|tier| {
            // Relaxed: a reader that is to see a key was told so by a store behind its bits.
            probes(tier, hash).all(|(word, bit)| tier.get(word).load(Ordering::Relaxed) & bit != 0)
        })
    }
}

/// The word and the bit of each of a key's probes: the high half of the hash picks the block,
/// four times five bits of the low half pick a bit in each word.
#[inline]
fn probes(tier: &AtomicWords, hash: u64) -> impl Iterator<Item = (usize, u32)> {
    let blocks = (tier.len() / WORDS_PER_BLOCK) as u64;
    let block = (((hash >> 32) * blocks) >> 32) as usize;
    (0..WORDS_PER_BLOCK).map(move |index| {
        let bit = 1 << ((hash >> (5 * index)) & 31);
        (block * WORDS_PER_BLOCK + index, bit)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use lsm_base::key::hash_user_key;

    use super::*;

    #[test]
    fn every_key_is_found_and_few_strangers_pass() {
        let hash = |number: u32| hash_user_key(&number.to_le_bytes());
        let filter = Filter::default();
        assert!(!filter.may_contain(hash(0)));
        let mut filled = 0;
        for tier in 0..4 {
            let capacity = 512 << (3 * tier);
            (filled..filled + capacity).for_each(|number| filter.add(hash(number)));
            filled += capacity;
            assert!((0..filled).all(|number| filter.may_contain(hash(number))));
            assert_eq!(filter.count.load(Ordering::Relaxed), tier as usize + 1);
            let strangers = 1 << 30..(1 << 30) + 100_000;
            let passed = strangers.filter(|&number| filter.may_contain(hash(number))).count();
            assert!(passed < 2_000, "{passed} of 100,000 strangers pass {tier} full tiers");
        }
    }
}
