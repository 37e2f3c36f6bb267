//! Ranges of user keys, both ends included.
//!
//! Invariant: `smallest` is not above `largest`. Two ranges overlap if they share one user key:
//! sequences play no part, because the versions of a user key are never split within a level.

use std::fmt;
use std::sync::Arc;

use crate::table_meta::TableMeta;

/// A range of user keys, both ends included.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRange {
    smallest: Box<[u8]>,
    largest: Box<[u8]>,
}

impl KeyRange {
    /// The range between these keys, both included.
    ///
    /// # Panics
    /// If `smallest` is above `largest`.
    #[must_use]
    pub fn new(smallest: impl Into<Box<[u8]>>, largest: impl Into<Box<[u8]>>) -> KeyRange {
        let (smallest, largest) = (smallest.into(), largest.into());
        assert!(smallest <= largest, "a range from above to below");
        KeyRange { smallest, largest }
    }

    /// The hull of these tables; `None` if there are none.
    #[must_use]
    pub fn hull<'a>(tables: impl IntoIterator<Item = &'a Arc<TableMeta>>) -> Option<KeyRange> {
        let mut tables = tables.into_iter();
        let first = tables.next()?;
        let (mut smallest, mut largest) = first.bounds();
        for table in tables {
            smallest = smallest.min(&table.smallest.user_key);
            largest = largest.max(&table.largest.user_key);
        }
        Some(KeyRange::new(smallest, largest))
    }

    /// The hull of the range and a table.
    #[must_use]
    pub fn and_table(&self, table: &TableMeta) -> KeyRange {
        let (smallest, largest) = table.bounds();
        KeyRange::new(smallest.min(&self.smallest), largest.max(&self.largest))
    }

    /// The first key.
    #[must_use]
    pub fn smallest(&self) -> &[u8] {
        &self.smallest
    }

    /// The last key.
    #[must_use]
    pub fn largest(&self) -> &[u8] {
        &self.largest
    }

    /// Whether a key is in both.
    #[must_use]
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        self.smallest <= other.largest && other.smallest <= self.largest
    }

    /// Whether the table may hold a key of the range.
    #[must_use]
    pub fn overlaps_table(&self, table: &TableMeta) -> bool {
        *self.smallest <= *table.largest.user_key && *table.smallest.user_key <= *self.largest
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}..={}]", self.smallest.escape_ascii(), self.largest.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    fn range(smallest: &str, largest: &str) -> KeyRange {
        KeyRange::new(smallest.as_bytes(), largest.as_bytes())
    }

    #[test]
    fn ranges_that_share_an_end_overlap() {
        assert!(range("a", "c").overlaps(&range("c", "d")));
        assert!(range("c", "d").overlaps(&range("a", "c")));
        assert!(range("a", "z").overlaps(&range("m", "m")));
        assert!(!range("a", "b").overlaps(&range("c", "d")));
        assert!(!range("c", "d").overlaps(&range("a", "b")));
    }

    #[test]
    fn a_range_overlaps_the_tables_that_share_a_key_with_it() {
        let overlaps =
            |smallest, largest| range("d", "f").overlaps_table(&table(1, smallest, largest, 1, 2));
        assert!(overlaps("a", "d") && overlaps("f", "z") && overlaps("e", "e"));
        assert!(overlaps("a", "z"));
        assert!(!overlaps("a", "c") && !overlaps("g", "z"));
    }

    #[test]
    fn a_hull_goes_from_the_first_key_to_the_last() {
        let tables = [("d", "f"), ("a", "b"), ("c", "z"), ("e", "e")]
            .map(|(smallest, largest)| Arc::new(table(1, smallest, largest, 1, 2)));
        assert_eq!(KeyRange::hull(&tables), Some(range("a", "z")));
        assert_eq!(KeyRange::hull(&tables[..1]), Some(range("d", "f")));
        assert_eq!(KeyRange::hull(&tables[..0]), None);
        let widened = range("c", "e").and_table(&tables[0]);
        assert_eq!(widened, range("c", "f"));
        assert_eq!(range("m", "m").and_table(&tables[1]), range("a", "m"));
        assert_eq!((widened.smallest(), widened.largest()), (&b"c"[..], &b"f"[..]));
    }
}
