//! What is refused, with which kind and in which words: what only the library can be asked, and what
//! can be wrong with its files. What a server is asked too is in the table of both doors, among the
//! tests of `lsm-server`.
//!
//! A row prepares a store, does one thing, and says what the answer must be. Whatever is wrong with
//! the files, the answer leaves them as they were.

use std::path::Path;
use std::sync::Arc;

use lsm_base::checksum::{checksum64, region_seed};
use lsm_base::fs::FaultFs;
use lsm_base::{FileName, Fs};
use lsm_engine::{Condition, Db, ErrorKind, Options, Read, Result, WriteBatch, WriteOptions};

use crate::harness::{
    self, DIR, kill, names, open, patch_file, read_file, small_options, tree, write_file,
};

/// What is called, and the answer.
type Row = (&'static str, fn(&Db) -> Result<()>, ErrorKind, &'static str);

/// What is done to the files, and the answer to an open.
type OpenRow = (&'static str, fn(&FaultFs), ErrorKind, &'static str);

/// Calls on an open store.
const CALLS: [Row; 9] = [
    (
        "condition on two operations",
        |db| {
            let mut batch = WriteBatch::new();
            batch.put("good", "v");
            batch.put("better", "v");
            db.write(batch, &WriteOptions::condition(Condition::Absent)).map(drop)
        },
        ErrorKind::InvalidArgument,
        "exactly one operation",
    ),
    (
        "condition on no operation",
        |db| {
            let condition = WriteOptions::condition(Condition::Absent);
            db.write(WriteBatch::new(), &condition).map(drop)
        },
        ErrorKind::InvalidArgument,
        "exactly one operation",
    ),
    (
        "keyspace without a name",
        |db| db.keyspace("").map(drop),
        ErrorKind::InvalidArgument,
        "1 to 64",
    ),
    (
        "keyspace with a slash",
        |db| db.keyspace("a/b").map(drop),
        ErrorKind::InvalidArgument,
        "1 to 64 of A-Z a-z 0-9 _ -: \"a/b\"",
    ),
    (
        "keyspace with a long name",
        |db| db.keyspace(&"a".repeat(65)).map(drop),
        ErrorKind::InvalidArgument,
        "1 to 64",
    ),
    (
        "drop of a keyspace that is not there",
        |db| db.drop_keyspace("nobody"),
        ErrorKind::InvalidArgument,
        "no keyspace \"nobody\"",
    ),
    (
        "drop of the default keyspace",
        |db| db.drop_keyspace("default"),
        ErrorKind::InvalidArgument,
        "default keyspace cannot be dropped",
    ),
    (
        "snapshot of a keyspace that is not there",
        |db| db.snapshot()?.keyspace("nobody").map(drop),
        ErrorKind::InvalidArgument,
        "no keyspace \"nobody\"",
    ),
    (
        "call on a closed store",
        |db| {
            db.clone().close().unwrap();
            db.put("k", "v").map(drop)
        },
        ErrorKind::Closed,
        "closed",
    ),
];

/// Opens of a directory that is not as it should be. The row breaks the files of a store that was
/// not closed, in all sorts of which there is one file at least.
const OPENS: [OpenRow; 12] = [
    (
        "only a MANIFEST with edits is there",
        |fs| {
            remove(fs, |name| {
                matches!(name, FileName::Current | FileName::Table(_) | FileName::Log(_))
            });
        },
        ErrorKind::MissingFile,
        "db/CURRENT",
    ),
    (
        "only two MANIFESTs are there",
        |fs| {
            remove(fs, |name| {
                matches!(name, FileName::Current | FileName::Table(_) | FileName::Log(_))
            });
            write_file(fs, "MANIFEST-000077", b"");
        },
        ErrorKind::MissingFile,
        "db/CURRENT",
    ),
    (
        "CURRENT is empty",
        |fs| write_file(fs, "CURRENT", b""),
        ErrorKind::Corruption,
        "corrupt db/CURRENT at 0",
    ),
    (
        "CURRENT is long",
        |fs| write_file(fs, "CURRENT", &[b'M'; 10_000]),
        ErrorKind::Corruption,
        "corrupt db/CURRENT at 128",
    ),
    (
        "the MANIFEST is gone",
        |fs| remove(fs, |name| matches!(name, FileName::Manifest(_))),
        ErrorKind::MissingFile,
        "db/MANIFEST-",
    ),
    (
        "the MANIFEST is of another number",
        |fs| {
            let name = first(fs, |name| matches!(name, FileName::Manifest(_)));
            let bytes = read_file(fs, &name);
            let mut other = bytes.clone();
            other[16] ^= 8;
            seal_header(&mut other);
            write_file(fs, &name, &other);
        },
        ErrorKind::Corruption,
        "the file says that its number is",
    ),
    (
        "a table is gone",
        |fs| remove(fs, |name| matches!(name, FileName::Table(_))),
        ErrorKind::MissingFile,
        ".sst",
    ),
    (
        "a segment is gone",
        |fs| {
            let name = first(fs, |name| matches!(name, FileName::Log(_)));
            fs.remove(&Path::new(DIR).join(name)).unwrap();
        },
        ErrorKind::MissingFile,
        ".log",
    ),
    (
        "a segment is short",
        |fs| {
            let name = first(fs, |name| matches!(name, FileName::Log(_)));
            let bytes = read_file(fs, &name);
            write_file(fs, &name, &bytes[..bytes.len() - 8]);
        },
        ErrorKind::Corruption,
        "bytes instead of",
    ),
    (
        "the MANIFEST has another store's header",
        |fs| {
            let name = first(fs, |name| matches!(name, FileName::Manifest(_)));
            let mut bytes = read_file(fs, &name);
            bytes[40] ^= 1;
            seal_header(&mut bytes);
            write_file(fs, &name, &bytes);
        },
        ErrorKind::Corruption,
        "it belongs to the store",
    ),
    (
        "a segment is of a newer format",
        |fs| make_newer(fs, &first(fs, |name| matches!(name, FileName::Log(_)))),
        ErrorKind::UnsupportedFormat,
        "version 1; this release reads 0",
    ),
    (
        "the MANIFEST has a feature that must be known",
        |fs| {
            let name = first(fs, |name| matches!(name, FileName::Manifest(_)));
            let mut bytes = read_file(fs, &name);
            bytes[64] = 1;
            seal_header(&mut bytes);
            patch_file(fs, &name, 0, &bytes[..80]);
        },
        ErrorKind::UnsupportedFormat,
        "required features 0x1",
    ),
];

/// A store that was not closed: tables, a log with records, a MANIFEST with edits.
fn broken_off() -> FaultFs {
    let (memory, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    for i in 0..60_u32 {
        db.put(i.to_be_bytes(), [7; 300]).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    db.put("in the log", "v").unwrap();
    kill(&fs, db);
    drop(memory);
    fs
}

fn first(fs: &FaultFs, is_wanted: impl Fn(FileName) -> bool) -> String {
    names(fs, is_wanted).remove(0)
}

fn remove(fs: &FaultFs, is_wanted: impl Fn(FileName) -> bool) {
    for name in names(fs, is_wanted) {
        fs.remove(&Path::new(DIR).join(name)).unwrap();
    }
}

/// Makes the checksum of a log or MANIFEST header right again.
fn seal_header(bytes: &mut [u8]) {
    let epoch = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    let checksum = checksum64(region_seed(epoch, 0, 1), &bytes[..72]);
    bytes[72..80].copy_from_slice(&checksum.to_le_bytes());
}

fn make_newer(fs: &FaultFs, name: &str) {
    let mut bytes = read_file(fs, name);
    bytes[8] = 1;
    seal_header(&mut bytes);
    patch_file(fs, name, 0, &bytes[..80]);
}

fn check(name: &str, result: Result<()>, kind: ErrorKind, message: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{name}: it was accepted"));
    assert_eq!(error.kind(), kind, "{name}: {error}");
    assert!(error.to_string().contains(message), "{name}: {error}");
}

#[test]
fn a_call_that_breaks_a_rule_is_refused_and_writes_nothing() {
    for (name, call, kind, message) in CALLS {
        let (_, fs) = harness::disk();
        let db = open(&fs, 0).unwrap();
        let before = db.put("kept", "value").unwrap();
        check(name, call(&db), kind, message);
        if kind == ErrorKind::Closed {
            continue;
        }
        assert_eq!(db.seq(), before, "{name}");
        assert_eq!(db.prefix("").count(), 1, "{name}");
        assert_eq!(db.get("kept").unwrap().unwrap(), b"value", "{name}");
        db.put("kept", "again").unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_directory_that_is_not_whole_is_refused_and_left_as_it_is() {
    for (name, damage, kind, message) in OPENS {
        let fs = broken_off();
        damage(&fs);
        // Nothing names it, but nothing goes before all that is named was found.
        write_file(&fs, "000900.sst.tmp", b"an orphan");
        let before = tree(&fs);
        check(name, open(&fs, 0).map(drop), kind, message);
        assert_eq!(tree(&fs), before, "{name}: something was changed");
        let builder = Db::builder(DIR).options(small_options(0)).fs(Arc::new(fs.clone()));
        check(name, builder.open_read_only().map(drop), kind, message);
        assert_eq!(tree(&fs), before, "{name}: something was changed, read-only");
    }
}

/// A table is opened at its first read, so that is what is refused.
#[test]
fn a_table_of_a_newer_format_is_refused_when_it_is_read() {
    let fs = broken_off();
    for name in names(&fs, |name| matches!(name, FileName::Table(_))) {
        let mut bytes = read_file(&fs, &name);
        let footer = bytes.len() - 64;
        bytes[footer + 44] = 1;
        let id = u64::from_le_bytes(bytes[footer + 16..footer + 24].try_into().unwrap());
        let seed = region_seed(id, footer as u64, 0xff);
        let checksum = checksum64(seed, &bytes[footer..footer + 48]);
        bytes[footer + 48..footer + 56].copy_from_slice(&checksum.to_le_bytes());
        patch_file(&fs, &name, 0, &bytes);
    }
    let db = open(&fs, 0).unwrap();
    let read = db.get(0_u32.to_be_bytes()).map(drop);
    check("a newer table", read, ErrorKind::UnsupportedFormat, "format version 1");
    let report = db.verify().unwrap();
    assert_eq!(report.damage[0].kind(), ErrorKind::UnsupportedFormat, "{report:?}");
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    type Change = fn(&mut Options);
    let rows: [(Change, &str); 11] = [
        (
            |options| options.memtable_size = Some(16_383),
            "memtable_size is 16383; it must be 16384",
        ),
        (|options| options.memtable_size = Some((4 << 30) + 1), "memtable_size is 4294967297"),
        (
            |options| options.memory_budget = Some((32 << 10) - 1),
            "memory_budget is 32767; it must be at least two memtables, 32768",
        ),
        (
            |options| (options.memory_budget, options.memtable_size) = (Some(16 << 10), None),
            "memory_budget is 16384; it must be at least two memtables, 32768",
        ),
        (|options| options.block_size = 0, "block_size is 0; it must be 1 to 16777216"),
        (|options| options.block_size = (16 << 20) + 1, "block_size is 16777217"),
        (|options| options.table_size = 0, "table_size is 0"),
        (|options| options.table_size = (8 << 30) + 1, "table_size is 8589934593"),
        (|options| options.bloom_bits_per_key = 33, "bloom_bits_per_key is 33; it must be 0 to 32"),
        (|options| options.background_threads = 65, "background_threads is 65; it must be 0 to 64"),
        (|options| options.compaction_interval = std::time::Duration::ZERO, "compaction_interval"),
    ];
    for (change, message) in rows {
        let (_, fs) = harness::disk();
        let mut options = small_options(0);
        change(&mut options);
        let opened = harness::open_with(&fs, options).map(drop);
        check(message, opened, ErrorKind::InvalidArgument, message);
        assert!(!fs.exists(Path::new(DIR)).unwrap(), "{message}: the directory was created");
    }
}

#[test]
fn a_directory_below_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Db::open(dir.path().join("nowhere/data")).map(drop);
    check("no parent", opened, ErrorKind::Io, "nowhere/data");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    check("a file", Db::open(&file).map(drop), ErrorKind::Io, "file/LOCK");
}
