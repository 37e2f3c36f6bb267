//! Positions in the log.

use std::fmt;

/// A position in the log: a segment, and a byte in it.
///
/// Positions order as the log was written. The position that an append returns is the end of its
/// last record, so "synced up to `lsn`" covers every record that ends at or before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn {
    /// The number of the segment; the first one is 1.
    pub segment: u64,
    /// The offset in bytes from the beginning of the segment's file.
    pub offset: u64,
}

impl Lsn {
    /// Before every record of every segment.
    pub const ZERO: Lsn = Lsn { segment: 0, offset: 0 };

    /// The position `offset` bytes into `segment`.
    #[must_use]
    pub const fn new(segment: u64, offset: u64) -> Lsn {
        Lsn { segment, offset }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_by_segment_first() {
        assert!(Lsn::new(1, 900) < Lsn::new(2, 64));
        assert!(Lsn::new(2, 64) < Lsn::new(2, 72));
        assert!(Lsn::ZERO < Lsn::new(1, 0));
        assert_eq!(Lsn::new(3, 128).to_string(), "3:128");
    }
}
