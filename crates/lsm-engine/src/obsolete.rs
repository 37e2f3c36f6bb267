//! Files that the tree does not name any more, until nobody reads them either.
//!
//! A table leaves the tree by an edit; it is unlinked here, by a worker and never by a reader, when
//! its last reader is gone. Log segments and MANIFESTs have no readers, and neither has what an open
//! could not unlink. After a close nothing is unlinked: the next open removes what is left.

use std::path::Path;
use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_base::{FileName, Fs, Result};
use lsm_sstable::Table;

use crate::inner::Inner;
use crate::sync::Mutex;

/// Files to be unlinked.
#[derive(Debug, Default)]
pub(crate) struct Obsolete {
    /// Held by whoever unlinks: who comes second finds the work done, and not half done.
    removing: Mutex<()>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tables: Vec<(u64, Arc<Table>)>,
    files: Vec<FileName>,
}

impl Obsolete {
    /// Takes tables that no version from now on has.
    pub(crate) fn add_tables(&self, tables: Vec<(u64, Arc<Table>)>) {
        self.waiting.lock().tables.extend(tables);
    }

    /// Takes a file that has no readers.
    pub(crate) fn add_file(&self, file: FileName) {
        self.waiting.lock().files.push(file);
    }

    /// Unlinks what nobody holds any more. Returns how many files that were.
    ///
    /// # Errors
    /// The first failure; what could not be unlinked is tried again next time.
    pub(crate) fn remove(&self, inner: &Inner) -> Result<usize> {
        self.remove_from(&*inner.fs, &inner.dir)
    }

    pub(crate) fn remove_from(&self, fs: &dyn Fs, dir: &Path) -> Result<usize> {
        let _one_at_a_time = self.removing.lock();
        let files = self.take_free();
        let count = files.len();
        let mut first_error = None;
        for file in files {
            match fs.remove(&file.path(dir)) {
                Ok(()) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    self.add_file(file);
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(count), Err)
    }

    /// Keeps no table open any more. For the close, after which nothing is unlinked.
    pub(crate) fn let_go(&self) {
        self.waiting.lock().tables.clear();
    }

    fn take_free(&self) -> Vec<FileName> {
        let mut waiting = self.waiting.lock();
        let mut files = std::mem::take(&mut waiting.files);
        // No version has these tables, so nobody can get hold of one that nobody holds.
        waiting.tables.retain(|(number, table)| {
            let is_held =
                1 < Arc::strong_count(table) && !plant::is_live(Plant::UnlinkedUnderReader);
            if !is_held {
                files.push(FileName::Table(*number));
            }
            is_held
        });
        files
    }
}
