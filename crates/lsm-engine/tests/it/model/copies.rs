//! Copies of the store: checkpoints of the open one, and what a repair makes of the one that ended.

use std::path::Path;

use lsm_engine::{Db, Durability, Keyspace, Progress, Read, Seq, WriteOptions};

use super::driver::Driver;
use super::held::Shared;
use super::lives::difference;
use super::told::assert_complete;

impl Driver {
    /// Makes a copy, sometimes of a store that has writes in flight, and looks what it holds.
    pub(super) fn checkpoint(&mut self) {
        // Each costs as much as some hundred other operations.
        if self.input.once_in(2) {
            return self.found_nothing();
        }
        let writes = self.launch_or_not();
        let before = self.seq;
        let dir = self.disk.new_dir();
        let seq = self.db().checkpoint(&dir).unwrap();
        assert!(before <= seq, "the copy holds {seq}, and {before} was written");
        if writes.is_empty() {
            self.all_synced();
        }
        self.land(writes);
        let spaces: Vec<_> = self.spaces.iter().map(|(_, space)| Shared::clone(space)).collect();
        self.compare_copy(&dir, &spaces, seq);
        self.figures.checkpoints += 1;
    }

    /// Repairs the store, which is not open, into another one: nothing of it is lost.
    pub(super) fn repair(&mut self) -> std::path::PathBuf {
        let dir = self.disk.new_dir();
        let progress = Progress::new();
        let report = self.disk.repair(&dir).progress(&progress).run().unwrap();
        assert_complete(&progress);
        assert!(report.is_lossless() && report.damage.is_empty(), "{report:?}");
        assert!(report.guessed_names.is_empty(), "{report:?}");
        self.figures.repairs += 1;
        dir
    }

    /// Opens a copy, which must have these keyspaces as they were at `seq` and take writes, and
    /// removes it.
    pub(super) fn compare_copy(&mut self, dir: &Path, spaces: &[Shared], seq: Seq) {
        let copy = self.disk.builder_of(dir).open().unwrap();
        assert!(seq <= copy.seq(), "{} after {seq}", copy.seq());
        assert_same_keyspaces(&copy, spaces);
        assert_eq!(difference(&copy, spaces, seq), None, "in a copy");
        let options = WriteOptions::durability(Durability::Buffered);
        let written = copy.put_with("k", "in the copy", &options).unwrap();
        assert!(seq < written);
        assert_eq!(copy.get("k").unwrap().as_deref(), Some(&b"in the copy"[..]));
        copy.close().unwrap();
        self.disk.remove(dir);
    }
}

/// A keyspace comes and goes for good at once.
pub(super) fn assert_same_keyspaces(db: &Db, spaces: &[Shared]) {
    let mut expected: Vec<_> = spaces.iter().map(|space| space.borrow().id).collect();
    let mut ids: Vec<_> = db.keyspaces().unwrap().iter().map(Keyspace::id).collect();
    expected.sort();
    ids.sort();
    assert_eq!(ids, expected);
}
