//! What stands in a directory under the names of our files.
//!
//! Invariant: what is no regular file (a pipe, a directory, a link) was never ours, whatever its name.
//! It is refused where a file is needed, and otherwise left alone: not opened, not unlinked, and no
//! file of ours gets its number.

use std::collections::BTreeSet;
use std::path::Path;

use lsm_base::{Error, FileName, Fs, Result};

/// The names of our files that are taken.
#[derive(Debug)]
pub(crate) struct Files {
    regular: BTreeSet<FileName>,
    others: BTreeSet<FileName>,
}

impl Files {
    pub(crate) fn list(fs: &dyn Fs, dir: &Path) -> Result<Files> {
        let (mut regular, mut others) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs.list(dir)? {
            let Some(name) = FileName::parse(&entry.name) else { continue };
            match entry.is_file {
                true => regular.insert(name),
                false => others.insert(name),
            };
        }
        Ok(Files { regular, others })
    }

    /// The files.
    pub(crate) const fn regular(&self) -> &BTreeSet<FileName> {
        &self.regular
    }

    /// Every name that is taken, by a file or by something else.
    pub(crate) fn names(&self) -> impl Iterator<Item = FileName> {
        self.regular.iter().chain(&self.others).copied()
    }

    /// Whether a name is taken.
    pub(crate) fn contains(&self, name: FileName) -> bool {
        self.regular.contains(&name) || self.others.contains(&name)
    }

    /// Fails if a file is not there, or something else is in its place.
    pub(crate) fn require(&self, name: FileName, dir: &Path) -> Result<()> {
        match () {
            () if self.regular.contains(&name) => Ok(()),
            () if self.others.contains(&name) => Err(Error::not_a_file(&name.path(dir))),
            () => Err(Error::MissingFile(name.path(dir))),
        }
    }

    /// Fails if something else is in the place of a file that a new database will have.
    pub(super) fn require_no_others(&self, dir: &Path) -> Result<()> {
        match self.others.first() {
            Some(name) => Err(Error::not_a_file(&name.path(dir))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use lsm_base::fs::MemFs;

    use super::*;

    #[test]
    fn a_name_is_a_files_or_taken_by_something_else_or_free() {
        let (fs, dir) = (MemFs::new(), Path::new("/"));
        let (file, other, free) = (FileName::Table(1), FileName::Table(2), FileName::Table(3));
        fs.create(&file.path(dir)).unwrap();
        fs.create(&dir.join("notes.txt")).unwrap();
        let files = Files::list(&fs, dir).unwrap();
        files.require_no_others(dir).unwrap();
        fs.create_dir(&other.path(dir)).unwrap();
        let files = Files::list(&fs, dir).unwrap();
        assert_eq!(files.regular().iter().collect::<Vec<_>>(), [&file]);
        assert_eq!(files.names().collect::<Vec<_>>(), [file, other]);
        assert_eq!([file, other, free].map(|name| files.contains(name)), [true, true, false]);
        files.require(file, dir).unwrap();
        let missing = files.require(free, dir).unwrap_err();
        assert!(matches!(&missing, Error::MissingFile(path) if *path == free.path(dir)));
        let not_a_file = [files.require(other, dir), files.require_no_others(dir)];
        for error in not_a_file.map(Result::unwrap_err) {
            assert!(!matches!(error, Error::MissingFile(_)), "{error}");
            assert!(error.to_string().contains("000002"), "{error}");
        }
    }
}
