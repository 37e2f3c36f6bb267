//! Keys and values: the same for every engine, and checkable when they are read.
//!
//! A key is its number in 16 decimal digits. A value begins with the number, scrambled, and goes on
//! with bytes of which the second half repeats the first, so that it compresses to about a half.

/// Length of a key in bytes.
pub const KEY_LEN: usize = 16;

/// How many bytes of a value say whose it is.
pub const TAG_LEN: usize = 8;

const POOL_LEN: usize = 1 << 20;

/// The keys from 0 to a count, and their values.
#[derive(Clone, Debug)]
pub struct DataSet {
    count: u64,
    value_len: usize,
    pool: Vec<u8>,
}

impl DataSet {
    /// `count` keys with values of `value_len` bytes.
    #[must_use]
    pub fn new(count: u64, value_len: usize) -> DataSet {
        let mut random = Random::new(0x5eed);
        let pool = std::iter::repeat_with(|| random.next().to_le_bytes());
        let pool = pool.take(POOL_LEN / 8).flatten().collect();
        DataSet { count, value_len, pool }
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The length of a value in bytes.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.value_len
    }

    /// The `position`-th key of a random order in which every key comes once.
    #[must_use]
    pub fn shuffled(&self, position: u64) -> u64 {
        // A Feistel network permutes the next larger power of four; whatever lands beyond the
        // count is sent through it again.
        let half_bits = (64 - self.count.max(2).leading_zeros()).div_ceil(2);
        let mask = (1_u64 << half_bits) - 1;
        let mut number = position;
        loop {
            let (mut left, mut right) = (number >> half_bits, number & mask);
            for round in 0..4_u64 {
                (left, right) = (right, left ^ (mix(right ^ round << 40) & mask));
            }
            number = left << half_bits | right;
            if number < self.count {
                return number;
            }
        }
    }

    /// Writes the value of a key into `value`.
    pub fn fill_value(&self, number: u64, value: &mut Vec<u8>) {
        value.clear();
        let start = mix(number) as usize % (POOL_LEN - self.value_len.min(POOL_LEN / 2));
        let half = self.value_len.div_ceil(2).min(POOL_LEN / 2);
        while value.len() < self.value_len {
            let len = half.min(self.value_len - value.len());
            value.extend_from_slice(&self.pool[start..start + len]);
        }
        let tag = tag(number);
        let tag_len = TAG_LEN.min(self.value_len);
        value[..tag_len].copy_from_slice(&tag[..tag_len]);
    }

    /// Whether a value that was read is that of the key, by its length and first bytes.
    #[must_use]
    pub fn is_value_of(&self, number: u64, value: &[u8]) -> bool {
        let tag_len = TAG_LEN.min(self.value_len);
        value.len() == self.value_len && value[..tag_len] == tag(number)[..tag_len]
    }
}

/// The key of a number, into `key`.
pub fn write_key(number: u64, key: &mut [u8; KEY_LEN]) {
    let mut rest = number;
    for digit in key.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// The number of a key, if it is one of a number.
#[must_use]
pub fn read_key(key: &[u8]) -> Option<u64> {
    let is_number = key.len() == KEY_LEN && key.iter().all(u8::is_ascii_digit);
    is_number.then(|| key.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Turns a key into that of the next number.
pub fn advance_key(key: &mut [u8; KEY_LEN]) {
    for digit in key.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

fn tag(number: u64) -> [u8; TAG_LEN] {
    mix(number ^ 0x7a67).to_le_bytes()
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// A small generator of numbers that look random: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "an iterator would never end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_key_comes_once_in_the_random_order() {
        for count in [1, 2, 3, 1000, 4096, 5000] {
            let data = DataSet::new(count, 100);
            let seen: HashSet<u64> = (0..count).map(|position| data.shuffled(position)).collect();
            assert_eq!(seen.len() as u64, count);
        }
        let data = DataSet::new(1000, 100);
        assert!(!(0..1000).map(|position| data.shuffled(position)).is_sorted());
    }

    #[test]
    fn values_are_known_by_their_first_bytes() {
        for len in [1, 8, 100, 1001] {
            let data = DataSet::new(10_000, len);
            let mut value = Vec::new();
            data.fill_value(77, &mut value);
            assert_eq!(value.len(), len);
            assert!(data.is_value_of(77, &value));
            assert!(!data.is_value_of(77, &value[1..]));
        }
        let data = DataSet::new(10_000, 100);
        let mut value = Vec::new();
        data.fill_value(78, &mut value);
        assert!(!data.is_value_of(77, &value));
    }

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        let (mut a, mut b) = ([0; KEY_LEN], [0; KEY_LEN]);
        write_key(99, &mut a);
        write_key(100, &mut b);
        assert!(a < b);
        advance_key(&mut a);
        assert_eq!(a, b);
        advance_key(&mut a);
        assert_eq!(a.as_slice(), b"0000000000000101");
        assert_eq!(read_key(&a), Some(101));
        assert_eq!((read_key(&a[1..]), read_key(b"000000000000010:")), (None, None));
    }
}
