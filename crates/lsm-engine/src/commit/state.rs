//! What the leader of a group works on: everything below the commit lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem;
use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_base::{KeyspaceId, Kind, Seq, WriteBatch, key};
use lsm_memtable::{Arena, ArenaWriter, Memtable};
use lsm_wal::{Medium, Record, Wal};

use super::request::Request;
use crate::generation::{Generation, GenerationView};
use crate::inner::Inner;
use crate::options::Durability;
use crate::replay_buffer::ARENA_SLACK;

/// The active generation, the next sequence, and the group that is being formed.
pub(super) struct CommitState {
    /// The sequence of the next operation.
    next_seq: Seq,
    /// The last sequence that was applied to a memtable.
    last_applied: Seq,
    active: GenerationView,
    writer: ArenaWriter,
    /// The keyspaces that may be written to.
    pub(super) keyspaces: BTreeSet<KeyspaceId>,
    /// For each keyspace, the prefix that the keys of its last memtable, or of its tables, have in
    /// common: what the next memtable's searches skip.
    prefixes: BTreeMap<KeyspaceId, Vec<u8>>,
    group: Vec<Arc<Request>>,
    group_arena: usize,
    group_log: u64,
    /// Bytes of the records of the active generation, and how many its segment can take.
    log_bytes: u64,
    log_room: u64,
}

impl CommitState {
    pub(super) fn new(
        next_seq: Seq,
        active: GenerationView,
        keyspaces: BTreeSet<KeyspaceId>,
        prefixes: BTreeMap<KeyspaceId, Vec<u8>>,
        log_room: u64,
    ) -> CommitState {
        let writer = active.generation.arena.writer().expect("a new arena has its writer");
        CommitState {
            next_seq,
            last_applied: Seq::new(next_seq.get() - 1),
            active,
            writer,
            keyspaces,
            prefixes,
            group: Vec::new(),
            group_arena: 0,
            group_log: 0,
            log_bytes: 0,
            log_room,
        }
    }

    /// Lets no more writes to a keyspace in; returns the sequence of its drop.
    pub(super) fn take_drop(&mut self, keyspace: KeyspaceId) -> Seq {
        self.keyspaces.remove(&keyspace);
        self.prefixes.remove(&keyspace);
        let seq = self.next_seq;
        self.next_seq = seq.plus(1);
        seq
    }

    pub(super) fn is_active_empty(&self) -> bool {
        self.active.memtables().is_empty()
    }

    /// Whether the group and a request of this size fit the active generation.
    pub(super) fn has_room(&self, inner: &Inner, log_len: u64, arena_bound: usize) -> bool {
        let wal = inner.wal();
        !wal.needs_rotation()
            && self.group_log + log_len <= wal.remaining()
            && self.group_arena + arena_bound <= self.writer.remaining()
    }

    pub(super) fn is_group_empty(&self) -> bool {
        self.group.is_empty()
    }

    pub(super) fn push(&mut self, request: Arc<Request>) {
        self.group_arena += request.arena_bound;
        self.group_log += request.log_len();
        self.group.push(request);
    }

    pub(super) fn take_group(&mut self) -> Vec<Arc<Request>> {
        (self.group_arena, self.group_log) = (0, 0);
        mem::take(&mut self.group)
    }

    /// Seals the active generation and begins the next, which has room for a request of this size.
    /// `false` if no segment is ready or too many generations wait for their flush.
    ///
    /// Requires: the group was committed.
    pub(super) fn rotate(&mut self, inner: &Inner, log_len: u64, arena_bound: usize) -> bool {
        let wal = inner.wal();
        if !inner.may_rotate() {
            return false;
        }
        let segment = match wal.rotate(log_len) {
            Ok(Some(segment)) => segment,
            Ok(None) => return false,
            Err(error) => {
                inner.note_append_error(&error);
                return false;
            }
        };
        let memtables = self.active.memtables().iter();
        for (keyspace, memtable) in memtables.filter(|(id, _)| self.keyspaces.contains(id)) {
            self.prefixes.insert(*keyspace, memtable.common_prefix());
        }
        self.active.generation.seal(self.last_applied, self.log_bytes);
        (self.log_bytes, self.log_room) = (0, wal.remaining());
        let arena = Arena::new(inner.options.memtable_size.max(arena_bound) + ARENA_SLACK);
        let number = self.active.generation.number + 1;
        self.writer = arena.writer().expect("a new arena has its writer");
        self.active =
            GenerationView::empty(Generation::new(number, segment, wal.active_len(), arena));
        inner.super_versions.begin_generation(self.active.clone());
        self.note_fill(inner);
        inner.background.changed();
        true
    }

    /// Assigns sequences, appends the group to the log with one write, and applies it.
    pub(super) fn log_and_apply(
        &mut self,
        inner: &Inner,
        group: &[Arc<Request>],
    ) -> Result<(), lsm_base::Error> {
        let mut records = Vec::with_capacity(group.len());
        let mut next_seq = self.next_seq;
        for request in group {
            let Some(batch) = request.accepted_batch() else { continue };
            records.push(Record { first_seq: next_seq, payload: batch.as_bytes() });
            next_seq = next_seq.plus(u64::from(batch.count()));
            request.set_last_seq(Seq::new(next_seq.get() - 1));
        }
        let wal = inner.wal();
        // The sequences of a group that was not logged are never used: a reader of the log must
        // not meet them twice.
        let mut seq = mem::replace(&mut self.next_seq, next_seq);
        let end = if records.is_empty() {
            wal.appended_lsn()
        } else {
            wal.append_by(&records, medium_of(group))?
        };
        let appended = records.iter().map(|record| Wal::record_len(record.payload.len() as u64));
        let appended = appended.sum();
        inner.metrics.wal_appended_bytes.add(appended);
        self.log_bytes += appended;
        for request in group {
            request.set_end(end);
            if let Some(batch) = request.accepted_batch() {
                seq = self.apply(inner, batch, seq);
            }
        }
        self.note_fill(inner);
        Ok(())
    }

    /// Tells admission what part of the active generation is full: of its arena or of its segment.
    fn note_fill(&self, inner: &Inner) {
        let arena = &self.active.generation.arena;
        let memory = arena.used() as f64 / arena.capacity() as f64;
        let log = self.log_bytes as f64 / self.log_room.max(1) as f64;
        inner.pressure.set_fill(memory.max(log).min(1.0));
        inner.pressure.set_has_next(inner.wal().is_ready(0));
    }

    /// Applies a batch whose first operation has the sequence `seq`; returns the one behind it.
    fn apply(&mut self, inner: &Inner, batch: &WriteBatch, mut seq: Seq) -> Seq {
        let first = seq;
        let mut deletes = 0;
        if plant::is_live(Plant::PublishedBeforeApplied) {
            inner.commit().publication().publish_early(seq.plus(u64::from(batch.count()) - 1));
        }
        for op in batch.ops() {
            let op = op.expect("the bytes of a batch always parse");
            deletes += u64::from(op.kind == Kind::Delete);
            let hash = key::hash_user_key(op.key);
            let memtable = self.memtable(inner, op.keyspace);
            memtable
                .insert(&mut self.writer, op.key, hash, seq, op.kind, op.value)
                .expect("the leader checked that the group fits the arena");
            self.last_applied = seq;
            seq = seq.plus(1);
        }
        inner.metrics.puts.add(seq.get() - first.get() - deletes);
        inner.metrics.deletes.add(deletes);
        inner.metrics.write_bytes.add(batch.as_bytes().len() as u64);
        seq
    }

    /// The memtable of a keyspace in the active generation, made at the first write.
    fn memtable(&mut self, inner: &Inner, keyspace: KeyspaceId) -> Arc<Memtable> {
        if let Some(memtable) = self.active.memtable(keyspace) {
            return Arc::clone(memtable);
        }
        let prefix = self.prefixes.get(&keyspace).map_or(&[][..], Vec::as_slice);
        let memtable = Arc::new(Memtable::new(&self.active.generation.arena, prefix));
        self.active = self.active.with_memtable(keyspace, Arc::clone(&memtable));
        inner.super_versions.set_active(self.active.clone());
        memtable
    }
}

/// How a group is best logged: a sync follows if one of it waits for the disk.
fn medium_of(group: &[Arc<Request>]) -> Medium {
    let waits_for_disk = |request: &Arc<Request>| request.durability == Durability::Sync;
    if group.iter().any(waits_for_disk) { Medium::Call } else { Medium::Map }
}

impl fmt::Debug for CommitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitState")
            .field("next_seq", &self.next_seq)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}
