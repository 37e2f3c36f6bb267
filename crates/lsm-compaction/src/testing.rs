//! Tables for the unit tests of this crate.

use lsm_base::{InternalKey, KeyspaceId, Kind, Seq};
use lsm_sstable::Compression;

use crate::table_meta::{Mark, TableMeta};

/// A table of 1 MiB whose first key was written last and whose last key was written first.
pub(crate) fn table(number: u64, smallest: &str, largest: &str, min: u64, max: u64) -> TableMeta {
    let key = |user_key: &str, seq: u64| InternalKey {
        user_key: user_key.as_bytes().into(),
        seq: Seq::new(seq),
        kind: Kind::Put,
    };
    TableMeta {
        number,
        id: number << 32 | 0xabcd,
        keyspace: KeyspaceId::DEFAULT,
        len: 1 << 20,
        entries: 100,
        tombstones: 0,
        smallest: key(smallest, max),
        largest: key(largest, min),
        min_seq: Seq::new(min),
        max_seq: Seq::new(max),
        compression: Compression::None,
        mark: Mark::None,
        unknown: Vec::new(),
    }
}
