//! File numbers: what tables and MANIFESTs are called, each once.
//!
//! Invariant: no number is handed out that no name can have. An open leaves [`KEPT_FREE`] of them,
//! or refuses; a process that has handed out so many has made as many files.

use std::sync::atomic::{AtomicU64, Ordering};

use lsm_base::file_name::FILE_NUMBER_END;

/// How many numbers an open must find free.
pub(crate) const KEPT_FREE: u64 = 1 << 32;

/// The counter of tables and MANIFESTs.
#[derive(Debug)]
pub(crate) struct FileNumbers(AtomicU64);

impl FileNumbers {
    /// Numbers from `next` on.
    pub(crate) const fn from(next: u64) -> FileNumbers {
        FileNumbers(AtomicU64::new(next))
    }

    /// A number that nobody was given before.
    ///
    /// # Panics
    /// If no name can have it.
    pub(crate) fn take(&self) -> u64 {
        // Each caller needs another number, and nothing else of what the others do.
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        assert!(number < FILE_NUMBER_END, "an open leaves more file numbers than are ever taken");
        number
    }

    /// Numbers from here on were not handed out yet.
    pub(crate) fn next(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
