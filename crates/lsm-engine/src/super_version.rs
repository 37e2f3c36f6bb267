//! SuperVersions: all that a read needs, pinned by one pointer.
//!
//! A reader pins the SuperVersion first and loads the visible sequence then: whatever is visible
//! is in the SuperVersion, because a generation's SuperVersion is installed before its first
//! sequence is published, and tables replace memtables in one step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lsm_base::plant::{self, Plant};
use lsm_base::{KeyspaceId, Kind, Result, Seq};

use crate::filter_checks::FilterCounters;
use crate::generation::GenerationView;
use crate::obsolete::Obsolete;
use crate::open_tree::OpenVersion;
use crate::sync::{ArcSwap, Guard, Mutex};

/// The memtables and tables of one moment.
#[derive(Clone, Debug)]
pub(crate) struct SuperVersion {
    pub(crate) active: GenerationView,
    /// Sealed and not yet flushed, newest first.
    pub(crate) sealed: Vec<GenerationView>,
    pub(crate) version: Arc<OpenVersion>,
}

impl SuperVersion {
    /// Every generation in memory, newest first.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &GenerationView> {
        std::iter::once(&self.active).chain(&self.sealed)
    }

    /// The number of the oldest generation in memory.
    pub(crate) fn oldest_generation(&self) -> u64 {
        self.sealed.last().unwrap_or(&self.active).generation.number
    }

    /// The newest version of a key in memory, visible or not.
    pub(crate) fn newest_in_memory(
        &self,
        keyspace: KeyspaceId,
        user_key: &[u8],
        hash: u64,
    ) -> Option<(Seq, Kind)> {
        self.generations().find_map(|view| {
            let entry = view.memtable(keyspace)?.get(user_key, hash, Seq::MAX)?;
            Some((entry.seq, entry.kind))
        })
    }

    /// The newest version of a key, visible or not.
    pub(crate) fn newest_version(
        &self,
        keyspace: KeyspaceId,
        user_key: &[u8],
        hash: u64,
        filters: &FilterCounters,
    ) -> Result<Option<(Seq, Kind)>> {
        if let Some(version) = self.newest_in_memory(keyspace, user_key, hash) {
            return Ok(Some(version));
        }
        match self.version.tree(keyspace) {
            Some(tree) => {
                tree.get_with(user_key, hash, Seq::MAX, filters, |seq, kind, _| (seq, kind))
            }
            None => Ok(None),
        }
    }
}

/// The SuperVersion in force.
#[derive(Debug)]
pub(crate) struct SuperVersions {
    current: ArcSwap<SuperVersion>,
    /// How many sealed generations it has.
    sealed: AtomicUsize,
    /// Held while the next is made from the current one.
    install: Mutex<()>,
}

impl SuperVersions {
    pub(crate) fn new(first: SuperVersion) -> SuperVersions {
        SuperVersions {
            sealed: AtomicUsize::new(first.sealed.len()),
            current: ArcSwap::from_pointee(first),
            install: Mutex::new(()),
        }
    }

    /// Pins the current one for the length of a call.
    pub(crate) fn load(&self) -> Guard<Arc<SuperVersion>> {
        self.current.load()
    }

    /// Pins the current one for a read, and asks for the sequence to read at. What was visible to a
    /// read that asks later than it pins is in what it pinned, or is newer than that.
    #[inline]
    pub(crate) fn pin<E>(
        &self,
        visible: impl Fn() -> Result<Seq, E>,
    ) -> Result<(Guard<Arc<SuperVersion>>, Seq), E> {
        if plant::is_live(Plant::VisibleBeforePinned) {
            let seq = visible()?;
            return Ok((self.load(), seq));
        }
        let super_version = self.load();
        let seq = visible()?;
        Ok((super_version, seq))
    }

    /// Like [`pin`](Self::pin), for those who tell their sequence: the SuperVersion holds every
    /// write up to it.
    #[inline]
    pub(crate) fn pin_exactly<E>(
        &self,
        visible: impl Fn() -> Result<Seq, E>,
    ) -> Result<(Guard<Arc<SuperVersion>>, Seq), E> {
        loop {
            let (super_version, seq) = self.pin(&visible)?;
            // If the SuperVersion is still in force now, it was when the sequence was loaded, and
            // a write is published only when the one in force has it.
            let is_current = Arc::ptr_eq(&super_version, &self.load());
            if is_current || plant::is_live(Plant::PinnedOnce) {
                return Ok((super_version, seq));
            }
        }
    }

    /// Pins the current one for longer.
    pub(crate) fn load_full(&self) -> Arc<SuperVersion> {
        self.current.load_full()
    }

    /// How many sealed generations the current one has: a moment later there may be others.
    pub(crate) fn sealed(&self) -> usize {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Replaces the view of the active generation by one with a further memtable.
    pub(crate) fn set_active(&self, active: GenerationView) {
        self.change(|next| next.active = active);
    }

    /// Makes the active generation the newest sealed one.
    pub(crate) fn begin_generation(&self, active: GenerationView) {
        self.change(|next| {
            let sealed = std::mem::replace(&mut next.active, active);
            next.sealed.insert(0, sealed);
        });
    }

    /// Replaces the tables, and forgets the sealed generation that became some of them. Tables that
    /// are in no version from now on are given to `obsolete`.
    ///
    /// Requires: the lock of the version set, so that nobody else replaces them.
    pub(crate) fn set_version(
        &self,
        version: Arc<OpenVersion>,
        flushed: Option<u64>,
        obsolete: &Obsolete,
    ) {
        let gone = self.load().version.tables_not_in(&version);
        self.change(|next| {
            next.version = version;
            if let Some(number) = flushed {
                let oldest = next.sealed.pop().expect("a flushed generation was sealed");
                assert_eq!(oldest.generation.number, number, "generations are flushed in order");
            }
        });
        obsolete.add_tables(gone);
    }

    /// Lets go of all memtables, and of the tables as they are open. `version` has the same ones,
    /// of which no file is open. For the close: whoever finds this has to see that it came.
    pub(crate) fn let_go(&self, version: Arc<OpenVersion>) {
        self.change(|next| {
            next.active = GenerationView::empty(Arc::clone(&next.active.generation));
            next.sealed.clear();
            next.version = version;
        });
    }

    fn change(&self, change: impl FnOnce(&mut SuperVersion)) {
        let _guard = self.install.lock();
        let mut next = SuperVersion::clone(&self.current.load());
        change(&mut next);
        self.sealed.store(next.sealed.len(), Ordering::Relaxed);
        self.current.store(Arc::new(next));
    }
}

#[cfg(all(test, loom))]
mod model;
