//! All the damage in one place that a sweep does to the files of a store.

use lsm_base::fs::MemFs;
use lsm_base::{FileName, Fs};

use crate::exchange::{RECORDS_IN_SECTOR, SECTOR};
use crate::harness::specimen::Loss;
use crate::harness::{DIR, patch_file, write_file};

/// The files of a store, by name, with what they hold.
pub(super) struct Files(pub(super) Vec<(String, Vec<u8>)>);

/// One piece of damage; files go by their index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    /// A bit of a byte is turned.
    Turned { file: usize, at: usize, bit: u8 },
    /// A byte is this one.
    Made { file: usize, at: usize, byte: u8 },
    /// The file ends early.
    Cut { file: usize, len: usize },
    /// The file goes on with so many bytes of one value.
    Grown { file: usize, by: usize, byte: u8 },
    /// All bytes of a sector are one value.
    Wiped { file: usize, at: usize, byte: u8 },
    /// Two sectors of a file have changed places.
    SectorsSwapped { file: usize, at: usize, other: usize },
    /// The file is gone.
    Lost { file: usize },
    /// The file is a copy of another one.
    Copied { file: usize, from: usize },
    /// Two files have changed places.
    Swapped { file: usize, with: usize },
}

impl Files {
    pub(super) fn name(&self, file: usize) -> &str {
        &self.0[file].0
    }

    /// The files and their lengths, for people.
    pub(super) fn list(&self) -> String {
        let of_file = |(name, bytes): &(String, Vec<u8>)| format!("{name} ({})", bytes.len());
        self.0.iter().map(of_file).collect::<Vec<_>>().join(", ")
    }

    fn is_log(&self, file: usize) -> bool {
        matches!(FileName::parse(self.name(file)), Some(FileName::Log(_)))
    }

    /// All damage that there is to be done, in a fixed order. The numbers depend on nothing but the
    /// lengths, so what [changes nothing](Damage::is_needless) is among it.
    pub(super) fn damages(&self) -> Vec<Damage> {
        let mut damages = Vec::new();
        for (file, (_, bytes)) in self.0.iter().enumerate() {
            for at in 0..bytes.len() {
                damages.extend((0..8).map(|bit| Damage::Turned { file, at, bit }));
                damages.extend([0x00, 0xff].map(|byte| Damage::Made { file, at, byte }));
            }
            damages.extend((0..bytes.len()).map(|len| Damage::Cut { file, len }));
            for by in [1, 7, 8, 64, SECTOR, 4096] {
                damages.extend([0x00, 0x5a].map(|byte| Damage::Grown { file, by, byte }));
            }
            let sectors = || (0..bytes.len()).step_by(SECTOR);
            for at in sectors() {
                damages.extend([0x00, 0xff].map(|byte| Damage::Wiped { file, at, byte }));
                let others = sectors().filter(|other| at < *other);
                damages.extend(others.map(|other| Damage::SectorsSwapped { file, at, other }));
            }
            damages.push(Damage::Lost { file });
            for with in (0..self.0.len()).filter(|with| *with != file) {
                damages.push(Damage::Copied { file, from: with });
                damages.push(Damage::Swapped { file, with });
            }
        }
        damages
    }
}

impl Damage {
    /// Does it to an image of the store.
    pub(super) fn apply(&self, files: &Files, image: &MemFs) {
        let put = |file: usize, bytes: &[u8]| write_file(image, files.name(file), bytes);
        let (name, bytes) = &files.0[self.file()];
        match *self {
            Damage::Turned { at, bit, .. } => {
                patch_file(image, name, at as u64, &[bytes[at] ^ 1 << bit]);
            }
            Damage::Made { at, byte, .. } => patch_file(image, name, at as u64, &[byte]),
            Damage::Cut { file, len } => put(file, &bytes[..len]),
            Damage::Grown { by, byte, .. } => {
                patch_file(image, name, bytes.len() as u64, &vec![byte; by]);
            }
            Damage::Wiped { at, byte, .. } => {
                patch_file(image, name, at as u64, &vec![byte; sector(bytes, at).len()]);
            }
            Damage::SectorsSwapped { at, other, .. } => {
                // The last one may be shorter.
                let len = sector(bytes, other).len();
                patch_file(image, name, at as u64, &bytes[other..other + len]);
                patch_file(image, name, other as u64, &bytes[at..at + len]);
            }
            Damage::Lost { .. } => image.remove(&std::path::Path::new(DIR).join(name)).unwrap(),
            Damage::Copied { file, from } => put(file, &files.0[from].1),
            Damage::Swapped { file, with } => {
                put(file, &files.0[with].1);
                put(with, bytes);
            }
        }
    }

    /// Whether a byte is another now, and nothing else.
    pub(super) const fn is_of_a_byte(&self) -> bool {
        matches!(self, Damage::Turned { .. } | Damage::Made { .. })
    }

    /// Whether it makes a byte what it was, or what one of its bits makes of it.
    pub(super) fn is_needless(&self, files: &Files) -> bool {
        match *self {
            Damage::Made { file, at, byte } => (files.0[file].1[at] ^ byte).count_ones() <= 1,
            _ => false,
        }
    }

    /// What may be gone from the end of an unclean log.
    pub(super) fn may_lose(&self, files: &Files) -> Loss {
        let records = match self {
            Damage::Turned { .. } | Damage::Made { .. } => 1,
            Damage::Wiped { .. } => RECORDS_IN_SECTOR,
            Damage::SectorsSwapped { .. } => 2 * RECORDS_IN_SECTOR,
            _ => 0,
        };
        if !files.is_log(self.file()) {
            return Loss::NONE;
        }
        // Zeros are what a log has where nothing was written.
        let is_told = !matches!(self, Damage::Wiped { byte: 0, .. });
        Loss { records, is_told }
    }

    /// The file that is damaged, if it is one.
    pub(super) fn place(&self) -> Option<usize> {
        match self {
            Damage::Swapped { .. } => None,
            _ => Some(self.file()),
        }
    }

    /// For the message of a failure.
    pub(super) fn describe(&self, files: &Files) -> String {
        format!("{}: {self:?}", files.name(self.file()))
    }

    const fn file(&self) -> usize {
        match *self {
            Damage::Turned { file, .. }
            | Damage::Made { file, .. }
            | Damage::Cut { file, .. }
            | Damage::Grown { file, .. }
            | Damage::Wiped { file, .. }
            | Damage::SectorsSwapped { file, .. }
            | Damage::Lost { file }
            | Damage::Copied { file, .. }
            | Damage::Swapped { file, .. } => file,
        }
    }
}

fn sector(bytes: &[u8], at: usize) -> &[u8] {
    &bytes[at..bytes.len().min(at + SECTOR)]
}
