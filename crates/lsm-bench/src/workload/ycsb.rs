//! The mixes of the Yahoo! Cloud Serving Benchmark (Cooper and others, SoCC 2010).
//!
//! Keys have ranks that are drawn as often as a Zipfian distribution says, and are spread over the
//! key space: that of rank `r` is the `r`-th of the random order of the data set. New keys have ranks
//! beyond it, and stand among its keys, in random order too. A number tells a value: that of a new
//! key is beyond those of the data set.

use crate::data::{KEY_LEN, TAG_LEN, advance_key, read_key, write_key};
use crate::store::{Durability, Result};

use super::worker::Worker;

impl Worker<'_> {
    pub(super) fn ycsb_a(&mut self) -> Result<()> {
        if self.random.below(100) < 50 { self.read_popular() } else { self.update() }
    }

    pub(super) fn ycsb_b(&mut self) -> Result<()> {
        if self.random.below(100) < 95 { self.read_popular() } else { self.update() }
    }

    pub(super) fn ycsb_d(&mut self) -> Result<()> {
        if self.random.below(100) < 95 { self.read_latest() } else { self.insert() }
    }

    pub(super) fn ycsb_e(&mut self) -> Result<()> {
        if self.random.below(100) < 95 { self.scan_popular() } else { self.insert() }
    }

    pub(super) fn ycsb_f(&mut self) -> Result<()> {
        if self.random.below(100) < 50 { self.read_popular() } else { self.read_modify_write() }
    }

    /// The number of a popular key of the data set.
    fn popular(&mut self) -> u64 {
        self.data.shuffled(self.shared.zipf.next(&mut self.random))
    }

    pub(super) fn read_popular(&mut self) -> Result<()> {
        let number = self.popular();
        write_key(number, &mut self.key);
        self.get(number)
    }

    fn update(&mut self) -> Result<()> {
        let number = self.popular();
        self.put(number, Durability::Buffered)
    }

    /// One operation: a get, and a put of the value with another last byte.
    fn read_modify_write(&mut self) -> Result<()> {
        let number = self.popular();
        write_key(number, &mut self.key);
        let (store, data) = (self.store, self.data);
        let (key, value) = (&self.key, &mut self.value);
        let is_right = self.recorder.time(|| {
            let mut is_right = false;
            store.get(key, &mut |found| {
                is_right = data.is_value_of(number, found);
                value.clear();
                value.extend_from_slice(found);
            })?;
            if is_right {
                if let Some(last) = value[TAG_LEN.min(data.value_len())..].last_mut() {
                    *last = last.wrapping_add(1);
                }
                store.put(key, value, Durability::Buffered)?;
            }
            Ok(is_right)
        })?;
        if !is_right {
            return Err(format!("key {number}: not found, or its value is wrong").into());
        }
        self.bytes_put += (KEY_LEN + self.value.len()) as u64;
        Ok(())
    }

    /// Gets a key that was inserted lately, by whatever thread.
    fn read_latest(&mut self) -> Result<()> {
        let back = self.shared.zipf.next(&mut self.random);
        let rank = self.shared.inserts.end() - 1 - back;
        let number = self.write_ranked(rank);
        self.get(number)
    }

    fn insert(&mut self) -> Result<()> {
        let rank = self.shared.inserts.take();
        let number = self.write_ranked(rank);
        self.data.fill_value(number, &mut self.value);
        self.bytes_put += (KEY_LEN + self.value.len()) as u64;
        self.recorder.time(|| self.store.put(&self.key, &self.value, Durability::Buffered))?;
        self.shared.inserts.complete(rank);
        Ok(())
    }

    /// Writes the key of a rank into `key`. Returns the number of its value.
    ///
    /// There is one new key for each of the data set; should these not do, they come again, and are
    /// overwritten.
    fn write_ranked(&mut self, rank: u64) -> u64 {
        let count = self.data.count();
        let number = self.data.shuffled(rank % count);
        write_key(number, &mut self.key);
        if rank < count {
            return number;
        }
        make_new(&mut self.key);
        count + number
    }

    /// Reads up to 100 entries from a popular key on. No key of the data set is missing; new ones
    /// may be among them, each in its place.
    fn scan_popular(&mut self) -> Result<()> {
        let (first, limit) = (self.popular(), 1 + self.random.below(100));
        let mut expected = [0; KEY_LEN];
        write_key(first, &mut expected);
        let (start, mut last) = (expected, [0; KEY_LEN]);
        let (mut number, mut is_right) = (first, true);
        let (data, count) = (self.data, self.data.count());
        let mut check = |key: &[u8], value: &[u8]| {
            is_right &= last.as_slice() < key;
            last.copy_from_slice(key.get(..KEY_LEN).unwrap_or(&start));
            if key == expected {
                is_right &= data.is_value_of(number, value);
                advance_key(&mut expected);
                number += 1;
            } else {
                let old = read_new(key).filter(|_| first < number);
                is_right &= old.is_some_and(|old| data.is_value_of(count + old, value));
            }
        };
        let entries = self.recorder.time(|| self.store.scan(&start, limit, &mut check))?;
        // Fewer only where the last key was seen.
        let is_whole = entries == limit || entries < limit && number == count;
        if !is_right || !is_whole || count < number {
            return Err(format!("scan from key {first}: {entries} of {limit}, or wrong").into());
        }
        Ok(())
    }
}

/// Turns a key of the data set into a new key, which comes behind the ten keys that have all digits
/// but the last in common.
fn make_new(key: &mut [u8; KEY_LEN]) {
    key[KEY_LEN - 1] += 10;
}

/// The number of the key of the data set that was made into this new one.
fn read_new(key: &[u8]) -> Option<u64> {
    let mut key: [u8; KEY_LEN] = key.try_into().ok()?;
    key[KEY_LEN - 1] = key[KEY_LEN - 1].checked_sub(10)?;
    read_key(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_tell_where_they_come_from() {
        for number in [0, 9, 4_823, 19_999] {
            let mut key = [0; KEY_LEN];
            write_key(number, &mut key);
            assert_eq!(read_new(&key), None, "{number} is not new");
            make_new(&mut key);
            assert_eq!((read_new(&key), read_key(&key)), (Some(number), None));
        }
        assert_eq!(read_new(b"1"), None);
    }
}
