//! Models of the register of snapshots: loom runs it beside a writer and one who compacts.
//!
//! The model's data is one key, of which sequence *n* is the *n*th version. Who compacts keeps, of
//! the versions that it sees, the newest for each sequence that the register lists, and every one
//! that is newer than all of these; a snapshot must find its version whenever it looks.

use loom::sync::atomic::{AtomicU64 as LoomU64, Ordering as LoomOrdering};
use loom::thread;

use super::*;

/// The newest sequence that the writer publishes.
const LAST: u64 = 3;

struct Store {
    register: Arc<SnapshotRegister>,
    visible: LoomU64,
    /// Bit *n* is set while version *n* is there.
    versions: LoomU64,
}

impl Store {
    fn new() -> Arc<Store> {
        Arc::new(Store {
            register: Arc::default(),
            visible: LoomU64::new(1),
            versions: LoomU64::new(1 << 1),
        })
    }

    fn visible(&self) -> Seq {
        Seq::new(self.visible.load(LoomOrdering::Acquire))
    }

    fn write(&self) {
        for seq in 2..=LAST {
            self.versions.fetch_or(1 << seq, LoomOrdering::AcqRel);
            self.visible.store(seq, LoomOrdering::Release);
        }
    }

    /// Drops every version that nobody listed can see.
    fn compact(&self) {
        let live = self.register.live(|| self.visible());
        let there = self.versions.load(LoomOrdering::Acquire);
        let newest = live.last().expect("the visible sequence is listed").get();
        let kept = live
            .iter()
            .filter_map(|seq| version_at(there, seq.get()))
            .chain(newest + 1..=LAST)
            .fold(0, |kept, version| kept | 1 << version);
        self.versions.fetch_and(kept | !there, LoomOrdering::AcqRel);
    }

    /// Takes a snapshot and reads through it.
    fn read(&self) {
        let slot = self.register.acquire(|| self.visible());
        let there = self.versions.load(LoomOrdering::Acquire);
        let found = version_at(there, slot.seq().get());
        assert_eq!(found, Some(slot.seq().get()), "of {there:#b}");
    }
}

/// The newest of these versions up to `seq`.
fn version_at(versions: u64, seq: u64) -> Option<u64> {
    (1..=seq).rev().find(|version| versions & 1 << version != 0)
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn loom_whoever_compacts_keeps_what_a_snapshot_sees() {
    explore(|| {
        let store = Store::new();
        let (writer, compactor) = (Arc::clone(&store), Arc::clone(&store));
        let writer = thread::spawn(move || writer.write());
        let compactor = thread::spawn(move || compactor.compact());
        store.read();
        writer.join().unwrap();
        compactor.join().unwrap();
    });
}

#[test]
fn loom_a_snapshot_that_was_freed_keeps_nothing() {
    explore(|| {
        let store = Store::new();
        let reader = Arc::clone(&store);
        let reader = thread::spawn(move || reader.read());
        store.write();
        reader.join().unwrap();
        store.compact();
        assert_eq!(store.versions.load(LoomOrdering::Acquire), 1 << LAST);
    });
}
