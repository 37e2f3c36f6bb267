//! What the store must answer: every version of every key, so that any moment can be asked for.

use std::collections::BTreeMap;
use std::ops::Bound;

use lsm_engine::{KeyspaceId, Seq};

/// Bounds of user keys.
pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// An entry as a reader sees it.
pub(crate) type Seen<'a> = (&'a [u8], &'a [u8], Seq);

/// The versions of a key, oldest first; a tombstone has no value.
type Versions = Vec<(Seq, Option<Vec<u8>>)>;

/// One keyspace, with all that was ever written to it.
#[derive(Debug, Default)]
pub(crate) struct Space {
    pub(crate) name: String,
    pub(crate) id: KeyspaceId,
    keys: BTreeMap<Vec<u8>, Versions>,
}

impl Space {
    pub(crate) fn new(name: &str, id: KeyspaceId) -> Space {
        Space { name: name.into(), id, keys: BTreeMap::new() }
    }

    pub(crate) fn write(&mut self, key: &[u8], seq: Seq, value: Option<Vec<u8>>) {
        let versions = self.keys.entry(key.to_vec()).or_default();
        assert!(versions.last().is_none_or(|(last, _)| *last < seq), "sequences ascend");
        versions.push((seq, value));
    }

    /// Forgets what was written to a key behind `seq`: a power loss took it.
    pub(crate) fn forget(&mut self, key: &[u8], seq: Seq) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        versions.retain(|(written, _)| *written <= seq);
        if versions.is_empty() {
            self.keys.remove(key);
        }
    }

    /// The value of a key and the sequence of its write, as of `seq`.
    pub(crate) fn get(&self, key: &[u8], seq: Seq) -> Option<(&[u8], Seq)> {
        newest(self.keys.get(key)?, seq)
    }

    /// The first entry within the bounds, as of `seq`.
    pub(crate) fn first(&self, bounds: &Bounds, seq: Seq) -> Option<Seen<'_>> {
        self.range(bounds, seq).next()
    }

    /// The last entry within the bounds, as of `seq`.
    pub(crate) fn last(&self, bounds: &Bounds, seq: Seq) -> Option<Seen<'_>> {
        self.range(bounds, seq).next_back()
    }

    /// The entries within the bounds, as of `seq`.
    pub(crate) fn range(
        &self,
        bounds: &Bounds,
        seq: Seq,
    ) -> impl DoubleEndedIterator<Item = Seen<'_>> {
        let range = is_ordered(bounds).then(|| self.keys.range::<[u8], _>(as_slices(bounds)));
        let entries = range.into_iter().flatten();
        entries.filter_map(move |(key, versions)| {
            newest(versions, seq).map(|(value, written)| (&key[..], value, written))
        })
    }
}

fn newest(versions: &[(Seq, Option<Vec<u8>>)], seq: Seq) -> Option<(&[u8], Seq)> {
    let end = versions.partition_point(|(written, _)| *written <= seq);
    let (written, value) = versions[..end].last()?;
    value.as_deref().map(|value| (value, *written))
}

fn as_slices(bounds: &Bounds) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice))
}

/// Whether a `BTreeMap` takes these bounds; the store takes any, and finds nothing.
fn is_ordered(bounds: &Bounds) -> bool {
    match bounds {
        (Bound::Excluded(start), Bound::Excluded(end)) => start < end,
        (
            Bound::Included(start) | Bound::Excluded(start),
            Bound::Included(end) | Bound::Excluded(end),
        ) => start <= end,
        _ => true,
    }
}

/// The part of `bounds` that is not before `key`, or not even `key` itself.
pub(crate) fn from_key(bounds: &Bounds, start: Bound<Vec<u8>>) -> Bounds {
    let is_tighter = match (&bounds.0, &start) {
        (Bound::Unbounded, _) => true,
        (Bound::Included(own) | Bound::Excluded(own), Bound::Excluded(key)) => own <= key,
        (Bound::Included(own) | Bound::Excluded(own), Bound::Included(key)) => own < key,
        (_, Bound::Unbounded) => false,
    };
    (if is_tighter { start } else { bounds.0.clone() }, bounds.1.clone())
}

/// The part of `bounds` that is not behind `key`, or not even `key` itself.
pub(crate) fn up_to_key(bounds: &Bounds, end: Bound<Vec<u8>>) -> Bounds {
    let is_tighter = match (&bounds.1, &end) {
        (Bound::Unbounded, _) => true,
        (Bound::Included(own) | Bound::Excluded(own), Bound::Excluded(key)) => key <= own,
        (Bound::Included(own) | Bound::Excluded(own), Bound::Included(key)) => key < own,
        (_, Bound::Unbounded) => false,
    };
    (bounds.0.clone(), if is_tighter { end } else { bounds.1.clone() })
}
