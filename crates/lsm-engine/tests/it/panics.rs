//! A file system that panics, which no product's does: one call ends with the panic, everybody
//! else gets an answer.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lsm_engine::base::fs::{FaultFs, Op, OpKind};
use lsm_engine::base::{FileName, Fs};
use lsm_engine::{
    Db, Durability, ErrorKind, Health, Options, Read, WriteBatch, WriteFuture, WriteOptions,
};
use parking_lot::Mutex;

use crate::support::{bounded, memory, open, tiny, wait};

/// Lets a file system panic under a store that holds one key and whose next log segment is ready.
/// Afterwards writes have stopped, reads go on, and the next open finds what was written before.
fn stops_writes(background_threads: usize, scenario: impl FnOnce(&FaultFs, &Db) + Send + 'static) {
    bounded(move || {
        let disk = memory();
        let fs = FaultFs::new(Arc::clone(&disk));
        let options = Options { background_threads, ..tiny() };
        let db = open(&(Arc::new(fs.clone()) as Arc<dyn Fs>), &options);
        db.wait_idle().unwrap();
        db.put("before", "v").unwrap();
        scenario(&fs, &db);
        fs.clear_hooks();
        assert!(matches!(db.health(), Health::Poisoned(_)));
        assert_eq!(db.put("x", "v").unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(db.get("before").unwrap().unwrap(), b"v");
        assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Poisoned);
        let db = open(&disk, &tiny());
        assert_eq!(db.get("before").unwrap().unwrap(), b"v");
        assert!(!db.contains("x").unwrap());
    });
}

fn is_log(op: &Op) -> bool {
    // A segment is known by the name that it was made under.
    matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_)))
}

/// Whether this writes records: a header stands at the beginning.
fn is_append(op: &Op) -> bool {
    is_log(op) && op.kind == OpKind::Write && op.offset != 0
}

/// Writes that come while another is on its way.
#[derive(Clone, Default)]
struct Late(Arc<Mutex<VecDeque<WriteFuture>>>);

impl Late {
    fn put(&self, db: &Db, key: &str, len: usize, durability: Durability) {
        let mut batch = WriteBatch::new();
        batch.put(key, vec![7; len]);
        self.0.lock().push_back(db.write_async(batch, &WriteOptions::durability(durability)));
    }

    /// How each ended: its kind, and whether the next open decides.
    fn outcomes(&self) -> Vec<(ErrorKind, bool)> {
        let mut outcomes = Vec::new();
        loop {
            // A write that came while another was on its way is here when that has its answer.
            let Some(write) = self.0.lock().pop_front() else { return outcomes };
            let error = wait(write).unwrap_err();
            outcomes.push((error.kind(), error.is_undecided()));
        }
    }
}

const UNDECIDED: (ErrorKind, bool) = (ErrorKind::Io, true);
const NOT_BEGUN: (ErrorKind, bool) = (ErrorKind::Poisoned, false);

fn put(db: &Db, key: &str, durability: Durability) -> bool {
    let options = WriteOptions::durability(durability);
    let put = || db.put_with(key, "v", &options).unwrap();
    catch_unwind(AssertUnwindSafe(put)).is_ok()
}

#[test]
fn one_at_an_append_of_a_thread_answers_what_is_queued() {
    stops_writes(1, |fs, db| {
        let late = Late::default();
        let (others, handle) = (late.clone(), db.clone());
        fs.before_each(move |op| {
            if is_append(op) {
                others.put(&handle, "a", 10, Durability::Buffered);
                panic!("planned");
            }
        });
        assert!(!put(db, "k", Durability::Buffered));
        assert_eq!(late.outcomes(), [NOT_BEGUN]);
    });
}

#[test]
fn one_at_an_append_for_others_answers_them() {
    stops_writes(1, |fs, db| {
        let late = Late::default();
        let (others, handle, appends) = (late.clone(), db.clone(), AtomicUsize::new(0));
        fs.before_each(move |op| {
            if is_append(op) {
                match appends.fetch_add(1, Ordering::SeqCst) {
                    0 => {
                        others.put(&handle, "a", 10, Durability::Buffered);
                        others.put(&handle, "b", 10, Durability::Sync);
                        // There is no room beside the others: when they are appended, the leader
                        // has seen this one.
                        others.put(&handle, "c", 16 << 10, Durability::Buffered);
                    }
                    1 => {
                        others.put(&handle, "d", 10, Durability::Buffered);
                        panic!("planned");
                    }
                    _ => {}
                }
            }
        });
        assert!(put(db, "k", Durability::Buffered), "another thread leads for the others");
        assert_eq!(late.outcomes(), [UNDECIDED, UNDECIDED, NOT_BEGUN, NOT_BEGUN]);
    });
}

#[test]
fn one_at_a_sync_answers_all_who_wait_for_the_disk() {
    stops_writes(1, |fs, db| {
        let late = Late::default();
        let (others, handle) = (late.clone(), db.clone());
        fs.before_each(move |op| {
            if is_log(op) && op.kind.is_sync() {
                others.put(&handle, "a", 10, Durability::Sync);
                others.put(&handle, "b", 10, Durability::Buffered);
                panic!("planned");
            }
        });
        assert!(!put(db, "k", Durability::Sync));
        assert_eq!(late.outcomes(), [UNDECIDED, UNDECIDED]);
    });
}

/// Panics before each operation of a sort.
fn panic_at(fs: &FaultFs, is_meant: fn(&Op, FileName) -> bool) {
    fs.before_each(move |op| {
        assert!(!op.file_name().is_some_and(|name| is_meant(op, name)), "planned");
    });
}

#[test]
fn one_in_a_flush_that_a_write_waits_for_stops_writes() {
    stops_writes(0, |fs, db| {
        panic_at(fs, |op, name| matches!(name, FileName::Table(_)) && op.kind == OpKind::Create);
        let refused = (0..).find(|i: &u32| !put(db, &format!("{i:0900}"), Durability::Buffered));
        assert!(!db.contains(format!("{:0900}", refused.unwrap())).unwrap());
    });
}

#[test]
fn one_in_a_call_that_changes_files_stops_writes() {
    stops_writes(0, |fs, db| {
        panic_at(fs, |op, name| matches!(name, FileName::Manifest(_)) && op.kind.is_sync());
        catch_unwind(AssertUnwindSafe(|| db.keyspace("new"))).unwrap_err();
    });
}

#[test]
fn a_call_made_while_its_thread_panics_stops_nothing() {
    struct Last(Db);

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.put("last", "v").unwrap();
            self.0.flush().unwrap();
        }
    }

    bounded(|| {
        let db = open(&memory(), &tiny());
        let last = Last(db.clone());
        let panics = move || {
            let _last = last;
            panic!("planned");
        };
        catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        assert_eq!(db.health(), Health::Running);
        assert_eq!(db.get("last").unwrap().unwrap(), b"v");
    });
}
