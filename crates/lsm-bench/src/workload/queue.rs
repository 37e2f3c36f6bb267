//! A queue: keys come at the tail and go at the head, and its length stays.
//!
//! It begins as the data set. What was deleted lies before the head until the store has cleaned up:
//! that a scan must not come upon it, is what this is about.

use std::sync::atomic::Ordering;
use std::thread;

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
        if !self.wait_for_puts(head + SCANNED + self.threads) {
            return Ok(());
        }
        let mut first = [0; KEY_LEN];
        write_key(head, &mut first);
        write_key(tail, &mut self.key);
        self.data.fill_value(tail, &mut self.value);
        self.bytes_put += (2 * KEY_LEN + self.value.len()) as u64;
        let (store, data, shared) = (self.store, self.data, self.shared);
        let mut found = Vec::with_capacity(SCANNED as usize);
        let mut is_right = true;
        self.recorder.time(|| {
            store.put(&self.key, &self.value, Durability::Buffered)?;
            shared.inserts.complete(tail);
            store.delete(&first, Durability::Buffered)?;
            store.scan(&first, SCANNED, &mut |key, value| {
                let number = read_key(key).unwrap_or(0);
                is_right &= data.is_value_of(number, value);
                found.push(number);
            })
        })?;
        // A key that is missing was deleted by whoever had its turn meanwhile.
        let heads = shared.inserts.taken() - data.count();
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

    /// Waits until all keys before this one were put, also by a thread that the system has put aside
    /// for as long as the others took to go through the whole queue. Returns `false` if one has
    /// failed, which may be that one.
    fn wait_for_puts(&self, end: u64) -> bool {
        while self.shared.inserts.end() < end {
            if self.shared.is_over.load(Ordering::Relaxed) {
                return false;
            }
            thread::yield_now();
        }
        true
    }
}
