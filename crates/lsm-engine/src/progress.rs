//! How far a long call is: told by whoever does its work, read by any thread.
//!
//! The bytes are those of the work that was foreseen when it began. What comes on top, such as a
//! table that others write meanwhile, is not added to it, so that what is done never seems to fall.
//!
//! Invariant: what is done never falls, and is the total once the call has succeeded and not before.
//! Telling is a step of an atomic number every 256 KiB or so: no lock is held for it, and
//! nobody is called.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::memory::memtable_bytes;
use crate::super_version::SuperVersion;

/// How far a call is that was handed this. Cheap to clone; every clone tells of the same call.
///
/// ```
/// # use lsm_engine::{Db, Progress, Result};
/// # fn demo(db: &Db) -> Result<()> {
/// let progress = Progress::new();
/// std::thread::scope(|scope| {
///     let compaction = scope.spawn(|| db.compact_with::<&[u8]>(.., &progress));
///     while !compaction.is_finished() {
///         println!("{:.0} %", 100.0 * progress.fraction());
/// #       std::thread::yield_now();
///     }
///     compaction.join().unwrap()
/// })
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// For one call, which has not begun.
    #[must_use]
    pub fn new() -> Progress {
        Progress::default()
    }

    /// Bytes of the work that are done.
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        self.0.done.load(Ordering::Acquire)
    }

    /// Bytes of the work in all; 0 before it has begun, and if there is nothing to do.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.0.total.load(Ordering::Acquire)
    }

    /// What part of the work is done, 0 to 1; 0 if its size is not known, or 0.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        // In this order: whoever sees what is done sees the total that it was stored under.
        let done = self.done_bytes();
        match self.total_bytes() {
            0 => 0.0,
            total => (done as f64 / total as f64).min(1.0),
        }
    }

    /// Says how much there is to do.
    pub(crate) fn begin(&self, total: u64) {
        self.0.done.store(0, Ordering::Release);
        self.0.total.store(total, Ordering::Release);
    }

    /// Says that so much is done, or more.
    pub(crate) fn reach(&self, done: u64) {
        // What was read may still have to be synced: the end is the call's to tell.
        let most = self.total_bytes().saturating_sub(1);
        // Release: whoever sees it sees the total too.
        self.0.done.fetch_max(done.min(most), Ordering::Release);
    }

    /// Says that everything is done.
    pub(crate) fn end(&self) {
        self.0.done.fetch_max(self.total_bytes(), Ordering::Release);
    }
}

/// The calls that wait for generations to be flushed, whoever flushes them.
#[derive(Debug, Default)]
pub(crate) struct FlushWatch(Mutex<Vec<Watcher>>);

#[derive(Debug)]
struct Watcher {
    progress: Progress,
    /// What was in memory when it began to watch: the number of each generation, and its bytes.
    generations: Vec<(u64, u64)>,
}

/// Takes a watcher away again.
#[derive(Debug)]
pub(crate) struct Watching<'a> {
    watch: &'a FlushWatch,
    progress: &'a Progress,
}

impl FlushWatch {
    /// Tells `progress` of the flush of everything in memory, which counts as its first bytes, until
    /// the guard is dropped.
    pub(crate) fn begin<'a>(
        &'a self,
        memory: &SuperVersion,
        progress: &'a Progress,
    ) -> Watching<'a> {
        let generations = memory.generations();
        let generations =
            generations.map(|view| (view.generation.number, memtable_bytes(view))).collect();
        self.0.lock().push(Watcher { progress: progress.clone(), generations });
        Watching { watch: self, progress }
    }

    /// Notes that all generations before this one are flushed, and what part of it is.
    pub(crate) fn note(&self, generation: u64, fraction: f64) {
        for watcher in &*self.0.lock() {
            let flushed = watcher.generations.iter().map(|&(number, bytes)| match number {
                _ if number < generation => bytes,
                _ if number == generation => (bytes as f64 * fraction) as u64,
                _ => 0,
            });
            watcher.progress.reach(flushed.sum());
        }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let is_other = |watcher: &Watcher| !Arc::ptr_eq(&watcher.progress.0, &self.progress.0);
        self.watch.0.lock().retain(is_other);
    }
}

/// What is in memory, in bytes: what a flush of everything has to write.
pub(crate) fn bytes_in_memory(memory: &SuperVersion) -> u64 {
    memory.generations().map(memtable_bytes).sum()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_never_falls_and_never_passes_the_total() {
        let progress = Progress::new();
        assert_eq!((progress.done_bytes(), progress.total_bytes()), (0, 0));
        assert_eq!(progress.fraction(), 0.0);
        progress.end();
        assert_eq!(progress.fraction(), 0.0, "nothing was to be done");
        progress.begin(200);
        let other = progress.clone();
        for (reached, done) in [(50, 50), (20, 50), (150, 150), (900, 199)] {
            other.reach(reached);
            assert_eq!(progress.done_bytes(), done, "after {reached}");
        }
        other.end();
        assert_eq!(progress.fraction(), 1.0);
        progress.begin(10);
        assert_eq!((progress.done_bytes(), progress.fraction()), (0, 0.0), "another call");
    }
}
