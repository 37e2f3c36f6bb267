//! The store and the model, step by step through the same operations.

use std::cell::RefCell;
use std::rc::Rc;

use lsm_engine::{
    Condition, Db, DbBuilder, Durability, ErrorKind, Keyspace, Metrics, Read, Seq, WriteBatch,
    WriteOptions,
};

use super::held::{HeldCursor, HeldSnapshot, Shared};
use super::input::Input;
use super::oracle::Space;
use crate::support::wait;

/// How many snapshots, and how many cursors, are held at most.
pub(super) const MAX_HELD: usize = 6;

/// What a run did, over all of its opens.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Figures {
    pub(crate) flushes: u64,
    pub(crate) compactions: u64,
    /// The most levels that held tables at once, in one keyspace.
    pub(crate) levels: usize,
    pub(crate) reopens: u64,
    /// Reads without the disk that had an answer.
    pub(crate) resident: u64,
}

/// One run.
pub(crate) struct Driver {
    pub(super) input: Input,
    reopen: Box<dyn Fn() -> DbBuilder>,
    db: Option<Db>,
    /// `default` first.
    pub(super) spaces: Vec<(Keyspace, Shared)>,
    pub(super) snapshots: Vec<HeldSnapshot>,
    pub(super) cursors: Vec<HeldCursor>,
    /// The last sequence that readers see.
    pub(super) seq: Seq,
    next_name: usize,
    pub(super) figures: Figures,
}

impl Driver {
    pub(crate) fn new(seed: u64, reopen: impl Fn() -> DbBuilder + 'static) -> Driver {
        let db = reopen().open().unwrap();
        let default = db.keyspace("default").unwrap();
        let space = Rc::new(RefCell::new(Space::new("default", default.id())));
        Driver {
            input: Input::new(seed),
            reopen: Box::new(reopen),
            seq: db.seq(),
            db: Some(db),
            spaces: vec![(default, space)],
            snapshots: Vec::new(),
            cursors: Vec::new(),
            next_name: 0,
            figures: Figures::default(),
        }
    }

    pub(super) fn db(&self) -> Db {
        self.db.clone().expect("the database is open between operations")
    }

    /// Does one random operation on both, and compares.
    pub(crate) fn step(&mut self) {
        match self.input.below(1_000) {
            0..330 => self.put_or_delete(4),
            330..390 => self.put_or_delete(1),
            390..460 => self.write_batch(),
            460..540 => self.write_if(),
            540..640 => self.get(),
            640..665 => self.get_many(),
            665..715 => self.scan(),
            715..730 => self.prefix(),
            730..760 => self.hold_cursor(),
            760..880 => self.step_cursor(),
            880..895 => self.hold_snapshot(),
            895..960 => self.read_snapshot(),
            960..963 => self.create_keyspace(),
            963..965 => self.drop_keyspace(),
            965..970 => self.db().flush().unwrap(),
            970..976 => self.db().wait_idle().unwrap(),
            976..982 => self.db().sync().unwrap(),
            982..984 => self.compact(),
            984..999 => self.look_at_levels(),
            _ => self.reopen(),
        }
    }

    fn put_or_delete(&mut self, puts: usize) {
        let (keyspace, space) = self.pick_space();
        let (key, options) = (self.input.key(), self.write_options());
        let value = (self.input.below(puts + 1) < puts).then(|| self.input.value());
        let seq = match &value {
            Some(value) => keyspace.put_with(&key, value, &options).unwrap(),
            None => keyspace.delete_with(&key, &options).unwrap(),
        };
        self.committed(seq, 1);
        space.borrow_mut().write(&key, seq, value);
    }

    fn write_batch(&mut self) {
        let mut batch = WriteBatch::new();
        let mut ops = Vec::new();
        for _ in 0..self.input.below(13) {
            let (keyspace, space) = self.pick_space();
            let key = self.input.key();
            let value = (!self.input.once_in(4)).then(|| self.input.value());
            match &value {
                Some(value) => batch.put_in(&keyspace, &key, value),
                None => batch.delete_in(&keyspace, &key),
            }
            ops.push((space, key, value));
        }
        let options = self.write_options();
        let last = match self.input.once_in(2) {
            true => wait(self.db().write_async(batch, &options)).unwrap(),
            false => self.db().write(batch, &options).unwrap(),
        };
        let count = ops.len() as u64;
        self.committed(last, count);
        for (index, (space, key, value)) in ops.into_iter().enumerate() {
            let seq = Seq::new(last.get() + 1 + index as u64 - count);
            space.borrow_mut().write(&key, seq, value);
        }
    }

    fn write_if(&mut self) {
        let (keyspace, space) = self.pick_space();
        let key = self.input.key();
        let current = space.borrow().get(&key, self.seq).map(|(_, seq)| seq);
        let other = Seq::new(self.input.below(1 + self.seq.get() as usize) as u64);
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
                self.committed(seq, 1);
                space.borrow_mut().write(&key, seq, value);
            }
            Err(error) => {
                assert!(!holds, "{condition:?} at version {current:?}: {error}");
                assert_eq!(error.kind(), ErrorKind::Conflict);
                assert_eq!(error.current(), Some(current));
            }
        }
    }

    /// Notes that `count` operations were written, the last at `seq`.
    fn committed(&mut self, seq: Seq, count: u64) {
        assert!(
            self.seq.plus(count) <= seq || count == 0,
            "{count} up to {seq} after {}",
            self.seq
        );
        self.seq = seq;
        assert_eq!(self.db().seq(), seq);
    }

    fn write_options(&mut self) -> WriteOptions {
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
            return;
        }
        let index = 1 + self.input.below(self.spaces.len() - 1);
        let (keyspace, _) = self.spaces.remove(index);
        self.db().drop_keyspace(keyspace.name()).unwrap();
        assert_eq!(keyspace.get("k").unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(keyspace.put("k", "v").unwrap_err().kind(), ErrorKind::Closed);
    }

    fn compact(&mut self) {
        if self.input.once_in(4) {
            self.db().compact::<&[u8]>(..).unwrap();
        } else {
            let bounds = self.input.bounds();
            self.db().compact(bounds).unwrap();
        }
    }

    fn look_at_levels(&mut self) {
        for keyspace in self.db().levels() {
            let mut used = 0;
            for level in &keyspace.levels {
                used += usize::from(!level.tables.is_empty());
                let is_run = level.tables.windows(2).all(|pair| pair[0].largest < pair[1].smallest);
                assert!(level.level == 0 || is_run, "level {} overlaps", level.level);
            }
            self.figures.levels = self.figures.levels.max(used);
        }
    }

    fn reopen(&mut self) {
        let db = self.db.take().expect("the database is open between operations");
        self.add_figures(&db.metrics());
        self.figures.reopens += 1;
        if self.input.once_in(2) {
            db.close().unwrap();
        } else {
            // Keyspaces and snapshots are handles too.
            drop(db);
            self.snapshots.clear();
        }
        let spaces: Vec<_> = self.spaces.drain(..).map(|(_, space)| space).collect();
        for held in self.snapshots.drain(..) {
            assert_eq!(held.snapshot.get("k").unwrap_err().kind(), ErrorKind::Closed);
        }
        self.cursors.drain(..).for_each(HeldCursor::assert_closed);
        let db = (self.reopen)().open().unwrap();
        assert!(db.recovery_report().was_closed, "{:?}", db.recovery_report());
        assert_eq!(db.recovery_report().replayed_records, 0);
        assert!(self.seq <= db.seq(), "{} after {}", db.seq(), self.seq);
        self.seq = db.seq();
        for space in spaces {
            let keyspace = db.keyspace(&space.borrow().name).unwrap();
            assert_eq!(keyspace.id(), space.borrow().id);
            self.spaces.push((keyspace, space));
        }
        self.db = Some(db);
    }

    fn add_figures(&mut self, metrics: &Metrics) {
        self.figures.flushes += metrics.flushes;
        self.figures.compactions += metrics.compactions;
    }

    /// Compares everything, on disk too, and closes.
    pub(crate) fn finish(mut self) -> Figures {
        self.compare_all();
        self.reopen();
        self.compare_all();
        let db = self.db();
        let report = db.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
        self.add_figures(&db.metrics());
        self.figures
    }
}
