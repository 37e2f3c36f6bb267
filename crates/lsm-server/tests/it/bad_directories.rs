//! Directories that cannot be used, at both doors: what an open by the library answers, and how the
//! server ends.
//!
//! A row spoils the directory of a store that was closed. Both are told what is wrong and what to do,
//! leave every file as it is, and find the data again once the directory is as it was. For root every
//! directory is writable, so that the table is run by an ordinary user. What else can be wrong with the
//! files is in the engine's table.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lsm_base::FileName;
use lsm_base::checksum::{checksum64, region_seed};
use lsm_engine::{Db, Error, ErrorKind, Options, Read as _};

/// What was done to a directory, and the answers to it.
struct Row {
    name: &'static str,
    spoil: fn(&Path) -> Mend,
    kind: ErrorKind,
    /// Whether it can be opened for reading only.
    is_readable: bool,
    exit: i32,
    /// What both say, with the file that they say it of.
    message: &'static str,
}

/// Makes the directory what it was.
type Mend = Box<dyn FnOnce()>;

const ROWS: [Row; 6] = [
    Row {
        name: "in use",
        spoil: |dir| {
            let db = open(dir).unwrap();
            Box::new(|| db.close().unwrap())
        },
        kind: ErrorKind::Locked,
        is_readable: false,
        exit: 5,
        message: "/LOCK is in use by another process or handle; close it there first",
    },
    Row {
        name: "read-only",
        spoil: |dir| {
            set_mode(dir, 0o500, 0o400);
            let dir = dir.to_owned();
            Box::new(move || set_mode(&dir, 0o700, 0o600))
        },
        kind: ErrorKind::Io,
        is_readable: true,
        exit: 1,
        message: "/LOCK: Permission denied (os error 13); check its owner and mode",
    },
    Row {
        name: "without CURRENT",
        spoil: |dir| set_aside(dir, |name| matches!(name, FileName::Current)),
        kind: ErrorKind::MissingFile,
        is_readable: false,
        exit: 4,
        message: "missing file DIR/CURRENT; restore it from a copy of the directory",
    },
    Row {
        name: "nothing but tables",
        spoil: |dir| set_aside(dir, |name| !matches!(name, FileName::Table(_) | FileName::Lock)),
        kind: ErrorKind::MissingFile,
        is_readable: false,
        exit: 4,
        message: "missing file DIR/CURRENT; restore it from a copy of the directory",
    },
    Row {
        name: "nothing but the log",
        spoil: |dir| {
            let mend = set_aside(dir, |name| name != FileName::Lock);
            let log = FileName::Log(1).path(dir);
            std::fs::write(&log, "what a kill left").unwrap();
            Box::new(move || {
                std::fs::remove_file(log).unwrap();
                mend();
            })
        },
        kind: ErrorKind::MissingFile,
        is_readable: false,
        exit: 4,
        message: "missing file DIR/CURRENT; restore it from a copy of the directory",
    },
    Row {
        name: "of a newer format",
        spoil: |dir| {
            let is_manifest = |name| matches!(name, FileName::Manifest(_));
            let manifest = files(dir, is_manifest).remove(0);
            let before = std::fs::read(&manifest).unwrap();
            std::fs::write(&manifest, newer(&before)).unwrap();
            Box::new(move || std::fs::write(manifest, before).unwrap())
        },
        kind: ErrorKind::UnsupportedFormat,
        is_readable: false,
        exit: 1,
        message: "version 1; this release reads 0; use a newer release",
    },
];

#[test]
fn a_directory_that_cannot_be_used_is_refused_at_both_doors_and_left_as_it_is() {
    let Some(server) = server_program() else { return run_as_an_ordinary_user() };
    for Row { name, spoil, kind, is_readable, exit, message } in &ROWS {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        let db = open(&dir).unwrap();
        db.put("kept", "value").unwrap();
        db.close().unwrap();
        let mend = spoil(&dir);
        let before = content(&dir);
        let message = message.replace("DIR", dir.to_str().unwrap());

        let check = |refused: Option<Error>| {
            let error = refused.unwrap_or_else(|| panic!("{name}: it was accepted"));
            assert_eq!(error.kind(), *kind, "{name}: {error}");
            assert!(error.to_string().ends_with(&message), "{name}: {error}");
        };
        check(open(&dir).err());
        match Db::builder(&dir).open_read_only() {
            Ok(db) if *is_readable => assert_eq!(db.get("kept").unwrap().unwrap(), b"value"),
            opened => check(opened.err()),
        }
        assert!(content(&dir) == before, "{name}: the library changed something");

        let (code, said) = serve(&server, &dir);
        assert_eq!(code, Some(*exit), "{name}: {said}");
        assert!(said.starts_with("lsm-server: "), "{name}: {said}");
        assert!(said.trim_end().ends_with(&message), "{name}: {said}");
        assert!(content(&dir) == before, "{name}: the server changed something");

        mend();
        let db = open(&dir).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(db.get("kept").unwrap().unwrap(), b"value", "{name}");
        db.put("kept", "again").unwrap();
    }
}

/// With small files, and without threads, which would make some of their own accord.
fn open(dir: &Path) -> lsm_engine::Result<Db> {
    let options =
        Options { memtable_size: Some(1 << 20), background_threads: 0, ..Options::default() };
    Db::builder(dir).options(options).open()
}

/// Starts the server, which must end by itself. Returns its exit code, and the last line that it said.
fn serve(program: &Path, dir: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(dir).env_clear();
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if !line.is_empty() {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("it serves {}: {line}", dir.display());
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let code = child.wait().unwrap().code();
    (code, said.lines().last().unwrap_or_default().to_owned())
}

/// The files of a store that are meant, in order of their names.
fn files(dir: &Path, is_meant: impl Fn(FileName) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| FileName::parse(path.file_name().unwrap().to_str().unwrap());
    let mut files: Vec<_> = entries.filter(|path| name(path).is_some_and(&is_meant)).collect();
    files.sort();
    files
}

/// Moves files out of the directory.
fn set_aside(dir: &Path, is_meant: impl Fn(FileName) -> bool) -> Mend {
    let aside = dir.with_file_name("aside");
    std::fs::create_dir(&aside).unwrap();
    let moves: Vec<_> = files(dir, is_meant)
        .into_iter()
        .map(|from| (aside.join(from.file_name().unwrap()), from))
        .collect();
    assert!(!moves.is_empty() && !files(dir, |_| true).is_empty());
    for (to, from) in &moves {
        std::fs::rename(from, to).unwrap();
    }
    Box::new(move || {
        for (to, from) in moves {
            std::fs::rename(to, from).unwrap();
        }
    })
}

fn set_mode(dir: &Path, of_dir: u32, of_files: u32) {
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    set(dir, 0o700);
    files(dir, |_| true).iter().for_each(|file| set(file, of_files));
    set(dir, of_dir);
}

/// A log or a MANIFEST as a later release might begin it. Its header ends with its checksum, by which
/// its end is found.
fn newer(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let epoch = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    let sealed = |header: &[u8]| checksum64(region_seed(epoch, 0, 1), header).to_le_bytes();
    let ends = |end: &usize| bytes[*end..*end + 8] == sealed(&bytes[..*end]);
    let end = (32..256).find(ends).expect("a header has a checksum");
    bytes[8] = 1;
    let checksum = sealed(&bytes[..end]);
    bytes[end..end + 8].copy_from_slice(&checksum);
    bytes
}

/// Every file and what is in it.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// Where the server's program is for a test that an ordinary user runs.
const SERVER: &str = "LSM_TEST_SERVER_PROGRAM";

/// The server's program; `None` where this test has to be run by somebody else.
fn server_program() -> Option<PathBuf> {
    match std::env::var_os(SERVER) {
        None if is_root() => None,
        None => Some(env!("CARGO_BIN_EXE_lsm-server").into()),
        Some(program) => Some(program.into()),
    }
}

/// Whether what we make is root's.
fn is_root() -> bool {
    std::fs::metadata(tempfile::tempdir().unwrap()).unwrap().uid() == 0
}

/// Runs the test again as somebody who may not do everything, and may not see these programs either.
fn run_as_an_ordinary_user() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let (tests, server) = (dir.path().join("tests"), dir.path().join("server"));
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_lsm-server"), &server).unwrap();
    let mut command = Command::new(tests);
    let name = "a_directory_that_cannot_be_used_is_refused_at_both_doors_and_left_as_it_is";
    command.args(["--exact", &format!("bad_directories::{name}")]).env(SERVER, server);
    let output = command.uid(65_534).gid(65_534).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{failed}");
}
