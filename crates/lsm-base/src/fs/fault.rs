//! A file system that numbers the operations of another one, records them, and makes those fail
//! that a plan names.
//!
//! Each operation goes through four steps, and calls no test code while it holds a lock that the
//! test could need:
//!
//! 1. it gets its number, the plan says whether it goes wrong, and it enters the trace: all under
//!    one lock, so that numbers, plan and trace tell one story;
//! 2. the hook of [`FaultFs::before_each`] runs, and may block;
//! 3. it is carried out as far as the fault allows;
//! 4. the hook of [`FaultFs::after_each`] runs: the place to take an image of a `MemFs`.
//!
//! Of a descriptor's use nothing is seen here, so handles hide theirs unless told otherwise.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use super::{DirEntry, File, FileLock, Fs, Space};
use crate::error::{Error, Result};

pub use self::op::{Fault, Op, OpKind};

mod op;
#[cfg(test)]
mod tests;

/// How many operations the trace keeps: the last million.
const TRACE_LEN: usize = 1 << 20;

/// A file system before another one. Clones share numbers, plan, trace and hooks.
#[derive(Clone)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    control: Arc<Control>,
}

#[derive(Default)]
struct Control {
    log: Mutex<Log>,
    hooks: RwLock<Hooks>,
    shows_descriptors: AtomicBool,
    /// What is said of the space, if not what the file system says.
    space: Mutex<Option<Space>>,
}

#[derive(Default)]
struct Log {
    next_index: u64,
    injected: u64,
    trace: VecDeque<Op>,
    plan: Option<Plan>,
}

#[derive(Clone, Default)]
struct Hooks {
    before: Option<Hook>,
    after: Option<Hook>,
}

type Plan = Box<dyn FnMut(&Op) -> Option<Fault> + Send>;
type Hook = Arc<dyn Fn(&Op) + Send + Sync>;

impl FaultFs {
    /// A file system that does what `inner` does, until it is told otherwise.
    #[must_use]
    pub fn new(inner: Arc<dyn Fs>) -> FaultFs {
        FaultFs { inner, control: Arc::default() }
    }

    /// Asks `plan` about every operation from now on, in the order of their numbers.
    ///
    /// The plan runs under a lock and may call neither this file system nor its handles. A fault
    /// that does not apply to the operation is not injected.
    pub fn set_plan(&self, plan: impl FnMut(&Op) -> Option<Fault> + Send + 'static) {
        self.control.log.lock().plan = Some(Box::new(plan));
    }

    /// Makes the operation with this number go wrong, and no other.
    pub fn fail_at(&self, index: u64, fault: Fault) {
        self.set_plan(move |op| (op.index == index).then_some(fault));
    }

    /// Makes every operation from this number on go wrong. With [`Fault::Eio`] it is as if the
    /// power were off.
    pub fn fail_from(&self, index: u64, fault: Fault) {
        self.set_plan(move |op| (index <= op.index).then_some(fault));
    }

    /// Lets every operation succeed from now on. What a forgetting sync has forgotten stays so.
    pub fn clear_plan(&self) {
        self.control.log.lock().plan = None;
    }

    /// The number that the next operation will get.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.control.log.lock().next_index
    }

    /// How many operations went wrong as planned.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.control.log.lock().injected
    }

    /// The operations since the trace was last cleared, the last million of them.
    #[must_use]
    pub fn trace(&self) -> Vec<Op> {
        self.control.log.lock().trace.iter().cloned().collect()
    }

    /// Empties the trace. The numbers go on.
    pub fn clear_trace(&self) {
        self.control.log.lock().trace.clear();
    }

    /// Calls `hook` before every operation is carried out, in place of any earlier such hook.
    pub fn before_each(&self, hook: impl Fn(&Op) + Send + Sync + 'static) {
        self.control.hooks.write().before = Some(Arc::new(hook));
    }

    /// Calls `hook` after every operation, in place of any earlier such hook.
    pub fn after_each(&self, hook: impl Fn(&Op) + Send + Sync + 'static) {
        self.control.hooks.write().after = Some(Arc::new(hook));
    }

    /// Calls `hook` with the path before every sync is carried out, in place of the hook of
    /// [`FaultFs::before_each`]: to let a sync take time on the test's own clock, or to hold it.
    pub fn on_sync(&self, hook: impl Fn(&Path) + Send + Sync + 'static) {
        self.before_each(move |op| {
            if op.kind.is_sync() {
                hook(&op.path);
            }
        });
    }

    /// Removes both hooks.
    pub fn clear_hooks(&self) {
        *self.control.hooks.write() = Hooks::default();
    }

    /// Lets handles give out the descriptors of the files behind them, as a new `FaultFs` does not.
    pub fn show_descriptors(&self) {
        self.control.shows_descriptors.store(true, Ordering::Relaxed);
    }

    /// Says from now on that there is so much space, or, with `None`, what the file system says. Nothing
    /// else changes: what needs more succeeds all the same. For tests of what looks before it writes.
    pub fn pretend_space(&self, space: Option<Space>) {
        *self.control.space.lock() = space;
    }

    fn on_path<T>(
        &self,
        kind: OpKind,
        path: &Path,
        perform: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.control.run(Op::new(kind, &path.into()), perform)
    }

    fn handle(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        let path = file.path().into();
        Arc::new(FaultFile { inner: file, path, control: Arc::clone(&self.control) })
    }
}

impl fmt::Debug for FaultFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFs").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Op {
    fn new(kind: OpKind, path: &Arc<Path>) -> Op {
        let path = Arc::clone(path);
        Op { index: 0, kind, path, to: None, offset: 0, len: 0, fault: None }
    }

    fn io_error(&self) -> io::Error {
        match self.fault {
            Some(Fault::Enospc) => io::ErrorKind::StorageFull.into(),
            Some(Fault::Eintr) => io::ErrorKind::Interrupted.into(),
            // These have no kind of their own; the numbers are those of every Unix.
            Some(Fault::Emfile) => io::Error::from_raw_os_error(24),
            Some(Fault::Erofs) => io::Error::from_raw_os_error(30),
            _ => io::Error::from_raw_os_error(5),
        }
    }

    fn error(&self) -> Error {
        Error::io(self.kind.verb(), &self.path, self.io_error())
    }
}

impl Control {
    /// Numbers and records the operation, asks the plan about it, and runs the first hook.
    fn begin(&self, mut op: Op) -> Op {
        let mut log = self.log.lock();
        op.index = log.next_index;
        log.next_index += 1;
        let planned = log.plan.as_mut().and_then(|plan| plan(&op));
        op.fault = planned.filter(|fault| fault.applies_to(&op));
        if op.fault.is_some() {
            log.injected += 1;
        }
        if log.trace.len() == TRACE_LEN {
            log.trace.pop_front();
        }
        log.trace.push_back(op.clone());
        drop(log);
        let hook = self.hooks.read().before.clone();
        if let Some(hook) = hook {
            hook(&op);
        }
        op
    }

    fn end(&self, op: &Op) {
        let hook = self.hooks.read().after.clone();
        if let Some(hook) = hook {
            hook(op);
        }
    }

    /// An operation that is carried out or not.
    fn run<T>(&self, op: Op, perform: impl FnOnce() -> Result<T>) -> Result<T> {
        let op = self.begin(op);
        let answer = match op.fault {
            None => perform(),
            // An error of the file system itself comes first.
            Some(Fault::EioAfter) => perform().and(Err(op.error())),
            Some(_) => Err(op.error()),
        };
        self.end(&op);
        answer
    }

    /// A sync, which alone may do nothing and answer that all is well.
    fn sync(
        &self,
        op: Op,
        perform: impl FnOnce() -> Result<()>,
        forget: impl FnOnce(),
    ) -> Result<()> {
        let op = self.begin(op);
        let answer = match op.fault {
            None => perform(),
            Some(Fault::LostSync) => Ok(()),
            Some(Fault::ForgettingSync) => {
                forget();
                Err(op.error())
            }
            Some(Fault::EioAfter) => perform().and(Err(op.error())),
            Some(_) => Err(op.error()),
        };
        self.end(&op);
        answer
    }

    /// A read or write of at most `op.len` bytes; `perform` is told how many.
    fn transfer(
        &self,
        op: Op,
        perform: impl FnOnce(usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let op = self.begin(op);
        let answer = match op.fault {
            None => perform(op.len as usize),
            Some(Fault::Short(len)) => perform(len),
            Some(Fault::Torn(len)) => perform(len).and(Err(op.io_error())),
            Some(Fault::EioAfter) => perform(op.len as usize).and(Err(op.io_error())),
            Some(_) => Err(op.io_error()),
        };
        self.end(&op);
        answer
    }
}

impl Fs for FaultFs {
    fn absolute(&self, path: &Path) -> Result<PathBuf> {
        // No operation on a file, so it has no number.
        self.inner.absolute(path)
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        self.on_path(OpKind::Canonical, path, || self.inner.canonical(path))
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.on_path(OpKind::CreateDir, dir, || self.inner.create_dir(dir))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        let file = self.on_path(OpKind::Create, path, || self.inner.create(path))?;
        Ok(self.handle(file))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
        let file = self.on_path(OpKind::Open, path, || self.inner.open(path))?;
        Ok(self.handle(file))
    }

    fn open_writable(&self, path: &Path) -> Result<Arc<dyn File>> {
        let file = self.on_path(OpKind::OpenWritable, path, || self.inner.open_writable(path))?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let op = Op { to: Some(to.into()), ..Op::new(OpKind::Rename, &from.into()) };
        self.control.run(op, || self.inner.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        let op = Op { to: Some(to.into()), ..Op::new(OpKind::Link, &from.into()) };
        self.control.run(op, || self.inner.link(from, to))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.on_path(OpKind::Remove, path, || self.inner.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let op = Op::new(OpKind::SyncDir, &dir.into());
        self.control.sync(op, || self.inner.sync_dir(dir), || self.inner.forget_unsynced(dir))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        self.on_path(OpKind::List, dir, || self.inner.list(dir))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.on_path(OpKind::Exists, path, || self.inner.exists(path))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        self.on_path(OpKind::Lock, path, || self.inner.lock(path))
    }

    fn lock_existing(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        self.on_path(OpKind::LockExisting, path, || self.inner.lock_existing(path))
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        self.on_path(OpKind::FreeSpace, dir, || {
            let space = self.inner.space(dir)?;
            Ok(self.control.space.lock().unwrap_or(space))
        })
    }

    fn forget_unsynced(&self, dir: &Path) {
        self.inner.forget_unsynced(dir);
    }
}

struct FaultFile {
    inner: Arc<dyn File>,
    path: Arc<Path>,
    control: Arc<Control>,
}

impl FaultFile {
    fn op(&self, kind: OpKind, offset: u64, len: u64) -> Op {
        Op { offset, len, ..Op::new(kind, &self.path) }
    }
}

impl fmt::Debug for FaultFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFile").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl File for FaultFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let op = self.op(OpKind::Read, offset, buf.len() as u64);
        self.control.transfer(op, |len| self.inner.read_at(&mut buf[..len], offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let op = self.op(OpKind::Write, offset, buf.len() as u64);
        self.control.transfer(op, |len| self.inner.write_at(&buf[..len], offset))
    }

    fn write_mapped_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        // As any other write: where the file system has no map, it can fail as one.
        let op = self.op(OpKind::Write, offset, buf.len() as u64);
        self.control.transfer(op, |len| self.inner.write_mapped_at(&buf[..len], offset))
    }

    fn allocate(&self, len: u64) -> Result<()> {
        self.control.run(self.op(OpKind::Allocate, 0, len), || self.inner.allocate(len))
    }

    fn sync_data(&self) -> Result<()> {
        let op = self.op(OpKind::SyncData, 0, 0);
        self.control.sync(op, || self.inner.sync_data(), || self.inner.forget_unsynced())
    }

    fn sync_all(&self) -> Result<()> {
        let op = self.op(OpKind::SyncAll, 0, 0);
        self.control.sync(op, || self.inner.sync_all(), || self.inner.forget_unsynced())
    }

    fn start_writeback(&self, offset: u64, len: u64) -> Result<()> {
        let op = self.op(OpKind::StartWriteback, offset, len);
        self.control.run(op, || self.inner.start_writeback(offset, len))
    }

    fn len(&self) -> Result<u64> {
        self.control.run(self.op(OpKind::Len, 0, 0), || self.inner.len())
    }

    fn forget_unsynced(&self) {
        self.inner.forget_unsynced();
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        if self.control.shows_descriptors.load(Ordering::Relaxed) {
            self.inner.descriptor()
        } else {
            None
        }
    }
}
