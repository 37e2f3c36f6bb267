//! The shape of the tree.

#![forbid(unsafe_code)]

pub mod compaction;
pub mod compaction_iter;
pub mod edit;
pub mod elision;
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
