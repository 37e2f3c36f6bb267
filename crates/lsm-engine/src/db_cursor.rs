//! The cursor of the user: the newest visible version of each key, both ways, within bounds.
//!
//! Below it lies a merge of every version of every key. Forwards, the newest visible version of a
//! key comes first, so the merge can stand on the entry itself, and key and value are lent from
//! where they lie. Backwards the oldest comes first: the versions of a key are walked to its
//! newest visible one, which is copied, and the merge stands before the key.
//!
//! ```text
//! forwards     a#9  a#4  b#7  c#8        entry = where the merge stands
//!                        ▲
//! backwards    a#9  a#4  b#7  c#8        entry = a copy of b#7
//!                   ▲
//! ```
//!
//! Invariant: a cursor sees one sequence for its whole life; what it stands on stays readable
//! whatever is flushed, compacted or deleted, because it pins its SuperVersion.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use lsm_base::{Cursor, KeyspaceId, Kind, MergingCursor, Seq};

use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::read::sources;
use crate::scan::KeyBounds;
use crate::source::Source;
use crate::super_version::SuperVersion;

/// A position among the keys of a keyspace, in key order.
///
/// A new cursor stands on nothing; so does one that moved beyond its bounds, or met an error.
#[derive(Debug)]
pub struct DbCursor {
    merge: MergingCursor<Source>,
    seq: Seq,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    position: Position,
    /// The key of the entry, in either direction; its value too when moving backwards.
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
        self.position != Position::Nowhere
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
            Position::Nowhere => panic!("the cursor stands on no entry"),
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
                Position::OnEntry => cursor.skip_key_forwards()?,
                Position::BeforeKey | Position::Nowhere => {
                    seek_behind(&mut cursor.merge, &cursor.key)?;
                }
            }
            cursor.settle_forwards()
        })
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
        let is_open = self.inner.check_open().map_err(MotionError);
        let result = is_open.and_then(|()| motion(self));
        if result.is_err() {
            self.position = Position::Nowhere;
        }
        result.map_err(|MotionError(error)| self.inner.note_read_error(error))
    }

    /// From the merge's place forwards: stands on the newest visible version of the first key that
    /// has a value.
    fn settle_forwards(&mut self) -> Result<(), MotionError> {
        self.position = Position::Nowhere;
        while self.merge.valid() {
            let entry = self.merge.key();
            if is_behind_upper(entry.user_key, &self.upper) {
                return Ok(());
            }
            if self.seq < entry.seq {
                self.merge.next()?;
                continue;
            }
            let (kind, seq) = (entry.kind, entry.seq);
            self.key.clear();
            self.key.extend_from_slice(entry.user_key);
            match kind {
                Kind::Put => {
                    self.entry_seq = seq;
                    self.position = Position::OnEntry;
                    return Ok(());
                }
                Kind::Delete => self.skip_key_forwards()?,
            }
        }
        Ok(())
    }

    /// Moves the merge behind every version of the current key.
    fn skip_key_forwards(&mut self) -> Result<(), MotionError> {
        // Most keys have one version. A key with many is left by a seek, not step by step.
        for _ in 0..4 {
            self.merge.next()?;
            if !self.merge.valid() || self.merge.key().user_key != self.key {
                return Ok(());
            }
        }
        seek_behind(&mut self.merge, &self.key)
    }

    /// From the merge's place backwards: copies the newest visible version of the first key that
    /// has a value, and leaves the merge before the key.
    fn settle_backwards(&mut self) -> Result<(), MotionError> {
        self.position = Position::Nowhere;
        while self.merge.valid() {
            let user_key = self.merge.key().user_key;
            if is_before_lower(user_key, &self.lower) {
                return Ok(());
            }
            self.key.clear();
            self.key.extend_from_slice(user_key);
            if self.copy_newest_visible()? {
                self.position = Position::BeforeKey;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Walks the versions of `self.key` from the oldest up, keeps the newest visible one, and ends
    /// before the key. Returns whether that version is a value.
    fn copy_newest_visible(&mut self) -> Result<bool, MotionError> {
        let mut has_value = false;
        while self.merge.valid() {
            let entry = self.merge.key();
            if entry.user_key != self.key {
                break;
            }
            if self.seq < entry.seq {
                // Only invisible versions are left.
                self.merge.seek_before(&self.key, Seq::MAX)?;
                break;
            }
            has_value = entry.kind == Kind::Put;
            self.entry_seq = entry.seq;
            self.value.clear();
            if has_value {
                self.value.extend_from_slice(self.merge.value());
            }
            self.merge.prev()?;
        }
        Ok(has_value)
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
