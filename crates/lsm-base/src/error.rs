//! The error of every crate below the engine.
//!
//! A variant exists only where a caller acts differently. An error that concerns a file names it,
//! and an error about bytes names their offset:
//! `corrupt 000123.sst at 40960: block checksum mismatch`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What can go wrong below the engine.
///
/// Errors are cheap to clone, because one failed sync is answered to every batch that it covered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The caller broke a rule of the interface; nothing was done.
    InvalidArgument(String),
    /// The operating system refused an operation.
    Io {
        /// The operation, as a verb: `write`, `sync`, `open`.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Bytes of a file are not what was once written there.
    Corruption {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong with them.
        detail: String,
    },
    /// A file that must exist does not.
    MissingFile(PathBuf),
    /// The file is whole, but written by a release that can do more than this one.
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// What this release does not know.
        detail: String,
    },
    /// Another process, or another handle of this one, holds the directory.
    Locked(PathBuf),
}

/// The result of everything below the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::InvalidArgument`].
    pub fn invalid(detail: impl Into<String>) -> Error {
        Error::InvalidArgument(detail.into())
    }

    /// An [`Error::Io`].
    pub fn io(op: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { op, path: path.to_owned(), source: Arc::new(source) }
    }

    /// An [`Error::Corruption`].
    pub fn corruption(path: &Path, offset: u64, detail: impl Into<String>) -> Error {
        Error::Corruption { path: path.to_owned(), offset, detail: detail.into() }
    }

    /// An [`Error::Corruption`]: something else has the name of a file.
    pub fn not_a_file(path: &Path) -> Error {
        Error::corruption(path, 0, "not a regular file")
    }

    /// An [`Error::UnsupportedFormat`].
    pub fn unsupported(path: &Path, detail: impl Into<String>) -> Error {
        Error::UnsupportedFormat { path: path.to_owned(), detail: detail.into() }
    }

    /// Whether the disk, or the quota on it, is full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether the operating system said that the file does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            Error::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Error::MissingFile(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidArgument(detail) => f.write_str(detail),
            Error::Io { op, path, source } => {
                write!(f, "cannot {op} {}: {source}", path.display())?;
                match (*op, source.kind()) {
                    (_, io::ErrorKind::PermissionDenied) => {
                        f.write_str("; check its owner and mode")
                    }
                    (_, io::ErrorKind::NotADirectory) => {
                        f.write_str("; a file is in the place of a directory")
                    }
                    ("create directory", io::ErrorKind::NotFound) => {
                        f.write_str("; create its parent first")
                    }
                    // It was looked for before, and was not there.
                    ("create directory", io::ErrorKind::AlreadyExists) => {
                        f.write_str("; it is a link that leads nowhere")
                    }
                    _ => Ok(()),
                }
            }
            Error::Corruption { path, offset, detail } => {
                write!(f, "corrupt {} at {offset}: {detail}", path.display())
            }
            Error::MissingFile(path) => {
                write!(
                    f,
                    "missing file {}; restore it from a copy of the directory",
                    path.display()
                )
            }
            Error::UnsupportedFormat { path, detail } => {
                let path = path.display();
                write!(f, "unsupported format of {path}: {detail}; use a newer release")
            }
            Error::Locked(path) => {
                let path = path.display();
                write!(f, "{path} is in use by another process or handle; close it there first")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_file_and_offset() {
        let error = Error::corruption(Path::new("000123.sst"), 40_960, "block checksum mismatch");
        assert_eq!(error.to_string(), "corrupt 000123.sst at 40960: block checksum mismatch");
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = Error::io("write", Path::new("x"), io::ErrorKind::StorageFull.into());
        let quota = Error::io("write", Path::new("x"), io::ErrorKind::QuotaExceeded.into());
        let broken = Error::io("write", Path::new("x"), io::Error::from_raw_os_error(5));
        assert!(full.is_no_space() && quota.is_no_space() && !broken.is_no_space());
    }
}
