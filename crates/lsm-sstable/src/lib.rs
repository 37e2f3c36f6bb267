//! Tables: immutable files of sorted entries.
//!
//! ```text
//! +-------------+-----+--------+--------+------------+-----------+--------+
//! | data blocks | ... | filter | fences | properties | directory | footer |
//! +-------------+-----+--------+--------+------------+-----------+--------+
//!   4 KiB each           64-byte  in which block         where each   id, version,
//!   entries, tags        lines    a key would be         section is   checksum, magic
//! ```
//!
//! - [`TableBuilder`] writes a table from entries in order, and syncs it;
//! - [`Table`] reads it: point gets, [`TableCursor`]s both ways, [`Table::verify`],
//!   [`Table::inspect`];
//! - [`SortedRun`] and [`RunCursor`] make one level of the tree of many tables;
//! - [`Salvage`] reads what is left of a table that is damaged;
//! - [`BlockCache`] holds the blocks that cannot be used where they are.
//!
//! A get takes one line of the filter, one search of the fences, a comparison of one-byte tags and
//! one of keys; where blocks are not compressed it uses the mapped file in place. Every region is
//! checksummed with a seed made of the table's random id and the region's offset, and checked
//! before its first use; a fault is an [`Error`](lsm_base::Error) that names file and offset, and
//! never a missing key.
//!
//! ```
//! use std::sync::Arc;
//!
//! use lsm_base::fs::StdFs;
//! use lsm_base::key::hash_user_key;
//! use lsm_base::{Cursor, Fs, InternalKeyRef, KeyspaceId, Kind, Seq};
//! use lsm_sstable::{BlockCache, CursorMode, ReadMode, Table, TableBuilder, TableOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let fs: Arc<dyn Fs> = Arc::new(StdFs);
//! let path = dir.path().join("000001.sst");
//!
//! // Entries come in order: user keys ascend, and among versions the newest comes first.
//! let id = 0x5eed; // random in a database
//! let keyspace = (KeyspaceId::DEFAULT, "default");
//! let mut builder = TableBuilder::new(fs.create(&path)?, id, keyspace, TableOptions::default());
//! builder.add(InternalKeyRef::new(b"apple", Seq::new(7), Kind::Put), b"red")?;
//! builder.add(InternalKeyRef::new(b"apple", Seq::new(3), Kind::Put), b"green")?;
//! builder.add(InternalKeyRef::new(b"pear", Seq::new(5), Kind::Delete), b"")?;
//! let summary = builder.finish()?;
//! assert_eq!((summary.entries, summary.tombstones), (3, 1));
//!
//! let table = Table::open_standalone(fs, &path, ReadMode::Map, BlockCache::new(8 << 20))?;
//! let get = |key: &[u8], seq| table.get(key, hash_user_key(key), Seq::new(seq));
//! assert_eq!(&*get(b"apple", 9)?.unwrap().value, b"red");
//! assert_eq!(&*get(b"apple", 6)?.unwrap().value, b"green");
//! assert_eq!(get(b"pear", 9)?.unwrap().kind, Kind::Delete);
//! assert!(get(b"plum", 9)?.is_none());
//!
//! let mut cursor = table.cursor(CursorMode::Read);
//! cursor.seek(b"b", Seq::MAX)?;
//! assert_eq!(cursor.key().user_key, b"pear");
//! cursor.prev()?;
//! assert_eq!((cursor.key().seq, cursor.value()), (Seq::new(3), &b"green"[..]));
//! # Ok(())
//! # }
//! ```

mod block;
mod builder;
mod cache;
mod cursor;
mod fences;
mod filter;
mod flaw;
mod format;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod inspect;
#[expect(unsafe_code, reason = "a memory map; see the head of the file")]
mod map;
mod options;
mod properties;
mod region;
mod run;
mod salvage;
mod table;
mod value;

pub use crate::builder::{TableBuilder, TableSummary};
pub use crate::cache::BlockCache;
pub use crate::cursor::TableCursor;
pub use crate::inspect::{BlockDetail, BlockInfo, FilterInfo, Inspection, SectionInfo};
pub use crate::options::{
    Compression, CursorMode, MAX_BLOCK_SIZE, MAX_BLOOM_BITS_PER_KEY, ReadMode, TableOptions,
};
pub use crate::properties::TableProperties;
pub use crate::run::{RunCursor, RunTable, SortedRun};
pub use crate::salvage::{LostBlocks, Salvage, SalvageStep, TableIdentity};
pub use crate::table::{Probe, Resident, Table, TableSource, VerifyReport};
pub use crate::value::{TableEntry, TableValue};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = "```"]
#[doc = include_str!("../examples/inspect.rs")]
#[doc = "```"]
struct Example;
