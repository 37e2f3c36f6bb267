//! Where the store of a run is, and with which options it is opened.

use std::path::PathBuf;
use std::sync::Arc;

use lsm_engine::base::Fs;
use lsm_engine::base::fs::{Keep, MemFs};
use lsm_engine::{Db, DbBuilder, Options};

use crate::support::builder;

/// A disk with one database.
pub(crate) trait Disk {
    /// The builder of the next life.
    fn builder(&mut self) -> DbBuilder;

    /// Lets the power fail now: the next life finds what that leaves. Returns whether this disk
    /// can; if not, the database is closed as its handles go.
    fn crash(&mut self, keep: Keep) -> bool;
}

/// A disk in memory.
pub(crate) struct Memory {
    fs: MemFs,
    /// Each open takes the next.
    options: Vec<Options>,
    opens: usize,
}

impl Memory {
    pub(crate) fn new(options: Vec<Options>) -> Memory {
        Memory { fs: MemFs::new(), options, opens: 0 }
    }
}

impl Disk for Memory {
    fn builder(&mut self) -> DbBuilder {
        let options = &self.options[self.opens % self.options.len()];
        self.opens += 1;
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        builder(&fs, options)
    }

    fn crash(&mut self, keep: Keep) -> bool {
        self.fs = self.fs.crash(keep);
        true
    }
}

/// A real directory, which is removed at the end.
pub(crate) struct Directory {
    path: PathBuf,
    options: Options,
    _dir: tempfile::TempDir,
}

impl Directory {
    pub(crate) fn new(options: Options) -> Directory {
        let dir = tempfile::tempdir().unwrap();
        Directory { path: dir.path().join("data"), options, _dir: dir }
    }
}

impl Disk for Directory {
    fn builder(&mut self) -> DbBuilder {
        Db::builder(&self.path).options(self.options.clone())
    }

    fn crash(&mut self, _keep: Keep) -> bool {
        false
    }
}
