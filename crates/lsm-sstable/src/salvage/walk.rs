//! Finding the blocks of a table without its fences.
//!
//! A block begins at a multiple of 8, and its header says how long it is but for the padding:
//!
//! ```text
//! offset 8192   header: stored length 3,980 ...   ends at 12,224 with its checksum: tried first
//!                                                 or padded to the page, at 12,288: tried next
//! ```
//!
//! Invariant: what is taken for a block has the checksum of this table and of this place. So a search
//! that tries every eighth byte finds no block where there was none, and misses none that is whole.

use lsm_base::Result;

use super::{Blocks, Frame, TableIdentity};
use crate::block::{BLOCK_ALIGN, HEADER_LEN, Layout};
use crate::format::CHECKSUM_LEN;

/// Up to which boundary a block may be padded.
const PAGE_LEN: u64 = 4096;

/// A block, or a stretch without one.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// The last user key of the block; `None` if it is none.
    pub(super) last_key: Option<Box<[u8]>>,
}

/// The blocks of the table in the order of the file, and the stretches between them.
pub(super) fn find_blocks(
    blocks: &mut Blocks,
    frame: &Frame,
    file_len: u64,
    identity: Option<TableIdentity>,
) -> Result<Vec<Walked>> {
    let len = identity.map_or(file_len, |identity| identity.len).min(file_len);
    let end = match (frame.data, frame.footer) {
        (Some(data), _) => data.end(),
        (None, Some(footer)) => footer.directory_offset,
        // Of a file that was cut, all that is left may be blocks.
        (None, None) => len,
    };
    let mut walk = Walk { blocks, end: end.min(file_len), found: Vec::new(), entries: 0 };
    walk.run()?;
    let Walk { mut found, entries, .. } = walk;
    let expected = frame.properties.as_ref().map(|properties| properties.entries);
    if identity.map(|identity| identity.entries).or(expected) == Some(entries) {
        // What is no block is the other sections, or the zeros between.
        found.retain(|walked| walked.last_key.is_some());
    } else if found.last().is_none_or(|walked| walked.last_key.is_some()) {
        // Something is missing, and only the end has room for it.
        found.push(Walked { offset: end.min(file_len), len: 0, last_key: None });
    }
    Ok(found)
}

struct Walk<'a> {
    blocks: &'a mut Blocks,
    end: u64,
    found: Vec<Walked>,
    entries: u64,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<()> {
        let mut offset = 0;
        while offset < self.end {
            match self.block_at(offset)? {
                Some(walked) => {
                    offset += walked.len;
                    self.found.push(walked);
                }
                None => {
                    let len = (BLOCK_ALIGN as u64).min(self.end - offset);
                    self.extend_gap(offset, len);
                    offset += len;
                }
            }
        }
        Ok(())
    }

    fn extend_gap(&mut self, offset: u64, len: u64) {
        match self.found.last_mut() {
            Some(gap) if gap.last_key.is_none() => gap.len += len,
            _ => self.found.push(Walked { offset, len, last_key: None }),
        }
    }

    /// The block that begins here, if one does.
    fn block_at(&mut self, offset: u64) -> Result<Option<Walked>> {
        let room = self.end - offset;
        if room < HEADER_LEN as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER_LEN];
        self.blocks.file.read_exact_at(&mut header, offset)?;
        let Ok(layout) = Layout::parse(&header) else { return Ok(None) };
        let payload_at = layout.payload_end() - layout.payload_len();
        let content_len = (payload_at + layout.stored_len() + CHECKSUM_LEN) as u64;
        if layout.count() == 0 || room < content_len {
            return Ok(None);
        }
        let aligned = content_len.next_multiple_of(BLOCK_ALIGN as u64);
        let padded = (offset + content_len).next_multiple_of(PAGE_LEN) - offset;
        for len in [aligned, padded] {
            if room < len || self.blocks.enter(offset, len)?.is_err() {
                continue;
            }
            let block = self.blocks.block();
            let last = block.count().checked_sub(1).and_then(|index| block.entry(index));
            let last_key = last.map(|entry| block.key(&entry).user_key.into());
            self.entries += block.count() as u64;
            return Ok(Some(Walked { offset, len, last_key }));
        }
        Ok(None)
    }
}
