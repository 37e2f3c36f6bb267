//! The MANIFEST on disk, and CURRENT that names it.
//!
//! A MANIFEST is a journal of edits; its first record is the whole state. A new one is written and
//! synced under its own name, then CURRENT is replaced by one that names it:
//!
//! ```text
//! CURRENT := "MANIFEST-000007\n" checksum (16 hexadecimal digits) "\n"
//! ```
//!
//! Invariant: the MANIFEST that CURRENT names was whole and synced, its directory entry included,
//! before CURRENT named it.

use std::path::Path;
use std::sync::Arc;

use lsm_base::checksum::checksum64;
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, FileName, Fs, Result};
use lsm_compaction::{Replay, State, VersionEdit};
use lsm_wal::{JournalReport, JournalWriter, read_journal};

/// The seed of CURRENT's checksum: the file has no id of its own.
const CURRENT_SEED: u64 = 0x4355_5252_454e_5400;

/// Longest CURRENT that is read, in bytes.
const MAX_CURRENT_LEN: u64 = 128;

/// Writes a MANIFEST that begins with the whole of `state`, and syncs it with its directory entry.
pub(crate) fn create(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    number: u64,
    epoch: u64,
    state: &State,
) -> Result<JournalWriter> {
    let path = FileName::Manifest(number).path(dir);
    let mut journal = JournalWriter::create(&**fs, &path, number, epoch, state.header.db_id)?;
    journal.append(&state.snapshot_edit().encode())?;
    plant::unless(Plant::ManifestNameNotSynced, || fs.sync_dir(dir))?;
    Ok(journal)
}

/// Appends an edit and syncs it.
pub(crate) fn append(journal: &mut JournalWriter, edit: &VersionEdit) -> Result<()> {
    journal.append(&edit.encode())
}

/// The state that the MANIFEST of this number describes.
pub(crate) fn read(fs: &Arc<dyn Fs>, dir: &Path, number: u64) -> Result<(State, JournalReport)> {
    let path = FileName::Manifest(number).path(dir);
    let mut replay = Replay::new(&path);
    let report = read_journal(&**fs, &path, &mut |offset, payload| replay.record(offset, payload))?;
    let state = replay.finish()?;
    check_owner(&path, &report, state.header.db_id)?;
    Ok((state, report))
}

/// Whether a MANIFEST belongs to the store with this id.
pub(crate) fn check_owner(path: &Path, journal: &JournalReport, db_id: u128) -> Result<()> {
    match journal.owner {
        owner if owner == db_id => Ok(()),
        owner => {
            let detail = format!("it belongs to the store {owner:032x}, not to {db_id:032x}");
            Err(Error::corruption(path, 0, detail))
        }
    }
}

/// The state that all records of a MANIFEST make but the last, of which alone it is not certain
/// that it is on disk. `None` if there is one record only: that is on disk, but that CURRENT names
/// it may not be; the second is appended when both are.
pub(crate) fn read_settled(fs: &Arc<dyn Fs>, dir: &Path, number: u64) -> Result<Option<State>> {
    let path = FileName::Manifest(number).path(dir);
    let mut replay = Replay::new(&path);
    let mut last: Option<(u64, Vec<u8>)> = None;
    let report = read_journal(&**fs, &path, &mut |offset, payload| match last
        .replace((offset, payload.to_vec()))
    {
        Some((offset, payload)) => replay.record(offset, &payload),
        None => Ok(()),
    })?;
    if report.records < 2 { Ok(None) } else { replay.finish().map(Some) }
}

/// Why a new CURRENT could not be put in place.
#[derive(Debug)]
pub(crate) enum SetCurrentError {
    /// Before the rename: the old CURRENT stands.
    Before(Error),
    /// With or after the rename: which CURRENT stands is not known.
    Unknown(Error),
}

impl From<SetCurrentError> for Error {
    fn from(error: SetCurrentError) -> Error {
        match error {
            SetCurrentError::Before(error) | SetCurrentError::Unknown(error) => error,
        }
    }
}

/// Makes CURRENT name the MANIFEST of this number.
pub(crate) fn set_current(fs: &dyn Fs, dir: &Path, number: u64) -> Result<(), SetCurrentError> {
    let temp = FileName::CurrentTemp.path(dir);
    write_current(fs, &temp, number).map_err(|error| match is_sync(&error) {
        true => SetCurrentError::Unknown(error),
        false => SetCurrentError::Before(error),
    })?;
    fs.rename(&temp, &FileName::Current.path(dir)).map_err(SetCurrentError::Unknown)?;
    plant::unless(Plant::CurrentNameNotSynced, || fs.sync_dir(dir))
        .map_err(SetCurrentError::Unknown)
}

fn write_current(fs: &dyn Fs, temp: &Path, number: u64) -> Result<()> {
    if fs.exists(temp)? {
        fs.remove(temp)?;
    }
    let file = fs.create(temp)?;
    file.write_all_at(current_text(number).as_bytes(), 0)?;
    plant::unless(Plant::CurrentNotSynced, || file.sync_all())
}

/// Whether a sync failed: that decides nothing about what is on disk, so it is never tried again.
pub(crate) fn is_sync(error: &Error) -> bool {
    matches!(error, Error::Io { op, .. } if op.starts_with("sync"))
}

fn current_text(number: u64) -> String {
    let name = FileName::Manifest(number).to_string();
    let checksum = checksum64(CURRENT_SEED, name.as_bytes());
    format!("{name}\n{checksum:016x}\n")
}

/// The number of the MANIFEST that CURRENT names.
pub(crate) fn read_current(fs: &dyn Fs, dir: &Path) -> Result<u64> {
    let path = FileName::Current.path(dir);
    let file = fs.open(&path)?;
    let len = file.len()?;
    if MAX_CURRENT_LEN < len {
        return Err(Error::corruption(&path, MAX_CURRENT_LEN, "more than a name and a checksum"));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    parse_current(&path, &bytes)
}

fn parse_current(path: &Path, bytes: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(bytes).ok();
    let name = text.and_then(|text| text.lines().next()).and_then(FileName::parse);
    match name {
        Some(FileName::Manifest(number)) if current_text(number).as_bytes() == bytes => Ok(number),
        _ => Err(Error::corruption(path, 0, "not a MANIFEST's name and its checksum")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn every_change_of_current_is_noticed() {
        let path = PathBuf::from("CURRENT");
        let text = current_text(7).into_bytes();
        assert_eq!(parse_current(&path, &text).unwrap(), 7);
        for index in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone();
                bytes[index] ^= 1 << bit;
                assert!(parse_current(&path, &bytes).is_err(), "byte {index}, bit {bit}");
            }
            assert!(parse_current(&path, &text[..index]).is_err());
        }
    }

    #[test]
    fn a_current_of_any_length_is_refused_where_it_ends() {
        let fs = lsm_base::fs::MemFs::new();
        let dir = Path::new("/");
        let path = FileName::Current.path(dir);
        for (len, offset) in [(0, 0), (127, 0), (128, 0), (129, 128), (4096, 128)] {
            fs.create(&path).unwrap().write_all_at(&vec![b'M'; len], 0).unwrap();
            match read_current(&fs, dir).unwrap_err() {
                Error::Corruption { offset: found, .. } => assert_eq!(found, offset, "{len} bytes"),
                other => panic!("{len} bytes: {other}"),
            }
            fs.remove(&path).unwrap();
        }
        set_current(&fs, dir, 7).unwrap();
        // Another temporary one may lie there, longer than the new one.
        let temp = FileName::CurrentTemp.path(dir);
        fs.create(&temp).unwrap().write_all_at(&[b'x'; 200], 0).unwrap();
        set_current(&fs, dir, 8).unwrap();
        assert_eq!(read_current(&fs, dir).unwrap(), 8);
    }

    #[test]
    fn what_is_settled_is_all_but_the_last_record() {
        let fs: Arc<dyn Fs> = Arc::new(lsm_base::fs::MemFs::new());
        let dir = Path::new("/");
        let settled = || read_settled(&fs, dir, 7).unwrap().map(|state| state.last_seq.get());
        let mut journal = create(&fs, dir, 7, 1, &State::new(9)).unwrap();
        assert_eq!(settled(), None);
        for seq in [5, 6] {
            let last_seq = Some(lsm_base::Seq::new(seq));
            append(&mut journal, &VersionEdit { last_seq, ..VersionEdit::default() }).unwrap();
            assert_eq!(settled(), Some(if seq == 5 { 0 } else { 5 }));
        }
        let (state, report) = read(&fs, dir, 7).unwrap();
        assert_eq!((state.last_seq.get(), report.records), (6, 3));
        let path = FileName::Manifest(7).path(dir);
        assert!(check_owner(&path, &report, 9).is_ok() && check_owner(&path, &report, 8).is_err());
    }

    #[test]
    fn a_failed_sync_is_told_from_a_failed_write() {
        let error = |op| Error::io(op, Path::new("CURRENT"), std::io::Error::other("no"));
        assert!(is_sync(&error("sync")) && is_sync(&error("sync the directory of")));
        assert!(!is_sync(&error("write")) && !is_sync(&Error::invalid("sync")));
    }
}
