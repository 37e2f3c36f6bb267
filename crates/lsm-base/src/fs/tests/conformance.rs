//! One suite over every file system, so that what tests see is what the store will meet.

use super::*;

/// Runs each named check in an empty directory of each file system.
macro_rules! conformance {
    ($($check:ident),* $(,)?) => {
        mod std_fs {
            $(#[test] fn $check() {
                let dir = tempfile::tempdir().unwrap();
                super::$check(&super::StdFs, dir.path());
            })*
        }
        mod mem_fs {
            $(#[test] fn $check() {
                super::in_memory(&super::MemFs::new(), super::$check);
            })*
        }
        mod fault_fs {
            use std::sync::Arc;
            $(#[test] fn $check() {
                let fs = super::FaultFs::new(Arc::new(super::MemFs::new()));
                super::in_memory(&fs, super::$check);
                assert_eq!(fs.trace().len() as u64, fs.next_index());
            })*
        }
        /// The loops above the seam make whole what is short and interrupted.
        mod interrupted {
            use std::sync::Arc;
            $(#[test] fn $check() {
                let fs = super::FaultFs::new(Arc::new(super::MemFs::new()));
                fs.set_plan(super::disturb);
                super::in_memory(&fs, super::$check);
            })*
        }
    };
}

conformance! {
    bytes_are_read_where_they_were_written,
    a_file_is_created_once,
    what_does_not_exist_is_not_found,
    what_is_no_file_is_not_opened,
    a_handle_for_reading_does_not_write,
    a_rename_replaces_and_keeps_the_handles,
    a_link_is_the_same_file_by_another_name,
    a_removed_file_is_read_through_its_handle,
    a_directory_lists_what_is_in_it,
    an_allocated_file_has_its_length_and_zeros,
    a_lock_excludes_every_other_handle,
    two_names_of_a_directory_have_one_path,
    what_was_synced_reads_as_before,
    there_is_free_space_below_what_exists,
    reading_ends_at_the_end,
}

fn in_memory(fs: &dyn Fs, check: fn(&dyn Fs, &Path)) {
    let dir = Path::new("/directory");
    fs.create_dir(dir).unwrap();
    check(fs, dir);
}

/// Interrupts every third read and write of more than a few bytes, and cuts every other short.
/// Small ones are left whole: `read_at` itself promises no more than it did.
fn disturb(op: &Op) -> Option<Fault> {
    match op.kind {
        OpKind::Read | OpKind::Write if 4 < op.len => match op.index % 3 {
            0 => Some(Fault::Eintr),
            _ => Some(Fault::Short(op.len.div_ceil(2) as usize)),
        },
        _ => None,
    }
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn names(fs: &dyn Fs, dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs.list(dir).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

fn bytes_are_read_where_they_were_written(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("file");
    let file = fs.create(&path).unwrap();
    assert_eq!(file.path(), path);
    file.write_all_at(b"world", 70_000).unwrap();
    file.write_all_at(b"hello", 3).unwrap();
    file.write_all_at(b"W", 70_000).unwrap();
    let mut expected = vec![0; 70_005];
    expected[3..8].copy_from_slice(b"hello");
    expected[70_000..].copy_from_slice(b"World");
    assert_eq!(content(&*file), expected);
    assert_eq!(content(&*fs.open(&path).unwrap()), expected);
    let again = fs.open_writable(&path).unwrap();
    again.write_all_at(b"!", 70_005).unwrap();
    assert_eq!(file.len().unwrap(), 70_006);
}

fn a_file_is_created_once(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("file");
    fs.create(&path).unwrap().write_all_at(b"first", 0).unwrap();
    let again = fs.create(&path).unwrap_err();
    assert!(is_kind(&again, io::ErrorKind::AlreadyExists), "{again}");
    assert!(is_kind(&fs.create_dir(&path).unwrap_err(), io::ErrorKind::AlreadyExists));
    assert!(is_kind(&fs.create_dir(dir).unwrap_err(), io::ErrorKind::AlreadyExists));
    assert_eq!(content(&*fs.open(&path).unwrap()), b"first");
}

fn is_kind(error: &Error, kind: io::ErrorKind) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == kind)
}

fn what_does_not_exist_is_not_found(fs: &dyn Fs, dir: &Path) {
    let missing = dir.join("missing");
    let inside = missing.join("inside");
    let errors = [
        fs.open(&missing).unwrap_err(),
        fs.open_writable(&missing).unwrap_err(),
        fs.remove(&missing).unwrap_err(),
        fs.rename(&missing, &dir.join("other")).unwrap_err(),
        fs.link(&missing, &dir.join("other")).unwrap_err(),
        fs.sync_dir(&missing).unwrap_err(),
        fs.list(&missing).unwrap_err(),
        fs.space(&missing).unwrap_err(),
        fs.create(&inside).unwrap_err(),
        fs.create_dir(&inside).unwrap_err(),
        fs.lock(&inside).unwrap_err(),
        fs.canonical(&missing).unwrap_err(),
        fs.canonical(&inside).unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_not_found(), "{error}");
    }
    assert!(!fs.exists(&missing).unwrap() && !fs.exists(&inside).unwrap());
    assert!(fs.exists(dir).unwrap());
    assert!(names(fs, dir).is_empty());
}

fn what_is_no_file_is_not_opened(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("000001.sst");
    fs.create_dir(&path).unwrap();
    assert_none_opens(fs, &path);
    assert_eq!(names(fs, dir), ["000001.sst"]);
}

/// Each way to open what stands there is refused, by its name.
pub(super) fn assert_none_opens(fs: &dyn Fs, path: &Path) {
    let errors = [
        fs.open(path).unwrap_err(),
        fs.open_writable(path).unwrap_err(),
        fs.lock(path).unwrap_err(),
        fs.lock_existing(path).unwrap_err(),
    ];
    for error in errors {
        let expected = format!("corrupt {} at 0: not a regular file", path.display());
        assert_eq!(error.to_string(), expected);
    }
}

fn a_handle_for_reading_does_not_write(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("file");
    fs.create(&path).unwrap().write_all_at(b"safe", 0).unwrap();
    let file = fs.open(&path).unwrap();
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.allocate(100).is_err());
    assert_eq!(content(&*file), b"safe");
}

fn a_rename_replaces_and_keeps_the_handles(fs: &dyn Fs, dir: &Path) {
    let (old, new) = (dir.join("old"), dir.join("new"));
    fs.create(&new).unwrap().write_all_at(b"replaced", 0).unwrap();
    let replaced = fs.open(&new).unwrap();
    let file = fs.create(&old).unwrap();
    file.write_all_at(b"moved", 0).unwrap();
    fs.rename(&old, &new).unwrap();
    assert_eq!(names(fs, dir), ["new"]);
    file.write_all_at(b"M", 0).unwrap();
    assert_eq!(content(&*fs.open(&new).unwrap()), b"Moved");
    assert_eq!(content(&*replaced), b"replaced");
    fs.rename(&new, &new).unwrap();
    let sub = dir.join("sub");
    fs.create_dir(&sub).unwrap();
    fs.rename(&new, &sub.join("inside")).unwrap();
    assert_eq!((names(fs, dir), names(fs, &sub)), (vec!["sub".into()], vec!["inside".into()]));
}

fn a_link_is_the_same_file_by_another_name(fs: &dyn Fs, dir: &Path) {
    let (one, other) = (dir.join("one"), dir.join("sub").join("other"));
    let file = fs.create(&one).unwrap();
    file.write_all_at(b"shared", 0).unwrap();
    assert!(fs.link(&one, &other).unwrap_err().is_not_found());
    fs.create_dir(&dir.join("sub")).unwrap();
    fs.link(&one, &other).unwrap();
    file.write_all_at(b"S", 0).unwrap();
    assert_eq!(content(&*fs.open(&other).unwrap()), b"Shared");
    // Neither name is replaced, whatever has it.
    for taken in [&one, &other, &dir.join("sub")] {
        let error = fs.link(&one, taken).unwrap_err();
        assert!(is_kind(&error, io::ErrorKind::AlreadyExists), "{error}");
    }
    fs.remove(&one).unwrap();
    assert!(!fs.exists(&one).unwrap());
    drop(file);
    assert_eq!(content(&*fs.open(&other).unwrap()), b"Shared");
}

fn a_removed_file_is_read_through_its_handle(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("file");
    let file = fs.create(&path).unwrap();
    file.write_all_at(b"still there", 0).unwrap();
    let reader = fs.open(&path).unwrap();
    fs.remove(&path).unwrap();
    assert!(!fs.exists(&path).unwrap());
    file.write_all_at(b"!", 11).unwrap();
    file.sync_all().unwrap();
    assert_eq!(content(&*reader), b"still there!");
    // The name is free for another file.
    assert_eq!(fs.create(&path).unwrap().len().unwrap(), 0);
}

fn a_directory_lists_what_is_in_it(fs: &dyn Fs, dir: &Path) {
    fs.create_dir(&dir.join("sub")).unwrap();
    fs.create(&dir.join("sub").join("hidden")).unwrap();
    fs.create(&dir.join("a")).unwrap().write_all_at(b"123", 0).unwrap();
    fs.create(&dir.join("b")).unwrap();
    let mut entries = fs.list(dir).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let files: Vec<_> = entries.iter().map(|entry| (&*entry.name, entry.is_file)).collect();
    assert_eq!(files, [("a", true), ("b", true), ("sub", false)]);
    assert_eq!((entries[0].len, entries[1].len), (3, 0));
}

fn an_allocated_file_has_its_length_and_zeros(fs: &dyn Fs, dir: &Path) {
    let file = fs.create(&dir.join("file")).unwrap();
    file.write_all_at(b"head", 0).unwrap();
    file.allocate(200_000).unwrap();
    assert_eq!(file.len().unwrap(), 200_000);
    let bytes = content(&*file);
    assert_eq!(&bytes[..4], b"head");
    assert!(bytes[4..].iter().all(|&byte| byte == 0));
    // It never takes bytes away.
    file.allocate(10).unwrap();
    file.allocate(0).unwrap();
    assert_eq!(file.len().unwrap(), 200_000);
    file.start_writeback(0, 200_000).unwrap();
    file.start_writeback(0, 0).unwrap();
}

fn a_lock_excludes_every_other_handle(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("LOCK");
    let lock = fs.lock(&path).unwrap();
    assert!(matches!(fs.lock(&path), Err(Error::Locked(locked)) if locked == path));
    let other = fs.lock(&dir.join("OTHER")).unwrap();
    drop(lock);
    let again = fs.lock(&path).unwrap();
    drop((other, again));
    assert_eq!(names(fs, dir), ["LOCK", "OTHER"]);
}

fn two_names_of_a_directory_have_one_path(fs: &dyn Fs, dir: &Path) {
    let sub = dir.join("sub");
    fs.create_dir(&sub).unwrap();
    let path = fs.canonical(&sub).unwrap();
    assert_eq!(fs.canonical(&dir.join(".").join("sub")).unwrap(), path);
    assert!(path.starts_with(fs.canonical(dir).unwrap()) && path.ends_with("sub"));
}

fn what_was_synced_reads_as_before(fs: &dyn Fs, dir: &Path) {
    let file = fs.create(&dir.join("file")).unwrap();
    file.write_all_at(b"one", 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(b"two", 3).unwrap();
    file.sync_all().unwrap();
    fs.sync_dir(dir).unwrap();
    // A handle that only reads may sync as well.
    fs.open(&dir.join("file")).unwrap().sync_data().unwrap();
    assert_eq!(content(&*file), b"onetwo");
}

fn there_is_free_space_below_what_exists(fs: &dyn Fs, dir: &Path) {
    let space = fs.space(dir).unwrap();
    assert!(0 < space.free && space.free <= space.total, "{space:?}");
}

fn reading_ends_at_the_end(fs: &dyn Fs, dir: &Path) {
    let file = fs.create(&dir.join("file")).unwrap();
    file.write_all_at(b"12345", 0).unwrap();
    let mut buf = [7; 4];
    assert_eq!(file.read_at(&mut buf, 3).unwrap(), 2);
    assert_eq!(&buf[..2], b"45");
    assert_eq!(file.read_at(&mut buf, 5).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 500).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    assert_eq!(file.write_at(&[], 100).unwrap(), 0);
    assert_eq!(file.len().unwrap(), 5);
    let error = file.read_exact_at(&mut buf, 3).unwrap_err();
    assert!(is_kind(&error, io::ErrorKind::UnexpectedEof), "{error}");
}
