//! The shape of a log-structured merge tree as pure data, and the merge that keeps it.
//!
//! ```text
//!      when and what                           how
//!
//!      State ── Version ── Tree                 cursors ──► MergingCursor
//!        ▲                  │                                   │
//!  apply │                  ▼                                   ▼
//!   VersionEdit ◄──┐    Picker ──► Compaction ──► job::run: CompactionIter
//!        │         │                                            │
//!        ▼         └──────────── tables ◄──────────────── OutputWriter
//!     MANIFEST
//! ```
//!
//! - **Shape.** A [`Version`] says which tables the store has, a [`Tree`] which of them each level
//!   of a keyspace has, a [`TableMeta`] what one holds. A [`VersionEdit`] leads from one version
//!   to the next and is a record of the MANIFEST; a [`State`] is a version and the counters around
//!   it, and [`Replay`] reads it back.
//! - **When, and what.** A [`Picker`] looks at a tree and at what runs ([`InProgress`]) and
//!   answers with a [`Compaction`], with the score of each level, and with the level for a flush.
//! - **How.** [`job::run`] merges cursors, drops what no reader can see ([`CompactionIter`],
//!   [`Elision`]), cuts the rest into tables ([`OutputWriter`]), and checks them. A flush is the
//!   same job with other inputs.
//!
//! What is absent: threads, locks, clocks, random sources, and the deletion of files. A job
//! proposes tables; whoever calls it syncs the directory, makes the edit durable, and only then
//! removes what the edit deletes. Sequences are never changed: that of a key's last write is its
//! version.
//!
//! Two tables are built, merged, and the result is read:
//!
//! ```
#![doc = include_str!("../examples/compact.rs")]
//! ```

#![forbid(unsafe_code)]

pub mod compaction;
pub mod compaction_iter;
pub mod edit;
pub mod elision;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
pub mod in_progress;
pub mod item;
pub mod job;
pub mod key_range;
pub mod output;
pub mod picker;
pub mod replay;
pub mod state;
pub mod table_meta;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod version;

pub use compaction::{Compaction, Reason};
pub use compaction_iter::CompactionIter;
pub use edit::VersionEdit;
pub use elision::Elision;
pub use in_progress::InProgress;
pub use job::{JobContext, Outcome};
pub use key_range::KeyRange;
pub use output::{NewTable, OutputOptions, OutputWriter};
pub use picker::{Picker, PickerOptions};
pub use replay::Replay;
pub use state::State;
pub use table_meta::TableMeta;
pub use tree::Tree;
pub use version::{LEVELS, Version};
