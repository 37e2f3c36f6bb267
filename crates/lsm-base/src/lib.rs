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
//! A thing enters this crate only if two crates above need it and it knows no file layout but that
//! of the key and the batch.

#![forbid(unsafe_code)]

pub mod batch;
pub mod checksum;
pub mod codec;
pub mod coding;
pub mod cursor;
pub mod error;
pub mod file_name;
pub mod fs;
pub mod key;
pub mod merging;
pub mod metrics;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use batch::{BatchOp, BatchReader, KeyspaceId, WriteBatch};
pub use cursor::Cursor;
pub use error::{Error, Result};
pub use file_name::FileName;
pub use fs::{File, Fs};
pub use key::{InternalKey, InternalKeyRef, Kind, Seq};
pub use merging::MergingCursor;
