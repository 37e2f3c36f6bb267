//! Scans: `std` iterators over owned entries, from both ends.

use std::ops::{Bound, RangeBounds};

use lsm_base::key::prefix_successor;

use crate::db_cursor::DbCursor;
use crate::error::{Error, Result};
use crate::value::Value;

/// Bounds of user keys.
pub(crate) type KeyBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// An iterator over the entries of a range, in key order, from either end.
///
/// It sees the data as of its creation. An error is its last item.
#[derive(Debug)]
pub struct Scan {
    ends: State,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a scan is one value, and mostly open")]
enum State {
    /// The scan could not begin.
    Failed(Error),
    /// Each end has a cursor once it was asked for an entry; the first that is asked takes the one
    /// that the scan began with.
    Open {
        fresh: Option<DbCursor>,
        front: Option<DbCursor>,
        back: Option<DbCursor>,
    },
    Done,
}

impl Scan {
    pub(crate) fn new(cursor: Result<DbCursor>) -> Scan {
        let ends = match cursor {
            Ok(fresh) => State::Open { fresh: Some(fresh), front: None, back: None },
            Err(error) => State::Failed(error),
        };
        Scan { ends }
    }

    /// Takes a step with one end; `None` when the ends have met.
    fn step(&mut self, end: End) -> Option<<Self as Iterator>::Item> {
        let result = match &mut self.ends {
            State::Open { fresh, front, back } => {
                let (own, other) = match end {
                    End::Front => (front, &*back),
                    End::Back => (back, &*front),
                };
                let own = own.get_or_insert_with(|| {
                    let twin = || other.as_ref().map(DbCursor::twin);
                    fresh.take().or_else(twin).expect("the first cursor is fresh or in use")
                });
                advance(own, end).map(|()| entry(own, other.as_ref(), end))
            }
            State::Failed(error) => Err(error.clone()),
            State::Done => Ok(None),
        };
        if !matches!(result, Ok(Some(_))) {
            self.ends = State::Done;
        }
        result.transpose()
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Front,
    Back,
}

/// Moves the cursor of an end by one, or to its first entry if it stands on none yet.
fn advance(cursor: &mut DbCursor, end: End) -> Result<()> {
    match (end, cursor.valid()) {
        (End::Front, true) => cursor.next(),
        (End::Front, false) => cursor.seek_to_first(),
        (End::Back, true) => cursor.prev(),
        (End::Back, false) => cursor.seek_to_last(),
    }
}

/// The entry at `own`, unless the other end gave it out already.
fn entry(own: &DbCursor, other: Option<&DbCursor>, end: End) -> Option<(Vec<u8>, Value)> {
    if !own.valid() {
        return None;
    }
    let has_met = other.is_some_and(|other| match end {
        End::Front => other.key() <= own.key(),
        End::Back => own.key() <= other.key(),
    });
    (!has_met).then(|| (own.key().to_vec(), Value::copied(own.value())))
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(End::Front)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(End::Back)
    }
}

impl std::iter::FusedIterator for Scan {}

/// Owned bounds of a range of keys.
pub(crate) fn key_bounds<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> KeyBounds {
    let owned = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
    (owned(range.start_bound()), owned(range.end_bound()))
}

/// The bounds of the keys that begin with `prefix`.
pub(crate) fn prefix_bounds(prefix: &[u8]) -> KeyBounds {
    let upper = prefix_successor(prefix).map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included(prefix.to_vec()), upper)
}
