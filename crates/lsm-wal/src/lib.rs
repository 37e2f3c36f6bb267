//! A write-ahead log that can tell a torn tail from damage.
//!
//! - [`Wal`] appends records to segments, and syncs them beside the appends;
//! - [`replay()`] reads them back after a crash: a prefix of what was appended that holds all that
//!   was synced, or an error that names the file and the offset, never anything else;
//! - [`salvage()`] reads what is left of a log that is damaged, and says where something is lost;
//! - [`JournalWriter`] and [`read_journal()`] are the same for a file whose records are synced one
//!   by one, such as the MANIFEST;
//! - [`Inspector`] shows a file record by record, for tools.
//!
//! The log never looks inside a record, owns no thread, and has neither clock nor random source:
//! the caller hands in each segment's epoch. `format.rs` has the byte diagrams.
//!
//! ```
//! use std::sync::Arc;
//! use lsm_base::{Fs, Seq, fs::StdFs};
//! use lsm_wal::{Record, ReplayFrom, Wal, WalOptions, replay};
//!
//! # fn main() -> lsm_base::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path();
//! let fs: Arc<dyn Fs> = Arc::new(StdFs);
//! let mut epoch = 0x5eed; // a random number in earnest
//! let epochs = Box::new(move || { epoch += 1; epoch });
//! let options = WalOptions { segment_size: 1 << 20, ..WalOptions::default() };
//!
//! let wal = Wal::create(fs.clone(), dir, options, 1, epochs)?;
//! let end = wal.append(&[Record { first_seq: Seq::new(1), payload: b"one" }])?;
//! wal.sync(end)?; // "one" survives a power loss from here on
//! wal.append(&[Record { first_seq: Seq::new(2), payload: b"two" }])?;
//! drop(wal); // the process ends without a close
//!
//! let from = ReplayFrom { first_segment: 1, highest_used: 1, ..ReplayFrom::default() };
//! let mut found = Vec::new();
//! let report = replay(&*fs, dir, from, &mut |record| {
//!     found.push((record.first_seq, record.payload.to_vec()));
//!     Ok(())
//! })?;
//! assert_eq!(found, [(Seq::new(1), b"one".to_vec()), (Seq::new(2), b"two".to_vec())]);
//! assert_eq!((report.records, report.dropped_bytes, report.next_segment), (2, 0, 2));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod format;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod inspect;
mod journal;
mod lsn;
mod replay;
mod scan;
mod segment;
mod wal;

pub use format::{
    FILE_HEADER_LEN, FileHeader, FileKind, MAX_FILE_LEN, MAX_PAYLOAD_LEN, RECORD_OVERHEAD,
    RecordKind, record_len,
};
pub use inspect::{Finding, Inspector, RecordInfo};
pub use journal::{JournalReport, JournalWriter, read_journal};
pub use lsn::Lsn;
pub use replay::{
    LostRecords, ReplayFrom, ReplayRecord, ReplayReport, Salvaged, check, replay, salvage,
};
pub use segment::remove_segments;
pub use wal::{Installed, Medium, Record, SMALL_SEGMENT, Wal, WalOptions};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = "```"]
#[doc = include_str!("../examples/append_crash_replay.rs")]
#[doc = "```"]
struct Example;
