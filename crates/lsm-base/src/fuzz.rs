//! Fuzz targets of this crate: what holds of any bytes. See [`corpus`](crate::testing::corpus).

use crate::coding::{Reader, put_varint};
use crate::key::{
    InternalKeyRef, Kind, Seq, compare_user_keys, key_prefix, pack_trailer, unpack_trailer,
};
use crate::{BatchReader, FileName, WriteBatch};

/// A batch that parses is the batch that its operations make.
pub fn batch(bytes: &[u8]) {
    let mut again = WriteBatch::new();
    for op in BatchReader::new(bytes) {
        match op {
            Ok(op) if op.kind == Kind::Put => again.put_in(op.keyspace, op.key, op.value),
            Ok(op) => again.delete_in(op.keyspace, op.key),
            Err(error) => {
                assert_eq!(&bytes[..error.offset], again.as_bytes(), "it parses up to the error");
                return;
            }
        }
    }
    again.check().expect("what parses keeps to the limits");
    assert_eq!(again.as_bytes(), bytes);
}

/// Varints, trailers, file names and the order of keys.
pub fn key(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if let Some(value) = reader.varint() {
        let mut again = Vec::new();
        put_varint(&mut again, value);
        assert_eq!(&bytes[..reader.offset()], again, "a varint has one form");
    }
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(FileName::parse) {
        assert_eq!(name.to_string().as_bytes(), bytes, "a file name has one form");
    }
    let (Some(trailer), Some(cut)) = (Reader::new(bytes).u64(), bytes.get(8)) else { return };
    let parts = unpack_trailer(trailer);
    if let Some((seq, kind)) = parts {
        assert_eq!(pack_trailer(seq, kind), trailer);
    }
    let rest = &bytes[9..];
    let (a, b) = rest.split_at(rest.len().min(usize::from(*cut)));
    assert_eq!(compare_user_keys(a, b), a.cmp(b), "user keys ascend bytewise");
    assert!(key_prefix(a).cmp(&key_prefix(b)) as i8 * a.cmp(b) as i8 >= 0, "prefixes ascend too");
    let (seq, kind) = parts.unwrap_or((Seq::MAX, Kind::Put));
    let (newer, older) =
        (InternalKeyRef::new(a, seq, kind), InternalKeyRef::new(a, Seq::ZERO, kind));
    assert!(newer <= older, "the newest comes first");
    let other = InternalKeyRef::new(b, seq, kind);
    assert_eq!(newer.cmp(&other), a.cmp(b));
    assert_eq!(newer.cmp(&other), other.cmp(&newer).reverse());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyspaceId;
    use crate::testing::corpus;

    #[test]
    fn the_corpus_of_batches() {
        let mut one = WriteBatch::new();
        one.put("key", "value");
        let mut many = one.clone();
        many.delete_in(KeyspaceId(300), vec![b'k'; 200]);
        many.put_in(KeyspaceId(7), "k", vec![b'v'; 300]);
        corpus::replay(
            "batch",
            &[one.as_bytes().into(), many.as_bytes().into()],
            corpus::RUNS,
            batch,
        );
    }

    #[test]
    fn the_corpus_of_keys() {
        let mut keys = pack_trailer(Seq::new(7), Kind::Delete).to_le_bytes().to_vec();
        keys.extend_from_slice(b"\x06aaaaabaaaaac");
        let names = ["000007.log", "MANIFEST-000001", "CURRENT", "000009.sst.tmp"];
        let mut seeds = vec![keys, vec![0xff, 0x80, 0x01]];
        seeds.extend(names.map(Vec::from));
        corpus::replay("key", &seeds, corpus::RUNS, key);
    }
}
