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
        // std's `alloc_zeroed` call `calloc`, which leaves fresh pages untouched. Below glibc's
        // threshold for maps (32 MiB, once something as large was freed) it may hand out used memory
        // and clear it at once: that costs less than the page faults of fresh memory would.
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
        RawSpace {
            base: self.base,
            #[cfg(debug_assertions)]
            len: self.layout.size(),
            memory: PhantomData,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `base` came from `alloc_zeroed` with this layout, and nothing that borrows from
        // this value outlives it.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// A [`Memory`] by its address, so that a record and its memory pass in two registers.
#[derive(Clone, Copy)]
pub(super) struct RawSpace<'a> {
    base: NonNull<u8>,
    #[cfg(debug_assertions)]
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
        debug_assert!(offset.is_multiple_of(4));
        self.debug_check(offset, 4);
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
        self.debug_check(offset, len);
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
        self.debug_check(offset, bytes.len());
        // SAFETY: in bounds; a borrowed slice cannot overlap memory that by contract nobody
        // else has access to.
        unsafe {
            let place = self.base.add(offset).as_ptr();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
    }

    /// Asks for the cache line at `offset`; a hint without effect but on time.
    #[inline(always)]
    pub(super) fn prefetch(self, offset: usize) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.base.as_ptr().wrapping_add(offset).cast());
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = offset;
    }

    #[inline(always)]
    fn debug_check(self, offset: usize, len: usize) {
        #[cfg(debug_assertions)]
        assert!(offset <= self.len && len <= self.len - offset, "outside of the memory");
        #[cfg(not(debug_assertions))]
        let _ = (offset, len);
    }
}
