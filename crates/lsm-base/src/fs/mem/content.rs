//! The bytes of a file, in shared chunks.
//!
//! A clone shares every chunk; a write copies the chunks that it touches if they are shared, and
//! the list of chunks (eight bytes for 64 KiB). So the durable and the present state of a file, and
//! all images of it after a power loss, cost only what differs between them.
//!
//! Invariant: what no chunk holds, and whatever lies behind the end of the file, is zero.

use std::ops::Range;
use std::sync::Arc;

const CHUNK_LEN: usize = 64 << 10;

/// The unit that the medium writes whole or not at all.
pub(super) const SECTOR_LEN: u64 = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Chunks may be shorter than [`CHUNK_LEN`], and missing at the end: the rest is zeros.
    chunks: Arc<Vec<Arc<Vec<u8>>>>,
    len: u64,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many sectors the file has, the last one perhaps in part.
    pub(super) fn sector_count(&self) -> u64 {
        self.len.div_ceil(SECTOR_LEN)
    }

    /// Reads up to the end of the file and returns how many bytes that were.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let count = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        for (index, inside, part) in pieces(offset, count) {
            let part = &mut buf[part];
            let chunk = self.chunks.get(index).map_or(&[][..], |chunk| chunk);
            let held = chunk.get(inside..).unwrap_or_default();
            let held = &held[..held.len().min(part.len())];
            part[..held.len()].copy_from_slice(held);
            part[held.len()..].fill(0);
        }
        count
    }

    /// The bytes of a sector, zeros behind the end of the file.
    pub(super) fn sector(&self, sector: u64) -> [u8; SECTOR_LEN as usize] {
        let mut bytes = [0; SECTOR_LEN as usize];
        self.read(&mut bytes, sector * SECTOR_LEN);
        bytes
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let chunks = Arc::make_mut(&mut self.chunks);
        for (index, inside, part) in pieces(offset, bytes.len()) {
            if chunks.len() <= index {
                // One empty chunk stands for all of a hole.
                chunks.resize(index + 1, Arc::default());
            }
            let chunk = Arc::make_mut(&mut chunks[index]);
            let end = inside + part.len();
            if chunk.len() < end {
                chunk.resize(end, 0);
            }
            chunk[inside..end].copy_from_slice(&bytes[part]);
        }
        self.extend(offset + bytes.len() as u64);
    }

    /// Gives the file at least `len` bytes.
    pub(super) fn extend(&mut self, len: u64) {
        self.len = self.len.max(len);
    }
}

/// Cuts a range of a file at the chunk boundaries: the number of the chunk, the offset inside it,
/// and which part of the range it holds.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let inside = (at % CHUNK_LEN as u64) as usize;
        let part = done..len.min(done + CHUNK_LEN - inside);
        done = part.end;
        Some(((at / CHUNK_LEN as u64) as usize, inside, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn content_reads_like_a_vector_and_clones_stand_apart(
            writes in prop::collection::vec((0..300_000_u64, 0..100_000_usize, any::<u8>()), 1..8),
            read in (0..400_000_u64, 0..200_000_usize),
        ) {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for (offset, len, byte) in writes {
                let (before, earlier) = (content.clone(), model.clone());
                content.write(&vec![byte; len], offset);
                let end = offset as usize + len;
                model.resize(model.len().max(end), 0);
                model[offset as usize..end].fill(byte);
                prop_assert_eq!(all(&before), earlier);
            }
            prop_assert_eq!(&all(&content), &model);
            let mut buf = vec![1; read.1];
            let count = content.read(&mut buf, read.0);
            let start = model.len().min(read.0 as usize);
            prop_assert_eq!(&buf[..count], &model[start..model.len().min(start + read.1)]);
        }
    }

    fn all(content: &Content) -> Vec<u8> {
        let mut bytes = vec![1; content.len() as usize];
        assert_eq!(content.read(&mut bytes, 0), bytes.len());
        bytes
    }
}
