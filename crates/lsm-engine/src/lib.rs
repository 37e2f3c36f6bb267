//! An embedded log-structured merge-tree key-value store.
//!
//! ```
//! use lsm_engine::{Db, Read};
//!
//! # fn main() -> lsm_engine::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("data");
//! let db = Db::open(path)?;
//! db.put("apple", "red")?;
//! db.put("banana", "yellow")?;
//! assert_eq!(db.get("apple")?.unwrap(), b"red");
//!
//! let before = db.snapshot()?;
//! db.delete("apple")?;
//! assert!(!db.contains("apple")?);
//! assert!(before.contains("apple")?);
//!
//! for entry in db.scan("a".."c") {
//!     let (key, value) = entry?;
//!     println!("{} is {}", key.escape_ascii(), value.escape_ascii());
//! }
//! db.close()?;
//! # Ok(()) }
//! ```
//!
//! What it promises:
//!
//! - `Ok` from a write means on disk, unless the write asked for less ([`Durability`]).
//! - A batch happens whole or not at all, in every crash and for every reader.
//! - What a crash leaves is a prefix of what was written: nothing is lost before something kept.
//! - A snapshot sees one moment for as long as it is held.
//! - A read answers what was written, or an error that names file and offset; never anything else.
//!
//! # Locks
//!
//! Taken in this order, and none while a later one is held:
//! the directory's lock and calls (`inner`, for the close), flushing (`background`), version set,
//! compactions that run (`background`), commit state, delayed writes, commit queue, publication, installation of
//! SuperVersions, the signal of `background`. Reads of data take none, nor does `metrics` take one
//! that is held over I/O; `levels` and `verify` do. From compactions on nothing is synced under a
//! lock; under the commit lock there is the append to the log and no other I/O.

#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/tuning.md")]
struct Readme;

#[cfg(doctest)]
#[doc = "```"]
#[doc = include_str!("../examples/tour.rs")]
#[doc = "```"]
struct Example;

#[cfg(all(doctest, feature = "testing"))]
#[doc = "```"]
#[doc = include_str!("../examples/torn_writes.rs")]
#[doc = "```"]
struct ExampleOfFaults;

mod admission;
mod background;
mod build;
mod builder;
mod checkpoint;
mod close;
mod commit;
mod compact;
mod db;
mod db_cursor;
mod error;
mod event;
mod failure;
mod file_numbers;
mod filter_checks;
mod flush;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod generation;
mod handle;
mod health;
mod inner;
mod keyspace;
mod levels;
mod manifest;
mod measure;
mod memory;
mod metrics;
mod obsolete;
mod open_tree;
mod options;
mod pressure;
mod progress;
mod promise;
mod read;
mod recovery;
mod repair;
mod replay_buffer;
mod reserve;
mod scan;
mod scrub;
mod set_aside;
mod snapshot;
mod source;
mod space;
mod super_version;
mod sync;
mod sync_gate;
mod value;
mod verify;
mod version_set;
mod write;

pub use builder::DbBuilder;
pub use db::{Db, Snapshot};
pub use db_cursor::{DbCursor, Pause};
pub use error::{Error, ErrorKind, Result};
pub use event::{CompactionReason, Event, EventListener};
pub use health::Health;
pub use keyspace::Keyspace;
pub use levels::{CompactionInfo, KeyspaceLevels, LevelInfo, MemtableInfo, TableInfo};
pub use lsm_base as base;
pub use lsm_base::{KeyspaceId, Seq, WriteBatch};
pub use lsm_compaction::edit::FORMAT_VERSION;
pub use lsm_sstable::Resident;
pub use metrics::{DiskUse, MemoryUse, Metrics};
pub use options::{Compression, Condition, Durability, Options, ReadMode, Recheck, WriteOptions};
pub use progress::Progress;
pub use read::{Read, View};
pub use recovery::RecoveryReport;
pub use repair::{LostRange, Repair, RepairReport, repair};
pub use scan::Scan;
pub use value::{Entry, Value};
pub use verify::VerifyReport;
pub use write::WriteFuture;
