//! Files and sectors of another store stand where this store's own should.
//!
//! Two stores are made alike, so that their files have the same names and lengths, and what is
//! exchanged fits in every way but that it belongs to the other. What is read then is what this
//! store was told, or the answer is an error that names the file; never what the other was told.

use std::path::Path;

use lsm_base::fs::{Keep, MemFs};
use lsm_base::{Error as Base, FileName, Fs};
use lsm_engine::{Db, ErrorKind, ReadMode, Result};

use crate::harness::specimen::{
    Loss, MODES, Specimen, open, open_in, open_read_only, open_read_only_in,
};
use crate::harness::{DIR, names, patch_file, read_file, write_file};

/// What a disk writes whole.
pub(crate) const SECTOR: usize = 512;

/// No more records of a specimen's log begin in one sector, or reach into it.
pub(crate) const RECORDS_IN_SECTOR: u32 = 7;

/// To write, and to read only.
const OPENS: [fn(&MemFs, ReadMode) -> Result<Db>; 2] = [open_in, open_read_only_in];

/// Two stores with files of the same names.
struct Pair {
    mine: Specimen,
    this: MemFs,
    other: MemFs,
    names: Vec<String>,
}

fn pair(is_closed: bool) -> Pair {
    let mine = Specimen { owner: 'a', is_closed };
    let this = mine.make();
    let other = Specimen { owner: 'b', is_closed }.make();
    let all = |fs: &MemFs| names(fs, |name| name != FileName::Lock);
    assert_eq!(all(&this), all(&other), "the stores were to be alike");
    let names = all(&this);
    for name in &names {
        assert_eq!(read_file(&this, name).len(), read_file(&other, name).len(), "{name}");
    }
    Pair { mine, this, other, names }
}

impl Pair {
    /// This store, with these files of the other.
    fn with<'a>(&self, theirs: impl IntoIterator<Item = &'a String>) -> MemFs {
        let image = self.this.crash(Keep::Everything);
        theirs.into_iter().for_each(|name| write_file(&image, name, &read_file(&self.other, name)));
        image
    }

    /// Whether this store does not open without the file.
    fn needs(&self, name: &str) -> bool {
        let image = self.this.crash(Keep::Everything);
        image.remove(&Path::new(DIR).join(name)).unwrap();
        open(&image).is_err()
    }
}

/// What is left of the space that a file was given once its zeros are off.
fn used_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// What an open, or the reads and the verification after it, say first that is wrong.
fn first_error(opened: Result<Db>) -> Option<lsm_engine::Error> {
    use lsm_engine::Read;
    let db = match opened {
        Ok(db) => db,
        Err(error) => return Some(error),
    };
    let spaces = db.keyspaces().unwrap_or_default();
    let damaged = spaces.iter().find_map(|space| space.prefix("").find_map(Result::err));
    damaged.or_else(|| db.verify().unwrap().damage.into_iter().next())
}

fn file_of(error: &lsm_engine::Error) -> String {
    let path = match error.base() {
        Some(Base::Corruption { path, .. } | Base::MissingFile(path)) => path,
        _ => panic!("{error}"),
    };
    assert_eq!(path.parent(), Some(Path::new(DIR)), "{error}");
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_whole_file_of_another_store_is_refused_by_name() {
    for is_closed in [true, false] {
        let pair = pair(is_closed);
        for name in &pair.names {
            for open in OPENS {
                for mode in MODES {
                    let opened = open(&pair.with([name]), mode);
                    let judged = pair.mine.judge(opened, Loss::NONE);
                    judged.unwrap_or_else(|why| panic!("{name}, {mode:?}: {why}"));
                }
                let error = first_error(open(&pair.with([name]), MODES[0]));
                match (FileName::parse(name).unwrap(), error) {
                    // It says the same in both stores.
                    (FileName::Current, None) => {}
                    // A segment below the log's floor, which waits to be unlinked.
                    (FileName::Log(_), None) if !pair.needs(name) => {}
                    (FileName::Log(_) | FileName::Table(_), Some(error)) => {
                        assert_eq!(error.kind(), ErrorKind::Corruption, "{name}: {error}");
                        assert_eq!(file_of(&error), *name, "{error}");
                    }
                    // It describes another store's files, and these are not.
                    (FileName::Manifest(_), Some(error)) => {
                        let kind = if is_closed { ".sst" } else { ".log" };
                        assert!(file_of(&error).ends_with(kind), "{name}: {error}");
                    }
                    (_, error) => panic!("{name}: {error:?}"),
                }
            }
        }
    }
}

#[test]
fn all_files_of_one_kind_of_another_store_are_refused() {
    type IsKind = fn(FileName) -> bool;
    let kinds: [(&str, IsKind); 4] = [
        ("the log", |name| matches!(name, FileName::Log(_))),
        ("the tables", |name| matches!(name, FileName::Table(_))),
        ("MANIFEST and CURRENT", |name| matches!(name, FileName::Manifest(_) | FileName::Current)),
        ("all but the log", |name| !matches!(name, FileName::Log(_))),
    ];
    for is_closed in [true, false] {
        let pair = pair(is_closed);
        for (what, is_kind) in kinds {
            let theirs = names(&pair.this, |name| name != FileName::Lock && is_kind(name));
            // A closed store has no log, and what is all of a store is another one.
            if is_closed && (theirs.is_empty() || theirs == pair.names) {
                continue;
            }
            for (open, mode) in OPENS.into_iter().flat_map(|open| MODES.map(|mode| (open, mode))) {
                let judged = pair.mine.judge(open(&pair.with(&theirs), mode), Loss::NONE);
                judged.unwrap_or_else(|why| panic!("{what}, {mode:?}: {why}"));
                assert!(first_error(open(&pair.with(&theirs), mode)).is_some(), "{what}");
            }
        }
    }
}

#[test]
fn a_sector_of_another_store_is_refused_or_taken_for_a_torn_end() {
    for is_closed in [true, false] {
        let pair = pair(is_closed);
        let mut count = 0;
        for (index, name) in pair.names.iter().enumerate() {
            let bytes = read_file(&pair.this, name);
            // The same sector of the same file, and one of the next file.
            let next = &pair.names[(index + 1) % pair.names.len()];
            let sources = [name, next].map(|name| read_file(&pair.other, name));
            for at in (0..used_len(&bytes)).step_by(SECTOR) {
                let end = bytes.len().min(at + SECTOR);
                for source in &sources {
                    let Some(theirs) =
                        source.get(at..).map(|rest| &rest[..rest.len().min(end - at)])
                    else {
                        continue;
                    };
                    // Zeros are what a log has where nothing was written.
                    if used_len(theirs) == 0 {
                        continue;
                    }
                    let image = pair.this.crash(Keep::Everything);
                    patch_file(&image, name, at as u64, theirs);
                    // Either way to open meets either way to read.
                    let (open, mode) =
                        (OPENS[at / SECTOR % 2], MODES[(at / SECTOR / 2 + count) % 2]);
                    let loss = Loss::told(RECORDS_IN_SECTOR);
                    let judged = pair.mine.judge(open(&image, mode), loss);
                    judged.unwrap_or_else(|why| panic!("{name} at {at}: {why}"));
                    count += 1;
                }
            }
        }
        assert!(20 < count, "{count} sectors");
    }
}

/// The files are exchanged beneath a store that is open, as by a restore that came too late.
#[test]
fn verify_names_a_file_of_another_store() {
    let pair = pair(false);
    for open in [open, open_read_only] {
        let this = pair.this.crash(Keep::Everything);
        let db = open(&this).unwrap();
        // The open has begun new files: what the other store has in their place is its own.
        let other = pair.other.crash(Keep::Everything);
        let _other = open(&other).unwrap();
        let all = names(&this, |name| !matches!(name, FileName::Lock | FileName::Current));
        for name in all {
            let mine = read_file(&this, &name);
            write_file(&this, &name, &read_file(&other, &name));
            let report = db.verify().unwrap();
            write_file(&this, &name, &mine);
            assert_eq!(report.damage.len(), 1, "{name}: {report:?}");
            assert_eq!(file_of(&report.damage[0]), name, "{report:?}");
        }
    }
}
