//! The store and the model, step by step through the same operations.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use lsm_engine::{
    Condition, Db, Durability, ErrorKind, Keyspace, Read, Seq, WriteBatch, WriteOptions,
};

use super::disk::Disk;
use super::figures::Figures;
use super::heard::Heard;
use super::held::{HeldCursor, HeldSnapshot, Shared};
use super::input::Input;
use super::late::Late;
use super::oracle::Space;
use crate::support::wait;

/// An operation of a commit.
pub(crate) type Write = (Shared, Vec<u8>, Option<Vec<u8>>);

/// A commit that a power loss may take.
pub(crate) struct Commit {
    pub(super) last: Seq,
    pub(super) ops: Vec<Write>,
}

/// How many operations were written in a life.
#[derive(Clone, Copy, Default)]
pub(crate) struct Written {
    pub(super) puts: u64,
    pub(super) deletes: u64,
}

/// What an operation may be: its share among a thousand, its name, and how it is done.
const ACTIONS: [(usize, &str, Action); 31] = [
    (302, "put, or seldom delete", |driver| driver.put_or_delete(4)),
    (60, "put or delete", |driver| driver.put_or_delete(1)),
    (70, "batch", Driver::write_batch),
    (80, "conditional write", Driver::write_if),
    (100, "get", Driver::get),
    (25, "get many", Driver::get_many),
    (50, "scan", Driver::scan),
    (15, "prefix", Driver::prefix),
    (30, "hold a cursor", Driver::hold_cursor),
    (120, "move a cursor", Driver::step_cursor),
    (15, "hold a snapshot", Driver::hold_snapshot),
    (65, "read a snapshot", Driver::read_snapshot),
    (3, "create a keyspace", Driver::create_keyspace),
    (2, "drop a keyspace", Driver::drop_keyspace),
    (3, "flush", Driver::flush),
    (2, "read from cursors that slept", Driver::read_from_sleepers),
    (6, "wait for background work", Driver::wait_idle),
    (5, "sync", Driver::sync),
    (1, "verify", Driver::verify),
    (2, "compact", Driver::compact),
    (12, "look at levels", Driver::look_at_levels),
    (6, "write, and wait for no more than so long", Driver::write_in_time),
    (6, "write by another door", Driver::write_by_another_door),
    (2, "be refused", Driver::be_refused),
    (3, "ask for a size", Driver::ask_for_size),
    (6, "write, and ask late", Driver::write_late),
    (4, "ask what became of a write", Driver::ask_late),
    (1, "checkpoint", Driver::checkpoint),
    (1, "crash", Driver::crash),
    (1, "die", Driver::die),
    (2, "reopen", Driver::reopen),
];

type Action = fn(&mut Driver);

fn action(input: &mut Input) -> (&'static str, Action) {
    let mut place = input.below(1_000);
    for (share, name, act) in ACTIONS {
        if place < share {
            return (name, act);
        }
        place -= share;
    }
    unreachable!("the shares make a thousand")
}

/// How many snapshots, and how many cursors, are held at most.
pub(super) const MAX_HELD: usize = 6;

/// One run.
pub(crate) struct Driver {
    pub(super) input: Input,
    seed: u64,
    pub(super) disk: Box<dyn Disk>,
    pub(super) db: Option<Db>,
    /// Of this life.
    pub(super) heard: Arc<Heard>,
    pub(super) written: Written,
    pub(super) opened: Instant,
    /// What a power loss may take: the commits since the last that is on disk for certain.
    pub(super) unsynced: Vec<Commit>,
    /// All that is up to here is on disk for certain.
    pub(super) synced: Seq,
    /// `default` first.
    pub(super) spaces: Vec<(Keyspace, Shared)>,
    pub(super) snapshots: Vec<HeldSnapshot>,
    pub(super) cursors: Vec<HeldCursor>,
    pub(super) late: Vec<Late>,
    /// The last sequence that readers see.
    pub(super) seq: Seq,
    next_name: usize,
    pub(super) figures: Figures,
}

impl Driver {
    pub(crate) fn new(seed: u64, mut disk: Box<dyn Disk>) -> Driver {
        let heard = Arc::new(Heard::default());
        let db = disk.builder().listener(heard.listener()).open().unwrap();
        let default = db.keyspace("default").unwrap();
        let space = Rc::new(RefCell::new(Space::new("default", default.id())));
        Driver {
            input: Input::of_operation(seed, 0),
            seed,
            disk,
            unsynced: Vec::new(),
            synced: db.seq(),
            opened: db.opened(),
            seq: db.seq(),
            db: Some(db),
            heard,
            written: Written::default(),
            spaces: vec![(default, space)],
            snapshots: Vec::new(),
            cursors: Vec::new(),
            late: Vec::new(),
            next_name: 0,
            figures: Figures::default(),
        }
    }

    pub(super) fn db(&self) -> Db {
        self.db.clone().expect("the database is open between operations")
    }

    /// Does the operation of this number on both, and compares.
    pub(crate) fn step(&mut self, op: u64) {
        self.input = Input::of_operation(self.seed, op);
        let (_, act) = action(&mut self.input);
        let idle = self.figures.idle;
        act(self);
        self.figures.ops += u64::from(self.figures.idle == idle);
    }

    /// Notes that an operation found nothing that it could do.
    pub(super) fn found_nothing(&mut self) {
        self.figures.idle += 1;
    }

    fn read_from_sleepers(&mut self) {
        if !self.wake_cursors() {
            self.found_nothing();
        }
    }

    /// What an operation does, for people.
    pub(crate) fn describe(seed: u64, op: u64) -> String {
        let (name, _) = action(&mut Input::of_operation(seed, op));
        format!("{op}: {name}")
    }

    fn put_or_delete(&mut self, puts: usize) {
        let (keyspace, space) = self.pick_space();
        let (key, options) = (self.input.key(), self.write_options());
        let value = (self.input.below(puts + 1) < puts).then(|| self.input.value());
        let seq = match &value {
            Some(value) => keyspace.put_with(&key, value, &options).unwrap(),
            None => keyspace.delete_with(&key, &options).unwrap(),
        };
        self.committed(seq, 1, &options, vec![(space, key, value)]);
    }

    fn write_batch(&mut self) {
        let count = self.input.below(13);
        let ((batch, ops), options) = (self.batch(count), self.write_options());
        let last = match self.input.once_in(2) {
            true => wait(self.db().write_async(batch, &options)).unwrap(),
            false => self.db().write(batch, &options).unwrap(),
        };
        self.committed(last, count as u64, &options, ops);
    }

    /// A batch of so many operations, and what they are.
    pub(super) fn batch(&mut self, count: usize) -> (WriteBatch, Vec<Write>) {
        let mut batch = WriteBatch::new();
        let mut ops = Vec::new();
        for _ in 0..count {
            let (keyspace, space) = self.pick_space();
            let key = self.input.key();
            let value = (!self.input.once_in(4)).then(|| self.input.value());
            match &value {
                Some(value) => batch.put_in(&keyspace, &key, value),
                None => batch.delete_in(&keyspace, &key),
            }
            ops.push((space, key, value));
        }
        (batch, ops)
    }

    fn write_if(&mut self) {
        let (keyspace, space) = self.pick_space();
        let key = self.input.key();
        let current = space.borrow().get(&key, self.seq).map(|(_, seq)| seq);
        // Never the current one: sequences differ between disks, and what comes of a write must not.
        let other = self.input.below(1 + self.seq.get() as usize) as u64;
        let other = Seq::new(other + u64::from(current == Some(Seq::new(other))));
        let named = if self.input.once_in(3) { other } else { current.unwrap_or(other) };
        let condition = match self.input.below(4) {
            0 => Condition::Absent,
            1 => Condition::Exists,
            2 => Condition::Seq(named),
            _ => Condition::NotSeq(named),
        };
        let options = WriteOptions { condition: Some(condition), ..self.write_options() };
        let value = (!self.input.once_in(3)).then(|| self.input.value());
        let result = match &value {
            Some(value) => keyspace.put_with(&key, value, &options),
            None => keyspace.delete_with(&key, &options),
        };
        let holds = match condition {
            Condition::Absent => current.is_none(),
            Condition::Exists => current.is_some(),
            Condition::Seq(seq) => current == Some(seq),
            Condition::NotSeq(seq) => current != Some(seq),
        };
        match result {
            Ok(seq) => {
                assert!(holds, "{condition:?} let a write in at version {current:?}");
                self.committed(seq, 1, &options, vec![(space, key, value)]);
            }
            Err(error) => {
                assert!(!holds, "{condition:?} at version {current:?}: {error}");
                assert_eq!(error.kind(), ErrorKind::Conflict);
                assert_eq!(error.current(), Some(current));
            }
        }
    }

    /// Notes that `count` operations were written, the last at `seq`.
    pub(super) fn committed(
        &mut self,
        seq: Seq,
        count: u64,
        options: &WriteOptions,
        ops: Vec<Write>,
    ) {
        self.noted(seq, count, options, ops);
        assert_eq!(self.db().seq(), seq);
    }

    /// The same, of a write behind which there may be others.
    pub(super) fn noted(&mut self, seq: Seq, count: u64, options: &WriteOptions, ops: Vec<Write>) {
        let is_on = self.seq.plus(count) <= seq || count == 0;
        assert!(is_on, "{count} up to {seq} after {}", self.seq);
        self.seq = seq;
        let puts = ops.iter().filter(|(_, _, value)| value.is_some()).count() as u64;
        self.written.puts += puts;
        self.written.deletes += ops.len() as u64 - puts;
        for (index, (space, key, value)) in ops.iter().enumerate() {
            let written = Seq::new(seq.get() + 1 + index as u64 - count);
            space.borrow_mut().write(key, written, value.clone());
        }
        if count != 0 {
            self.unsynced.push(Commit { last: seq, ops });
        }
        if options.durability == Some(Durability::Sync) && count != 0 {
            self.all_synced();
        }
    }

    /// Everything that was acknowledged is on disk.
    pub(super) fn all_synced(&mut self) {
        self.synced = self.seq;
        self.unsynced.clear();
    }

    fn sync(&mut self) {
        self.db().sync().unwrap();
        self.all_synced();
    }

    pub(super) fn write_options(&mut self) -> WriteOptions {
        let durability = match self.input.below(8) {
            0 => Some(Durability::Sync),
            1..7 => Some(Durability::Buffered),
            _ => None,
        };
        WriteOptions { durability, ..WriteOptions::default() }
    }

    /// The default keyspace or, half of the time, any.
    pub(super) fn pick_space(&mut self) -> (Keyspace, Shared) {
        let index = match self.input.below(2) {
            0 => 0,
            _ => self.input.below(self.spaces.len()),
        };
        self.spaces[index].clone()
    }

    fn create_keyspace(&mut self) {
        let db = self.db();
        if self.spaces.len() <= MAX_HELD {
            let name = format!("space-{}", self.next_name % 8);
            self.next_name += 1;
            let keyspace = db.keyspace(&name).unwrap();
            if self.spaces.iter().all(|(known, _)| known.id() != keyspace.id()) {
                let space = Space::new(&name, keyspace.id());
                self.spaces.push((keyspace, Rc::new(RefCell::new(space))));
            }
        }
        let mut expected: Vec<_> = self.spaces.iter().map(|(known, _)| known.id()).collect();
        let mut found: Vec<_> = db.keyspaces().unwrap().iter().map(Keyspace::id).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }

    fn drop_keyspace(&mut self) {
        if self.spaces.len() < 2 {
            return self.found_nothing();
        }
        let index = 1 + self.input.below(self.spaces.len() - 1);
        let (keyspace, _) = self.spaces.remove(index);
        self.db().drop_keyspace(keyspace.name()).unwrap();
        self.all_synced();
        assert_eq!(keyspace.get("k").unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(keyspace.put("k", "v").unwrap_err().kind(), ErrorKind::Closed);
    }

    /// Compares everything, on disk too, and closes. The number tells apart what two streams wrote.
    pub(crate) fn finish(mut self) -> (Figures, u64) {
        self.input = Input::of_operation(self.seed, u64::MAX);
        self.compare_all();
        self.reopen();
        self.compare_all();
        self.verify();
        while !self.late.is_empty() {
            self.ask_late();
        }
        let db = self.db();
        self.add_figures(&db.metrics());
        (self.figures, self.fingerprint())
    }
}
