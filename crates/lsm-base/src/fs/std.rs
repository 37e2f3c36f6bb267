//! The operating system's file system: the one place of the store that calls it.
//!
//! Directories are made 0700 and files 0600: what a user stores is the user's own.

use ::std::fs::{DirBuilder, File as OsFile, OpenOptions, TryLockError};
use ::std::io;
use ::std::num::NonZeroU64;
use ::std::os::fd::{AsFd, BorrowedFd};
use ::std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use ::std::path::{Path, PathBuf};
use ::std::sync::atomic::{AtomicU64, Ordering};
use ::std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use rustix::fs::{Advice, FallocateFlags, OFlags};
use rustix::io::retry_on_intr;

use super::write_map::WriteMap;
use super::{DirEntry, File, FileLock, Fs, Space};
use crate::error::{Error, Result};

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdFs;

impl StdFs {
    fn open_with(path: &Path, options: &mut OpenOptions) -> Result<Arc<dyn File>> {
        let file = open_regular(path, options)?;
        Ok(Arc::new(StdFile::new(file, path)))
    }
}

impl Fs for StdFs {
    fn absolute(&self, path: &Path) -> Result<PathBuf> {
        ::std::path::absolute(path)
            .map_err(|error| Error::io("find the absolute path of", path, error))
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        ::std::fs::canonicalize(path).map_err(|error| Error::io("resolve", path, error))
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        DirBuilder::new()
            .mode(0o700)
            .create(dir)
            .map_err(|error| Error::io("create directory", dir, error))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|error| Error::io("create", path, error))?;
        Ok(Arc::new(StdFile::new(file, path)))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
        Self::open_with(path, OpenOptions::new().read(true))
    }

    fn open_writable(&self, path: &Path) -> Result<Arc<dyn File>> {
        Self::open_with(path, OpenOptions::new().read(true).write(true))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        ::std::fs::rename(from, to).map_err(|error| Error::io("rename", from, error))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        ::std::fs::hard_link(from, to).map_err(|error| Error::io("link", from, error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        ::std::fs::remove_file(path).map_err(|error| Error::io("remove", path, error))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let handle = match held_dir(dir)? {
            Some(handle) => handle,
            None => Arc::new(open_dir(dir)?),
        };
        sync_all(&handle).map_err(|error| Error::io("sync directory", dir, error))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        let failed = |error| Error::io("list", dir, error);
        let mut entries = Vec::new();
        for entry in ::std::fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(attributes) => entries.push(DirEntry {
                    name,
                    len: attributes.len(),
                    is_file: attributes.is_file(),
                }),
                // Removed since the listing began.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        path.try_exists().map_err(|error| Error::io("look up", path, error))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        lock_file(path, &mut options, Some(hold_dir(path)?))
    }

    fn lock_existing(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        // Read access suffices, so this works where nothing may be written.
        lock_file(path, OpenOptions::new().read(true), None)
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        let space = retry_on_intr(|| rustix::fs::statvfs(dir))
            .map_err(|errno| Error::io("measure the free space of", dir, errno.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Ok(Space { free: bytes(space.f_bavail), total: bytes(space.f_blocks) })
    }
}

/// The numbers by which the kernel names ext4, XFS and tmpfs: what they have allocated stays where it is.
const IN_PLACE: [u64; 3] = [0xef53, 0x5846_5342, 0x0102_1994];

#[derive(Debug)]
struct StdFile {
    file: OsFile,
    path: PathBuf,
    /// So many bytes have their blocks, by this handle's doing.
    allocated: AtomicU64,
    /// For mapped writes, once there was one.
    map: OnceLock<Option<Mutex<WriteMap>>>,
}

impl StdFile {
    fn new(file: OsFile, path: &Path) -> StdFile {
        let (allocated, map) = (AtomicU64::new(0), OnceLock::new());
        StdFile { file, path: path.to_owned(), allocated, map }
    }

    /// Maps what was allocated, if a store into that can never want for space.
    fn map_allocated(&self) -> Option<WriteMap> {
        let system = retry_on_intr(|| rustix::fs::fstatfs(&self.file)).ok()?;
        let is_in_place = IN_PLACE.contains(&(system.f_type as u64));
        let len = self.allocated.load(Ordering::Acquire);
        if is_in_place { WriteMap::new(self.file.as_fd(), len) } else { None }
    }

    fn failed(&self, op: &'static str) -> impl Fn(io::Error) -> Error + '_ {
        move |error| Error::io(op, &self.path, error)
    }
}

impl File for StdFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }

    fn write_mapped_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        match self.map.get_or_init(|| self.map_allocated().map(Mutex::new)) {
            Some(map) if map.lock().write(buf, offset) => Ok(buf.len()),
            _ => self.write_at(buf, offset),
        }
    }

    fn allocate(&self, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        // A file system without fallocate gets the length at least; its syncs are slower then.
        // A signal may end it; then it is done again, as std does with reads and writes.
        let allocate = || rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len);
        match retry_on_intr(allocate) {
            Ok(()) => {
                self.allocated.fetch_max(len, Ordering::AcqRel);
                Ok(())
            }
            Err(rustix::io::Errno::OPNOTSUPP) if self.len()? < len => {
                self.file.set_len(len).map_err(self.failed("allocate"))
            }
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(self.failed("allocate")(errno.into())),
        }
    }

    fn sync_data(&self) -> Result<()> {
        sync_data(&self.file).map_err(self.failed("sync"))
    }

    fn sync_all(&self) -> Result<()> {
        sync_all(&self.file).map_err(self.failed("sync"))
    }

    fn start_writeback(&self, offset: u64, len: u64) -> Result<()> {
        // rustix has no sync_file_range; this advice makes Linux begin to write dirty pages too.
        let Some(len) = NonZeroU64::new(len) else { return Ok(()) };
        rustix::fs::fadvise(&self.file, offset, Some(len), Advice::DontNeed)
            .map_err(|errno| self.failed("write back")(errno.into()))
    }

    fn len(&self) -> Result<u64> {
        let attributes = self.file.metadata().map_err(self.failed("measure"))?;
        Ok(attributes.len())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// Syncs a file or a directory. A sync that was interrupted has failed as any other: it is not tried
/// again, as std would.
#[cfg(target_os = "linux")]
fn sync_all(file: &OsFile) -> io::Result<()> {
    Ok(rustix::fs::fsync(file)?)
}

/// Like [`sync_all`], without what reading the bytes back does not need.
#[cfg(target_os = "linux")]
fn sync_data(file: &OsFile) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(file)?)
}

/// Elsewhere std knows how to reach the medium.
#[cfg(not(target_os = "linux"))]
fn sync_all(file: &OsFile) -> io::Result<()> {
    file.sync_all()
}

#[cfg(not(target_os = "linux"))]
fn sync_data(file: &OsFile) -> io::Result<()> {
    file.sync_data()
}

/// Opens a regular file, and nothing else: whatever stands under the name, this does not wait for it.
fn open_regular(path: &Path, options: &mut OpenOptions) -> Result<OsFile> {
    let is_regular = || ::std::fs::metadata(path).map(|attributes| attributes.is_file());
    // To reads and writes of a regular file the first flag means nothing.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = match options.custom_flags(flags.bits().cast_signed()).open(path) {
        // Another process has a lease on the file, which it gives up while this waits.
        Err(error)
            if error.kind() == io::ErrorKind::WouldBlock && is_regular().unwrap_or(false) =>
        {
            options.custom_flags(0).open(path)
        }
        opened => opened,
    };
    let is_file = match &opened {
        Ok(file) => file.metadata().map(|attributes| attributes.is_file()),
        // Of a socket, or a directory to be written to, the system says so in other words.
        Err(_) => Ok(is_regular().unwrap_or(true)),
    };
    match is_file {
        Ok(false) => Err(Error::not_a_file(path)),
        Ok(true) => opened.map_err(|error| Error::io("open", path, error)),
        Err(error) => Err(Error::io("measure", path, error)),
    }
}

fn lock_file(
    path: &Path,
    options: &mut OpenOptions,
    dir: Option<Arc<OsFile>>,
) -> Result<Box<dyn FileLock>> {
    let file = open_regular(path, options)?;
    match file.try_lock() {
        Ok(()) => Ok(Box::new(StdLock { _file: file, _dir: dir })),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
    }
}

/// The directories of the locks that are held, by device and inode.
///
/// A store whose process has run out of descriptors can sync its directory all the same: between a
/// rename and the sync that makes it durable there is nothing that could be tried again later.
static HELD_DIRS: Mutex<Vec<(DirId, Weak<OsFile>)>> = Mutex::new(Vec::new());

type DirId = (u64, u64);

/// Opens the directory of a lock file, and keeps it for [`held_dir`] until the handle is dropped.
fn hold_dir(lock: &Path) -> Result<Arc<OsFile>> {
    let parent = lock.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = parent.unwrap_or(Path::new("."));
    let handle = Arc::new(open_dir(dir)?);
    let attributes = handle.metadata().map_err(|error| Error::io("measure", dir, error))?;
    let mut held = HELD_DIRS.lock();
    held.retain(|(_, handle)| handle.strong_count() != 0);
    held.push(((attributes.dev(), attributes.ino()), Arc::downgrade(&handle)));
    Ok(handle)
}

fn held_dir(dir: &Path) -> Result<Option<Arc<OsFile>>> {
    let attributes = ::std::fs::metadata(dir).map_err(|error| Error::io("look up", dir, error))?;
    let id = (attributes.dev(), attributes.ino());
    let held = HELD_DIRS.lock();
    Ok(held.iter().filter(|(held, _)| *held == id).find_map(|(_, handle)| handle.upgrade()))
}

fn open_dir(dir: &Path) -> Result<OsFile> {
    OsFile::open(dir).map_err(|error| Error::io("open", dir, error))
}

/// The memory of the machine in bytes, or the part of it that the process's control groups let it
/// use; `None` if the system does not say.
#[must_use]
pub fn machine_memory() -> Option<usize> {
    super::memory::usable(|path| ::std::fs::read_to_string(path).ok())
}

#[derive(Debug)]
struct StdLock {
    _file: OsFile,
    /// For [`held_dir`].
    _dir: Option<Arc<OsFile>>,
}

impl FileLock for StdLock {}
