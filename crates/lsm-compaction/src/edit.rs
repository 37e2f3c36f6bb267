//! Version edits: the records of the MANIFEST.
//!
//! An edit says what changes, and is durable or not as a whole. The first record of a MANIFEST is
//! the whole state as one edit, with a [`Header`]; no later record has one. `codec.rs` has the
//! bytes.
//!
//! Invariant: an edit names a table's level, number and id in one place, so the file of that
//! number is either the one that was meant or is refused (its footer repeats the id).

use std::path::Path;
use std::sync::Arc;

use lsm_base::{KeyspaceId, Result, Seq};

use crate::item::Item;
use crate::table_meta::TableMeta;

mod codec;
#[cfg(test)]
mod tests;

/// The format that this build writes. It opens this one and every older one that was frozen.
pub const FORMAT_VERSION: u32 = 0;

/// Name of the checksum, recorded in every MANIFEST.
pub const CHECKSUM: &str = "xxh3-64 seeded with id, offset and region";

/// What changes between two states of the store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VersionEdit {
    /// Which store this is; in the first record of a MANIFEST, and only there.
    pub header: Option<Header>,
    /// Which part of the log is still needed.
    pub log_floor: Option<LogFloor>,
    /// Files of tables and MANIFESTs are numbered from here on.
    pub next_file_number: Option<u64>,
    /// The first sequence that this opening of the store may hand out.
    pub first_seq: Option<Seq>,
    /// No older sequence than this one is handed out again.
    pub last_seq: Option<Seq>,
    /// Keyspaces are numbered from here on.
    pub next_keyspace_id: Option<u32>,
    /// Keyspaces that begin.
    pub created_keyspaces: Vec<CreatedKeyspace>,
    /// Keyspaces that end, with every table they have.
    pub dropped_keyspaces: Vec<DroppedKeyspace>,
    /// Tables that leave their level. Applied before the additions, so that a table can move.
    pub deleted_tables: Vec<DeletedTable>,
    /// Tables that enter a level.
    pub added_tables: Vec<AddedTable>,
    /// The log ends here, whole; only in the last record before the store was closed.
    pub clean_close: Option<LogPosition>,
    /// Items that this build does not know and may ignore. Tags are reserved for blob files, the
    /// `applied` mark of a replicated log, and feature bits.
    pub unknown: Vec<Item>,
}

impl VersionEdit {
    /// The payload of a MANIFEST record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The edit in a MANIFEST record whose payload begins at `offset` of `path`.
    ///
    /// # Errors
    /// `Corruption` if the payload is no edit; `UnsupportedFormat` if it is one of a newer format,
    /// or requires what this build does not know.
    pub fn decode(payload: &[u8], path: &Path, offset: u64) -> Result<VersionEdit> {
        codec::decode(payload, path, offset)
    }

    /// Adds a table to a level.
    pub fn add_table(&mut self, level: usize, table: Arc<TableMeta>) {
        self.added_tables.push(AddedTable { level, table });
    }

    /// Takes a table out of its level.
    pub fn delete_table(&mut self, level: usize, table: &TableMeta) {
        let TableMeta { keyspace, number, .. } = *table;
        self.deleted_tables.push(DeletedTable { keyspace, level, number });
    }
}

/// Which store this is, and by which rules it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The format of every file.
    pub format_version: u32,
    /// Random; tells this store from every other.
    pub db_id: u128,
    /// The order of user keys.
    pub key_order: String,
    /// The checksum of every file.
    pub checksum: String,
}

/// A place in the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct LogPosition {
    /// The number of a segment.
    pub segment: u64,
    /// Bytes from its begin.
    pub offset: u64,
}

/// Which part of the log is still needed, and what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogFloor {
    /// Every write of an older segment is in a table.
    pub first_segment: u64,
    /// The log was synced up to here, so damage before it is no torn tail.
    pub synced: LogPosition,
    /// The newest segment that was in use: each from the first to this one must exist.
    pub highest_segment: u64,
}

/// A keyspace that begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatedKeyspace {
    /// Never used before.
    pub id: KeyspaceId,
    /// 1 to 64 of `[A-Za-z0-9_-]`; no other living keyspace has it.
    pub name: String,
    /// Its options; this build knows none.
    pub unknown: Vec<Item>,
}

/// A keyspace that ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DroppedKeyspace {
    /// Never used again.
    pub id: KeyspaceId,
    /// The place of the drop in commit order.
    pub seq: Seq,
}

/// A table that leaves its level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeletedTable {
    /// Its keyspace.
    pub keyspace: KeyspaceId,
    /// The level that it leaves.
    pub level: usize,
    /// Its number.
    pub number: u64,
}

/// A table that enters a level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddedTable {
    /// The level that it enters.
    pub level: usize,
    /// The table.
    pub table: Arc<TableMeta>,
}
