//! The opaque cursor by which a client asks for the next page of a scan.
//!
//! A page ends between two keys. The cursor holds the shortest string of bytes that separates
//! them: above the lower, and at most the upper. A page that goes up resumes at that position, one
//! that goes down resumes below it, so that every page covers a range of keys at the time at which
//! it is read. The server keeps nothing.
//!
//! ```text
//! | checksum (8) | version (1) | position (the rest) |      base64url, without padding
//! ```
//!
//! The checksum is the beginning of a SHA-256 over a name, the bounds and the direction of the
//! scan, the version and the position. So a cursor fits the scan that made it and no other.
//! It is not a secret: who may scan may also make one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

const CHECKSUM_LEN: usize = 8;
const VERSION: u8 = 1;

/// The range of keys that a scan asks for, and the direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScanBounds {
    /// The first key, inclusive; empty for all.
    pub(crate) start: Vec<u8>,
    /// Where the range ends, exclusive; `None` for all.
    pub(crate) end: Option<Vec<u8>>,
    /// Whether the scan goes from the last key to the first.
    pub(crate) direction: Direction,
}

/// The order in which a scan gives keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Ascending.
    #[default]
    Up,
    /// Descending.
    Down,
}

impl ScanBounds {
    /// The bounds that hold exactly the keys with this prefix.
    #[must_use]
    pub(crate) fn of_prefix(prefix: &[u8], direction: Direction) -> ScanBounds {
        // The keys end before the prefix whose last byte that can grow has grown: after "a\xff"
        // comes "b", and after nothing but 0xff comes nothing.
        let end = prefix.iter().rposition(|&byte| byte != 0xff).map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        });
        ScanBounds { start: prefix.to_vec(), end, direction }
    }

    /// Prints the cursor at which this scan resumes after a page.
    ///
    /// `lower` and `upper` are the keys on both sides of the page's end.
    #[must_use]
    pub(crate) fn cursor_between(&self, lower: &[u8], upper: &[u8]) -> String {
        let position = separator(lower, upper);
        let mut bytes = self.checksum(position).to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The bounds of what is left of this scan at a cursor; `None` if the cursor is not one of
    /// this scan.
    #[must_use]
    pub(crate) fn resume(&self, cursor: &str) -> Option<ScanBounds> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (checksum, rest) = bytes.split_first_chunk::<CHECKSUM_LEN>()?;
        let (&version, position) = rest.split_first()?;
        if version != VERSION || *checksum != self.checksum(position) {
            return None;
        }
        let mut bounds = self.clone();
        match self.direction {
            Direction::Up => bounds.start = position.to_vec(),
            Direction::Down => bounds.end = Some(position.to_vec()),
        }
        Some(bounds)
    }

    fn checksum(&self, position: &[u8]) -> [u8; CHECKSUM_LEN] {
        let mut hash = Sha256::new();
        hash.update(b"lsm page cursor");
        let direction = match self.direction {
            Direction::Up => 0,
            Direction::Down => 1,
        };
        hash.update([VERSION, direction, u8::from(self.end.is_some())]);
        // Lengths go first, so that no two scans feed the same bytes.
        for part in [&self.start[..], self.end.as_deref().unwrap_or_default()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(position);
        *hash.finalize().first_chunk().expect("a SHA-256 has 32 bytes")
    }
}

/// The shortest prefix of `upper` that is above `lower`.
fn separator<'a>(lower: &[u8], upper: &'a [u8]) -> &'a [u8] {
    let shared = lower.iter().zip(upper).take_while(|(a, b)| a == b).count();
    &upper[..upper.len().min(shared + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(0xff), any::<u8>()], 1..6)
    }

    proptest! {
        #[test]
        fn a_cursor_separates_the_two_keys(one in key(), two in key(), down: bool) {
            prop_assume!(one != two);
            let (lower, upper) = if one < two { (one, two) } else { (two, one) };
            let direction = if down { Direction::Down } else { Direction::Up };
            let bounds = ScanBounds { direction, ..ScanBounds::default() };
            let left = bounds.resume(&bounds.cursor_between(&lower, &upper)).unwrap();
            let inside = |key: &[u8]| {
                left.start.as_slice() <= key && left.end.as_ref().is_none_or(|end| key < end.as_slice())
            };
            prop_assert_eq!(inside(&lower), down);
            prop_assert_eq!(inside(&upper), !down);
        }

        #[test]
        fn a_prefix_becomes_the_range_of_its_keys(prefix in key(), other in key()) {
            let bounds = ScanBounds::of_prefix(&prefix, Direction::Up);
            let inside = bounds.start <= other && bounds.end.as_ref().is_none_or(|end| other < *end);
            prop_assert_eq!(inside, other.starts_with(&prefix));
        }

        #[test]
        fn arbitrary_text_is_no_cursor(text: String) {
            prop_assert_eq!(ScanBounds::default().resume(&text), None);
        }
    }

    #[test]
    fn a_cursor_fits_no_other_scan_and_no_changed_byte() {
        let bounds =
            ScanBounds { start: b"a".into(), end: Some(b"z".into()), ..ScanBounds::default() };
        let cursor = bounds.cursor_between(b"key1", b"key2");
        assert_eq!(bounds.resume(&cursor).unwrap().start, b"key2");
        for other in [
            ScanBounds { start: b"b".into(), ..bounds.clone() },
            ScanBounds { end: None, ..bounds.clone() },
            ScanBounds { end: Some(b"y".into()), ..bounds.clone() },
            ScanBounds { direction: Direction::Down, ..bounds.clone() },
            // The same bytes, cut at another place.
            ScanBounds { start: b"az".into(), end: Some(Vec::new()), ..bounds.clone() },
        ] {
            assert_eq!(other.resume(&cursor), None);
        }
        for index in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(bounds.resume(&String::from_utf8(changed).unwrap()), None);
        }
        assert_eq!(bounds.resume(&format!("{cursor}=")), None);
        assert_eq!(bounds.resume(""), None);
    }
}
