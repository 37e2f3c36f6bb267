//! The seam through which every file operation of the store goes.
//!
//! - [`StdFs`] is the operating system;
//! - `MemFs` (feature `testing`) keeps files in memory, knows what a power loss would leave of
//!   them, and gives it back as another `MemFs`;
//! - `FaultFs` (feature `testing`) stands before either and makes chosen operations fail.
//!
//! The seam has positional reads and writes only. [`File::read_at`] and [`File::write_at`] are what
//! the operating system offers, short counts and interruptions included; the loops that make them
//! whole are written once, here, above the seam, so that a test can interrupt them.

use ::std::fmt;
use ::std::io;
use ::std::os::fd::BorrowedFd;
use ::std::path::{Path, PathBuf};
use ::std::sync::Arc;

use crate::error::{Error, Result};

#[cfg(any(test, feature = "testing"))]
mod fault;
#[cfg(any(test, feature = "testing"))]
mod mem;
mod memory;
mod std;
#[cfg(test)]
mod tests;
#[expect(unsafe_code, reason = "a map to be written to; see the head of the file")]
mod write_map;

#[cfg(any(test, feature = "testing"))]
pub use self::fault::{Fault, FaultFs, Op, OpKind};
#[cfg(any(test, feature = "testing"))]
pub use self::mem::{Keep, MemFs};
pub use self::std::{StdFs, machine_memory};

/// The space of a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What can still be written, by who has no privileges.
    pub free: u64,
    /// What there is, used or not.
    pub total: u64,
}

/// A file system.
pub trait Fs: fmt::Debug + Send + Sync + 'static {
    /// A path that means the same when the working directory of the process is another. Nothing is
    /// looked up.
    fn absolute(&self, path: &Path) -> Result<PathBuf>;

    /// The one path of what exists, without links: two names of a directory have the same.
    fn canonical(&self, path: &Path) -> Result<PathBuf>;

    /// Creates a directory, for its owner alone. Its parents must exist.
    ///
    /// # Errors
    /// If it exists already.
    fn create_dir(&self, dir: &Path) -> Result<()>;

    /// Creates a file, readable and writable by its owner alone.
    ///
    /// # Errors
    /// If it exists already.
    fn create(&self, path: &Path) -> Result<Arc<dyn File>>;

    /// Opens an existing file for reading.
    ///
    /// # Errors
    /// [`Error::Corruption`], at once, if it is no regular file: a pipe would wait for a writer, and a
    /// device do whatever it does.
    fn open(&self, path: &Path) -> Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Like [`open`](Fs::open).
    fn open_writable(&self, path: &Path) -> Result<Arc<dyn File>>;

    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Gives a file one more name, on the same file system.
    ///
    /// # Errors
    /// If there is something of the new name already.
    fn link(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a name of a file, and with the last one the file. Open handles and maps of it stay usable.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Makes the entries of `dir` (creations, renames, links, removals) survive a power loss.
    fn sync_dir(&self, dir: &Path) -> Result<()>;

    /// The entries of `dir`, in no particular order.
    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> Result<bool>;

    /// Takes the exclusive lock on the file `path`, creating it where it does not exist.
    ///
    /// # Errors
    /// [`Error::Locked`] at once if another process or handle holds it; those of [`open`](Fs::open).
    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>>;

    /// Takes the exclusive lock on a file that exists, and changes nothing on disk.
    ///
    /// # Errors
    /// Like [`lock`](Fs::lock); also if the file does not exist.
    fn lock_existing(&self, path: &Path) -> Result<Box<dyn FileLock>>;

    /// The space of the file system that `dir` is on.
    fn space(&self, dir: &Path) -> Result<Space>;

    /// For tests: what a failed sync of `dir` leaves. No later sync makes the changes durable that
    /// no sync has covered yet. A file system that cannot tell does nothing.
    #[cfg(any(test, feature = "testing"))]
    fn forget_unsynced(&self, _dir: &Path) {}
}

/// An open file. Handles may be used from many threads at once.
#[expect(clippy::len_without_is_empty, reason = "a file is no collection")]
pub trait File: fmt::Debug + Send + Sync + 'static {
    /// The name under which it was opened.
    fn path(&self) -> &Path;

    /// Reads some bytes at `offset`: fewer than asked for at the end of the file, or at any time.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of the bytes at `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// Like [`write_at`](File::write_at), for many small writes that no sync follows at once: without a
    /// call of the system for each, where the file was [allocated](File::allocate) before the first of
    /// them and the file system writes in place. Both kinds may be mixed.
    fn write_mapped_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.write_at(buf, offset)
    }

    /// Gives the file `len` bytes backed by the disk; new ones read as zeros.
    fn allocate(&self, len: u64) -> Result<()>;

    /// Makes content and length survive a power loss (`fdatasync`).
    fn sync_data(&self) -> Result<()>;

    /// Like [`sync_data`](File::sync_data), and the other attributes (`fsync`).
    fn sync_all(&self) -> Result<()>;

    /// Asks the system to begin writing a range to disk, and tells it that the range will not be
    /// read soon. Nothing is promised about it.
    fn start_writeback(&self, offset: u64, len: u64) -> Result<()>;

    /// The length in bytes.
    fn len(&self) -> Result<u64>;

    /// For tests: what a failed sync leaves where the kernel marks the pages clean all the same. No
    /// later sync makes the bytes durable that no sync has covered yet, whatever name or handle it
    /// comes by. A file system that cannot tell does nothing.
    #[cfg(any(test, feature = "testing"))]
    fn forget_unsynced(&self) {}

    /// The descriptor to map the file by; `None` where the file is not the operating system's.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// [`Error::Io`]; of kind `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => {
                    let source = io::ErrorKind::UnexpectedEof.into();
                    return Err(Error::io("read", self.path(), source));
                }
                Ok(count) => {
                    buf = &mut buf[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", self.path(), error)),
            }
        }
        Ok(())
    }

    /// Writes all of `buf` at `offset`.
    ///
    /// # Errors
    /// [`Error::Io`]; an unknown part of the bytes may have been written then.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        write_all(self.path(), buf, offset, |buf, offset| self.write_at(buf, offset))
    }

    /// Writes all of `buf` at `offset`, as [`write_mapped_at`](File::write_mapped_at) does.
    ///
    /// # Errors
    /// As [`write_all_at`](File::write_all_at).
    fn write_all_mapped_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        write_all(self.path(), buf, offset, |buf, offset| self.write_mapped_at(buf, offset))
    }
}

/// Writes all of `buf`, as far as one `write` after the other goes.
fn write_all(
    path: &Path,
    mut buf: &[u8],
    mut offset: u64,
    write: impl Fn(&[u8], u64) -> io::Result<usize>,
) -> Result<()> {
    while !buf.is_empty() {
        match write(buf, offset) {
            Ok(0) => return Err(Error::io("write", path, io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                buf = &buf[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("write", path, error)),
        }
    }
    Ok(())
}

/// A lock that is held until it is dropped or the process ends.
pub trait FileLock: fmt::Debug + Send + Sync + 'static {}

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The name, without the directory. Names that are not UTF-8 are not listed: none is ours.
    pub name: String,
    /// The length in bytes.
    pub len: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
}
