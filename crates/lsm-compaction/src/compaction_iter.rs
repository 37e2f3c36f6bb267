//! The compaction iterator: of the versions of each key, those that somebody can still read.
//!
//! The sequences at which somebody reads, ascending, cut the versions of a key into *stripes*: all
//! versions of a stripe are seen by the same readers, and these see the newest one only. What is
//! newer than the last reader may be cut by readers that are still to come: there every version is
//! a stripe of its own.
//!
//! ```text
//! readers at 40 and 70 (the visible sequence)
//!
//!  seq    95    80  |  70    55    41  |  40    22     9
//!        put   del  | del   put   del  | put   put   del
//!  kept   *     *   |  *               |  *
//!                   ^ 70               ^ 40
//! ```
//!
//! The newest version of a stripe is kept, everything else in it is *shadowed* and dropped. One
//! thing more can be dropped: a tombstone that is the newest of the *oldest* stripe, if nothing
//! deeper in the tree can hold the key. All that it hides is in its own stripe and goes with it,
//! and a reader that finds nothing learns the same. A tombstone in a later stripe stays: an older
//! reader may keep alive what it hides.
//!
//! Invariant: a read at any of the sequences, or later, gives the same before and after. Sequences
//! are never changed. Entries in equal the entries that were kept plus those that were dropped.

use std::path::Path;

use lsm_base::{Cursor, Error, InternalKeyRef, Kind, Result, Seq};

use crate::elision::Elision;

#[cfg(test)]
mod tests;

/// The entries of a cursor that are still needed.
#[derive(Debug)]
pub struct CompactionIter<'a, C> {
    cursor: C,
    snapshots: &'a [Seq],
    elision: Elision,
    position: Position,
    /// The user key of the last entry, its sequence and the begin of its stripe.
    last_key: Vec<u8>,
    last_seq: Seq,
    last_stripe: Stripe,
    counts: Counts,
}

/// What became of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The iterator stands on an entry that is needed.
    Kept,
    /// An entry was dropped.
    Dropped,
    /// There is no further entry.
    End,
}

/// How many entries were read, and what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Entries read.
    pub input: u64,
    /// Entries kept.
    pub output: u64,
    /// Entries dropped because every reader sees a newer one.
    pub shadowed: u64,
    /// Tombstones dropped because they hide nothing.
    pub elided: u64,
    /// Bytes of the keys and values read, eight for sequence and kind among them.
    pub input_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Position {
    BeforeFirst,
    AtEntry,
    AtEnd,
}

/// Which versions of a key are seen by the same readers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stripe {
    /// Those for which this is the first reader, by its index.
    Reader(usize),
    /// A version that is newer than every reader of now.
    Own(Seq),
}

impl<'a, C: Cursor> CompactionIter<'a, C> {
    /// An iterator before the first entry of `cursor`. `snapshots` are the sequences at which
    /// somebody reads, ascending, the visible sequence among them.
    ///
    /// # Panics
    /// If the snapshots do not ascend.
    #[must_use]
    pub fn new(cursor: C, snapshots: &'a [Seq], elision: Elision) -> CompactionIter<'a, C> {
        assert!(snapshots.is_sorted(), "snapshots ascend");
        CompactionIter {
            cursor,
            snapshots,
            elision,
            position: Position::BeforeFirst,
            last_key: Vec::new(),
            last_seq: Seq::ZERO,
            last_stripe: Stripe::Reader(0),
            counts: Counts::default(),
        }
    }

    /// Moves to the next entry that is needed, and lends it.
    ///
    /// # Errors
    /// What the cursor reports; `Corruption` if its keys do not ascend. The iterator has ended
    /// then.
    #[expect(clippy::should_implement_trait, reason = "a std iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<(InternalKeyRef<'_>, &[u8])>> {
        loop {
            match self.step()? {
                Step::Kept => return Ok(Some(self.entry())),
                Step::Dropped => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// Moves by one entry of the cursor. For callers that must get a word in between, however
    /// many entries are dropped in a row.
    ///
    /// # Errors
    /// As [`next`](CompactionIter::next).
    pub fn step(&mut self) -> Result<Step> {
        let position = std::mem::replace(&mut self.position, Position::AtEnd);
        match position {
            Position::BeforeFirst => self.cursor.seek_to_first()?,
            Position::AtEntry => self.cursor.next()?,
            Position::AtEnd => return Ok(Step::End),
        }
        if !self.cursor.valid() {
            return Ok(Step::End);
        }
        let step = self.judge()?;
        self.position = Position::AtEntry;
        Ok(step)
    }

    /// The entry. Requires: the last step kept it.
    pub fn entry(&self) -> (InternalKeyRef<'_>, &[u8]) {
        (self.cursor.key(), self.cursor.value())
    }

    /// What became of the entries so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Decides about the entry that the cursor stands on.
    fn judge(&mut self) -> Result<Step> {
        let InternalKeyRef { user_key, seq, kind } = self.cursor.key();
        let stripe = stripe(self.snapshots, seq);
        let is_first = self.counts.input == 0;
        let is_same_key = !is_first && self.last_key == user_key;
        let ascends =
            if is_same_key { seq < self.last_seq } else { is_first || *self.last_key < *user_key };
        if !ascends {
            return Err(disorder(&self.last_key, self.last_seq, self.cursor.key()));
        }
        self.counts.input += 1;
        self.counts.input_bytes += entry_bytes(user_key, self.cursor.value());
        let step = if is_same_key && stripe == self.last_stripe {
            self.counts.shadowed += 1;
            Step::Dropped
        } else if kind == Kind::Delete
            && stripe == Stripe::Reader(0)
            && !self.elision.may_exist_below(user_key)
        {
            self.counts.elided += 1;
            Step::Dropped
        } else {
            self.counts.output += 1;
            Step::Kept
        };
        if !is_same_key {
            self.last_key.clear();
            self.last_key.extend_from_slice(user_key);
        }
        (self.last_seq, self.last_stripe) = (seq, stripe);
        Ok(step)
    }
}

fn entry_bytes(user_key: &[u8], value: &[u8]) -> u64 {
    user_key.len() as u64 + 8 + value.len() as u64
}

fn stripe(snapshots: &[Seq], seq: Seq) -> Stripe {
    let reader = snapshots.partition_point(|snapshot| *snapshot < seq);
    if reader < snapshots.len() { Stripe::Reader(reader) } else { Stripe::Own(seq) }
}

fn disorder(last_key: &[u8], last_seq: Seq, key: InternalKeyRef<'_>) -> Error {
    let last_key = last_key.escape_ascii();
    let detail = format!("{key:?} follows {last_key}{last_seq:?}, which is not before it");
    Error::corruption(Path::new("merge input"), 0, detail)
}
