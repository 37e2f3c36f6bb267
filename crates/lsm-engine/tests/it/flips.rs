//! One byte of one file is not what was written there.
//!
//! Every byte of every file of a small store is changed in turn. What is read then is what was
//! written, or the answer is an error that names file and offset. A store that was not closed may
//! also have lost its end, and says so.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use lsm_base::fs::{Keep, MemFs};
use lsm_base::{Error as Base, FileName, Fs};
use lsm_engine::{Db, Durability, ErrorKind, Options, Read, ReadMode, WriteOptions};

use crate::harness::{DIR, kill, names, on, patch_file, read_file};

/// How many threads change bytes.
const THREADS: usize = 2;

/// The bits that are changed: one, another one, and all.
const MASKS: [u8; 3] = [0x40, 0x01, 0xff];

/// The keys of the store; the last ones are in the log alone.
const KEYS: u32 = 40;
const KEYS_IN_TABLES: u32 = 30;

fn options() -> Options {
    Options {
        memtable_size: Some(16 << 10),
        max_log_bytes: Some(8 << 10),
        block_size: 256,
        background_threads: 0,
        read_mode: Some(ReadMode::Pread),
        ..Options::default()
    }
}

fn open(memory: &MemFs) -> lsm_engine::Result<Db> {
    Db::builder(DIR).options(options()).fs(std::sync::Arc::new(memory.clone())).open()
}

fn open_read_only(memory: &MemFs) -> lsm_engine::Result<Db> {
    Db::builder(DIR).options(options()).fs(std::sync::Arc::new(memory.clone())).open_read_only()
}

fn value(key: u32) -> Vec<u8> {
    format!("value {key} ").repeat(3).into_bytes()
}

/// A store with tables in two levels and a log, closed or not.
fn store(is_closed: bool) -> MemFs {
    let memory = MemFs::new();
    let fs = on(&memory);
    let db =
        Db::builder(DIR).options(options()).fs(std::sync::Arc::new(fs.clone())).open().unwrap();
    let sync = WriteOptions::durability(Durability::Sync);
    for key in 0..KEYS_IN_TABLES {
        if key == KEYS_IN_TABLES / 2 {
            db.compact::<&str>(..).unwrap();
        }
        db.put_with(key.to_be_bytes(), value(key), &sync).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    for key in KEYS_IN_TABLES..KEYS {
        db.put_with(key.to_be_bytes(), value(key), &sync).unwrap();
    }
    match is_closed {
        true => db.close().unwrap(),
        false => kill(&fs, db),
    }
    memory.crash(Keep::Everything)
}

/// All that a store with one changed byte may say.
fn check(opened: lsm_engine::Result<Db>, is_closed: bool) -> Result<(), String> {
    let db = match opened {
        Ok(db) => db,
        Err(error) => return check_error(&error),
    };
    let mut found = 0_u32;
    for entry in db.prefix("") {
        let (key, bytes) = match entry {
            Ok(entry) => entry,
            Err(error) => return check_error(&error),
        };
        if key != found.to_be_bytes() || *bytes != value(found)[..] {
            return Err(format!("{} has {bytes:?}", key.escape_ascii()));
        }
        found += 1;
    }
    let report = db.recovery_report();
    let is_told = 0 < report.dropped_bytes && report.drop_reason.is_some();
    match found {
        KEYS => Ok(()),
        // What the last sync of an unclean log covered cannot be told from a tear.
        KEYS_IN_TABLES.. if !is_closed && is_told && KEYS - found <= 1 => Ok(()),
        _ => Err(format!("{found} entries of {KEYS}, {report:?}")),
    }
}

fn check_error(error: &lsm_engine::Error) -> Result<(), String> {
    match error.base() {
        Some(Base::Corruption { path, .. }) if path.starts_with(DIR) => Ok(()),
        // CURRENT or the MANIFEST may say less than they should, never something else.
        Some(Base::MissingFile(path) | Base::UnsupportedFormat { path, .. })
            if path.starts_with(DIR) =>
        {
            Ok(())
        }
        _ => Err(format!("{:?}: {error}", error.kind())),
    }
}

/// Changes every byte of every file in turn.
fn sweep(is_closed: bool) {
    let started = Instant::now();
    let store = store(is_closed);
    let files = names(&store, |name| name != FileName::Lock);
    let mut places = Vec::new();
    for name in &files {
        let bytes = read_file(&store, name);
        // The zeros behind the end of a log are looked at up to a sector.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let end = bytes.len().min(used + 64);
        // And a few of the rest.
        let rest = (end..bytes.len()).step_by(97);
        for at in (0..end).chain(rest) {
            places.extend(MASKS.map(|mask| (name.as_str(), at as u64, bytes[at] ^ mask)));
        }
    }
    let (next, errors) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || {
        while let Some(&(name, offset, byte)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let image = store.crash(Keep::Everything);
            patch_file(&image, name, offset, &[byte]);
            let opened = if offset % 2 == 0 { open(&image) } else { open_read_only(&image) };
            errors.fetch_add(u64::from(opened.is_err()), Ordering::Relaxed);
            if let Err(why) = check(opened, is_closed) {
                panic!("{name} at {offset} made {byte:#x}: {why}");
            }
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let (count, errors) = (places.len(), errors.into_inner());
    println!("{count} changes of {files:?}, {errors} opens refused, {:.1?}", started.elapsed());
}

#[test]
fn a_closed_store_with_a_changed_byte_is_right_or_refused() {
    sweep(true);
}

#[test]
fn a_store_that_was_not_closed_is_right_or_refused_or_says_what_is_gone() {
    sweep(false);
}

/// `verify` of an open store names the damaged file and a place not behind the damage.
#[test]
fn verify_names_file_and_offset_of_every_damage() {
    let memory = store(false);
    let db = open(&memory).unwrap();
    for key in 0..8_u32 {
        db.put(key.to_be_bytes(), value(key)).unwrap();
    }
    assert!(db.verify().unwrap().is_clean());
    let files = names(&memory, |name| name != FileName::Lock);
    for name in &files {
        let bytes = read_file(&memory, name);
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        // Every seventh byte meets every field of headers, blocks, fences, filter and footer.
        for at in (0..used).step_by(7).chain([used - 1]) {
            let is_ready_log = name.ends_with(".log") && used <= 64;
            patch_file(&memory, name, at as u64, &[bytes[at] ^ 4]);
            let report = db.verify().unwrap();
            patch_file(&memory, name, at as u64, &[bytes[at]]);
            assert!(!report.is_clean(), "{name} at {at}: not noticed");
            for error in &report.damage {
                assert_eq!(error.kind(), ErrorKind::Corruption, "{name} at {at}: {error}");
                let Some(Base::Corruption { path, offset, .. }) = error.base() else {
                    panic!("{name} at {at}: {error}")
                };
                assert_eq!(path, &Path::new(DIR).join(name), "{name} at {at}: {error}");
                let is_near = *offset <= at as u64 || is_ready_log;
                assert!(is_near, "{name} at {at}: {error}");
            }
        }
    }
    assert!(db.verify().unwrap().is_clean());
    assert!(memory.exists(Path::new(DIR)).unwrap());
}
