//! What the filters of tables said to point reads, and whether they were right.
//!
//! A read asks several filters, and counts what they said on its own stack first: the counters,
//! which threads share, are touched once at its end.

use lsm_base::metrics::Counter;

/// What filters said since the database was opened.
#[derive(Debug, Default)]
pub(crate) struct FilterCounters {
    /// The key is not in the table.
    pub(crate) negative: Counter,
    /// It may be, and was.
    pub(crate) true_positive: Counter,
    /// It may be, and was not.
    pub(crate) false_positive: Counter,
}

impl FilterCounters {
    /// Begins to count the checks of one read.
    pub(crate) fn begin(&self) -> FilterChecks<'_> {
        FilterChecks { counters: self, negative: 0, positive: 0, has_found: false }
    }
}

/// The checks of one read; counted when this is dropped.
#[derive(Debug)]
pub(crate) struct FilterChecks<'a> {
    counters: &'a FilterCounters,
    negative: u64,
    positive: u64,
    has_found: bool,
}

impl FilterChecks<'_> {
    /// Counts what a filter said.
    #[inline]
    pub(crate) fn note(&mut self, may_contain: bool) {
        self.negative += u64::from(!may_contain);
        self.positive += u64::from(may_contain);
    }

    /// Notes whether the table that the filter let through last has the key.
    #[inline]
    pub(crate) fn note_found(&mut self, has_found: bool) {
        self.has_found |= has_found;
    }

    /// Counts nothing: the same filters are asked again.
    pub(crate) fn forget(&mut self) {
        (self.negative, self.positive) = (0, 0);
    }
}

impl Drop for FilterChecks<'_> {
    fn drop(&mut self) {
        let FilterCounters { negative, true_positive, false_positive } = self.counters;
        let found = u64::from(self.has_found);
        for (counter, count) in [
            (negative, self.negative),
            (true_positive, found),
            (false_positive, self.positive - found),
        ] {
            if count != 0 {
                counter.add(count);
            }
        }
    }
}
