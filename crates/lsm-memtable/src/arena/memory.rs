//! Zeroed memory, addressed by byte offset: all raw pointers of the crate.
//!
//! Offsets are checked in debug builds. In release builds the invariants of the arena answer for
//! them, since a search follows some twenty links.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::UNIT;
use crate::sync::AtomicU32;

/// One zeroed allocation.
pub(super) struct Memory {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone, and every access to it is either atomic or, by
// the contracts below, free of races.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// So many units of zeros, not yet committed where the operating system can defer it.
    pub(super) fn zeroed(units: usize) -> Memory {
        // An alignment of eight, and not of a cache line: only up to malloc's own alignment does
        // std's `alloc_zeroed` call `calloc`, which leaves fresh pages untouched.
        let size = units.max(1).checked_mul(UNIT);
        let layout = size.and_then(|size| Layout::from_size_align(size, UNIT).ok());
        let layout = layout.expect("an arena fits the address space");
        // SAFETY: the size is not zero.
        let Some(base) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        Memory { base, layout }
    }

    #[inline(always)]
    pub(super) fn space(&self) -> RawSpace<'_> {
        RawSpace { base: self.base, len: self.layout.size(), memory: PhantomData }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `base` came from `alloc_zeroed` with this layout, and nothing that borrows from
        // this value outlives it.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// A [`Memory`] by its address, which so stays in a register during a search.
#[derive(Clone, Copy)]
pub(super) struct RawSpace<'a> {
    base: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'a Memory>,
}

impl<'a> RawSpace<'a> {
    /// The four bytes at `offset`, as an atomic.
    ///
    /// # Safety
    /// `offset` is a multiple of four inside the memory, and these bytes are never accessed as
    /// plain memory.
    #[inline(always)]
    pub(super) unsafe fn atomic(self, offset: usize) -> &'a AtomicU32 {
        debug_assert!(offset.is_multiple_of(4) && offset + 4 <= self.len);
        // SAFETY: in bounds and aligned, since `base` is aligned to eight; zeroed memory is a
        // valid atomic; by contract there is no plain access to race with.
        unsafe { self.base.add(offset).cast::<AtomicU32>().as_ref() }
    }

    /// The `len` bytes at `offset`.
    ///
    /// # Safety
    /// The bytes lie inside the memory; no write to them follows or is concurrent.
    #[inline(always)]
    pub(super) unsafe fn bytes(self, offset: usize, len: usize) -> &'a [u8] {
        debug_assert!(offset <= self.len && len <= self.len - offset);
        // SAFETY: in bounds, initialised (zeroed at first), and by contract unchanging.
        unsafe { std::slice::from_raw_parts(self.base.add(offset).as_ptr(), len) }
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Safety
    /// The place lies inside the memory, and no other access to it is concurrent, nor does any
    /// slice of it exist.
    #[inline(always)]
    pub(super) unsafe fn write(self, offset: usize, bytes: &[u8]) {
        debug_assert!(offset <= self.len && bytes.len() <= self.len - offset);
        // SAFETY: in bounds; a borrowed slice cannot overlap memory that by contract nobody
        // else has access to.
        unsafe {
            let place = self.base.add(offset).as_ptr();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
    }
}
