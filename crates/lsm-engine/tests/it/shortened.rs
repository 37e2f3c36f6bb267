//! Another program shortens a table beneath an open store.
//!
//! What is read from a map that has lost its file ends the process by SIGBUS, and what is read by
//! `pread` is an error. So the reader is a process of its own: this test program again, asked by
//! variables in its environment. It says `ready;` when it has read as much as it was told, waits
//! until the file is short, reads everything and says `read RIGHT REFUSED;`. An answer that is
//! neither what was written nor an error makes it panic.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use lsm_base::testing::SplitMix64;
use lsm_engine::{
    Compression, Db, ErrorKind, Options, Read as _, ReadMode, WriteBatch, WriteOptions,
};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::harness::from_env;

/// The directory to read; set in the child only.
const DIR: &str = "LSM_SHORTENED_CHILD";
/// Whether its tables are mapped: 0 or 1.
const IS_MAPPED: &str = "LSM_SHORTENED_IS_MAPPED";
/// How many keys it reads before the file is short.
const BEFORE: &str = "LSM_SHORTENED_BEFORE";

const KEYS: u64 = 400;

/// What the kernel maps at once, at most.
const PAGE: u64 = 64 << 10;

/// Reads leave nothing in a cache that would answer for the file.
fn options(mode: ReadMode) -> Options {
    Options {
        read_mode: Some(mode),
        block_cache_size: Some(0),
        compression: Compression::None,
        background_threads: 0,
        ..Options::default()
    }
}

fn value(key: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1_000];
    SplitMix64::new(key).fill(&mut bytes);
    bytes
}

/// A closed store with one table of some pages, and its path.
fn make(dir: &Path) -> PathBuf {
    let db = Db::builder(dir).options(options(ReadMode::Pread)).open().unwrap();
    let mut batch = WriteBatch::new();
    (0..KEYS).for_each(|key| batch.put(key.to_be_bytes(), value(key)));
    db.write(batch, &WriteOptions::default()).unwrap();
    db.compact::<&str>(..).unwrap();
    db.close().unwrap();
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut tables = names.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    let table = tables.next().unwrap();
    assert!(tables.next().is_none() && 4 * PAGE < table.metadata().unwrap().len());
    table
}

/// Reads these keys: how many are right, and how many are errors.
fn read(db: &Db, keys: u64) -> (u64, u64) {
    let mut refused = 0;
    for key in 0..keys {
        match db.get(key.to_be_bytes()) {
            Ok(found) => assert_eq!(found.as_deref(), Some(&value(key)[..]), "{key}"),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Corruption | ErrorKind::Io), "{error}");
                assert!(error.to_string().contains(".sst"), "{error}");
                refused += 1;
            }
        }
    }
    (keys - refused, refused)
}

/// Nothing, unless it runs in the child.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    // It is to die without leaving an image of its memory.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    let mode = if from_env(IS_MAPPED, 0) == 1 { ReadMode::Map } else { ReadMode::Pread };
    let before = from_env(BEFORE, 0);
    let db = Db::builder(dir).options(options(mode)).open().unwrap();
    assert_eq!(read(&db, before), (before, 0));
    // Behind what the test program has begun to say.
    println!("\nready;");
    let _ = std::io::stdin().read(&mut [0]).unwrap();
    let (right, refused) = read(&db, KEYS);
    // It lives, and so does the store.
    db.put("new", "value").unwrap();
    assert_eq!(db.get("new").unwrap().unwrap(), b"value");
    println!("read {right} {refused};");
}

/// Lets a child read, shortens the table, lets it read on. Gives how it ended, and what it said: how
/// many keys were right, and how many errors.
fn shorten(mode: ReadMode, before: u64, len: impl Fn(u64) -> u64) -> (ExitStatus, [u64; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let table = make(&data);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["shortened::child", "--exact", "--nocapture"])
        .env(DIR, &data)
        .env(IS_MAPPED, u8::from(mode == ReadMode::Map).to_string())
        .env(BEFORE, before.to_string())
        // The sanitizer would catch the signal and end the process in its own way.
        .env("ASAN_OPTIONS", "handle_sigbus=0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "ready;"), "it ended: {:?}", child.wait());
    let file = OpenOptions::new().write(true).open(&table).unwrap();
    file.set_len(len(file.metadata().unwrap().len())).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let said = lines.find_map(|line| {
        let mut numbers = line.strip_prefix("read ")?.strip_suffix(';')?.split(' ');
        Some([(); 2].map(|()| numbers.next().unwrap().parse().unwrap()))
    });
    (child.wait().unwrap(), said.unwrap_or_default())
}

/// The lengths that are tried: nothing, a few pages, and a part of one more, whose rest is zeros then.
const LENS: [u64; 3] = [0, 2 * PAGE, 2 * PAGE + 100];

#[test]
fn a_map_that_is_shortened_ends_the_process_by_a_signal() {
    for len in LENS {
        let (status, said) = shorten(ReadMode::Map, KEYS, |_| len);
        assert_eq!(status.signal(), Some(Signal::BUS.as_raw()), "{len}: {status}, {said:?}");
    }
}

/// The first touch of a block is no read of the map.
#[test]
fn what_was_not_read_before_a_map_was_shortened_is_an_error() {
    for len in LENS {
        for before in [0, 1] {
            let (status, [right, refused]) = shorten(ReadMode::Map, before, |_| len);
            println!("{len}, {before}: {status}, {right} right, {refused} refused");
            match status.signal() {
                // What was read before is read from the map.
                Some(signal) => assert_eq!((signal, before), (Signal::BUS.as_raw(), 1), "{len}"),
                None => assert!(status.success() && 0 < refused, "{len}, {before}: {status}"),
            }
        }
    }
}

#[test]
fn a_table_that_is_shortened_is_an_error_where_it_is_not_mapped() {
    for len in LENS {
        for before in [0, 1, KEYS] {
            let (status, [right, refused]) = shorten(ReadMode::Pread, before, |_| len);
            assert!(status.success(), "{len}, {before}: {status}");
            assert!(0 < refused && right + refused == KEYS, "{len}, {before}: {right}, {refused}");
            // Whoever had opened the table reads what is left of it.
            assert_eq!(0 < right, before != 0 && len != 0, "{len}, {before}: {right}");
        }
    }
}
