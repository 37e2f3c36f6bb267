//! The cursor of the user: the newest visible version of each key, both ways, within bounds.
//!
//! Below it lies a merge of every version of every key. Forwards, the newest visible version of a
//! key comes first, so the merge can stand on the entry itself, and key and value are lent from
//! where they lie. Backwards the oldest comes first: the versions of a key are walked to its
//! newest visible one, which is copied, and the merge stands before the key. A key with many
//! versions is not walked: after a few steps the merge seeks the version that is wanted.
//!
//! ```text
//! forwards     a#9  a#4  b#7  c#8        entry = where the merge stands
//!                        ▲
//! backwards    a#9  a#4  b#7  c#8        entry = a copy of b#7
//!                   ▲
//! ```
//!
//! Invariant: a cursor sees one sequence for its whole life; what it stands on stays readable
//! whatever is flushed, compacted or deleted, because it pins its SuperVersion. A motion passes over
//! at most [`STEPS_IN_KEY`] entries of a key, and a few more where it turns, before it seeks.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_base::{Cursor, KeyspaceId, Kind, MergingCursor, Seq};

use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::read::sources;
use crate::scan::KeyBounds;
use crate::source::Source;
use crate::super_version::SuperVersion;

/// How many entries of a key are passed over one by one. Most keys have fewer versions, and a seek
/// costs as much as some steps.
const STEPS_IN_KEY: u32 = 4;

/// A position among the keys of a keyspace, in key order.
///
/// A new cursor stands on nothing; so does one that moved beyond its bounds, met an error, or
/// [paused](DbCursor::set_skip_limit).
#[derive(Debug)]
pub struct DbCursor {
    merge: MergingCursor<Source>,
    seq: Seq,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    position: Position,
    /// How many entries a motion passes over before it pauses.
    skip_limit: u64,
    /// How many the last motion has passed over.
    skipped: u64,
    /// The key of the entry, in either direction, or the last that was looked at; the value of the
    /// entry too when moving backwards.
    key: Vec<u8>,
    value: Vec<u8>,
    entry_seq: Seq,
    keyspace: KeyspaceId,
    pin: Arc<SuperVersion>,
    inner: Arc<Inner>,
}

/// Where the merge stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Position {
    /// The cursor stands on nothing.
    Nowhere,
    /// The merge stands on the entry.
    OnEntry,
    /// The entry was copied, and the merge stands before every version of its key.
    BeforeKey,
    /// The cursor stands on nothing, and the merge on the first entry that the motion has not looked
    /// at.
    Paused(Direction),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Forwards,
    Backwards,
}

/// Where a motion paused: between two keys, in its direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pause<'a> {
    /// The last key that the motion is through with: from where it began up to this key, itself
    /// included, there is no entry.
    pub passed: &'a [u8],
    /// The next key, which it has not looked at.
    pub ahead: &'a [u8],
}

impl DbCursor {
    pub(crate) fn new(
        inner: Arc<Inner>,
        pin: Arc<SuperVersion>,
        keyspace: KeyspaceId,
        seq: Seq,
        bounds: KeyBounds,
    ) -> DbCursor {
        DbCursor {
            merge: MergingCursor::new(sources(&pin, keyspace)),
            seq,
            lower: bounds.0,
            upper: bounds.1,
            position: Position::Nowhere,
            skip_limit: u64::MAX,
            skipped: 0,
            key: Vec::new(),
            value: Vec::new(),
            entry_seq: Seq::ZERO,
            keyspace,
            pin,
            inner,
        }
    }

    /// Another cursor that sees the same, and stands on nothing.
    pub(crate) fn twin(&self) -> DbCursor {
        let (inner, pin) = (Arc::clone(&self.inner), Arc::clone(&self.pin));
        let bounds = (self.lower.clone(), self.upper.clone());
        DbCursor::new(inner, pin, self.keyspace, self.seq, bounds)
    }

    /// Whether the cursor stands on an entry.
    #[must_use]
    pub fn valid(&self) -> bool {
        matches!(self.position, Position::OnEntry | Position::BeforeKey)
    }

    /// Lets each motion pause once it has passed over this many entries that it does not stop at:
    /// tombstones, what was overwritten, and what is newer than the cursor sees. Unlimited in a new
    /// cursor.
    ///
    /// A motion costs as much as it passes over, and a range from which millions of keys were deleted
    /// may have them all between two entries. Between pauses the caller can look at the time, or
    /// whether anybody still waits for the answer.
    ///
    /// A motion that pauses answers `Ok` and leaves the cursor on nothing;
    /// [`paused`](Self::paused) tells where, and [`resume`](Self::resume) goes on there. Each gets on
    /// by a key at least, so any limit gets to the end, also if each resumption is a seek to
    /// [`Pause::ahead`] by a cursor of its own. (RocksDB's `max_skippable_internal_keys` ends an
    /// iterator with the status `Incomplete`, and does not tell where; another seek meets the same
    /// tombstones again.)
    ///
    /// ```
    /// # use lsm_engine::{Db, Read, Result};
    /// # fn demo(db: &Db, is_wanted: impl Fn() -> bool) -> Result<()> {
    /// let mut cursor = db.cursor()?;
    /// cursor.set_skip_limit(10_000);
    /// cursor.seek_to_first()?;
    /// while cursor.paused().is_some() && is_wanted() {
    ///     cursor.resume()?;
    /// }
    /// # Ok(()) }
    /// ```
    pub const fn set_skip_limit(&mut self, limit: u64) {
        self.skip_limit = limit;
    }

    /// Where the last motion paused, if it did.
    #[must_use]
    pub fn paused(&self) -> Option<Pause<'_>> {
        match self.position {
            Position::Paused(_) => {
                Some(Pause { passed: &self.key, ahead: self.merge.key().user_key })
            }
            _ => None,
        }
    }

    /// Goes on with a motion that paused. On a cursor that has not paused it does nothing.
    pub fn resume(&mut self) -> Result<()> {
        match self.position {
            Position::Paused(Direction::Forwards) => self.moving(DbCursor::settle_forwards),
            Position::Paused(Direction::Backwards) => self.moving(DbCursor::settle_backwards),
            _ => Ok(()),
        }
    }

    /// The key of the entry.
    ///
    /// # Panics
    /// If the cursor does not stand on one; likewise [`value`](Self::value) and
    /// [`entry_seq`](Self::entry_seq).
    #[must_use]
    pub fn key(&self) -> &[u8] {
        assert!(self.valid(), "the cursor stands on no entry");
        &self.key
    }

    /// The value of the entry.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        match self.position {
            Position::OnEntry => self.merge.value(),
            Position::BeforeKey => &self.value,
            Position::Nowhere | Position::Paused(_) => panic!("the cursor stands on no entry"),
        }
    }

    /// The sequence of the write that stored the entry: the version of its key.
    #[must_use]
    pub fn entry_seq(&self) -> Seq {
        assert!(self.valid(), "the cursor stands on no entry");
        self.entry_seq
    }

    /// The sequence that the cursor sees: every write up to it, and none behind it.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Moves to the first key within the bounds.
    ///
    /// # Errors
    /// Kind `Io`, `Corruption` or `MissingFile` where a table cannot be read; `Closed`. The same
    /// holds for every motion.
    pub fn seek_to_first(&mut self) -> Result<()> {
        self.moving(|cursor| {
            match &cursor.lower {
                Bound::Unbounded => cursor.merge.seek_to_first()?,
                Bound::Included(key) => cursor.merge.seek(key, Seq::MAX)?,
                Bound::Excluded(key) => seek_behind(&mut cursor.merge, key)?,
            }
            cursor.settle_forwards()
        })
    }

    /// Moves to the last key within the bounds.
    pub fn seek_to_last(&mut self) -> Result<()> {
        self.moving(|cursor| {
            match &cursor.upper {
                Bound::Unbounded => cursor.merge.seek_to_last()?,
                Bound::Included(key) => seek_up_to(&mut cursor.merge, key)?,
                Bound::Excluded(key) => cursor.merge.seek_before(key, Seq::MAX)?,
            }
            cursor.settle_backwards()
        })
    }

    /// Moves to the first key within the bounds that is `key` or behind it.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let key = key.as_ref();
        if is_before_lower(key, &self.lower) {
            return self.seek_to_first();
        }
        self.moving(|cursor| {
            cursor.merge.seek(key, Seq::MAX)?;
            cursor.settle_forwards()
        })
    }

    /// Moves to the last key within the bounds that is `key` or before it.
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let key = key.as_ref();
        if is_behind_upper(key, &self.upper) {
            return self.seek_to_last();
        }
        self.moving(|cursor| {
            seek_up_to(&mut cursor.merge, key)?;
            cursor.settle_backwards()
        })
    }

    /// Moves to the next key, or off the end. On a cursor that stands on nothing it does nothing.
    #[expect(clippy::should_implement_trait, reason = "a std iterator cannot lend")]
    pub fn next(&mut self) -> Result<()> {
        if !self.valid() {
            return Ok(());
        }
        self.moving(|cursor| {
            match cursor.position {
                Position::OnEntry => {
                    cursor.merge.next()?;
                    if cursor.takes_visible() {
                        return Ok(());
                    }
                    cursor.skip_rest_of_key()?;
                }
                _ => seek_behind(&mut cursor.merge, &cursor.key)?,
            }
            cursor.settle_forwards()
        })
    }

    /// Stands on the entry where the merge stands, if that is a visible value of another key within the
    /// bounds: what most steps find.
    #[inline]
    fn takes_visible(&mut self) -> bool {
        let Some(entry) = self.merge.peek() else { return false };
        if entry.kind != Kind::Put
            || self.seq < entry.seq
            || entry.user_key == self.key
            || is_behind_upper(entry.user_key, &self.upper)
        {
            return false;
        }
        self.entry_seq = entry.seq;
        self.key.clear();
        self.key.extend_from_slice(entry.user_key);
        true
    }

    /// Moves to the key before, or off the beginning. On a cursor that stands on nothing it does
    /// nothing.
    pub fn prev(&mut self) -> Result<()> {
        if !self.valid() {
            return Ok(());
        }
        self.moving(|cursor| {
            if cursor.position == Position::OnEntry {
                cursor.merge.seek_before(&cursor.key, Seq::MAX)?;
            }
            cursor.settle_backwards()
        })
    }

    /// Runs a motion; after an error the cursor stands on nothing.
    fn moving(
        &mut self,
        motion: impl FnOnce(&mut DbCursor) -> Result<(), MotionError>,
    ) -> Result<()> {
        self.skipped = 0;
        let is_open = self.inner.check_open().map_err(MotionError);
        let result = is_open.and_then(|()| motion(self));
        if result.is_err() {
            self.position = Position::Nowhere;
        }
        if plant::is_live(Plant::ReadErrorIsEnd) {
            return Ok(());
        }
        result.map_err(|MotionError(error)| self.inner.note_read_error(error))
    }

    /// From the merge's place forwards: stands on the newest visible version of the first key that
    /// has a value.
    fn settle_forwards(&mut self) -> Result<(), MotionError> {
        self.position = Position::Nowhere;
        while self.takes_key(Direction::Forwards) {
            match self.find_visible()? {
                Some((Kind::Put, seq)) => {
                    self.entry_seq = seq;
                    self.position = Position::OnEntry;
                    return Ok(());
                }
                Some((Kind::Delete, _)) => self.skip_key_forwards()?,
                None => {}
            }
            if self.pauses(Direction::Forwards) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Moves the merge to the newest visible version of `self.key`, or behind the key if it has
    /// none. Requires: the merge stands on the key's first entry, or one that is not visible.
    fn find_visible(&mut self) -> Result<Option<(Kind, Seq)>, MotionError> {
        for step in 0.. {
            let entry = self.merge.key();
            if entry.seq <= self.seq {
                return Ok(Some((entry.kind, entry.seq)));
            }
            if step < STEPS_IN_KEY {
                self.merge.next()?;
            } else {
                self.merge.seek(&self.key, self.seq)?;
            }
            self.skipped += 1;
            if !self.merge.valid() || self.merge.key().user_key != self.key {
                break;
            }
        }
        Ok(None)
    }

    /// Moves the merge behind every version of the current key.
    fn skip_key_forwards(&mut self) -> Result<(), MotionError> {
        self.merge.next()?;
        self.skip_rest_of_key()
    }

    /// The same where the merge has left the first of them.
    fn skip_rest_of_key(&mut self) -> Result<(), MotionError> {
        for step in 1.. {
            self.skipped += 1;
            if self.merge.peek().is_none_or(|entry| entry.user_key != self.key) {
                return Ok(());
            }
            if step == STEPS_IN_KEY {
                break;
            }
            self.merge.next()?;
        }
        self.skipped += 1;
        seek_behind(&mut self.merge, &self.key)
    }

    /// From the merge's place backwards: copies the newest visible version of the first key that
    /// has a value, and leaves the merge before the key.
    fn settle_backwards(&mut self) -> Result<(), MotionError> {
        self.position = Position::Nowhere;
        while self.takes_key(Direction::Backwards) {
            if self.copy_newest_visible()? {
                self.position = Position::BeforeKey;
                return Ok(());
            }
            if self.pauses(Direction::Backwards) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Copies the newest visible version of `self.key`, and ends before the key. Returns whether
    /// that version is a value. Requires: the merge stands on the key's last entry.
    fn copy_newest_visible(&mut self) -> Result<bool, MotionError> {
        let mut has_value = false;
        for step in 0.. {
            if !self.merge.valid() || self.merge.key().user_key != self.key {
                break;
            }
            let is_visible = self.merge.key().seq <= self.seq;
            if is_visible && step == STEPS_IN_KEY {
                self.merge.seek(&self.key, self.seq)?;
            }
            if is_visible {
                has_value = self.copy_entry();
            }
            self.skipped += 1;
            if step == STEPS_IN_KEY {
                self.merge.seek_before(&self.key, Seq::MAX)?;
                break;
            }
            self.merge.prev()?;
        }
        Ok(has_value)
    }

    /// Copies the entry on which the merge stands. Returns whether it is a value.
    fn copy_entry(&mut self) -> bool {
        let entry = self.merge.key();
        self.entry_seq = entry.seq;
        self.value.clear();
        let is_value = entry.kind == Kind::Put;
        if is_value {
            self.value.extend_from_slice(self.merge.value());
        }
        is_value
    }

    /// Looks at the key on which the merge stands, if it is within the bounds.
    fn takes_key(&mut self, direction: Direction) -> bool {
        let is_ahead = self.has_key_ahead(direction);
        if is_ahead {
            self.key.clear();
            self.key.extend_from_slice(self.merge.key().user_key);
        }
        is_ahead
    }

    /// Whether the merge stands on a key within the bounds.
    fn has_key_ahead(&self, direction: Direction) -> bool {
        self.merge.valid()
            && match direction {
                Direction::Forwards => !is_behind_upper(self.merge.key().user_key, &self.upper),
                Direction::Backwards => !is_before_lower(self.merge.key().user_key, &self.lower),
            }
    }

    /// Pauses behind a key without a value, if the motion has passed over enough and there is more.
    fn pauses(&mut self, direction: Direction) -> bool {
        let pauses = self.skip_limit <= self.skipped && self.has_key_ahead(direction);
        if pauses {
            self.position = Position::Paused(direction);
        }
        pauses
    }
}

/// An error of the layers below in the middle of a motion.
struct MotionError(Error);

impl From<lsm_base::Error> for MotionError {
    fn from(error: lsm_base::Error) -> MotionError {
        MotionError(error.into())
    }
}

/// Moves the merge to the first entry behind every version of `key`.
fn seek_behind(merge: &mut MergingCursor<Source>, key: &[u8]) -> Result<(), MotionError> {
    merge.seek(key, Seq::ZERO)?;
    // No write has the sequence zero, so this is behind the key; but a table could.
    while merge.valid() && merge.key().user_key == key {
        merge.next()?;
    }
    Ok(())
}

/// Moves the merge to the last entry of `key`, or else the last before it.
fn seek_up_to(merge: &mut MergingCursor<Source>, key: &[u8]) -> Result<(), MotionError> {
    merge.seek_before(key, Seq::ZERO)?;
    Ok(())
}

fn is_before_lower(key: &[u8], lower: &Bound<Vec<u8>>) -> bool {
    match lower {
        Bound::Unbounded => false,
        Bound::Included(bound) => key < &bound[..],
        Bound::Excluded(bound) => key.cmp(bound) != Ordering::Greater,
    }
}

fn is_behind_upper(key: &[u8], upper: &Bound<Vec<u8>>) -> bool {
    match upper {
        Bound::Unbounded => false,
        Bound::Included(bound) => &bound[..] < key,
        Bound::Excluded(bound) => key.cmp(bound) != Ordering::Less,
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
