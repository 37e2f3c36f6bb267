//! Internal keys: a user key, the sequence of the write, and what the write did.
//!
//! ```text
//! trailer: sequence (56 bits) | kind (8 bits)      one u64, little-endian on disk
//! ```
//!
//! Invariant: this file holds the only order of the store. User keys ascend bytewise, and among
//! equal user keys the newest write comes first, so that the first hit of a look-up ends it.
//! The codes of [`Kind`] are on disk: they never change meaning.

use std::cmp::Ordering;
use std::fmt;

/// Name of the key order, recorded in every MANIFEST.
pub const KEY_ORDER: &str = "bytewise";

/// Longest user key in bytes; the shortest has one byte.
pub const MAX_KEY_LEN: usize = 65_535;

/// The sequence number of a write: one per operation, ascending in commit order, never reused.
///
/// The sequence of a key's last write is the version of that key. Zero is "before every write".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(u64);

impl Seq {
    /// Before every write.
    pub const ZERO: Seq = Seq(0);
    /// The largest sequence: it fits 56 bits.
    pub const MAX: Seq = Seq((1 << 56) - 1);

    /// The sequence with this number.
    ///
    /// # Panics
    /// If `number` needs more than 56 bits. For numbers from disk or network use [`Seq::try_new`].
    #[must_use]
    pub const fn new(number: u64) -> Seq {
        assert!(number <= Self::MAX.0, "a sequence fits 56 bits");
        Seq(number)
    }

    /// The sequence with this number, or `None` if it needs more than 56 bits.
    #[must_use]
    pub const fn try_new(number: u64) -> Option<Seq> {
        if number <= Self::MAX.0 { Some(Seq(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sequence `count` operations later.
    ///
    /// # Panics
    /// If 56 bits do not hold it; at a million writes a second that takes two thousand years.
    #[must_use]
    pub const fn plus(self, count: u64) -> Seq {
        Seq::new(self.0 + count)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a write did to its key.
///
/// Codes 3 to 8 are reserved, in this order: range delete, merge, put with expiry, blob reference,
/// condition, mark. A reader that meets one answers "unsupported format", not "corrupt".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The key has a value.
    Put = 1,
    /// The key has none: a tombstone.
    Delete = 2,
}

impl Kind {
    /// The last code that has a meaning, now or reserved.
    pub const LAST_RESERVED_CODE: u8 = 8;

    /// The kind with this code, if it is in use.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Kind> {
        match code {
            1 => Some(Kind::Put),
            2 => Some(Kind::Delete),
            _ => None,
        }
    }

    /// The code on disk.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether the code is none of ours but promised to a later format.
    #[must_use]
    pub const fn is_reserved(code: u8) -> bool {
        Kind::Delete.code() < code && code <= Self::LAST_RESERVED_CODE
    }
}

/// Packs a sequence and a kind into the eight bytes that stand behind a user key.
#[must_use]
pub const fn pack_trailer(seq: Seq, kind: Kind) -> u64 {
    seq.0 << 8 | kind.code() as u64
}

/// Takes a trailer apart; `None` if its kind is not in use.
#[must_use]
pub const fn unpack_trailer(trailer: u64) -> Option<(Seq, Kind)> {
    match Kind::from_code(trailer as u8) {
        Some(kind) => Some((Seq(trailer >> 8), kind)),
        None => None,
    }
}

/// A borrowed internal key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InternalKeyRef<'a> {
    /// The key as the user knows it.
    pub user_key: &'a [u8],
    /// When it was written.
    pub seq: Seq,
    /// What was done to it.
    pub kind: Kind,
}

impl<'a> InternalKeyRef<'a> {
    /// An internal key of these parts.
    #[must_use]
    pub const fn new(user_key: &'a [u8], seq: Seq, kind: Kind) -> Self {
        InternalKeyRef { user_key, seq, kind }
    }

    /// Where this entry stands against the point (`user_key`, `seq`) that a seek names.
    ///
    /// The point stands before every entry of `user_key` whose sequence is `seq` or older, and
    /// after every newer one.
    #[must_use]
    pub fn cmp_point(&self, user_key: &[u8], seq: Seq) -> Ordering {
        compare_user_keys(self.user_key, user_key).then_with(|| seq.cmp(&self.seq))
    }

    /// An owned copy.
    #[must_use]
    pub fn to_owned(&self) -> InternalKey {
        InternalKey { user_key: self.user_key.into(), seq: self.seq, kind: self.kind }
    }
}

impl Ord for InternalKeyRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Sequences are unique, so the kind decides nothing; it only keeps `Ord` and `Eq` at one.
        self.cmp_point(other.user_key, other.seq).then_with(|| other.kind.cmp(&self.kind))
    }
}

impl PartialOrd for InternalKeyRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for InternalKeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}:{:?}", self.user_key.escape_ascii(), self.seq, self.kind)
    }
}

/// An owned internal key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InternalKey {
    /// The key as the user knows it.
    pub user_key: Box<[u8]>,
    /// When it was written.
    pub seq: Seq,
    /// What was done to it.
    pub kind: Kind,
}

impl InternalKey {
    /// The same key, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> InternalKeyRef<'_> {
        InternalKeyRef::new(&self.user_key, self.seq, self.kind)
    }
}

impl Ord for InternalKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(&other.as_ref())
    }
}

impl PartialOrd for InternalKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for InternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// The order of user keys: bytewise.
#[must_use]
pub fn compare_user_keys(a: &[u8], b: &[u8]) -> Ordering {
    a.cmp(b)
}

/// The first eight bytes of `key` as a big-endian number, padded with zeros.
///
/// It agrees with the key order except that it makes some unequal keys equal: if
/// `key_prefix(a) < key_prefix(b)` then `a < b`; on a tie the keys decide.
#[must_use]
pub fn key_prefix(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(bytes)
        }
    }
}

/// The smallest key above every key that begins with `prefix`; `None` if there is no such key.
#[must_use]
pub fn prefix_successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut successor = prefix[..=last].to_vec();
    successor[last] += 1;
    Some(successor)
}

/// The hash that every Bloom filter of the store takes its bits from: one for each get.
#[must_use]
pub fn hash_user_key(user_key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(user_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user_key: &str, seq: u64) -> InternalKeyRef<'_> {
        InternalKeyRef::new(user_key.as_bytes(), Seq::new(seq), Kind::Put)
    }

    #[test]
    fn user_keys_ascend_and_sequences_descend() {
        let sorted = [key("a", 9), key("a", 2), key("aa", 7), key("b", 100), key("b", 1)];
        assert!(sorted.is_sorted());
        assert_ne!(key("a", 1).cmp(&key("a", 2)), Ordering::Equal);
    }

    #[test]
    fn a_point_stands_before_what_it_sees() {
        assert_eq!(key("k", 5).cmp_point(b"k", Seq::new(5)), Ordering::Equal);
        assert_eq!(key("k", 6).cmp_point(b"k", Seq::new(5)), Ordering::Less);
        assert_eq!(key("k", 4).cmp_point(b"k", Seq::new(5)), Ordering::Greater);
        assert_eq!(key("j", 4).cmp_point(b"k", Seq::new(5)), Ordering::Less);
    }

    #[test]
    fn trailers_round_trip_and_reject_unknown_kinds() {
        let trailer = pack_trailer(Seq::MAX, Kind::Delete);
        assert_eq!(unpack_trailer(trailer), Some((Seq::MAX, Kind::Delete)));
        assert_eq!(unpack_trailer(7 << 8), None);
        assert!(Kind::is_reserved(3) && Kind::is_reserved(8));
        assert!(!Kind::is_reserved(2) && !Kind::is_reserved(9) && !Kind::is_reserved(0));
    }

    #[test]
    fn a_prefix_never_contradicts_the_key_order() {
        let keys: [&[u8]; 6] = [b"", b"\0", b"a", b"a\0", b"abcdefgh", b"abcdefghi"];
        for a in keys {
            for b in keys {
                if key_prefix(a) < key_prefix(b) {
                    assert!(a < b);
                }
            }
        }
    }

    #[test]
    fn a_prefix_successor_is_the_end_of_the_prefix() {
        assert_eq!(prefix_successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_successor(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_successor(b"\xff"), None);
        assert_eq!(prefix_successor(b""), None);
    }
}
