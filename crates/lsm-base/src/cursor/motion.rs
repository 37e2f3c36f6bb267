//! What a test does with a cursor: one motion after the other, of this cursor and of a model.

use super::Cursor;
use crate::error::Result;
use crate::key::Seq;

/// A motion of a cursor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Motion {
    /// To the first entry.
    First,
    /// To the last entry.
    Last,
    /// To the first entry at or behind the point of this key and sequence.
    Seek(Vec<u8>, u64),
    /// To the last entry before it.
    SeekBefore(Vec<u8>, u64),
    /// To the next entry.
    Next,
    /// To the previous entry.
    Prev,
}

impl Motion {
    /// Whether it begins from where the cursor stands, which must be an entry then.
    #[must_use]
    pub const fn is_step(&self) -> bool {
        matches!(self, Motion::Next | Motion::Prev)
    }

    /// Moves a cursor.
    ///
    /// # Errors
    /// Those of the cursor.
    pub fn apply(&self, cursor: &mut impl Cursor) -> Result<()> {
        match self {
            Motion::First => cursor.seek_to_first(),
            Motion::Last => cursor.seek_to_last(),
            Motion::Seek(key, seq) => cursor.seek(key, Seq::new(*seq)),
            Motion::SeekBefore(key, seq) => cursor.seek_before(key, Seq::new(*seq)),
            Motion::Next => cursor.next(),
            Motion::Prev => cursor.prev(),
        }
    }
}
