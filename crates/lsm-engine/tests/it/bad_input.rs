//! What is refused, with which kind and in which words: the library's half of the table.
//!
//! A row prepares a store, does one thing, and says what the answer must be. Whatever is wrong with
//! the files, the answer leaves them as they were.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lsm_base::batch::MAX_VALUE_LEN;
use lsm_base::checksum::{checksum64, region_seed};
use lsm_base::fs::{Fault, FaultFs};
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
const CALLS: [Row; 15] = [
    ("empty key", |db| db.put("", "v").map(drop), ErrorKind::InvalidArgument, "empty key"),
    ("delete of an empty key", |db| db.delete("").map(drop), ErrorKind::InvalidArgument, "empty"),
    (
        "long key",
        |db| db.put(vec![0; 65_536], "v").map(drop),
        ErrorKind::InvalidArgument,
        "a key of 65536 bytes; keys have 1 to 65535 bytes",
    ),
    (
        "long value",
        |db| db.put("k", vec![0; MAX_VALUE_LEN + 1]).map(drop),
        ErrorKind::InvalidArgument,
        "a value of 268435457 bytes; at most 268435456",
    ),
    (
        "long batch",
        |db| {
            let value = vec![0; MAX_VALUE_LEN];
            let mut batch = WriteBatch::new();
            batch.put("a", &value);
            batch.put("b", &value);
            db.write(batch, &WriteOptions::default()).map(drop)
        },
        ErrorKind::InvalidArgument,
        "a batch of more than 536870912 bytes",
    ),
    (
        "batch with one operation that is refused",
        |db| {
            let mut batch = WriteBatch::new();
            batch.put("good", "v");
            batch.put("", "v");
            db.write(batch, &WriteOptions::default()).map(drop)
        },
        ErrorKind::InvalidArgument,
        "empty key",
    ),
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
const OPENS: [OpenRow; 17] = [
    (
        "CURRENT is gone",
        |fs| fs.remove(&Path::new(DIR).join("CURRENT")).unwrap(),
        ErrorKind::MissingFile,
        "db/CURRENT",
    ),
    (
        "CURRENT and the MANIFEST are gone, a segment is there",
        |fs| {
            remove(fs, |name| {
                matches!(name, FileName::Current | FileName::Manifest(_) | FileName::Table(_))
            });
        },
        ErrorKind::MissingFile,
        "db/CURRENT",
    ),
    (
        "CURRENT and the log are gone, a table is there",
        |fs| {
            remove(fs, |name| {
                matches!(name, FileName::Current | FileName::Manifest(_) | FileName::Log(_))
            });
        },
        ErrorKind::MissingFile,
        "db/CURRENT",
    ),
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
        "the MANIFEST is of a newer format",
        |fs| make_newer(fs, &first(fs, |name| matches!(name, FileName::Manifest(_)))),
        ErrorKind::UnsupportedFormat,
        "version 1; this release reads 0",
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
    (
        "the directory is in use",
        |fs| std::mem::forget(fs.lock(&Path::new(DIR).join("LOCK")).unwrap()),
        ErrorKind::Locked,
        "in use by another process or handle",
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
        let before = db.seq();
        check(name, call(&db), kind, message);
        if kind != ErrorKind::Closed {
            assert_eq!(db.seq(), before, "{name}");
            assert_eq!(db.prefix("").count(), 0, "{name}");
        }
    }
}

#[test]
fn a_directory_that_is_not_whole_is_refused_and_left_as_it_is() {
    for (name, damage, kind, message) in OPENS {
        let fs = broken_off();
        damage(&fs);
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
    let rows: [(Change, &str); 9] = [
        (
            |options| options.memtable_size = Some(16_383),
            "memtable_size is 16383; it must be 16384",
        ),
        (|options| options.memtable_size = Some((4 << 30) + 1), "memtable_size is 4294967297"),
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

/// Names the directory to the child of the test below.
const READ_ONLY_DIR: &str = "LSM_TEST_READ_ONLY_DIR";

/// The child: an ordinary user before a directory that only others may write to.
#[test]
fn child_before_a_read_only_directory() {
    let Some(dir) = std::env::var_os(READ_ONLY_DIR).map(std::path::PathBuf::from) else { return };
    let opened = Db::open(dir.join("data")).map(drop);
    check("a store", opened, ErrorKind::Io, "data/LOCK: Permission denied");
    check("nothing", Db::open(dir.join("new")).map(drop), ErrorKind::Io, "new: Permission denied");
    let db = Db::builder(dir.join("data")).open_read_only().unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), b"v");
}

/// A directory without permission to write is refused without a trace, and can be read.
#[test]
fn a_read_only_directory_is_refused_and_can_be_read() {
    if std::env::var_os(READ_ONLY_DIR).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("data")).unwrap();
    db.put("k", "v").unwrap();
    db.close().unwrap();
    // For root every directory is writable, so the child is somebody else, who may not see the
    // place of this program either.
    let program = dir.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let set_modes = |folder: u32, file: u32| {
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        for entry in std::fs::read_dir(dir.path().join("data")).unwrap() {
            set(&entry.unwrap().path(), file);
        }
        set(&dir.path().join("data"), folder);
        set(dir.path(), folder);
    };
    set_modes(0o555, 0o444);
    let mut child = Command::new(&program);
    child.args(["--exact", "bad_input::child_before_a_read_only_directory"]);
    child.env(READ_ONLY_DIR, dir.path());
    if rustix::process::geteuid().is_root() {
        child.uid(65_534);
    }
    let output = child.output().unwrap();
    set_modes(0o755, 0o644);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    names.retain(|entry| entry.file_name() != "program");
    assert_eq!(names.len(), 1, "something was created");
}

/// A disk on which every change fails.
#[test]
fn a_read_only_disk_is_refused_without_a_trace() {
    let fs = broken_off();
    let before = tree(&fs);
    fs.set_plan(|op| op.kind.is_change().then_some(Fault::Eio));
    check("read-only", open(&fs, 0).map(drop), ErrorKind::Io, "db/LOCK");
    fs.clear_plan();
    assert_eq!(tree(&fs), before);
}
