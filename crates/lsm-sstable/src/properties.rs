//! What a table says of itself: enough to find its place without a MANIFEST.

use lsm_base::codec::{decode_record, encode_record};
use lsm_base::key::{InternalKey, MAX_KEY_LEN, pack_trailer, unpack_trailer};
use lsm_base::{KeyspaceId, Seq};
use serde::{Deserialize, Serialize};

use crate::flaw::Flaw;
use crate::options::{Compression, TableOptions};

/// The properties of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableProperties {
    /// The keyspace that the table belongs to.
    pub keyspace: KeyspaceId,
    /// The name of that keyspace when the table was written.
    pub keyspace_name: String,
    /// How many entries the table has, versions and tombstones included.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// The length of all user keys in bytes, one for each entry.
    pub raw_key_bytes: u64,
    /// The length of all values in bytes.
    pub raw_value_bytes: u64,
    /// The oldest write in the table.
    pub min_seq: Seq,
    /// The newest write in the table.
    pub max_seq: Seq,
    /// The first key.
    pub smallest: InternalKey,
    /// The last key.
    pub largest: InternalKey,
    /// With what options the table was built.
    pub options: TableOptions,
}

/// The record on disk. Field order and types are the format.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    keyspace: u32,
    keyspace_name: &'a str,
    entries: u64,
    tombstones: u64,
    raw_key_bytes: u64,
    raw_value_bytes: u64,
    min_seq: u64,
    max_seq: u64,
    #[serde(borrow)]
    smallest: (&'a [u8], u64),
    #[serde(borrow)]
    largest: (&'a [u8], u64),
    block_size: u32,
    compression: u8,
    bloom_bits_per_key: u32,
}

impl TableProperties {
    /// The content of the properties section.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let trailer = |key: &InternalKey| pack_trailer(key.seq, key.kind);
        encode_record(&Record {
            keyspace: self.keyspace.0,
            keyspace_name: &self.keyspace_name,
            entries: self.entries,
            tombstones: self.tombstones,
            raw_key_bytes: self.raw_key_bytes,
            raw_value_bytes: self.raw_value_bytes,
            min_seq: self.min_seq.get(),
            max_seq: self.max_seq.get(),
            smallest: (&self.smallest.user_key, trailer(&self.smallest)),
            largest: (&self.largest.user_key, trailer(&self.largest)),
            block_size: self.options.block_size,
            compression: self.options.compression.code(),
            bloom_bits_per_key: self.options.bloom_bits_per_key,
        })
    }

    /// The properties in the content of the section.
    pub(crate) fn decode(content: &[u8]) -> Result<TableProperties, Flaw> {
        let record: Record<'_> = decode_record(content)
            .map_err(|detail| Flaw::corrupt(0, format!("properties: {detail}")))?;
        let compression = Compression::from_code(record.compression)
            .ok_or_else(|| Flaw::unsupported(format!("compression {}", record.compression)))?;
        Ok(TableProperties {
            keyspace: KeyspaceId(record.keyspace),
            keyspace_name: record.keyspace_name.into(),
            entries: record.entries,
            tombstones: record.tombstones,
            raw_key_bytes: record.raw_key_bytes,
            raw_value_bytes: record.raw_value_bytes,
            min_seq: decode_seq(record.min_seq)?,
            max_seq: decode_seq(record.max_seq)?,
            smallest: decode_key(record.smallest)?,
            largest: decode_key(record.largest)?,
            options: TableOptions {
                block_size: record.block_size,
                compression,
                bloom_bits_per_key: record.bloom_bits_per_key,
            },
        })
    }
}

fn decode_seq(number: u64) -> Result<Seq, Flaw> {
    Seq::try_new(number).ok_or_else(|| Flaw::corrupt(0, "properties: a sequence beyond 56 bits"))
}

fn decode_key((user_key, trailer): (&[u8], u64)) -> Result<InternalKey, Flaw> {
    if user_key.is_empty() || MAX_KEY_LEN < user_key.len() {
        return Err(Flaw::corrupt(0, "properties: a key of impossible length"));
    }
    let (seq, kind) = unpack_trailer(trailer)
        .ok_or_else(|| Flaw::corrupt(0, "properties: a key of unknown kind"))?;
    Ok(InternalKey { user_key: user_key.into(), seq, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_base::Kind;

    fn sample() -> TableProperties {
        let key = |user_key: &[u8], seq| InternalKey {
            user_key: user_key.into(),
            seq: Seq::new(seq),
            kind: Kind::Put,
        };
        TableProperties {
            keyspace: KeyspaceId(7),
            keyspace_name: "users".into(),
            entries: 10,
            tombstones: 2,
            raw_key_bytes: 30,
            raw_value_bytes: 40,
            min_seq: Seq::new(3),
            max_seq: Seq::new(12),
            smallest: key(b"a", 12),
            largest: key(b"z", 3),
            options: TableOptions::default(),
        }
    }

    #[test]
    fn properties_round_trip() {
        let bytes = sample().encode();
        assert_eq!(TableProperties::decode(&bytes), Ok(sample()));
        for len in 0..bytes.len() {
            assert!(TableProperties::decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn keys_that_cannot_be_are_refused() {
        assert!(decode_key((&[], 1)).is_err());
        assert!(decode_key((&[1], 0)).is_err());
        assert!(decode_key((&[0; MAX_KEY_LEN + 1], 1)).is_err());
        assert_eq!(decode_key((&[0; MAX_KEY_LEN], 1)).unwrap().user_key.len(), MAX_KEY_LEN);
        assert_eq!(&*decode_key((b"k", 1)).unwrap().user_key, b"k");
        assert!(decode_seq(1 << 56).is_err());
    }
}
