//! The bytes of a whole table file: mapped, or on the heap where there is nothing to map.
//!
//! This is the only file of the crate with `unsafe`. What makes a shared slice over a file sound is
//! that nobody changes the file: a table is complete and synced before it is opened, and is never
//! written, truncated or punched afterwards, only unlinked, which leaves maps alone. The LOCK of
//! the database directory keeps other engines from it.
//!
//! What is left: another program that truncates the file, or a sector that dies after it was
//! checked, raises SIGBUS, and that ends the process as a crash would. `ReadMode::Pread` has no
//! map and gets errors instead.

use std::ops::Deref;

use lsm_base::{Error, File, Result};
use memmap2::{Mmap, MmapOptions};

/// A table file as one slice.
#[derive(Debug)]
pub(crate) struct FileMap(Bytes);

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// The file as it was when it was opened: what happens to it later is not seen here.
    Heap(Box<[u8]>),
}

impl FileMap {
    /// Maps the first `len` bytes of the file, which the caller knows it to have.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn new(file: &dyn File, len: u64) -> Result<FileMap> {
        let len = usize::try_from(len)
            .map_err(|_| Error::invalid("a table larger than the address space"))?;
        let Some(descriptor) = file.descriptor() else {
            let mut bytes = vec![0; len].into_boxed_slice();
            file.read_exact_at(&mut bytes, 0)?;
            return Ok(FileMap(Bytes::Heap(bytes)));
        };
        // SAFETY: the map is private to this value and read-only. A table file is complete and
        // synced before it is opened for reading, and is never written or truncated afterwards (see
        // the head of this file for who guarantees that, and for what is left).
        let map = unsafe { MmapOptions::new().len(len).map(&descriptor) }
            .map_err(|error| Error::io("map", file.path(), error))?;
        Ok(FileMap(Bytes::Mapped(map)))
    }
}

impl Deref for FileMap {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(map) => map,
            Bytes::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_base::Fs;
    use lsm_base::fs::StdFs;

    #[test]
    fn a_map_outlives_its_file_name_and_handle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("000001.sst");
        let content: Vec<u8> = (0..10_000_u32).map(|i| i as u8).collect();
        let file = StdFs.create(&path).unwrap();
        file.write_all_at(&content, 0).unwrap();
        file.sync_data().unwrap();
        drop(file);
        let map = FileMap::new(&*StdFs.open(&path).unwrap(), content.len() as u64).unwrap();
        StdFs.remove(&path).unwrap();
        assert_eq!(*map, *content);
    }

    #[test]
    fn a_map_may_be_read_by_many_threads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("000001.sst");
        let file = StdFs.create(&path).unwrap();
        file.write_all_at(&[7; 8192], 0).unwrap();
        let map = FileMap::new(&*file, 8192).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(map.iter().all(|&byte| byte == 7)));
            }
        });
    }
}
