//! Snapshots: sequences whose view of the data is kept.
//!
//! The register is a list of slots. Taking a snapshot loads the visible sequence, stores it in a
//! free slot, and loads the visible sequence again: if it changed, the store may have come too
//! late for a flush or compaction that was just looking, and the newer sequence is stored instead.
//! Flush and compaction load the visible sequence first and look at the slots then, and keep what
//! either sees. So for every snapshot, whoever looks either sees its slot, or looked at a visible
//! sequence that is not above the snapshot's and keeps what that sees.
//!
//! Implicit reads take no slot: the SuperVersion that they pin holds all that they can see.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use crossbeam::utils::CachePadded;
use lsm_base::Seq;
use lsm_base::plant::{self, Plant};

use crate::sync::{AtomicU64, fence};

const FREE: u64 = u64::MAX;

/// Models explore every slot, so they have few.
const SLOTS_PER_CHUNK: usize = if cfg!(loom) { 2 } else { 64 };

/// The sequences in use by snapshots.
#[derive(Debug, Default)]
pub(crate) struct SnapshotRegister {
    first: Chunk,
}

/// A list of chunks that only grows: a slot stays where it is.
#[derive(Debug)]
struct Chunk {
    slots: [CachePadded<AtomicU64>; SLOTS_PER_CHUNK],
    next: OnceLock<Box<Chunk>>,
}

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk {
            slots: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(FREE))),
            next: OnceLock::new(),
        }
    }
}

impl SnapshotRegister {
    /// Takes a slot for the sequence that is visible now.
    pub(crate) fn acquire(self: &Arc<Self>, visible: impl Fn() -> Seq) -> SnapshotSlot {
        let mut seq = visible();
        let index = self.claim(seq.get());
        let slot = self.slot(index);
        loop {
            // Between the store of the slot and the load of what is visible, as in `live` between
            // that load and those of the slots: of two such fences one is the first, so either the
            // slot is seen there, or what was visible there is seen here.
            fence(Ordering::SeqCst);
            let now = visible();
            if now == seq {
                return SnapshotSlot { register: Arc::clone(self), index, seq };
            }
            seq = now;
            slot.store(seq.get(), Ordering::Release);
        }
    }

    /// The sequences that flush and compaction must respect, ascending and without repetition:
    /// those in the slots, and the visible sequence, for the snapshots that begin right now.
    pub(crate) fn live(&self, visible: impl Fn() -> Seq) -> Vec<Seq> {
        let is_late = plant::is_live(Plant::SnapshotOverlooked);
        let mut seqs = Vec::new();
        if !is_late {
            seqs.push(visible());
        }
        fence(Ordering::SeqCst);
        let mut chunk = Some(&self.first);
        while let Some(current) = chunk {
            let values = current.slots.iter().map(|slot| slot.load(Ordering::Acquire));
            seqs.extend(values.filter(|&value| value != FREE).map(Seq::new));
            chunk = current.next.get().map(Box::as_ref);
        }
        if is_late {
            seqs.push(visible());
        }
        seqs.sort_unstable();
        seqs.dedup();
        seqs
    }

    /// How many snapshots are held.
    pub(crate) fn count(&self) -> usize {
        let mut count = 0;
        let mut chunk = Some(&self.first);
        while let Some(current) = chunk {
            let values = current.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
            count += values.filter(|&value| value != FREE).count();
            chunk = current.next.get().map(Box::as_ref);
        }
        count
    }

    fn claim(&self, seq: u64) -> usize {
        let mut chunk = &self.first;
        let mut base = 0;
        loop {
            let free = chunk.slots.iter().position(|slot| {
                slot.compare_exchange(FREE, seq, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            });
            if let Some(index) = free {
                return base + index;
            }
            chunk = chunk.next.get_or_init(Box::default);
            base += SLOTS_PER_CHUNK;
        }
    }

    fn slot(&self, index: usize) -> &AtomicU64 {
        let mut chunk = &self.first;
        for _ in 0..index / SLOTS_PER_CHUNK {
            chunk = chunk.next.get().expect("the slot was claimed, so its chunk exists");
        }
        &chunk.slots[index % SLOTS_PER_CHUNK]
    }
}

/// A slot, freed when it is dropped.
#[derive(Debug)]
pub(crate) struct SnapshotSlot {
    register: Arc<SnapshotRegister>,
    index: usize,
    seq: Seq,
}

impl SnapshotSlot {
    pub(crate) fn seq(&self) -> Seq {
        self.seq
    }
}

impl Drop for SnapshotSlot {
    fn drop(&mut self) {
        // Release: what the snapshot read was read before.
        self.register.slot(self.index).store(FREE, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod model;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn seen(visible: &AtomicU64) -> impl Fn() -> Seq {
        || Seq::new(visible.load(Ordering::Acquire))
    }

    fn numbers(register: &SnapshotRegister, visible: &AtomicU64) -> Vec<u64> {
        register.live(seen(visible)).into_iter().map(Seq::get).collect()
    }

    #[test]
    fn the_register_lists_each_sequence_once() {
        let register = Arc::new(SnapshotRegister::default());
        let visible = AtomicU64::new(5);
        let first = register.acquire(seen(&visible));
        let twin = register.acquire(seen(&visible));
        visible.store(9, Ordering::Release);
        assert_eq!(first.seq(), Seq::new(5));
        assert_eq!(numbers(&register, &visible), [5, 9]);
        drop(first);
        assert_eq!(numbers(&register, &visible), [5, 9]);
        drop(twin);
        assert_eq!(numbers(&register, &visible), [9]);
    }

    #[test]
    fn the_register_grows_and_its_slots_are_used_again() {
        let register = Arc::new(SnapshotRegister::default());
        let visible = AtomicU64::new(0);
        let mut held = Vec::new();
        for seq in 0..200 {
            visible.store(seq, Ordering::Release);
            held.push(register.acquire(seen(&visible)));
        }
        assert_eq!(register.count(), 200);
        assert_eq!(numbers(&register, &visible).len(), 200);
        held.truncate(1);
        assert_eq!(numbers(&register, &visible), [0, 199]);
        assert_eq!(register.acquire(seen(&visible)).index, 1);
    }

    #[test]
    fn whoever_looks_while_snapshots_begin_keeps_what_they_see() {
        let register = Arc::new(SnapshotRegister::default());
        let visible = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for seq in 1..=20_000 {
                    visible.store(seq, Ordering::Release);
                }
            });
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let before = register.live(seen(&visible));
                    let slot = register.acquire(seen(&visible));
                    // A look that ended before the snapshot began stopped at or below it.
                    assert!(before.last().copied().unwrap() <= slot.seq());
                    assert!(register.live(seen(&visible)).contains(&slot.seq()));
                }
            });
        });
    }
}
