//! Many threads at once: each scenario has an oracle that holds whatever the interleaving, and
//! ends after a fixed amount of work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lsm_engine::{Durability, Options};

use crate::support::{bounded, memory, open, tiny};

#[test]
fn a_writer_that_meets_a_flush_at_the_commit_lock_is_not_forgotten() {
    bounded(|| {
        let db = open(&memory(), &Options { durability: Durability::Buffered, ..tiny() });
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            // Flushing an empty memtable holds the commit lock for a moment, and nothing else: a
            // writer that comes meanwhile cannot lead, and nobody else writes.
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        db.flush().unwrap();
                    }
                });
            }
            for i in 0..60_000_u32 {
                db.put(b"k", i.to_le_bytes()).unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        });
    });
}
