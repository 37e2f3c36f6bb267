//! What an open finds, does and leaves behind.

use lsm_engine::{Durability, Read, WriteOptions};

use crate::harness::{self, kill, open};

/// Whatever fits no single memtable of the recovery.
fn fill(db: &lsm_engine::Db, from: u32) {
    for i in from..from + 200 {
        db.put_with(format!("fill{i:05}"), [7; 100], &buffered()).unwrap();
    }
}

fn buffered() -> WriteOptions {
    WriteOptions::durability(Durability::Buffered)
}

#[test]
fn a_tombstone_that_is_replayed_behind_its_value_hides_it() {
    let (_, fs) = harness::disk();
    let mut options = harness::small_options(0);
    options.memtable_size = Some(128 << 10);
    options.max_log_bytes = None;
    let db = harness::open_with(&fs, options).unwrap();
    db.put("a", "old").unwrap();
    fill(&db, 0);
    db.delete("a").unwrap();
    fill(&db, 200);
    kill(&fs, db);
    // The recovery has smaller memtables, so that value and tombstone become tables one by one.
    let db = open(&fs, 0).unwrap();
    assert_eq!(db.recovery_report().replayed_records, 402);
    assert_eq!(db.get("a").unwrap(), None);
}
