//! Write batches: operations that become visible, and durable, together.
//!
//! The bytes of a batch are the payload of its log record; there is no second encoding.
//!
//! ```text
//! batch     := operation*
//! operation := put | delete
//! put       := 1 (u8) keyspace (varint) key value
//! delete    := 2 (u8) keyspace (varint) key
//! key       := length (varint, 1 to 65,535) bytes
//! value     := length (varint, at most 2^28) bytes
//! ```
//!
//! Codes 3 to 8 are reserved (see [`Kind`]). The first operation of a batch has the sequence that
//! the log record states, every further one the next; of two operations on one key the later wins.
//!
//! Invariant: the bytes of a [`WriteBatch`] always parse. An operation that breaks a limit is not
//! appended, and [`WriteBatch::check`] says so.

use crate::coding::{Reader, put_slice, put_varint, varint_len};
use crate::error::{Error, Result};
use crate::key::{Kind, MAX_KEY_LEN};

/// Longest value in bytes: 256 MiB.
pub const MAX_VALUE_LEN: usize = 256 << 20;

/// Longest batch in bytes: 512 MiB.
pub const MAX_BATCH_LEN: usize = 512 << 20;

/// The number of a keyspace, unique for the life of a database and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct KeyspaceId(pub u32);

impl KeyspaceId {
    /// The keyspace that every database has.
    pub const DEFAULT: KeyspaceId = KeyspaceId(0);
}

/// Writes that become visible together, or not at all.
///
/// A batch knows keyspaces by their numbers, and numbers begin anew in each database: fill a batch
/// with the keyspaces of the database that it is written to.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    bytes: Vec<u8>,
    count: u32,
    error: Option<Error>,
}

impl WriteBatch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> WriteBatch {
        WriteBatch { bytes: Vec::new(), count: 0, error: None }
    }

    /// An empty batch with room for `len` bytes.
    #[must_use]
    pub fn with_capacity(len: usize) -> WriteBatch {
        WriteBatch { bytes: Vec::with_capacity(len), count: 0, error: None }
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.push(KeyspaceId::DEFAULT, Kind::Put, key.as_ref(), value.as_ref());
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.push(KeyspaceId::DEFAULT, Kind::Delete, key.as_ref(), &[]);
    }

    /// Stores `value` under `key` in a keyspace: that of this number in whatever database the batch
    /// is written to.
    pub fn put_in(
        &mut self,
        keyspace: impl Into<KeyspaceId>,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) {
        self.push(keyspace.into(), Kind::Put, key.as_ref(), value.as_ref());
    }

    /// Removes `key` from a keyspace: that of this number in whatever database the batch is written
    /// to.
    pub fn delete_in(&mut self, keyspace: impl Into<KeyspaceId>, key: impl AsRef<[u8]>) {
        self.push(keyspace.into(), Kind::Delete, key.as_ref(), &[]);
    }

    /// How many operations the batch has.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether the batch has no operation.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the batch stores a value, and does not only remove some.
    #[must_use]
    pub fn has_puts(&self) -> bool {
        self.ops().any(|op| op.is_ok_and(|op| op.kind != Kind::Delete))
    }

    /// The encoded operations.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The operations, in order.
    #[must_use]
    pub fn ops(&self) -> BatchReader<'_> {
        BatchReader::new(&self.bytes)
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.error = None;
    }

    /// Whether every operation that was asked for is in the batch.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for the first operation that broke a limit.
    pub fn check(&self) -> Result<()> {
        match &self.error {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn push(&mut self, keyspace: KeyspaceId, kind: Kind, key: &[u8], value: &[u8]) {
        let op = BatchOp { keyspace, kind, key, value };
        if let Err(error) = check_limits(&op, self.bytes.len()) {
            self.error.get_or_insert(error);
            return;
        }
        self.bytes.reserve(key.len() + value.len() + 16);
        self.bytes.push(kind.code());
        put_varint(&mut self.bytes, u64::from(keyspace.0));
        put_slice(&mut self.bytes, key);
        match kind {
            Kind::Put => put_slice(&mut self.bytes, value),
            Kind::Delete => {}
        }
        self.count += 1;
    }
}

fn check_limits(op: &BatchOp<'_>, batch_len: usize) -> Result<()> {
    let BatchOp { key, value, .. } = op;
    check_key(key)?;
    if MAX_VALUE_LEN < value.len() {
        let detail = format!("a value of {} bytes; at most {MAX_VALUE_LEN}", value.len());
        return Err(Error::InvalidArgument(detail));
    }
    if MAX_BATCH_LEN < batch_len + op.encoded_len() {
        return Err(Error::InvalidArgument(format!("a batch of more than {MAX_BATCH_LEN} bytes")));
    }
    Ok(())
}

/// Checks that `key` may be stored.
///
/// # Errors
/// [`Error::InvalidArgument`] if it is empty or longer than [`MAX_KEY_LEN`].
pub fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("an empty key; keys have 1 to 65535 bytes"));
    }
    if MAX_KEY_LEN < key.len() {
        let detail = format!("a key of {} bytes; keys have 1 to {MAX_KEY_LEN} bytes", key.len());
        return Err(Error::InvalidArgument(detail));
    }
    Ok(())
}

/// One operation of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchOp<'a> {
    /// Where.
    pub keyspace: KeyspaceId,
    /// What.
    pub kind: Kind,
    /// The user key.
    pub key: &'a [u8],
    /// The value; empty for a delete.
    pub value: &'a [u8],
}

impl BatchOp<'_> {
    /// How many bytes the operation takes in a batch.
    fn encoded_len(&self) -> usize {
        let slice_len = |bytes: &[u8]| varint_len(bytes.len() as u64) + bytes.len();
        let value_len = match self.kind {
            Kind::Put => slice_len(self.value),
            Kind::Delete => 0,
        };
        1 + varint_len(u64::from(self.keyspace.0)) + slice_len(self.key) + value_len
    }
}

/// What is wrong with the bytes of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchError {
    /// Where in the batch, in bytes.
    pub offset: usize,
    /// What is wrong there.
    pub detail: &'static str,
    /// Whether the operation is one that a later format has.
    pub is_unsupported: bool,
}

/// The operations of encoded batches, in order; ends after the first error.
#[derive(Clone, Debug)]
pub struct BatchReader<'a> {
    reader: Reader<'a>,
    is_done: bool,
}

impl<'a> BatchReader<'a> {
    /// The operations in these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> BatchReader<'a> {
        BatchReader { reader: Reader::new(bytes), is_done: false }
    }

    fn read_op(&mut self) -> Result<BatchOp<'a>, &'static str> {
        let code = self.reader.u8().ok_or("no operation")?;
        let kind = Kind::from_code(code).ok_or("an unknown operation")?;
        let keyspace = KeyspaceId(self.reader.varint_u32().ok_or("no keyspace")?);
        let key = self.reader.slice().ok_or("a key beyond the end")?;
        let value = match kind {
            Kind::Put => self.reader.slice().ok_or("a value beyond the end")?,
            Kind::Delete => &[],
        };
        if key.is_empty() || MAX_KEY_LEN < key.len() || MAX_VALUE_LEN < value.len() {
            return Err("a key or value of a forbidden length");
        }
        Ok(BatchOp { keyspace, kind, key, value })
    }
}

impl<'a> Iterator for BatchReader<'a> {
    type Item = Result<BatchOp<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done || self.reader.is_empty() {
            return None;
        }
        let offset = self.reader.offset();
        let code = self.reader.rest()[0];
        let item = self.read_op().map_err(|detail| BatchError {
            offset,
            detail,
            is_unsupported: Kind::is_reserved(code),
        });
        self.is_done = item.is_err();
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn operations_come_back_in_order() {
        let mut batch = WriteBatch::new();
        batch.put("a", "1");
        batch.delete_in(KeyspaceId(300), "b");
        batch.put_in(KeyspaceId(2), "c", "");
        let ops: Vec<_> = batch.ops().map(|op| op.unwrap()).collect();
        let op = |keyspace, kind, key, value| BatchOp { keyspace, kind, key, value };
        assert_eq!(batch.count(), 3);
        assert_eq!(
            ops,
            [
                op(KeyspaceId(0), Kind::Put, &b"a"[..], &b"1"[..]),
                op(KeyspaceId(300), Kind::Delete, b"b", b""),
                op(KeyspaceId(2), Kind::Put, b"c", b""),
            ]
        );
    }

    #[test]
    fn deletes_alone_are_no_puts() {
        let mut batch = WriteBatch::new();
        batch.delete("a");
        assert!(!batch.has_puts());
        batch.put("b", "");
        batch.delete("c");
        assert!(batch.has_puts());
    }

    #[test]
    fn an_operation_that_breaks_a_limit_is_reported_and_left_out() {
        let mut batch = WriteBatch::new();
        batch.put("good", "1");
        batch.put("", "2");
        batch.put(vec![b'k'; MAX_KEY_LEN + 1], "3");
        assert_eq!(batch.count(), 1);
        assert!(
            matches!(batch.check(), Err(Error::InvalidArgument(detail)) if detail.contains("empty"))
        );
        batch.clear();
        batch.put(vec![b'k'; MAX_KEY_LEN], "4");
        assert!(batch.check().is_ok());
    }

    #[test]
    fn a_batch_may_be_exactly_as_long_as_the_limit() {
        for (keyspace, kind, key, value) in [
            (0, Kind::Put, &b"k"[..], &b"v"[..]),
            (300, Kind::Put, &[b'k'; 200], &[b'v'; 20_000]),
            (u32::MAX, Kind::Delete, &[b'k'; MAX_KEY_LEN], b""),
        ] {
            let mut batch = WriteBatch::new();
            batch.push(KeyspaceId(keyspace), kind, key, value);
            let op = BatchOp { keyspace: KeyspaceId(keyspace), kind, key, value };
            let room = MAX_BATCH_LEN - batch.as_bytes().len();
            check_limits(&op, room).unwrap();
            let Err(Error::InvalidArgument(detail)) = check_limits(&op, room + 1) else {
                panic!("a byte too many")
            };
            assert_eq!(detail, format!("a batch of more than {MAX_BATCH_LEN} bytes"));
        }
    }

    #[test]
    fn reserved_operations_are_unsupported_and_unknown_ones_damage() {
        let read = |code| BatchReader::new(&[code, 0, 1, b'k']).next().unwrap().unwrap_err();
        assert!(read(3).is_unsupported && read(8).is_unsupported);
        assert!(!read(0).is_unsupported && !read(9).is_unsupported);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_stop_at_the_first_error(bytes: Vec<u8>) {
            let items: Vec<_> = BatchReader::new(&bytes).collect();
            let errors = items.iter().filter(|item| item.is_err()).count();
            prop_assert!(errors <= 1);
            prop_assert!(errors == 0 || items.last().unwrap().is_err());
        }

        #[test]
        fn batches_round_trip(
            ops in prop::collection::vec(
                (any::<u32>(), prop::collection::vec(any::<u8>(), 1..40), any::<Option<Vec<u8>>>()),
                0..20,
            )
        ) {
            let mut batch = WriteBatch::new();
            for (keyspace, key, value) in &ops {
                match value {
                    Some(value) => batch.put_in(KeyspaceId(*keyspace), key, value),
                    None => batch.delete_in(KeyspaceId(*keyspace), key),
                }
            }
            prop_assert!(batch.check().is_ok());
            let read: Vec<_> = batch
                .ops()
                .map(|op| op.unwrap())
                .map(|op| {
                    let value = (op.kind == Kind::Put).then(|| op.value.to_vec());
                    (op.keyspace.0, op.key.to_vec(), value)
                })
                .collect();
            prop_assert_eq!(read, ops);
        }
    }
}
