//! A store without threads: what a call causes, the listener has heard when the call returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_engine::base::FileName;
use lsm_engine::base::fs::OpKind;
use lsm_engine::{
    Db, Durability, Event, Health, Keyspace, Progress, Result, WriteBatch, WriteOptions,
};

use parking_lot::Mutex;

use crate::harness::{self, DIR, small_options};
use crate::support::wait;

/// What is called, of a store and of a keyspace.
type Call = fn(&Db, &Keyspace) -> Result<()>;

fn batch() -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("k", "w");
    batch
}

/// Every call that may change something.
const CALLS: [(&str, Call); 20] = [
    ("put", |db, _| db.put("k", "w").map(drop)),
    ("put_with", |db, _| db.put_with("k", "w", &WriteOptions::default()).map(drop)),
    ("delete", |db, _| db.delete("k").map(drop)),
    ("delete_with", |db, _| db.delete_with("k", &WriteOptions::default()).map(drop)),
    ("write", |db, _| db.write(batch(), &WriteOptions::default()).map(drop)),
    ("write_async", |db, _| wait(db.write_async(batch(), &WriteOptions::default())).map(drop)),
    ("sync", |db, _| db.sync()),
    ("keyspace", |db, _| db.keyspace("new").map(drop)),
    ("drop_keyspace", |db, _| db.drop_keyspace("side")),
    ("flush", |db, _| db.flush()),
    ("flush_with", |db, _| db.flush_with(&Progress::new())),
    ("compact", |db, _| db.compact::<&str>(..)),
    ("compact_with", |db, _| db.compact_with::<&str>(.., &Progress::new())),
    ("wait_idle", |db, _| db.wait_idle()),
    ("checkpoint", |db, _| db.checkpoint("copy").map(drop)),
    ("close", |db, _| db.clone().close()),
    ("put in a keyspace", |_, side| side.put("k", "w").map(drop)),
    ("put_with in a keyspace", |_, side| {
        side.put_with("k", "w", &WriteOptions::default()).map(drop)
    }),
    ("delete in a keyspace", |_, side| side.delete("k").map(drop)),
    ("delete_with in a keyspace", |_, side| {
        side.delete_with("k", &WriteOptions::default()).map(drop)
    }),
];

#[test]
fn every_call_has_told_what_it_caused_when_it_returns() {
    for (name, call) in CALLS {
        let (memory, fs) = harness::disk();
        let resumed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&resumed);
        let listener = move |event: &Event| {
            counted.fetch_add(u64::from(matches!(event, Event::Resumed)), Ordering::SeqCst);
        };
        let builder = Db::builder(DIR).options(small_options(0)).listener(listener);
        let db = builder.fs(Arc::new(fs.clone())).open().unwrap();
        let side = db.keyspace("side").unwrap();
        db.put("k", "v").unwrap();
        // The disk is full for a value that no segment has room for, and then it has space again.
        memory.set_capacity(0);
        let buffered = WriteOptions::durability(Durability::Buffered);
        db.put_with("large", vec![7; 64 << 10], &buffered).unwrap_err();
        assert_eq!((db.health(), resumed.load(Ordering::SeqCst)), (Health::NoSpace, 0), "{name}");
        memory.set_capacity(1 << 30);
        // Whichever comes first notices.
        call(&db, &side).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(resumed.load(Ordering::SeqCst), 1, "{name}");
    }
}

#[test]
fn a_flush_tells_of_the_tables_that_it_brought_into_the_tree() {
    let (_, fs) = harness::disk();
    let told = Arc::new(Mutex::new((0, 0)));
    let heard = Arc::clone(&told);
    let listener = move |event: &Event| {
        if let Event::Flushed { tables, bytes, .. } = event {
            *heard.lock() = (*tables, *bytes);
        }
    };
    let builder = Db::builder(DIR).options(small_options(0)).listener(listener);
    let db = builder.fs(Arc::new(fs.clone())).open().unwrap();
    db.put("k", "v").unwrap();
    db.keyspace("side").unwrap().put("k", vec![7; 900]).unwrap();
    // It is dropped when the flush has begun, and found out when its table is written.
    let dropping = Mutex::new(Some(db.clone()));
    fs.before_each(move |op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_)));
        let first =
            if op.kind == OpKind::Create && is_table { dropping.lock().take() } else { None };
        first.into_iter().for_each(|db| db.drop_keyspace("side").unwrap());
    });
    db.flush().unwrap();
    let metrics = db.metrics();
    assert_eq!((metrics.flushes, metrics.disk.tables), (1, metrics.flush_bytes));
    assert_eq!(*told.lock(), (1, metrics.flush_bytes));
}
