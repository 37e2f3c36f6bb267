//! What only the operating system's file system has: modes, descriptors, foreign names.

use ::std::ffi::OsStr;
use ::std::os::unix::ffi::OsStrExt;
use ::std::os::unix::fs::{PermissionsExt, symlink};
use ::std::os::unix::net::UnixListener;
use ::std::sync::mpsc;
use ::std::thread;
use ::std::time::Duration;

use super::*;
use crate::testing::SplitMix64;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_created_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("db");
    StdFs.create_dir(&db).unwrap();
    StdFs.create(&db.join("000001.sst")).unwrap();
    let _lock = StdFs.lock(&db.join("LOCK")).unwrap();
    assert_eq!(mode(&db), 0o700);
    assert_eq!((mode(&db.join("000001.sst")), mode(&db.join("LOCK"))), (0o600, 0o600));
}

#[test]
fn a_lock_leaves_the_bytes_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    StdFs.create(&path).unwrap().write_all_at(b"4711", 0).unwrap();
    drop(StdFs.lock(&path).unwrap());
    assert_eq!(StdFs.open(&path).unwrap().len().unwrap(), 4);
}

#[test]
fn a_lock_is_the_same_through_a_symbolic_link() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    StdFs.create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let _lock = StdFs.lock(&real.join("LOCK")).unwrap();
    assert!(matches!(StdFs.lock(&link.join("LOCK")), Err(Error::Locked(_))));
}

/// Opened as a file is, a pipe without a writer would keep its reader waiting for ever.
#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path("000001.log"), fifo, mode, 0).unwrap();
    let _socket = UnixListener::bind(path("000002.log")).unwrap();
    symlink("/dev/zero", path("000003.log")).unwrap();
    symlink(path("000001.log"), path("000004.log")).unwrap();
    let paths: Vec<_> = (1..=4).map(|number| path(&format!("{number:06}.log"))).collect();
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        paths.iter().for_each(|path| conformance::assert_none_opens(&StdFs, path));
        done.send(()).unwrap();
    });
    if ended.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("an open hangs");
    }
    thread.join().unwrap();
    let listed = StdFs.list(dir.path()).unwrap();
    assert!(listed.iter().all(|entry| !entry.is_file), "{listed:?}");
}

#[test]
fn names_that_are_not_text_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    StdFs.create(&dir.path().join(OsStr::from_bytes(b"\xff.sst"))).unwrap();
    StdFs.create(&dir.path().join("000001.sst")).unwrap();
    let names: Vec<_> =
        StdFs.list(dir.path()).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["000001.sst"]);
}

#[test]
fn a_file_can_be_mapped_by_its_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let file = StdFs.create(&dir.path().join("file")).unwrap();
    file.write_all_at(b"12345", 0).unwrap();
    let stat = rustix::fs::fstat(file.descriptor().unwrap()).unwrap();
    assert_eq!(stat.st_size, 5);
}

#[test]
fn allocated_bytes_are_backed_by_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let file = StdFs.create(&dir.path().join("file")).unwrap();
    file.allocate(1 << 20).unwrap();
    let stat = rustix::fs::fstat(file.descriptor().unwrap()).unwrap();
    assert_eq!(stat.st_size, 1 << 20);
    assert!(1 << 20 <= stat.st_blocks * 512, "{} blocks of 512 bytes", stat.st_blocks);
}

#[test]
fn links_have_the_path_of_what_they_lead_to() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    StdFs.create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let path = StdFs.canonical(&real).unwrap();
    assert_eq!(StdFs.canonical(&link).unwrap(), path);
    assert_eq!(StdFs.canonical(&link.join("..").join("real")).unwrap(), path);
}

#[test]
fn a_locked_directory_is_synced_by_whatever_name() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    StdFs.create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    StdFs.sync_dir(&link).unwrap();
    let lock = StdFs.lock(&real.join("LOCK")).unwrap();
    StdFs.sync_dir(&real).unwrap();
    StdFs.sync_dir(&link).unwrap();
    StdFs.sync_dir(dir.path()).unwrap();
    // Whatever has its name next is another directory.
    ::std::fs::rename(&real, dir.path().join("moved")).unwrap();
    assert!(StdFs.sync_dir(&real).is_err());
    drop(lock);
    StdFs.sync_dir(&dir.path().join("moved")).unwrap();
}

#[test]
fn mapped_writes_and_calls_make_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000001.log");
    let file = StdFs.create(&path).unwrap();
    file.allocate(100_000).unwrap();
    let mut expected = vec![0; 100_000];
    let mut random = SplitMix64::new(1);
    for round in 0..2_000 {
        let len = 1 + random.below(300) as usize;
        let offset = random.below(100_000 - len as u64);
        let bytes = vec![round as u8; len];
        if random.below(2) == 0 {
            file.write_all_mapped_at(&bytes, offset).unwrap();
        } else {
            file.write_all_at(&bytes, offset).unwrap();
        }
        expected[offset as usize..][..len].copy_from_slice(&bytes);
        if random.below(100) == 0 {
            file.sync_data().unwrap();
            file.start_writeback(0, 50_000).unwrap();
        }
        let mut found = [0; 1_000];
        let from = random.below(99_000);
        file.read_exact_at(&mut found, from).unwrap();
        assert_eq!(found, expected[from as usize..][..1_000], "in round {round}");
    }
    // Beyond the map a call makes the file longer.
    file.write_all_mapped_at(&[7; 20], 99_990).unwrap();
    assert_eq!(file.len().unwrap(), 100_010);
    drop(file);
    let found = ::std::fs::read(&path).unwrap();
    assert_eq!((&found[..99_990], &found[99_990..]), (&expected[..99_990], &[7; 20][..]));
}

#[test]
fn a_file_that_was_not_allocated_takes_mapped_writes_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = StdFs.create(&dir.path().join("000001.log")).unwrap();
    file.write_all_mapped_at(b"grows", 3).unwrap();
    // A map that was not made then is not made later: what is there counts.
    file.allocate(8_192).unwrap();
    file.write_all_mapped_at(b"with it", 8_190).unwrap();
    assert_eq!(file.len().unwrap(), 8_197);
    let read_only = StdFs.open(&dir.path().join("000001.log")).unwrap();
    assert!(read_only.write_mapped_at(b"x", 0).is_err());
}

#[test]
fn threads_may_share_a_file_that_is_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let file = StdFs.create(&dir.path().join("000001.log")).unwrap();
    file.allocate(1 << 20).unwrap();
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                for part in (u64::from(thread)..256).step_by(4) {
                    file.write_all_mapped_at(&[thread; 4_096], part * 4_096).unwrap();
                }
            });
        }
    });
    let mut found = vec![9; 1 << 20];
    file.read_exact_at(&mut found, 0).unwrap();
    for (part, bytes) in found.chunks(4_096).enumerate() {
        assert!(bytes.iter().all(|byte| usize::from(*byte) == part % 4), "part {part}");
    }
}
