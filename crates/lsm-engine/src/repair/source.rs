//! The files of the source, as far as the disk gives them.
//!
//! A disk that dies refuses to read some places. Such a place is damage like any other: it reads as
//! bytes of which nothing of ours can consist, so that a checksum notices it, and it is remembered.
//! A read that was refused is made again page by page, and a page that was refused is not asked for
//! again: each such read may take a disk seconds. A file that cannot even be opened is damaged too.
//! What the system refuses for any other reason (rights, memory, descriptors) ends the repair.
//!
//! Invariant: nothing is changed through here, and no bytes are taken for read that were not.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::fs::{DirEntry, FileLock, Space};
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, File, FileName, Fs, Result};
use parking_lot::Mutex;

/// What the system reads at once, and refuses as a whole.
const PAGE_LEN: u64 = 4096;

/// What a page reads as that cannot be read. Zeros would pass for space that was never used.
const FILLER: u8 = 0xee;

/// What a system says of bytes that it cannot get from the medium, or knows to be wrong: EIO, and of
/// Linux ENODATA, EBADMSG, EILSEQ, EUCLEAN and EREMOTEIO.
const REFUSALS: [i32; 6] = [5, 61, 74, 84, 117, 121];

/// Whether the medium refuses, and not the system for a reason of its own.
fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| REFUSALS.contains(&number))
}

/// A file system of which only what can be read is read, and nothing is changed.
pub(super) struct Source {
    fs: Arc<dyn Fs>,
    unreadable: Arc<Unreadable>,
}

/// What could not be read so far: of each file the pages, and what the system said.
#[derive(Default)]
pub(super) struct Unreadable(Mutex<BTreeMap<PathBuf, Pages>>);

/// Offset, length and reason of each page.
type Pages = BTreeMap<u64, (u64, String)>;

impl Source {
    pub(super) fn new(fs: &Arc<dyn Fs>) -> Source {
        Source { fs: Arc::clone(fs), unreadable: Arc::default() }
    }

    pub(super) fn unreadable(&self) -> Arc<Unreadable> {
        Arc::clone(&self.unreadable)
    }

    fn try_open(&self, path: &Path) -> Result<Arc<dyn File>> {
        let file = self.fs.open(path)?;
        let len = file.len()?;
        let unreadable = Arc::clone(&self.unreadable);
        Ok(Arc::new(SourceFile { file, len, unreadable }))
    }
}

impl Unreadable {
    /// Fails if some of this file could not be read.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        match self.first_of(path) {
            Some((offset, why)) => Err(Error::corruption(path, offset, why)),
            None => Ok(()),
        }
    }

    /// Fails if some of the log could not be read, from this segment on.
    pub(super) fn check_log(&self, dir: &Path, first_segment: u64) -> Result<()> {
        let paths: Vec<PathBuf> = self.0.lock().keys().cloned().collect();
        let is_of_log = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(FileName::parse);
            let is_segment = matches!(name, Some(FileName::Log(n)) if first_segment <= n);
            is_segment && path.parent() == Some(dir)
        };
        paths.iter().filter(is_of_log).try_for_each(|path| self.check(path))
    }

    /// Whether a page of a stretch could not be read.
    fn has(&self, path: &Path, offset: u64, len: u64) -> bool {
        let files = self.0.lock();
        let pages = files.get(path).and_then(|pages| pages.range(..offset + len).next_back());
        pages.is_some_and(|(at, (page_len, _))| offset < at + page_len)
    }

    /// Why a stretch could not be read, or the file not be opened, if that is so.
    pub(super) fn why(&self, path: &Path, offset: u64, len: u64) -> Option<String> {
        let files = self.0.lock();
        let pages = files.get(path)?;
        // What has no length stands for its first byte.
        let end = offset.saturating_add(len.max(1));
        let (at, (page_len, why)) = pages.range(..end).next_back()?;
        (offset < at + page_len.max(&1)).then(|| why.clone())
    }

    /// A line for each stretch.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, pages) in &*self.0.lock() {
            let mut stretches: Vec<(u64, u64, &str)> = Vec::new();
            for (offset, (len, why)) in pages {
                match stretches.last_mut() {
                    Some((at, total, _)) if *at + *total == *offset => *total += len,
                    _ => stretches.push((*offset, *len, why)),
                }
            }
            let path = path.display();
            lines.extend(stretches.into_iter().map(|(offset, len, why)| match len {
                0 => format!("{path}: {why}"),
                _ => format!("{path} at {offset}, {len} bytes: {why}"),
            }));
        }
        lines
    }

    fn first_of(&self, path: &Path) -> Option<(u64, String)> {
        let files = self.0.lock();
        let (offset, (_, why)) = files.get(path)?.first_key_value()?;
        Some((*offset, why.clone()))
    }

    fn note(&self, path: &Path, offset: u64, len: u64, error: &dyn fmt::Display) -> String {
        let why = format!("it cannot be read: {error}");
        let mut files = self.0.lock();
        files.entry(path.to_owned()).or_default().insert(offset, (len, why.clone()));
        why
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("fs", &self.fs).finish_non_exhaustive()
    }
}

/// The source is never changed, whoever asks for it.
fn refuse<T>() -> Result<T> {
    Err(Error::invalid("the source of a repair is only read"))
}

impl Fs for Source {
    fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
        match self.try_open(path) {
            Err(Error::Io { source, .. }) if is_refusal(&source) => {
                let why = self.unreadable.note(path, 0, 0, &source);
                Err(Error::corruption(path, 0, why))
            }
            opened => opened,
        }
    }

    fn absolute(&self, path: &Path) -> Result<PathBuf> {
        self.fs.absolute(path)
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        self.fs.canonical(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        self.fs.list(dir)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.fs.exists(path)
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        self.fs.space(dir)
    }

    fn create_dir(&self, _dir: &Path) -> Result<()> {
        refuse()
    }

    fn create(&self, _path: &Path) -> Result<Arc<dyn File>> {
        refuse()
    }

    fn open_writable(&self, _path: &Path) -> Result<Arc<dyn File>> {
        refuse()
    }

    fn rename(&self, _from: &Path, _to: &Path) -> Result<()> {
        refuse()
    }

    fn link(&self, _from: &Path, _to: &Path) -> Result<()> {
        refuse()
    }

    fn remove(&self, _path: &Path) -> Result<()> {
        refuse()
    }

    fn sync_dir(&self, _dir: &Path) -> Result<()> {
        refuse()
    }

    fn lock(&self, _path: &Path) -> Result<Box<dyn FileLock>> {
        refuse()
    }

    fn lock_existing(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        self.fs.lock_existing(path)
    }
}

struct SourceFile {
    file: Arc<dyn File>,
    len: u64,
    unreadable: Arc<Unreadable>,
}

impl SourceFile {
    /// Reads page by page, and fills in those that cannot be read.
    fn read_pages(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let in_page = (PAGE_LEN - at % PAGE_LEN).min(self.len.saturating_sub(at));
            let part = (in_page as usize).min(buf.len() - done);
            if part == 0 {
                break;
            }
            match self.read_page(&mut buf[done..done + part], at) {
                Ok(0) => break,
                Ok(count) => done += count,
                // What was read counts, and the next call meets the error again.
                Err(_) if done != 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Reads a part of one page.
    fn read_page(&self, part: &mut [u8], at: u64) -> io::Result<usize> {
        let page = at - at % PAGE_LEN;
        if !self.unreadable.has(self.file.path(), at, part.len() as u64) {
            match self.file.read_at(part, at) {
                Err(error) if is_refusal(&error) => {
                    let len = PAGE_LEN.min(self.len - page);
                    self.unreadable.note(self.file.path(), page, len, &error);
                }
                read => return read,
            }
        }
        part.fill(FILLER);
        Ok(part.len())
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl File for SourceFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if !self.unreadable.has(self.path(), offset, buf.len() as u64) {
            match self.file.read_at(buf, offset) {
                Err(error) if is_refusal(&error) => {
                    if plant::is_live(Plant::RepairReadsZeros) {
                        buf.fill(0);
                        return Ok(buf.len());
                    }
                }
                read => return read,
            }
        }
        self.read_pages(buf, offset)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.len)
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn allocate(&self, _len: u64) -> Result<()> {
        refuse()
    }

    fn sync_data(&self) -> Result<()> {
        refuse()
    }

    fn sync_all(&self) -> Result<()> {
        refuse()
    }

    fn start_writeback(&self, _offset: u64, _len: u64) -> Result<()> {
        refuse()
    }

    /// A map could not refuse a page: it would end the process.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
