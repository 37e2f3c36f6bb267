//! Checkpoints: a copy of the open database in another directory, which shares the tables' files.
//!
//! 1. The directory is created and locked, so that nobody opens what is not whole.
//! 2. What is in memory is flushed, until the tables hold all writes up to one sequence.
//! 3. A MANIFEST with that state is written and synced, with its name.
//! 4. Each table gets a name in the directory. It stays valid there: a table is bound to the id that
//!    the MANIFEST gives it, not to a store.
//! 5. CURRENT names the MANIFEST. The sync that makes that durable covers the names of the tables.
//!
//! The copy has an id of its own and no log: it is what a first open leaves that ends before its
//! first segment, except that it has tables. Its first open counts as one after a death, so that it
//! hands out other sequences than the original does.
//!
//! Invariant: from step 4 on the directory is refused or complete. Without CURRENT a MANIFEST with
//! another number than the first is not taken for the remains of a first open, and with CURRENT every
//! table must be there. Before, there is nothing in it that counts.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::FileLock;
use lsm_base::{FileName, Fs, Seq};
use lsm_compaction::State;
use lsm_compaction::edit::{Header, LogFloor};

use crate::error::{Error, Result};
use crate::handle::Caller;
use crate::inner::{Inner, new_db_id, random_u64};
use crate::manifest;
use crate::open_tree::OpenVersion;
use crate::progress::Progress;
use crate::recovery::Recovery;

impl Caller<'_> {
    /// Makes a copy in `dir`, and returns the sequence that it holds.
    pub(crate) fn checkpoint(&self, dir: &Path) -> Result<Seq> {
        // The close waits for it, so nobody else unlinks a table before it has its second name.
        let _call = self.begin_call()?;
        if dir.as_os_str().is_empty() {
            return Err(Error::invalid("the path of the copy is empty"));
        }
        let dir = self.fs.absolute(dir)?;
        let copy = Recovery { fs: &self.fs, dir: &dir, options: &self.options };
        let _lock = begin(&copy)?;
        let made = self.fill(&copy);
        if made.is_err() {
            copy.remove_all_but(&BTreeSet::from([FileName::Lock]));
        }
        made
    }
}

impl Inner {
    fn fill(&self, copy: &Recovery<'_>) -> Result<Seq> {
        copy.sync_parent()?;
        // While this is held its tables are not unlinked.
        let version = self.flush_to_one_sequence()?;
        let number = version.state.next_file_number;
        let state = State {
            header: Header { db_id: new_db_id(), ..version.state.header.clone() },
            log_floor: LogFloor { first_segment: 1, ..LogFloor::default() },
            next_file_number: number + 1,
            clean_close: None,
            ..State::clone(&version.state)
        };
        manifest::create(copy.fs, copy.dir, number, random_u64(), &state)?;
        for table in state.version.tables() {
            let name = FileName::Table(table.number);
            copy.fs.link(&name.path(&self.dir), &name.path(copy.dir))?;
        }
        manifest::set_current(&**copy.fs, copy.dir, number).map_err(lsm_base::Error::from)?;
        Ok(state.last_seq)
    }

    /// Flushes until the tables hold what was written up to one sequence, and pins them.
    fn flush_to_one_sequence(&self) -> Result<Arc<OpenVersion>> {
        loop {
            self.flush_all(&Progress::new())?;
            let current = self.lock_decided(&[])?;
            let super_version = self.super_versions.load_full();
            // Writes before the drop of a keyspace are in memory when the drop is in force.
            let is_empty = super_version.generations().all(|view| view.memtables().is_empty());
            if current.is_prefix() || is_empty {
                return Ok(Arc::clone(&super_version.version));
            }
        }
    }
}

/// Creates the directory of a copy, unless it is there and empty, and locks it.
pub(crate) fn begin(copy: &Recovery<'_>) -> Result<Box<dyn FileLock>> {
    if !copy.fs.exists(copy.dir)? {
        copy.fs.create_dir(copy.dir)?;
    }
    check_empty(copy.fs, copy.dir)?;
    let lock = copy.fs.lock(&FileName::Lock.path(copy.dir))?;
    // Another process may have begun something there, and ended, before this one had the lock.
    check_empty(copy.fs, copy.dir)?;
    Ok(lock)
}

fn check_empty(fs: &Arc<dyn Fs>, dir: &Path) -> Result<()> {
    let is_lock = |name: &str| FileName::parse(name) == Some(FileName::Lock);
    match fs.list(dir)?.into_iter().find(|entry| !is_lock(&entry.name)) {
        Some(entry) => {
            let detail = format!("{} is not empty: it has {:?}", dir.display(), entry.name);
            Err(Error::invalid(detail))
        }
        None => Ok(()),
    }
}
