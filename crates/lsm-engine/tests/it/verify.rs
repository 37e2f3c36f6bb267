//! Verification of a store that is in use. `flips.rs` has the damage that it must find.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_base::FileName;
use lsm_base::fs::{Op, OpKind};
use lsm_engine::{Durability, ErrorKind, WriteOptions};
use parking_lot::Mutex;

use crate::harness::{self, open};

#[test]
fn a_verification_ends_with_the_database() {
    let (_, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    for i in 0..3_u32 {
        db.put(i.to_be_bytes(), "v").unwrap();
        db.flush().unwrap();
    }
    let handle = Mutex::new(Some(db.clone()));
    fs.before_each(move |op: &Op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_)));
        if is_table
            && op.kind == OpKind::Read
            && let Some(db) = handle.lock().take()
        {
            db.close().unwrap();
        }
    });
    assert_eq!(db.verify().unwrap_err().kind(), ErrorKind::Closed);
}

/// Writes come between any two operations of a verification, and move the log on to its next
/// segment, or make a larger one ready in its place.
#[test]
fn writes_beside_a_verification_are_no_damage() {
    let (buffered, sync) = (Durability::Buffered, Durability::Sync);
    for (value_len, durability) in [(400, buffered), (400, sync), (20_000, buffered)] {
        for at in 0.. {
            let (_, fs) = harness::disk();
            let db = open(&fs, 0).unwrap();
            db.put("k", "v").unwrap();
            db.wait_idle().unwrap();
            db.put("k", "v").unwrap();
            let seen = Arc::new(AtomicU64::new(0));
            let (counter, writer) = (Arc::clone(&seen), db.clone());
            fs.before_each(move |op: &Op| {
                let is_log = matches!(op.file_name(), Some(FileName::Log(_)));
                let is_look = is_log && matches!(op.kind, OpKind::Open | OpKind::Read);
                if is_look && counter.fetch_add(1, Ordering::Relaxed) == at {
                    let options = WriteOptions::durability(durability);
                    // As much as begins one new segment.
                    for i in 0..(18_000_usize.div_ceil(value_len)) as u32 {
                        writer.put_with(i.to_be_bytes(), vec![7; value_len], &options).unwrap();
                    }
                }
            });
            let report = db.verify().unwrap();
            fs.clear_hooks();
            assert!(report.is_clean(), "{value_len}, {durability:?}, at {at}: {report:?}");
            if seen.load(Ordering::Relaxed) <= at {
                assert!(4 <= at, "{at}");
                break;
            }
        }
    }
}
