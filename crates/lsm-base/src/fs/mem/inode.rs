//! A file in memory: what it holds now, what a power loss cannot take from it, and how it got from
//! the one to the other.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::content::{Content, SECTOR_LEN};
use crate::testing::SplitMix64;

/// A file, whatever names it has.
#[derive(Debug, Default)]
pub(super) struct Inode {
    state: Mutex<InodeState>,
}

#[derive(Debug, Default)]
pub(super) struct InodeState {
    /// What reads see.
    pub(super) now: Content,
    /// What the last sync made durable.
    pub(super) durable: Content,
    /// What was done since, in order.
    unsynced: Vec<Change>,
    /// How many of these, the first ones, the next sync will not make durable: they count as
    /// written, and are not.
    forgotten: usize,
    /// Whether changes were ever forgotten, so that `now` may hold what no sync covers.
    is_forgetful: bool,
    /// How many names it has now.
    pub(super) links: u32,
    /// How many handles it has, locks included.
    pub(super) handles: u32,
    pub(super) is_locked: bool,
}

/// A change that no sync has covered.
#[derive(Debug)]
enum Change {
    Write { offset: u64, bytes: Box<[u8]> },
    Extend { len: u64 },
}

impl Inode {
    /// A file that is durable as it stands.
    pub(super) fn new(content: Content) -> Arc<Inode> {
        let state = InodeState { now: content.clone(), durable: content, ..InodeState::default() };
        Arc::new(Inode { state: Mutex::new(state) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, InodeState> {
        self.state.lock()
    }
}

impl InodeState {
    /// Whether nobody can reach it any more, so that its space is free.
    pub(super) const fn is_gone(&self) -> bool {
        self.links == 0 && self.handles == 0
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        self.now.write(bytes, offset);
        self.unsynced.push(Change::Write { offset, bytes: bytes.into() });
    }

    pub(super) fn extend(&mut self, len: u64) {
        self.now.extend(len);
        self.unsynced.push(Change::Extend { len });
    }

    pub(super) fn sync(&mut self) {
        if !self.is_forgetful {
            self.durable = self.now.clone();
            self.unsynced.clear();
        } else if self.forgotten < self.unsynced.len() {
            let forgotten = std::mem::take(&mut self.forgotten);
            for change in self.unsynced.drain(..).skip(forgotten) {
                change.apply(&mut self.durable);
            }
        }
        // Else nothing is dirty: what was forgotten is still neither durable nor surely lost.
    }

    pub(super) fn forget_unsynced(&mut self) {
        self.forgotten = self.unsynced.len();
        self.is_forgetful |= self.forgotten != 0;
    }

    /// One of the states in which a power loss may leave the file.
    ///
    /// `stale` is content of the medium that lay where the file's new sectors lie.
    pub(super) fn survivor(&self, random: &mut SplitMix64, stale: &[Content]) -> Content {
        if self.unsynced.is_empty() {
            return self.durable.clone();
        }
        match random.below(4) {
            0 => self.durable.clone(),
            1 => self.now.clone(),
            2 => self.cut_in_order(random),
            _ => self.cut_by_sector(random, stale),
        }
    }

    /// The first changes, and perhaps some first sectors of the one after them.
    fn cut_in_order(&self, random: &mut SplitMix64) -> Content {
        let mut content = self.durable.clone();
        let whole = random.below(self.unsynced.len() as u64) as usize;
        for change in &self.unsynced[..whole] {
            change.apply(&mut content);
        }
        if let Change::Write { offset, bytes } = &self.unsynced[whole] {
            let end = offset + random.below(bytes.len() as u64 + 1);
            let end = end / SECTOR_LEN * SECTOR_LEN;
            if *offset < end {
                content.write(&bytes[..(end - offset) as usize], *offset);
            }
        }
        content
    }

    /// Every sector and the length for themselves, as if the medium had reordered all.
    fn cut_by_sector(&self, random: &mut SplitMix64, stale: &[Content]) -> Content {
        let mut content = self.durable.clone();
        let len = self.surviving_len(random);
        content.extend(len);
        // How many of eight sectors are as the last write left them: few, half or most.
        let kept_of_eight = [1, 4, 7][random.below(3) as usize];
        let touches = self.touches();
        for versions in touches.chunk_by(|a, b| a.0 == b.0) {
            let sector = versions[0].0;
            let bytes = if random.below(8) < kept_of_eight {
                self.sector_after(sector, versions)
            } else {
                self.old_sector(sector, versions, random, stale)
            };
            write_sector(&mut content, sector, &bytes);
        }
        // Sectors that no sync covered and no change wrote are zeros as a rule; a few are not.
        let (start, end) = (self.durable.sector_count(), content.sector_count());
        for _ in 0..random.below(5) {
            let sector = start + random.below((end - start).max(1));
            if sector < end && touches.binary_search_by_key(&sector, |touch| touch.0).is_err() {
                write_sector(&mut content, sector, &foreign_sector(sector, random, stale));
            }
        }
        content
    }

    /// A length between the durable one and the present one: one that the file had, or a whole
    /// number of sectors.
    fn surviving_len(&self, random: &mut SplitMix64) -> u64 {
        let durable = self.durable.len();
        match random.below(4) {
            0 => durable,
            1 => self.now.len(),
            2 => durable.max(random.below(self.now.len() + 1) / SECTOR_LEN * SECTOR_LEN),
            _ => {
                let count = random.below(self.unsynced.len() as u64 + 1) as usize;
                self.unsynced[..count].iter().map(Change::end).fold(durable, u64::max)
            }
        }
    }

    /// Which sector was written by which unsynced change, in the order of both.
    fn touches(&self) -> Vec<(u64, usize)> {
        let mut touches = Vec::new();
        for (index, change) in self.unsynced.iter().enumerate() {
            if let Change::Write { offset, bytes } = change {
                let end = (offset + bytes.len() as u64).div_ceil(SECTOR_LEN);
                touches.extend((offset / SECTOR_LEN..end).map(|sector| (sector, index)));
            }
        }
        touches.sort_unstable();
        touches
    }

    /// A sector after those of the unsynced changes that `versions` names.
    fn sector_after(&self, sector: u64, versions: &[(u64, usize)]) -> [u8; SECTOR_LEN as usize] {
        let mut result = self.durable.sector(sector);
        let start = sector * SECTOR_LEN;
        for &(_, index) in versions {
            let Change::Write { offset, bytes } = &self.unsynced[index] else { continue };
            let from = start.max(*offset);
            let to = (start + SECTOR_LEN).min(offset + bytes.len() as u64);
            let source = &bytes[(from - offset) as usize..(to - offset) as usize];
            result[(from - start) as usize..(to - start) as usize].copy_from_slice(source);
        }
        result
    }

    /// A sector that is not as the last write left it: as an earlier write or the last sync did,
    /// and if no sync ever covered it, perhaps anything.
    fn old_sector(
        &self,
        sector: u64,
        versions: &[(u64, usize)],
        random: &mut SplitMix64,
        stale: &[Content],
    ) -> [u8; SECTOR_LEN as usize] {
        let is_new = self.durable.sector_count() <= sector;
        if is_new && random.below(2) == 0 {
            return foreign_sector(sector, random, stale);
        }
        let count = random.below(versions.len() as u64) as usize;
        self.sector_after(sector, &versions[..count])
    }
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match self {
            Change::Write { offset, bytes } => content.write(bytes, *offset),
            Change::Extend { len } => content.extend(*len),
        }
    }

    fn end(&self) -> u64 {
        match self {
            Change::Write { offset, bytes } => offset + bytes.len() as u64,
            Change::Extend { len } => *len,
        }
    }
}

/// What may lie in a sector that the file has got but never written durably: random bytes, or
/// those of another file, at the same place of it more often than not.
fn foreign_sector(
    sector: u64,
    random: &mut SplitMix64,
    stale: &[Content],
) -> [u8; SECTOR_LEN as usize] {
    if !stale.is_empty() && random.below(2) == 0 {
        let other = &stale[random.below(stale.len() as u64) as usize];
        let count = other.sector_count().max(1);
        let is_same_place = sector < count && random.below(4) != 0;
        return other.sector(if is_same_place { sector } else { random.below(count) });
    }
    let mut bytes = [0; SECTOR_LEN as usize];
    random.fill(&mut bytes);
    bytes
}

/// Writes a sector as far as it lies inside the file.
fn write_sector(content: &mut Content, sector: u64, bytes: &[u8; SECTOR_LEN as usize]) {
    let start = sector * SECTOR_LEN;
    let count = content.len().saturating_sub(start).min(SECTOR_LEN) as usize;
    content.write(&bytes[..count], start.min(content.len()));
}
