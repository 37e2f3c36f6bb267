//! A file system in memory that knows what a power loss would leave of it.
//!
//! Every file has what reads see, what its last sync made durable, and the changes between the two;
//! every directory likewise. [`MemFs::crash`] turns that into another [`MemFs`]: the medium as it
//! is found when the power is back. What may be found:
//!
//! - **A file** has everything up to its last sync. Of what came after, any subset of sectors (512
//!   bytes) may be there, in whichever of the versions that were written. A sector that no sync
//!   ever covered may also hold zeros, random bytes, or what a removed file left there; one that a
//!   sync covered is old or new, whole. The length is any between the durable and the last one,
//!   ahead of the data or behind it. A sync of the file says nothing about its name.
//! - **A name** is what the last sync of its directory made it, or any of what it was since.
//!   Names do not wait for each other. So a rename may have happened, or not, or have left the new
//!   name beside the old one, or neither of the two: what file systems without a journal do is
//!   legal here, because the store relies on no order that it did not sync.
//! - **A directory** whose own name is lost is lost with all that is in it.
//!
//! A sync that failed may have left its pages marked clean: [`File::forget_unsynced`]. Reads go on
//! to show what they held, no later sync makes it durable, and that holds for the file, whatever
//! name or handle it is reached by.
//!
//! Nothing of a crashed file system leaks into the image: handles and locks of the old one are the
//! old one's, and both go on independently.
//!
//! Paths are taken from one root: `/db/x` and `db/x` are the same file, and `..` is refused.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use self::content::Content;
use self::inode::Inode;
use self::tree::{Node, Tree};
use super::{DirEntry, File, FileLock, Fs, Space};
use crate::error::{Error, Result};
use crate::testing::SplitMix64;

mod content;
mod inode;
#[cfg(test)]
mod tests;
mod tree;

/// A file system in memory. Clones are handles of the same one.
#[derive(Clone)]
pub struct MemFs {
    disk: Arc<Disk>,
}

/// What a power loss leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// What was synced, and nothing else.
    SyncedOnly,
    /// All that was done.
    Everything,
    /// One of the legal mixtures of the two, the same for the same seed and history.
    Subset {
        /// Which one.
        seed: u64,
    },
}

struct Disk {
    /// Whoever touches a file holds this for reading, so that a crash falls between operations.
    tree: RwLock<Tree>,
    usage: Usage,
    /// How many handles there are, locks included.
    handles: AtomicU64,
}

/// The bytes of all files that have a name or a handle, against what there is.
struct Usage {
    used: AtomicU64,
    capacity: AtomicU64,
}

/// The capacity of a new file system: 1 TiB.
const DEFAULT_CAPACITY: u64 = 1 << 40;

impl MemFs {
    /// An empty file system: a root directory with nothing in it, and room for 1 TiB.
    #[must_use]
    pub fn new() -> MemFs {
        MemFs::with_tree(Tree::new(SplitMix64::new(0)), DEFAULT_CAPACITY)
    }

    /// Sets how many bytes the files may take together. A file takes its length, until it has lost its
    /// last name and its last handle.
    ///
    /// What is there stays when it is more; it only cannot grow.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk.usage.capacity.store(bytes, Ordering::Relaxed);
    }

    /// How many handles of files are in use, those of locks included: what would be descriptors of
    /// a process.
    #[must_use]
    pub fn handle_count(&self) -> u64 {
        self.disk.handles.load(Ordering::Relaxed)
    }

    /// Begins the sequence of random orders in which directories are listed anew.
    pub fn set_list_seed(&self, seed: u64) {
        self.disk.tree.write().random = SplitMix64::new(seed);
    }

    /// The file system that is found if the power fails now; durable as it stands.
    ///
    /// This one goes on as if nothing had happened. The time it takes grows with the number of
    /// files and, for [`Keep::Subset`], with what is unsynced, but not with what is stored.
    #[must_use]
    pub fn crash(&self, keep: Keep) -> MemFs {
        let tree = self.disk.tree.write();
        let image = match keep {
            Keep::SyncedOnly => tree.image(&mut |_| 0, &mut |file| file.lock().durable.clone()),
            Keep::Everything => {
                tree.image(&mut |ops| ops.len() - 1, &mut |file| file.lock().now.clone())
            }
            Keep::Subset { seed } => tree.subset(seed),
        };
        MemFs::with_tree(image, self.disk.usage.capacity.load(Ordering::Relaxed))
    }

    fn with_tree(tree: Tree, capacity: u64) -> MemFs {
        let used = AtomicU64::new(tree.used());
        let usage = Usage { used, capacity: AtomicU64::new(capacity) };
        let disk = Disk { tree: RwLock::new(tree), usage, handles: AtomicU64::new(0) };
        MemFs { disk: Arc::new(disk) }
    }

    /// A handle of the file. Requires: the tree is locked, so that the file has a name until then.
    fn handle(&self, path: &Path, inode: Arc<Inode>, access: Access) -> MemFile {
        inode.lock().handles += 1;
        self.disk.handles.fetch_add(1, Ordering::Relaxed);
        MemFile { disk: Arc::clone(&self.disk), inode, path: path.to_owned(), access }
    }

    fn open_with(&self, path: &Path, access: Access) -> Result<Arc<dyn File>> {
        let tree = self.disk.tree.read();
        let inode = tree.file(path).map_err(|error| not_opened(path, error))?;
        Ok(Arc::new(self.handle(path, inode, access)))
    }

    fn lock_file(&self, path: &Path, inode: Arc<Inode>) -> Result<Box<dyn FileLock>> {
        let file = self.handle(path, inode, Access::Read);
        let was_locked = std::mem::replace(&mut file.inode.lock().is_locked, true);
        if was_locked {
            return Err(Error::Locked(path.to_owned()));
        }
        Ok(Box::new(MemLock { file }))
    }
}

fn not_opened(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::IsADirectory => Error::not_a_file(path),
        _ => Error::io("open", path, error),
    }
}

impl Default for MemFs {
    fn default() -> MemFs {
        MemFs::new()
    }
}

impl fmt::Debug for MemFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.disk.usage.used.load(Ordering::Relaxed);
        f.debug_struct("MemFs").field("used", &used).finish_non_exhaustive()
    }
}

impl Fs for MemFs {
    fn absolute(&self, path: &Path) -> Result<PathBuf> {
        // All paths are taken from one root.
        Ok(path.to_owned())
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        let found = self.disk.tree.read().canonical(path);
        found.map_err(|error| Error::io("resolve", path, error))
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        let created = self.disk.tree.write().create(dir, Node::Dir);
        created.map_err(|error| Error::io("create directory", dir, error))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        let inode = Inode::new(Content::default());
        let mut tree = self.disk.tree.write();
        let created = tree.create(path, Node::File(Arc::clone(&inode)));
        created.map_err(|error| Error::io("create", path, error))?;
        Ok(Arc::new(self.handle(path, inode, Access::ReadWrite)))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.open_with(path, Access::Read)
    }

    fn open_writable(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.open_with(path, Access::ReadWrite)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let freed = self.disk.tree.write().rename(from, to);
        self.disk.usage.release(freed.map_err(|error| Error::io("rename", from, error))?);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        let linked = self.disk.tree.write().link(from, to);
        linked.map_err(|error| Error::io("link", from, error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let freed = self.disk.tree.write().remove(path);
        self.disk.usage.release(freed.map_err(|error| Error::io("remove", path, error))?);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let synced = self.disk.tree.write().sync_dir(dir);
        synced.map_err(|error| Error::io("sync directory", dir, error))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        let listed = self.disk.tree.write().list(dir);
        listed.map_err(|error| Error::io("list", dir, error))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        let found = self.disk.tree.read().exists(path);
        found.map_err(|error| Error::io("look up", path, error))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        let mut tree = self.disk.tree.write();
        let found = tree.file_or_new(path).map_err(|error| not_opened(path, error))?;
        self.lock_file(path, found)
    }

    fn lock_existing(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        let tree = self.disk.tree.read();
        let found = tree.file(path).map_err(|error| not_opened(path, error))?;
        self.lock_file(path, found)
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        match self.exists(dir)? {
            true => {
                let total = self.disk.usage.capacity.load(Ordering::Relaxed);
                Ok(Space { free: self.disk.usage.free(), total })
            }
            false => {
                let source = io::ErrorKind::NotFound.into();
                Err(Error::io("measure the free space of", dir, source))
            }
        }
    }

    fn forget_unsynced(&self, dir: &Path) {
        self.disk.tree.write().forget_unsynced(dir);
    }
}

impl Usage {
    fn free(&self) -> u64 {
        let capacity = self.capacity.load(Ordering::Relaxed);
        capacity.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// Takes up to `wanted` bytes, at least `least`, and returns how many; `None` takes nothing.
    fn take(&self, least: u64, wanted: u64) -> Option<u64> {
        let capacity = self.capacity.load(Ordering::Relaxed);
        let fitting = |used: u64| wanted.min(capacity.saturating_sub(used));
        let update = |used| (least <= fitting(used)).then(|| used + fitting(used));
        let used = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).ok()?;
        Some(fitting(used))
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Read,
    ReadWrite,
}

struct MemFile {
    disk: Arc<Disk>,
    inode: Arc<Inode>,
    path: PathBuf,
    access: Access,
}

impl MemFile {
    fn check_writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            // What the operating system says: EBADF.
            Access::Read => Err(io::Error::from_raw_os_error(9)),
        }
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.disk.handles.fetch_sub(1, Ordering::Relaxed);
        let mut file = self.inode.lock();
        file.handles -= 1;
        if file.is_gone() {
            self.disk.usage.release(file.now.len());
        }
    }
}

impl fmt::Debug for MemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl File for MemFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let _tree = self.disk.tree.read();
        Ok(self.inode.lock().now.read(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.check_writable()?;
        if buf.is_empty() {
            return Ok(0);
        }
        let end = offset.checked_add(buf.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let _tree = self.disk.tree.read();
        let mut file = self.inode.lock();
        let mut count = buf.len();
        if file.now.len() < end {
            // As much as fits is written, as write(2) does, but at least one byte.
            let growth = end - file.now.len();
            let least = (offset + 1).saturating_sub(file.now.len());
            let room = self.disk.usage.take(least, growth).ok_or(io::ErrorKind::StorageFull)?;
            count -= (growth - room) as usize;
        }
        file.write(&buf[..count], offset);
        Ok(count)
    }

    fn allocate(&self, len: u64) -> Result<()> {
        let failed = |error| Error::io("allocate", &self.path, error);
        self.check_writable().map_err(failed)?;
        let _tree = self.disk.tree.read();
        let mut file = self.inode.lock();
        let growth = len.saturating_sub(file.now.len());
        if self.disk.usage.take(growth, growth).is_none() {
            return Err(failed(io::ErrorKind::StorageFull.into()));
        }
        file.extend(len);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let _tree = self.disk.tree.read();
        self.inode.lock().sync();
        Ok(())
    }

    fn sync_all(&self) -> Result<()> {
        self.sync_data()
    }

    fn start_writeback(&self, _offset: u64, _len: u64) -> Result<()> {
        // Any unsynced sector may survive a crash anyway, and none must.
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        let _tree = self.disk.tree.read();
        Ok(self.inode.lock().now.len())
    }

    fn forget_unsynced(&self) {
        let _tree = self.disk.tree.read();
        self.inode.lock().forget_unsynced();
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[derive(Debug)]
struct MemLock {
    file: MemFile,
}

impl FileLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.file.inode.lock().is_locked = false;
    }
}
