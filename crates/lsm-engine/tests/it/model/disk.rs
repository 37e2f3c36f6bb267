//! Where the store of a run is, and with which options it is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_engine::base::Fs;
use lsm_engine::base::fs::{Keep, MemFs, StdFs};
use lsm_engine::{Db, DbBuilder, Options, Repair};

/// A disk with one database, and copies of it for a while.
pub(crate) trait Disk {
    /// Where the database is.
    fn dir(&self) -> PathBuf;

    /// The file system.
    fn fs(&self) -> Arc<dyn Fs>;

    /// The options of this life, or of the last one.
    fn options(&self) -> Options;

    /// The builder of the next life.
    fn builder(&mut self) -> DbBuilder;

    /// Lets the power fail now: the next life finds what that leaves. Returns whether this disk
    /// can; if not, the database is closed as its handles go.
    fn crash(&mut self, keep: Keep) -> bool;

    /// A directory that is not there yet.
    fn new_dir(&mut self) -> PathBuf;

    /// The builder of what is in another directory.
    fn builder_of(&self, dir: &Path) -> DbBuilder {
        Db::builder(dir).options(self.options()).fs(self.fs())
    }

    /// A repair of the database into another directory.
    fn repair(&self, dir: &Path) -> Repair {
        Repair::new(self.dir(), dir).options(self.options()).fs(self.fs())
    }

    /// Removes what is in another directory.
    fn remove(&self, dir: &Path) {
        let fs = self.fs();
        for entry in fs.list(dir).unwrap() {
            fs.remove(&dir.join(entry.name)).unwrap();
        }
    }
}

/// A disk in memory.
pub(crate) struct Memory {
    fs: MemFs,
    /// Each open takes the next.
    options: Vec<Options>,
    opens: usize,
    copies: usize,
}

impl Memory {
    pub(crate) fn new(options: Vec<Options>) -> Memory {
        Memory { fs: MemFs::new(), options, opens: 0, copies: 0 }
    }
}

impl Disk for Memory {
    fn dir(&self) -> PathBuf {
        "data".into()
    }

    fn fs(&self) -> Arc<dyn Fs> {
        Arc::new(self.fs.clone())
    }

    fn options(&self) -> Options {
        self.options[(self.opens - 1) % self.options.len()].clone()
    }

    fn builder(&mut self) -> DbBuilder {
        self.opens += 1;
        self.builder_of(&self.dir())
    }

    fn crash(&mut self, keep: Keep) -> bool {
        self.fs = self.fs.crash(keep);
        true
    }

    fn new_dir(&mut self) -> PathBuf {
        self.copies += 1;
        format!("copy-{}", self.copies).into()
    }
}

/// A real directory, which is removed at the end.
pub(crate) struct Directory {
    options: Options,
    dir: tempfile::TempDir,
    copies: usize,
}

impl Directory {
    pub(crate) fn new(options: Options) -> Directory {
        Directory { options, dir: tempfile::tempdir().unwrap(), copies: 0 }
    }
}

impl Disk for Directory {
    fn dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn fs(&self) -> Arc<dyn Fs> {
        Arc::new(StdFs)
    }

    fn options(&self) -> Options {
        self.options.clone()
    }

    fn builder(&mut self) -> DbBuilder {
        self.builder_of(&self.dir())
    }

    fn crash(&mut self, _keep: Keep) -> bool {
        false
    }

    fn new_dir(&mut self) -> PathBuf {
        self.copies += 1;
        self.dir.path().join(format!("copy-{}", self.copies))
    }
}
