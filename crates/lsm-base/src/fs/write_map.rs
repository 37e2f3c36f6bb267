//! The bytes of a file as memory: small writes without a call of the system each.
//!
//! A store into a shared map changes the page cache, as a write does: it survives the process, and
//! with a sync of the file the machine. What it cannot do is fail. So only a file is mapped that has
//! all of its blocks, on a file system that writes them in place; elsewhere a store could meet a
//! full disk, and that ends the process.
//!
//! This is the only file of the crate with `unsafe`. What is left: another program that truncates the
//! file, or a disk that cannot read a page back, raises SIGBUS, and that ends the process as a crash
//! would.

use ::std::ops::Range;
use ::std::os::fd::BorrowedFd;
use ::std::ptr;

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::plant::{self, Plant};

/// So much of the map is brought into memory at a time, in bytes.
const STRETCH: usize = 256 << 10;

/// The first bytes of a file, mapped to be written to.
#[derive(Debug)]
pub(super) struct WriteMap {
    map: MmapRaw,
    /// Up to here the pages were asked for.
    populated: usize,
}

impl WriteMap {
    /// Maps the first `len` bytes of a file; `None` where that cannot be. The caller sees to it that all
    /// of them have their blocks.
    pub(super) fn new(file: BorrowedFd<'_>, len: u64) -> Option<WriteMap> {
        let len = usize::try_from(len).ok().filter(|len| 0 < *len)?;
        let mut options = MmapOptions::new();
        options.len(len);
        if plant::is_live(Plant::LogMapPrivate) {
            // SAFETY: no slice of the map is ever made.
            let map = unsafe { options.map_copy(&file) }.ok()?;
            return Some(WriteMap { map: map.into(), populated: 0 });
        }
        let map = options.map_raw(&file).ok()?;
        // Else the first store into a page may bring all of the file behind it into memory, filled with
        // zeros, while somebody waits. It is advice, here and below: without it, so be it.
        let _ = map.advise(Advice::Random);
        Some(WriteMap { map, populated: 0 })
    }

    /// Copies `buf` to `offset`, if it fits.
    ///
    /// It takes the map for itself: two writes of the same bytes at once have no meaning.
    pub(super) fn write(&mut self, buf: &[u8], offset: u64) -> bool {
        let Ok(offset) = usize::try_from(offset) else { return false };
        if self.map.len().checked_sub(offset).is_none_or(|room| room < buf.len()) {
            return false;
        }
        self.populate(offset..offset + buf.len());
        // SAFETY: the target is within the map, as was just looked at, and the map lives as long as
        // `self`. Nothing else of this process points into it: no reference to its bytes is ever made,
        // and `self` is borrowed for this call alone. `buf` cannot overlap it for the same reason.
        // The file has these pages, for nobody truncates it (see the head of this file).
        unsafe {
            ptr::copy_nonoverlapping(buf.as_ptr(), self.map.as_mut_ptr().add(offset), buf.len());
        };
        true
    }

    /// Brings the pages of a range, and some behind them, into memory at once: that costs less than a
    /// fault for each, and nobody waits for long.
    fn populate(&mut self, range: Range<usize>) {
        let ahead = ahead(self.populated, range, self.map.len());
        if !ahead.is_empty() {
            let _ = self.map.advise_range(Advice::PopulateWrite, ahead.start, ahead.len());
            self.populated = ahead.end;
        }
    }
}

/// What of a map of `len` bytes is to be brought into memory for a store into `range`, all before
/// `populated` having been asked for: whole stretches, and none of those that the store passes over,
/// which calls have written.
fn ahead(populated: usize, range: Range<usize>, len: usize) -> Range<usize> {
    let start = populated.max(range.start / STRETCH * STRETCH);
    let end = range.end.next_multiple_of(STRETCH).min(len);
    if range.end <= populated { populated..populated } else { start..end }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use ::std::os::fd::AsFd;
    use ::std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_is_stored_is_in_the_file_and_what_does_not_fit_is_not() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10_000).unwrap();
        let mut map = WriteMap::new(file.as_fd(), 10_000).unwrap();
        assert!(map.write(&[1; 5_000], 100) && map.write(&[2; 4], 9_996) && map.write(&[], 10_000));
        assert!(
            !map.write(&[3; 5], 9_996) && !map.write(&[3], 10_000) && !map.write(&[3], u64::MAX)
        );
        let mut bytes = vec![9; 10_000];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let expected = [&[0; 100][..], &[1; 5_000], &[0; 4_896], &[2; 4]].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn it_outlives_the_handle_that_it_was_made_by() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4_096).unwrap();
        let mut map = WriteMap::new(file.as_fd(), 4_096).unwrap();
        let reader = file.try_clone().unwrap();
        drop(file);
        assert!(map.write(b"behind", 4_090));
        let mut bytes = [0; 6];
        reader.read_exact_at(&mut bytes, 4_090).unwrap();
        assert_eq!(&bytes, b"behind");
    }

    #[test]
    fn pages_are_asked_for_a_stretch_at_a_time_and_where_they_are_needed() {
        let len = 10 * STRETCH + 100;
        assert_eq!(ahead(0, 80..90, len), 0..STRETCH);
        assert!(
            ahead(STRETCH, 90..STRETCH, len).is_empty() && ahead(STRETCH, 0..10, len).is_empty()
        );
        assert_eq!(ahead(STRETCH, STRETCH - 5..STRETCH + 5, len), STRETCH..2 * STRETCH);
        // What lies between was written by calls: nobody waits for it.
        assert_eq!(
            ahead(STRETCH, 7 * STRETCH + 9..7 * STRETCH + 10, len),
            7 * STRETCH..8 * STRETCH
        );
        assert_eq!(ahead(STRETCH, len - 1..len, len), 10 * STRETCH..len);
    }

    #[test]
    fn nothing_to_map_is_no_map() {
        let file = tempfile::tempfile().unwrap();
        assert!(WriteMap::new(file.as_fd(), 0).is_none());
        let (pipe, _) = ::std::io::pipe().unwrap();
        assert!(WriteMap::new(pipe.as_fd(), 4_096).is_none());
    }
}
