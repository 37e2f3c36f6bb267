//! The ends of a store and its new beginnings: closes, handles that go, process deaths, power
//! losses, and looks at it by somebody who may only read.
//!
//! A power loss may take the last commits that were not synced, from one commit on to the end.
//! Which, the content tells. They are written again, so that every set of options goes on alike.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use lsm_engine::base::fs::Keep;
use lsm_engine::{Db, Durability, ErrorKind, Health, Read, Seq, WriteBatch, WriteOptions};

use super::copies::assert_same_keyspaces;
use super::doors::assert_refuses;
use super::driver::{Commit, Driver, Written};
use super::held::{HeldCursor, Shared};
use super::told::visible_in;

impl Driver {
    pub(super) fn reopen(&mut self) {
        let writes = self.launch_or_not();
        let was_busy = !writes.is_empty();
        let db = self.db.take().expect("the database is open between operations");
        self.add_figures(&db.metrics());
        self.figures.reopens += 1;
        let spaces: Vec<_> = if self.input.once_in(2) {
            let closed = db.clone();
            db.close().unwrap();
            self.heard.assert_told(&closed.metrics());
            assert_closed(&closed);
            self.figures.heard += 1;
            let spaces = self.spaces.drain(..).map(|(_, space)| space).collect();
            for held in self.snapshots.drain(..) {
                assert_eq!(held.snapshot.get("k").unwrap_err().kind(), ErrorKind::Closed);
            }
            spaces
        } else {
            self.drop_handles(db)
        };
        self.cursors.drain(..).for_each(HeldCursor::assert_closed);
        let refused = self.land_closed(writes);
        self.all_synced();
        if self.input.once_in(2) {
            self.only_read(&spaces);
        }
        if self.input.once_in(16) {
            let dir = self.repair();
            self.compare_copy(&dir, &spaces, self.seq);
        }
        let db = self.open();
        if !was_busy {
            assert!(db.recovery_report().was_closed, "{:?}", db.recovery_report());
            assert_eq!(db.recovery_report().replayed_records, 0);
        }
        self.begin_life(db, spaces);
        self.unsynced = refused;
        self.write_again();
    }

    /// Opens the database for its next life.
    fn open(&mut self) -> Db {
        self.heard = Arc::default();
        self.written = Written::default();
        self.disk.builder().listener(self.heard.listener()).open().unwrap()
    }

    /// Keyspaces and snapshots are handles too.
    fn drop_handles(&mut self, db: Db) -> Vec<Shared> {
        drop(db);
        self.snapshots.clear();
        self.spaces.drain(..).map(|(_, space)| space).collect()
    }

    fn begin_life(&mut self, db: Db, spaces: Vec<Shared>) {
        assert!(self.seq <= db.seq(), "{} after {}", db.seq(), self.seq);
        assert!(!db.recovery_report().is_new);
        assert!(self.opened < db.opened(), "a life begins after the one before");
        self.opened = db.opened();
        self.seq = db.seq();
        for space in spaces {
            let keyspace = db.keyspace(&space.borrow().name).unwrap();
            assert_eq!(keyspace.id(), space.borrow().id);
            self.spaces.push((keyspace, space));
        }
        self.db = Some(db);
    }

    /// Looks at the closed database without changing it.
    fn only_read(&mut self, spaces: &[Shared]) {
        let db = self.disk.builder().open_read_only().unwrap();
        assert_refuses(&db, ErrorKind::ReadOnly);
        assert_eq!(db.health(), Health::ReadOnly);
        let snapshot = db.snapshot().unwrap();
        for space in spaces {
            let view = snapshot.keyspace(&space.borrow().name).unwrap();
            assert_eq!(first_difference(&view, space, self.seq), None);
        }
        let report = db.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
        let expected = visible_in(spaces, self.seq);
        assert!(expected <= report.entries, "{} entries for {expected}", report.entries);
    }

    /// The process dies; what it wrote is in the page cache.
    pub(super) fn die(&mut self) {
        let acknowledged = self.crash_with(|_| Keep::Everything);
        let lost = self.unsynced.first().map(|commit| commit.last);
        assert!(lost.is_none_or(|lost| acknowledged < lost), "{lost:?} was acknowledged");
        self.write_again();
    }

    /// The power fails, up to three times before the store is used again.
    pub(super) fn crash(&mut self) {
        let seed = self.input.number();
        match self.input.below(3) {
            0 => self.crash_with(|_| Keep::SyncedOnly),
            _ => self.crash_with(|time| Keep::Subset { seed: seed.wrapping_add(time) }),
        };
        self.write_again();
    }

    /// Ends this life, and leaves in `unsynced` what it took with it. Returns up to where writes
    /// were acknowledged.
    fn crash_with(&mut self, keep: impl Fn(u64) -> Keep) -> Seq {
        let times = 1 + self.input.below(3) as u64;
        let writes = self.launch_or_not();
        let acknowledged = self.note_in_flight(writes);
        let db = self.db.take().expect("the database is open between operations");
        self.add_figures(&db.metrics());
        let was_crashed = self.disk.crash(keep(0));
        let spaces = self.drop_handles(db);
        self.cursors.clear();
        self.figures.crashes += u64::from(was_crashed);
        let repaired = self.input.once_in(16).then(|| self.repair());
        let mut db = self.open();
        self.take_lost(&db, &spaces);
        // What was in flight may not have been handed out a sequence.
        self.seq = acknowledged.max(self.synced);
        if let Some(dir) = repaired {
            self.compare_copy(&dir, &spaces, self.synced);
        }
        for time in 1..times {
            self.disk.crash(keep(time));
            drop(db);
            db = self.open();
            // What was served once is durable, whatever happens then.
            assert_eq!(difference(&db, &spaces, self.synced), None);
        }
        self.begin_life(db, spaces);
        acknowledged
    }

    /// Finds out which prefix of the commits is there, and lets the model forget the others: they
    /// move from the model to `unsynced`, and what is there is synced from now on.
    fn take_lost(&mut self, db: &Db, spaces: &[Shared]) {
        assert_same_keyspaces(db, spaces);
        let differs = |seq| difference(db, spaces, seq);
        let ends = self.unsynced.iter().rev().map(|commit| commit.last);
        let ends: Vec<_> = ends.chain([self.synced]).collect();
        let found = ends.iter().copied().find(|seq| differs(*seq).is_none());
        let Some(found) = found else {
            panic!("no prefix from {} on: {:?}", self.synced, differs(self.synced))
        };
        self.unsynced.retain(|commit| found < commit.last);
        self.synced = found;
        for (space, key, _) in self.unsynced.iter().flat_map(|commit| &commit.ops) {
            space.borrow_mut().forget(key, found);
        }
    }

    /// Writes what was lost.
    fn write_again(&mut self) {
        let options = WriteOptions::durability(Durability::Buffered);
        for Commit { ops, .. } in std::mem::take(&mut self.unsynced) {
            let mut batch = WriteBatch::new();
            for (space, key, value) in &ops {
                match value {
                    Some(value) => batch.put_in(space.borrow().id, key, value),
                    None => batch.delete_in(space.borrow().id, key),
                }
            }
            self.figures.lost += 1;
            let last = self.db().write(batch, &options).unwrap();
            self.committed(last, ops.len() as u64, &options, ops);
        }
    }

    /// A number that depends on every key and value that the store has now.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (keyspace, space) in &self.spaces {
            space.borrow().name.hash(&mut hasher);
            for entry in keyspace.scan::<&[u8]>(..) {
                let (key, value) = entry.unwrap();
                (&key[..], &value[..]).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// Whoever still has a handle is told.
fn assert_closed(db: &Db) {
    assert_eq!(db.health(), Health::Closed);
    assert_refuses(db, ErrorKind::Closed);
    let size = db.approximate_size::<&[u8]>(..);
    assert_eq!(size.map_err(|error| error.kind()), Err(ErrorKind::Closed));
    assert_eq!(db.verify().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(db.snapshot().unwrap_err().kind(), ErrorKind::Closed);
}

/// The first key of any keyspace at which a database is not what the model was at `seq`.
pub(super) fn difference(db: &Db, spaces: &[Shared], seq: Seq) -> Option<Vec<u8>> {
    spaces.iter().find_map(|space| {
        let keyspace = db.keyspace(&space.borrow().name).unwrap();
        first_difference(&keyspace, space, seq)
    })
}

/// The first key at which a store is not what the model was at `seq`.
fn first_difference(from: &impl Read, space: &Shared, seq: Seq) -> Option<Vec<u8>> {
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let space = space.borrow();
    let mut expected = space.range(&all, seq);
    let mut cursor = from.cursor().unwrap();
    cursor.seek_to_first().unwrap();
    loop {
        let found = cursor.valid().then(|| (cursor.key(), cursor.value(), cursor.entry_seq()));
        let wanted = expected.next();
        if found != wanted {
            let key = found.or(wanted).map(|(key, _, _)| key.to_vec());
            return key;
        }
        found?;
        cursor.next().unwrap();
    }
}
