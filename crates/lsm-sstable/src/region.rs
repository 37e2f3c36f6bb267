//! The bytes of a checked region: in place in the map, or owned.

use std::ops::Deref;
use std::sync::Arc;

use crate::map::FileMap;

/// A region of a table whose checksum was found right, without that checksum.
#[derive(Debug)]
pub(crate) enum RegionBytes {
    /// In the map.
    Mapped {
        /// The map of the whole file.
        map: Arc<FileMap>,
        /// Where the region begins.
        start: usize,
        /// How long it is.
        len: usize,
    },
    /// On the heap.
    Owned(Box<[u8]>),
}

impl Deref for RegionBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            RegionBytes::Mapped { map, start, len } => {
                map.get(*start..*start + *len).unwrap_or_default()
            }
            RegionBytes::Owned(bytes) => bytes,
        }
    }
}
