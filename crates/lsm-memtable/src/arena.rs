//! The arena: memory of fixed size that one writer fills and any number of readers walk.
//!
//! ```text
//! | null | key entries and versions, upwards -->      free      <-- nodes, downwards |
//! ```
//!
//! Memory is counted in units of eight bytes and named by a [`Slot`], the 32-bit number of its
//! first unit, so that an arena may hold 32 GiB. Unit 0 is nobody's: as a link it means "none".
//! Nodes come from one end and everything else from the other, so that the nodes, which a search
//! reads, lie close together.
//!
//! Invariants, on which every unsafe block of the crate rests:
//!
//! 1. A unit is handed out once and freed with the arena.
//! 2. A [`Slot`] exists only for memory that was handed out: it comes from a [`Draft`] or is
//!    read back from a place where one was stored. It is used with the arena it came from: trees
//!    keep their slots to themselves.
//! 3. Every four bytes of a record are either an atomic from the first byte of their life to the
//!    last, or plain. Plain bytes are written through the [`Draft`] only, before its slot is
//!    known to anybody, and never change afterwards.
//! 4. A slot is published by a `Release` store of a [`Link`] and picked up by an `Acquire` load,
//!    so that whoever holds a slot sees the plain bytes behind it.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::sync::{AtomicU32, Ordering, Private};

#[cfg(not(loom))]
mod memory;
#[cfg(loom)]
#[path = "arena/model.rs"]
mod memory;

use memory::{Memory, RawSpace};

/// Bytes in a unit.
pub(crate) const UNIT: usize = 8;

/// The largest capacity in bytes: with the null unit, the count of units fits 32 bits.
const MAX_CAPACITY: usize = (u32::MAX as usize - 1) * UNIT;

/// Memory of fixed capacity, shared by the memtables of one generation.
///
/// The address space is reserved at once; the operating system commits a page when it is first
/// written. Nothing is freed before the arena itself, which lives as long as a memtable, a cursor
/// or the writer that refers to it.
pub struct Arena {
    memory: Memory,
    /// Units of the memory, the null unit included.
    units: u32,
    /// The first unit above the key entries. Only the writer stores it.
    low: Private,
    /// The lowest unit of the nodes. Only the writer stores it.
    high: Private,
    has_writer: AtomicBool,
}

impl Arena {
    /// Reserves an arena of `capacity` bytes, rounded up to a multiple of eight.
    ///
    /// A large one takes memory only as it fills; one of up to 32 MiB may take all of it at once, and
    /// the time to clear it.
    ///
    /// # Panics
    /// If `capacity` is above 2^35 - 16 bytes, about 32 GiB.
    #[must_use]
    pub fn new(capacity: usize) -> Arc<Arena> {
        assert!(capacity <= MAX_CAPACITY, "an arena has at most {MAX_CAPACITY} bytes");
        let units = capacity.div_ceil(UNIT) as u32 + 1;
        let arena = Arena {
            memory: Memory::zeroed(units as usize),
            units,
            low: Private::default(),
            high: Private::default(),
            has_writer: AtomicBool::new(false),
        };
        arena.low.set(1);
        arena.high.set(u64::from(units));
        Arc::new(arena)
    }

    /// How many bytes the arena holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        (self.units as usize - 1) * UNIT
    }

    /// How many bytes are handed out; beside a writer at work, a recent figure.
    #[must_use]
    pub fn used(&self) -> usize {
        let (low, high) = (self.low.get(), self.high.get());
        (low - 1 + u64::from(self.units) - high) as usize * UNIT
    }

    /// The token of the single writer: `Some` the first time, `None` ever after.
    #[must_use]
    pub fn writer(self: &Arc<Arena>) -> Option<ArenaWriter> {
        // Relaxed: the swap decides who gets the token and publishes nothing.
        match self.has_writer.swap(true, Ordering::Relaxed) {
            false => Some(ArenaWriter { arena: Arc::clone(self) }),
            true => None,
        }
    }

    pub(crate) fn space(&self) -> Space<'_> {
        Space(self.memory.space())
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("capacity", &self.capacity())
            .field("used", &self.used())
            .finish()
    }
}

/// The right to write into an arena. There is one, so "a single writer" is a matter of types.
#[derive(Debug)]
pub struct ArenaWriter {
    arena: Arc<Arena>,
}

impl ArenaWriter {
    /// The arena that this writer writes into.
    #[must_use]
    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// How many bytes can still be handed out.
    #[must_use]
    pub fn remaining(&self) -> usize {
        (self.arena.high.get() - self.arena.low.get()) as usize * UNIT
    }

    /// Whether `bytes` can be handed out, by any number of allocations of whole units.
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), ArenaFull> {
        if bytes <= self.remaining() { Ok(()) } else { Err(ArenaFull) }
    }

    /// Memory for a key entry or a version. Requires: room, by [`ArenaWriter::check_room`].
    pub(crate) fn draft_low(&mut self, len: usize) -> Draft<'_> {
        let units = self.take(len);
        let start = self.arena.low.get();
        self.arena.low.set(start + units);
        self.draft(start, len)
    }

    /// Memory for a node. Requires: room, by [`ArenaWriter::check_room`].
    pub(crate) fn draft_high(&mut self, len: usize) -> Draft<'_> {
        let units = self.take(len);
        let start = self.arena.high.get() - units;
        self.arena.high.set(start);
        self.draft(start, len)
    }

    fn take(&self, len: usize) -> u64 {
        assert!(len.next_multiple_of(UNIT) <= self.remaining(), "room was checked before");
        len.div_ceil(UNIT) as u64
    }

    fn draft(&self, start: u64, len: usize) -> Draft<'_> {
        let slot = u32::try_from(start).ok().and_then(Slot::new);
        let slot = slot.expect("units of an arena have numbers from 1 to 2^32 - 1");
        Draft { space: self.arena.space(), slot, len }
    }
}

/// The arena has no room for the insert; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArenaFull;

impl fmt::Display for ArenaFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memtable's arena is full")
    }
}

impl std::error::Error for ArenaFull {}

/// The number of the first unit of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    fn new(number: u32) -> Option<Slot> {
        NonZeroU32::new(number).map(Slot)
    }

    fn number(slot: Option<Slot>) -> u32 {
        slot.map_or(0, |slot| slot.0.get())
    }

    /// The part of the same record that begins `bytes` further on. Requires: whole units.
    pub(crate) fn part(self, bytes: usize) -> Slot {
        debug_assert!(bytes.is_multiple_of(UNIT), "parts begin at whole units");
        Slot(self.0.saturating_add((bytes / UNIT) as u32))
    }

    /// How many bytes lie between the beginnings of two records.
    pub(crate) fn distance(self, other: Slot) -> usize {
        self.0.get().abs_diff(other.0.get()) as usize * UNIT
    }

    fn offset(self) -> usize {
        self.0.get() as usize * UNIT
    }
}

/// The memory of an arena as readers see it: a copyable base address with the arena's lifetime.
#[derive(Clone, Copy)]
pub(crate) struct Space<'a>(RawSpace<'a>);

impl<'a> Space<'a> {
    /// The link in the four bytes at `at` of a record.
    #[inline(always)]
    pub(crate) fn link(self, slot: Slot, at: usize) -> Link<'a> {
        Link(self.atomic(slot, at))
    }

    /// The four bytes at `at` of a record, as an atomic.
    #[inline(always)]
    pub(crate) fn atomic(self, slot: Slot, at: usize) -> &'a AtomicU32 {
        // SAFETY: the slot was handed out (invariant 2), and record layouts name as atomics only
        // four-byte places inside the record that are never plain (invariant 3).
        unsafe { self.0.atomic(slot.offset() + at) }
    }

    /// Plain bytes of a record.
    #[inline(always)]
    pub(crate) fn bytes(self, slot: Slot, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: the slot was handed out (invariant 2), record layouts name as plain only bytes
        // inside the record that never change after the slot became known (invariant 3), and
        // their writes happened before it became known to this thread (invariant 4).
        unsafe { self.0.bytes(slot.offset() + at, len) }
    }

    /// `N` plain bytes of a record, by value.
    #[inline(always)]
    pub(crate) fn array<const N: usize>(self, slot: Slot, at: usize) -> [u8; N] {
        *self.bytes(slot, at, N).first_chunk().expect("the slice has N bytes")
    }

    /// Asks for the cache line at `at` of a record.
    #[inline(always)]
    pub(crate) fn prefetch(self, slot: Slot, at: usize) {
        self.0.prefetch(slot.offset() + at);
    }

    /// The slot in four plain bytes of a record.
    #[inline(always)]
    pub(crate) fn slot(self, slot: Slot, at: usize) -> Option<Slot> {
        Slot::new(u32::from_ne_bytes(self.array(slot, at)))
    }
}

/// A place that holds a slot or none, and through which records are published.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a>(&'a AtomicU32);

impl Link<'_> {
    /// The slot, with everything that was written before it was stored here.
    #[inline(always)]
    pub(crate) fn get(self) -> Option<Slot> {
        // Acquire pairs with the Release in `set`: the record behind the slot is seen whole.
        Slot::new(self.0.load(Ordering::Acquire))
    }

    /// Publishes a slot, and everything that was written before.
    #[inline(always)]
    pub(crate) fn set(self, slot: Option<Slot>) {
        // Release: a reader that finds the slot sees the record and all links stored earlier.
        self.0.store(Slot::number(slot), Ordering::Release);
    }

    /// Sets a link of a record that is not yet published.
    #[inline(always)]
    pub(crate) fn prepare(self, slot: Option<Slot>) {
        // Relaxed: the Release store that publishes the record covers this one.
        self.0.store(Slot::number(slot), Ordering::Relaxed);
    }
}

/// A link that lives outside an arena: the root of a tree, the ends of a list.
#[derive(Default)]
pub(crate) struct LinkCell(AtomicU32);

impl LinkCell {
    #[inline(always)]
    pub(crate) fn link(&self) -> Link<'_> {
        Link(&self.0)
    }
}

/// A slot that the writer keeps for itself.
#[derive(Default)]
pub(crate) struct PrivateSlot(Private);

impl PrivateSlot {
    pub(crate) fn get(&self) -> Option<Slot> {
        Slot::new(self.0.get() as u32)
    }

    pub(crate) fn set(&self, slot: Slot) {
        self.0.set(u64::from(Slot::number(Some(slot))));
    }
}

/// A record being written: zeroed memory that nobody else knows of.
pub(crate) struct Draft<'w> {
    space: Space<'w>,
    slot: Slot,
    len: usize,
}

impl Draft<'_> {
    /// Writes plain bytes.
    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at <= self.len && bytes.len() <= self.len - at, "a record keeps to its length");
        // SAFETY: the bytes lie inside memory that was handed out to this draft alone
        // (invariant 1), and whose slot nobody knows yet.
        unsafe { self.space.0.write(self.slot.offset() + at, bytes) };
    }

    /// Writes a slot as four plain bytes.
    pub(crate) fn put_slot(&mut self, at: usize, slot: Option<Slot>) {
        self.put(at, &Slot::number(slot).to_ne_bytes());
    }

    /// The link in the four bytes at `at`.
    pub(crate) fn link(&self, at: usize) -> Link<'_> {
        Link(self.atomic(at))
    }

    /// The four bytes at `at`, as an atomic.
    pub(crate) fn atomic(&self, at: usize) -> &AtomicU32 {
        assert!(at + 4 <= self.len, "a record keeps to its length");
        self.space.atomic(self.slot, at)
    }

    /// The part of the record that begins `bytes` in. Requires: whole units.
    pub(crate) fn part(&self, bytes: usize) -> Slot {
        assert!(bytes <= self.len, "a record keeps to its length");
        self.slot.part(bytes)
    }

    /// The record's slot: from here on the plain bytes never change.
    pub(crate) fn finish(self) -> Slot {
        self.slot
    }
}

/// Zeroed words beside the arena, each an atomic; committed page by page as they are set.
pub(crate) struct AtomicWords {
    memory: Memory,
    len: usize,
}

impl AtomicWords {
    /// `len` zeros. Requires: an even number.
    pub(crate) fn zeroed(len: usize) -> AtomicWords {
        assert!(len.is_multiple_of(2), "two words fill a unit");
        AtomicWords { memory: Memory::zeroed(len / 2), len }
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.len, "word {index} of {}", self.len);
        // SAFETY: the word lies inside the memory, and nothing here is ever plain.
        unsafe { self.memory.space().atomic(index * 4) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_writer() {
        let arena = Arena::new(64);
        let writer = arena.writer();
        assert!(writer.is_some() && arena.writer().is_none());
        drop(writer);
        assert!(arena.writer().is_none());
    }

    #[test]
    fn both_ends_share_the_capacity() {
        let arena = Arena::new(61);
        assert_eq!((arena.capacity(), arena.used()), (64, 0));
        let mut writer = arena.writer().unwrap();
        writer.draft_low(9).finish();
        writer.draft_high(24).finish();
        assert_eq!((arena.used(), writer.remaining()), (40, 24));
        assert_eq!(writer.check_room(24), Ok(()));
        assert_eq!(writer.check_room(25), Err(ArenaFull));
        writer.draft_low(24).finish();
        assert_eq!(writer.remaining(), 0);
    }

    #[test]
    fn a_record_reads_back() {
        let arena = Arena::new(128);
        let mut writer = arena.writer().unwrap();
        let first = writer.draft_low(8).finish();
        let mut draft = writer.draft_high(24);
        draft.put(0, b"01234567");
        draft.put_slot(8, Some(first));
        draft.link(12).prepare(Some(first));
        let slot = draft.finish();
        let space = arena.space();
        assert_eq!(space.bytes(slot, 2, 3), b"234");
        assert_eq!(space.slot(slot, 8), Some(first));
        assert_eq!(space.link(slot, 12).get(), Some(first));
        assert_eq!(space.link(slot, 16).get(), None);
    }

    #[test]
    #[should_panic(expected = "keeps to its length")]
    fn a_draft_refuses_to_write_behind_its_end() {
        let arena = Arena::new(128);
        arena.writer().unwrap().draft_low(8).put(4, b"12345");
    }

    #[test]
    fn the_far_end_of_a_large_arena_is_in_reach() {
        let arena = Arena::new(1 << 30);
        let mut writer = arena.writer().unwrap();
        let slot = writer.draft_high(24).finish();
        assert_eq!(arena.space().bytes(slot, 0, 24), [0; 24]);
    }
}
