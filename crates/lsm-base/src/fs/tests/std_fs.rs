//! What only the operating system's file system has: modes, descriptors, foreign names.

use ::std::ffi::OsStr;
use ::std::os::unix::ffi::OsStrExt;
use ::std::os::unix::fs::PermissionsExt;

use super::*;

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
    ::std::os::unix::fs::symlink(&real, &link).unwrap();
    let _lock = StdFs.lock(&real.join("LOCK")).unwrap();
    assert!(matches!(StdFs.lock(&link.join("LOCK")), Err(Error::Locked(_))));
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
fn a_locked_directory_is_synced_by_whatever_name() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    StdFs.create_dir(&real).unwrap();
    ::std::os::unix::fs::symlink(&real, &link).unwrap();
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
