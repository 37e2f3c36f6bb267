//! A queue: keys come at the tail and go at the head, and its length stays.
//!
//! It begins as the data set. What was deleted lies before the head until the store has cleaned up:
//! that a scan must not come upon it, is what this is about.

use crate::data::{KEY_LEN, read_key, write_key};
use crate::store::{Durability, Result};

use super::worker::Worker;

/// How many entries a scan reads.
pub(crate) const SCANNED: u64 = 10;

impl Worker<'_> {
    /// One operation: a put, a delete and a scan. Threads take turns with one queue: whoever has
    /// the `n`-th puts key `count + n` and deletes key `n`.
    pub(super) fn queue(&mut self) -> Result<()> {
        let tail = self.shared.inserts.take();
        let head = tail - self.data.count();
        let mut first = [0; KEY_LEN];
        write_key(head, &mut first);
        write_key(tail, &mut self.key);
        self.data.fill_value(tail, &mut self.value);
        self.bytes_put += (2 * KEY_LEN + self.value.len()) as u64;
        let (store, data) = (self.store, self.data);
        let mut found = Vec::with_capacity(SCANNED as usize);
        let mut is_right = true;
        self.recorder.time(|| {
            store.put(&self.key, &self.value, Durability::Buffered)?;
            store.delete(&first, Durability::Buffered)?;
            store.scan(&first, SCANNED, &mut |key, value| {
                let number = read_key(key).unwrap_or(0);
                is_right &= data.is_value_of(number, value);
                found.push(number);
            })
        })?;
        // A key that is missing was deleted by whoever had its turn meanwhile.
        let heads = self.shared.inserts.taken() - data.count();
        let mut last = head;
        for &number in &found {
            is_right &= last < number && (last + 1..number).all(|missing| missing < heads);
            last = number;
        }
        if !is_right || found.len() as u64 != SCANNED {
            return Err(format!("scan behind key {head}, which is deleted: {found:?}").into());
        }
        Ok(())
    }
}
