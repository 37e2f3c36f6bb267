//! Values handed to the user: owned, or pinned where they lie.

use std::fmt;
use std::ops::Deref;

use lsm_base::Seq;
use lsm_sstable::TableValue;

/// The value of a key. It dereferences to the bytes, and outlives the call that returned it.
///
/// A small value, and every value from a memtable, is a copy. A large value from a table pins the
/// table's file until it is dropped, so do not hold many for long: take
/// [`to_vec`](slice::to_vec) instead.
#[derive(Clone)]
pub struct Value {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    Owned(Box<[u8]>),
    Table(TableValue),
}

impl Value {
    pub(crate) fn copied(bytes: &[u8]) -> Value {
        Value { repr: Repr::Owned(bytes.into()) }
    }

    pub(crate) const fn from_table(value: TableValue) -> Value {
        Value { repr: Repr::Table(value) }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.repr {
            Repr::Owned(bytes) => bytes,
            Repr::Table(value) => value,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Value {}

/// Comparisons with what else holds bytes, from either side.
macro_rules! equal_bytes {
    ($($other:ty $(, $count:ident)?;)*) => {$(
        impl$(<const $count: usize>)? PartialEq<$other> for Value {
            fn eq(&self, other: &$other) -> bool {
                self[..] == other[..]
            }
        }

        impl$(<const $count: usize>)? PartialEq<Value> for $other {
            fn eq(&self, other: &Value) -> bool {
                self[..] == other[..]
            }
        }
    )*};
}

equal_bytes! {
    [u8];
    &[u8];
    Vec<u8>;
    [u8; N], N;
    &[u8; N], N;
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Vec<u8> {
        match value.repr {
            Repr::Owned(bytes) => bytes.into_vec(),
            Repr::Table(value) => value.to_vec(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

/// A value and the version of its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// The sequence of the write that stored it.
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_compared_with_whatever_holds_bytes() {
        let value = Value::copied(b"red");
        let slice: &[u8] = b"red";
        assert!(value == b"red" && value == *b"red" && value == slice && value == *slice);
        assert!(value == b"red".to_vec() && b"red".to_vec() == value && b"red" == value);
        assert!(value != b"re".to_vec() && value != b"blue");
    }
}
