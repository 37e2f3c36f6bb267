//! The vocabulary of the store.
//!
//! Every crate above speaks in these terms, and only in these:
//!
//! - [`Seq`], [`Kind`], [`InternalKeyRef`]: who wrote which key when, and the one order of keys;
//! - [`WriteBatch`]: writes that become visible together; its bytes are what the log stores;
//! - [`Cursor`] and [`MergingCursor`]: sorted entries, one after the other, from one or many sources;
//! - [`Fs`] and [`File`]: the seam through which every file operation of the store goes;
//! - [`FileName`]: what each file of a database directory is called;
//! - [`metrics`]: counters, gauges and histograms that hot paths can afford;
//! - [`Error`]: what can go wrong below the engine.
//!
//! ```
//! use lsm_base::{InternalKeyRef, Kind, Seq, WriteBatch};
//!
//! let mut batch = WriteBatch::new();
//! batch.put("apple", "red");
//! batch.delete("banana");
//! batch.put("apple", "green");
//! batch.check()?;
//!
//! // The operations get consecutive sequences when the batch is committed.
//! let ops: Vec<_> = batch.ops().collect::<Result<_, _>>().expect("a batch always parses");
//! let mut keys: Vec<_> = (100..)
//!     .zip(&ops)
//!     .map(|(seq, op)| InternalKeyRef::new(op.key, Seq::new(seq), op.kind))
//!     .collect();
//!
//! // In the order of the store the newest version of a key comes first.
//! keys.sort();
//! let newest = keys[0];
//! assert_eq!((newest.user_key, newest.seq, newest.kind), (&b"apple"[..], Seq::new(102), Kind::Put));
//! # Ok::<(), lsm_base::Error>(())
//! ```
//!
//! With the feature `testing` come [`fs`]'s file systems for tests: `MemFs` in memory, which shows
//! what a power loss would leave, and `FaultFs`, which makes chosen operations fail.
//!
//! A thing enters this crate only if two crates above need it and it knows no file layout but that
//! of the key and the batch.

pub mod batch;
pub mod checksum;
pub mod codec;
pub mod coding;
pub mod cursor;
pub mod error;
pub mod file_name;
pub mod fs;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
pub mod key;
pub mod merging;
pub mod metrics;
pub mod plant;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use batch::{BatchOp, BatchReader, KeyspaceId, WriteBatch};
pub use cursor::Cursor;
pub use error::{Error, Result};
pub use file_name::FileName;
pub use fs::{File, Fs};
pub use key::{InternalKey, InternalKeyRef, Kind, Seq};
pub use merging::MergingCursor;

/// The README's examples are tests.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(doctest, feature = "testing"))]
#[doc = "```"]
#[doc = include_str!("../examples/lost_sync.rs")]
#[doc = "```"]
struct Example;
