//! The twin of `memory.rs` for loom: the same interface over memory that loom watches.
//!
//! Every word has one of loom's atomics, and every unit a loom cell that stands for its plain
//! bytes: a plain read that the writer's plain write did not happen before fails the model.

use std::cell::UnsafeCell;

use super::UNIT;
use crate::sync::AtomicU32;

/// Zeros, with an atomic for each word and a watch on each unit.
pub(super) struct Memory {
    words: Vec<AtomicU32>,
    watches: Vec<loom::cell::UnsafeCell<()>>,
    plain: Box<[UnsafeCell<[u8; UNIT]>]>,
}

// SAFETY: loom runs one thread at a time, and reports what would be a race on `plain` elsewhere.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn zeroed(units: usize) -> Memory {
        Memory {
            words: (0..units * 2).map(|_| AtomicU32::new(0)).collect(),
            watches: (0..units).map(|_| loom::cell::UnsafeCell::new(())).collect(),
            plain: (0..units).map(|_| UnsafeCell::new([0; UNIT])).collect(),
        }
    }

    pub(super) fn space(&self) -> RawSpace<'_> {
        RawSpace(self)
    }
}

/// A borrowed [`Memory`].
#[derive(Clone, Copy)]
pub(super) struct RawSpace<'a>(&'a Memory);

impl<'a> RawSpace<'a> {
    /// # Safety
    /// None is needed here; the twin has a contract.
    pub(super) unsafe fn atomic(self, offset: usize) -> &'a AtomicU32 {
        &self.0.words[offset / 4]
    }

    /// # Safety
    /// As for the twin; loom checks it.
    pub(super) unsafe fn bytes(self, offset: usize, len: usize) -> &'a [u8] {
        self.watched(offset, len).for_each(|watch| watch.with(|_| ()));
        assert!(offset + len <= self.0.plain.len() * UNIT);
        // SAFETY: in bounds, and by contract no write follows.
        unsafe { std::slice::from_raw_parts(self.0.plain.as_ptr().cast::<u8>().add(offset), len) }
    }

    /// # Safety
    /// As for the twin; loom checks it.
    pub(super) unsafe fn write(self, offset: usize, bytes: &[u8]) {
        self.watched(offset, bytes.len()).for_each(|watch| watch.with_mut(|_| ()));
        for (index, &byte) in (offset..).zip(bytes) {
            // SAFETY: by contract nobody else has access, and one thread runs at a time.
            unsafe { (*self.0.plain[index / UNIT].get())[index % UNIT] = byte };
        }
    }

    fn watched(
        self,
        offset: usize,
        len: usize,
    ) -> impl Iterator<Item = &'a loom::cell::UnsafeCell<()>> {
        self.0.watches[offset / UNIT..(offset + len).div_ceil(UNIT)].iter()
    }
}
