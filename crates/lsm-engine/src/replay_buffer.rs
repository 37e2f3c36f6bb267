//! Memtables that take what is replayed from the log, before there is a database around them.

use std::collections::BTreeSet;
use std::sync::Arc;

use lsm_base::{BatchOp, KeyspaceId, Seq, key};
use lsm_compaction::State;
use lsm_memtable::{Arena, ArenaWriter, Memtable};

use crate::generation::{Generation, GenerationView};

/// A generation that is filled from the log.
pub(crate) struct ReplayBuffer {
    view: GenerationView,
    writer: ArenaWriter,
    /// The keyspaces that there are.
    live: BTreeSet<KeyspaceId>,
    /// Ids from here on were never given out.
    next_keyspace_id: u32,
    arena_size: usize,
    last_seq: Seq,
}

impl ReplayBuffer {
    pub(crate) fn new(state: &State, arena_size: usize) -> ReplayBuffer {
        let (view, writer) = new_generation(0, arena_size);
        ReplayBuffer {
            view,
            writer,
            live: state.version.trees().map(|(id, _)| id).collect(),
            next_keyspace_id: state.next_keyspace_id,
            arena_size,
            last_seq: Seq::ZERO,
        }
    }

    /// The last sequence that was inserted, or skipped with its keyspace.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Makes room for an entry of this size. What was in the buffer is returned if it had to go.
    pub(crate) fn make_room(&mut self, key_len: usize, value_len: usize) -> Option<GenerationView> {
        let bound = Memtable::insert_bound(key_len, value_len);
        if bound <= self.writer.remaining() {
            return None;
        }
        let number = self.view.generation.number + 1;
        let (view, writer) = new_generation(number, self.arena_size.max(bound));
        self.writer = writer;
        let full = std::mem::replace(&mut self.view, view);
        (!full.memtables().is_empty()).then_some(full)
    }

    /// Inserts an operation, or skips it if its keyspace was dropped. `false` if the keyspace
    /// never existed. Requires: [`make_room`](Self::make_room).
    pub(crate) fn insert(&mut self, op: &BatchOp<'_>, seq: Seq) -> bool {
        if self.next_keyspace_id <= op.keyspace.0 {
            return false;
        }
        self.last_seq = seq;
        if !self.live.contains(&op.keyspace) {
            return true;
        }
        let memtable = match self.view.memtable(op.keyspace) {
            Some(memtable) => Arc::clone(memtable),
            None => {
                let memtable = Arc::new(Memtable::new(&self.view.generation.arena, &[]));
                self.view = self.view.with_memtable(op.keyspace, Arc::clone(&memtable));
                memtable
            }
        };
        let hash = key::hash_user_key(op.key);
        memtable
            .insert(&mut self.writer, op.key, hash, seq, op.kind, op.value)
            .expect("room was made for the entry");
        true
    }

    /// Lets a keyspace in that the state does not know.
    pub(crate) fn admit(&mut self, keyspace: KeyspaceId) {
        self.live.insert(keyspace);
        self.next_keyspace_id = self.next_keyspace_id.max(keyspace.0.saturating_add(1));
    }

    /// What is in the buffer.
    pub(crate) fn take(self) -> GenerationView {
        self.view
    }
}

/// What an arena takes for itself, with room to spare.
pub(crate) const ARENA_SLACK: usize = 64;

fn new_generation(number: u64, arena_size: usize) -> (GenerationView, ArenaWriter) {
    let arena = Arena::new(arena_size + ARENA_SLACK);
    let writer = arena.writer().expect("a new arena has its writer");
    (GenerationView::empty(Generation::new(number, 0, 0, arena)), writer)
}
