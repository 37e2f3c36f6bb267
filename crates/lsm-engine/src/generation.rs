//! Generations: what was written since a point, in one log segment and one arena.
//!
//! A generation has a memtable for each keyspace that was written to while it was active. It is
//! sealed whole and flushed whole, so a batch across keyspaces is never torn, and an idle keyspace
//! keeps no segment alive.
//!
//! Invariant: a record stands in the segment of the generation whose memtables hold it.

use std::fmt;
use std::sync::Arc;

use lsm_base::{KeyspaceId, Seq};
use lsm_memtable::{Arena, Memtable};
use parking_lot::Mutex;

/// One segment and one arena, from rotation to rotation.
pub(crate) struct Generation {
    /// Ascending from the open on.
    pub(crate) number: u64,
    /// The log segment that holds its records.
    pub(crate) segment: u64,
    /// The length of that segment, in bytes.
    segment_len: u64,
    /// The memory of its memtables.
    pub(crate) arena: Arc<Arena>,
    /// Set when it is sealed.
    sealed: Mutex<Option<Sealed>>,
}

/// What is known of a generation that takes no more writes.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    last_seq: Seq,
    log_bytes: u64,
}

impl Generation {
    pub(crate) fn new(
        number: u64,
        segment: u64,
        segment_len: u64,
        arena: Arc<Arena>,
    ) -> Arc<Generation> {
        Arc::new(Generation { number, segment, segment_len, arena, sealed: Mutex::new(None) })
    }

    /// Records that nothing after `last_seq` will enter this generation, whose records take
    /// `log_bytes`.
    pub(crate) fn seal(&self, last_seq: Seq, log_bytes: u64) {
        let previous = self.sealed.lock().replace(Sealed { last_seq, log_bytes });
        assert!(previous.is_none(), "a generation is sealed once");
    }

    /// The last sequence of a sealed generation.
    pub(crate) fn last_seq(&self) -> Option<Seq> {
        self.sealed.lock().map(|sealed| sealed.last_seq)
    }

    /// The most bytes that its tables will take.
    pub(crate) fn table_bound(&self) -> u64 {
        match self.last_seq() {
            // An entry takes more in an arena than in a table.
            Some(_) => self.arena.used() as u64,
            None => table_bound(self.segment_len, self.arena.capacity() as u64),
        }
    }

    /// The bytes that the records of a sealed generation take in the log.
    pub(crate) fn log_bytes(&self) -> Option<u64> {
        self.sealed.lock().map(|sealed| sealed.log_bytes)
    }
}

/// The most bytes that the tables of so many bytes of log will take, and of an arena of so many: more
/// than the log if operations are small, but then the arena is full before the segment is.
pub(crate) fn table_bound(log_bytes: u64, arena: u64) -> u64 {
    (2 * log_bytes).min(arena.max(log_bytes + log_bytes / 4))
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {} on segment {}", self.number, self.segment)
    }
}

/// A generation and its memtables as of one moment, cheap to clone.
///
/// The set of memtables is immutable: the first write to a keyspace makes a new view.
#[derive(Clone, Debug)]
pub(crate) struct GenerationView {
    pub(crate) generation: Arc<Generation>,
    /// By keyspace, ascending.
    memtables: Arc<[(KeyspaceId, Arc<Memtable>)]>,
}

impl GenerationView {
    pub(crate) fn empty(generation: Arc<Generation>) -> GenerationView {
        GenerationView { generation, memtables: Arc::new([]) }
    }

    /// The memtable of a keyspace, if it was written to.
    pub(crate) fn memtable(&self, keyspace: KeyspaceId) -> Option<&Arc<Memtable>> {
        let index = self.memtables.binary_search_by_key(&keyspace, |(id, _)| *id).ok()?;
        Some(&self.memtables[index].1)
    }

    /// Every keyspace written to and its memtable, by keyspace.
    pub(crate) fn memtables(&self) -> &[(KeyspaceId, Arc<Memtable>)] {
        &self.memtables
    }

    /// This view with a memtable for one more keyspace.
    pub(crate) fn with_memtable(&self, keyspace: KeyspaceId, memtable: Arc<Memtable>) -> Self {
        let mut memtables = self.memtables.to_vec();
        let index = memtables.partition_point(|(id, _)| *id < keyspace);
        memtables.insert(index, (keyspace, memtable));
        GenerationView { generation: Arc::clone(&self.generation), memtables: memtables.into() }
    }
}
