//! Snapshots and cursors that are held while the store goes on, with what they must see.

use std::cell::RefCell;
use std::ops::Bound;
use std::rc::Rc;

use lsm_engine::{DbCursor, ErrorKind, Seq, Snapshot};

use super::input::Input;
use super::oracle::{Bounds, Space, from_key, up_to_key};

/// A keyspace of the model; cursors go on when it was dropped.
pub(crate) type Shared = Rc<RefCell<Space>>;

/// A snapshot and the keyspaces that were there when it was taken.
pub(crate) struct HeldSnapshot {
    pub(crate) snapshot: Snapshot,
    pub(crate) spaces: Vec<Shared>,
}

/// A cursor, what it sees, and where it must stand.
pub(crate) struct HeldCursor {
    pub(crate) cursor: DbCursor,
    pub(crate) space: Shared,
    pub(crate) bounds: Bounds,
    pub(crate) seq: Seq,
    pub(crate) at: Option<Vec<u8>>,
    /// Which way the last motion went from one entry to another.
    pub(crate) way: Option<Way>,
    /// It is moved only when much has happened meanwhile.
    pub(crate) sleeps: bool,
}

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Forwards,
    Backwards,
}

impl HeldCursor {
    /// Makes a random motion, and looks whether it went where it should. Returns whether it turned.
    pub(crate) fn step(&mut self, input: &mut Input) -> bool {
        let before = self.way;
        let (cursor, at) = (&mut self.cursor, self.at.clone());
        // Mostly as a cursor is by itself; else it pauses wherever it may.
        cursor.set_skip_limit([0, 3, u64::MAX, u64::MAX][input.below(4)]);
        let space = self.space.borrow();
        let expected = match (input.below(20), at) {
            (0, _) => {
                self.way = None;
                cursor.seek_to_first().unwrap();
                space.first(&self.bounds, self.seq)
            }
            (1, _) => {
                self.way = None;
                cursor.seek_to_last().unwrap();
                space.last(&self.bounds, self.seq)
            }
            (2..4, _) => {
                self.way = None;
                let key = input.key();
                cursor.seek(&key).unwrap();
                space.first(&from_key(&self.bounds, Bound::Included(key)), self.seq)
            }
            (4..6, _) => {
                self.way = None;
                let key = input.key();
                cursor.seek_for_prev(&key).unwrap();
                space.last(&up_to_key(&self.bounds, Bound::Included(key)), self.seq)
            }
            (6..13, at) => {
                self.way = at.is_some().then_some(Way::Forwards);
                cursor.next().unwrap();
                let rest = at.map(|key| from_key(&self.bounds, Bound::Excluded(key)));
                rest.and_then(|rest| space.first(&rest, self.seq))
            }
            (_, at) => {
                self.way = at.is_some().then_some(Way::Backwards);
                cursor.prev().unwrap();
                let rest = at.map(|key| up_to_key(&self.bounds, Bound::Excluded(key)));
                rest.and_then(|rest| space.last(&rest, self.seq))
            }
        };
        resume(cursor);
        let found = cursor.valid().then(|| (cursor.key(), cursor.value(), cursor.entry_seq()));
        assert_eq!(found, expected, "{} as of {}", space.name, self.seq);
        let found_one = found.is_some();
        self.at = expected.map(|(key, _, _)| key.to_vec());
        before.is_some() && self.way.is_some() && before != self.way && found_one
    }

    /// Walks over the first entries, a few hundred at most.
    pub(crate) fn wake(&mut self) {
        self.sleeps = false;
        let space = self.space.borrow();
        self.cursor.seek_to_first().unwrap();
        for expected in space.range(&self.bounds, self.seq).take(300) {
            assert!(self.cursor.valid(), "the end comes before {}", expected.0.escape_ascii());
            let found = (self.cursor.key(), self.cursor.value(), self.cursor.entry_seq());
            assert_eq!(found, expected, "{} as of {}", space.name, self.seq);
            self.cursor.next().unwrap();
        }
        self.at = self.cursor.valid().then(|| self.cursor.key().to_vec());
        self.way = None;
    }

    /// After a close every motion answers so, and the cursor stands on nothing.
    pub(crate) fn assert_closed(mut self) {
        assert_eq!(self.cursor.next().err().map(|e| e.kind()), self.at.map(|_| ErrorKind::Closed));
        assert_eq!(self.cursor.seek_to_first().unwrap_err().kind(), ErrorKind::Closed);
        assert!(!self.cursor.valid());
    }
}

/// Lets a motion come to its end. Each pause has to bring it on in its direction.
fn resume(cursor: &mut DbCursor) {
    let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
    while let Some(pause) = cursor.paused() {
        assert!(!cursor.valid());
        let between = (pause.passed.to_vec(), pause.ahead.to_vec());
        if let Some((passed, ahead)) = last {
            let goes_up = passed < ahead;
            assert_eq!(goes_up, between.0 < between.1);
            let is_on = if goes_up { ahead <= between.0 } else { between.0 <= ahead };
            assert!(is_on, "from {ahead:?} to {between:?}");
        }
        last = Some(between);
        cursor.resume().unwrap();
    }
}
