//! Every fault does what it says, to the medium and to the caller.

use std::sync::mpsc;

use super::*;
use crate::FileName;
use crate::fs::{Keep, MemFs, StdFs};

const DIR: &str = "/";

struct Bench {
    disk: MemFs,
    fs: FaultFs,
    file: Arc<dyn File>,
}

impl Bench {
    /// A file `000001.log` that holds `old`, all of it durable, and no trace of how it came.
    fn new() -> Bench {
        let disk = MemFs::new();
        let fs = FaultFs::new(Arc::new(disk.clone()));
        let file = fs.create(&path("000001.log")).unwrap();
        file.write_all_at(b"old", 0).unwrap();
        file.sync_all().unwrap();
        fs.sync_dir(Path::new(DIR)).unwrap();
        fs.clear_trace();
        Bench { disk, fs, file }
    }

    fn next_goes_wrong(&self, fault: Fault) {
        self.fs.fail_at(self.fs.next_index(), fault);
    }

    fn now(&self) -> Vec<u8> {
        read(&self.disk, "000001.log")
    }

    fn durable(&self) -> Vec<u8> {
        read(&self.disk.crash(Keep::SyncedOnly), "000001.log")
    }
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

fn read(disk: &MemFs, name: &str) -> Vec<u8> {
    let file = disk.open(&path(name)).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn kind(error: &Error) -> io::ErrorKind {
    match error {
        Error::Io { source, .. } => source.kind(),
        other => panic!("an injected fault is an Io error, not {other}"),
    }
}

#[test]
fn an_error_leaves_the_medium_alone() {
    let bench = Bench::new();
    for (fault, text) in [
        (Fault::Eio, "cannot rename /000001.log: Input/output error (os error 5)"),
        (Fault::Enospc, "cannot rename /000001.log: no storage space"),
        (Fault::Eintr, "cannot rename /000001.log: operation interrupted"),
    ] {
        bench.next_goes_wrong(fault);
        let error = bench.fs.rename(&path("000001.log"), &path("x")).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(!bench.disk.exists(&path("x")).unwrap());
        bench.next_goes_wrong(fault);
        assert!(bench.file.write_at(b"new", 0).is_err());
        assert_eq!(bench.now(), b"old");
        assert_eq!(bench.file.write_at(b"old", 0).unwrap(), 3, "only once");
    }
    assert_eq!(bench.fs.injected(), 6);
}

#[test]
fn only_what_needs_a_descriptor_runs_out_of_them() {
    let bench = Bench::new();
    bench.fs.fail_from(0, Fault::Emfile);
    let dir = Path::new(DIR);
    let errors = [
        bench.fs.create(&path("new")).unwrap_err(),
        bench.fs.open(&path("000001.log")).unwrap_err(),
        bench.fs.open_writable(&path("000001.log")).unwrap_err(),
        bench.fs.list(dir).unwrap_err(),
        bench.fs.lock(&path("LOCK")).unwrap_err(),
        bench.fs.lock_existing(&path("000001.log")).unwrap_err(),
    ];
    for error in &errors {
        let Error::Io { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.raw_os_error(), Some(24));
    }
    bench.file.write_all_at(b"new", 0).unwrap();
    bench.file.sync_data().unwrap();
    bench.fs.sync_dir(dir).unwrap();
    bench.fs.rename(&path("000001.log"), &path("x")).unwrap();
    assert_eq!(bench.fs.injected(), errors.len() as u64);
}

#[test]
fn a_read_only_disk_refuses_what_would_change_it_and_nothing_else() {
    let bench = Bench::new();
    let held = bench.fs.create(&path("held")).unwrap();
    bench.fs.fail_from(0, Fault::Erofs);
    let (dir, old) = (Path::new(DIR), path("000001.log"));
    let errors = [
        bench.fs.create_dir(&path("dir")).unwrap_err(),
        bench.fs.create(&path("new")).unwrap_err(),
        bench.fs.open_writable(&old).unwrap_err(),
        bench.fs.rename(&old, &path("x")).unwrap_err(),
        bench.fs.link(&old, &path("x")).unwrap_err(),
        bench.fs.remove(&old).unwrap_err(),
        bench.fs.sync_dir(dir).unwrap_err(),
        bench.fs.lock(&old).unwrap_err(),
        held.write_all_at(b"new", 0).unwrap_err(),
        held.allocate(8).unwrap_err(),
        held.sync_data().unwrap_err(),
        held.sync_all().unwrap_err(),
    ];
    for error in &errors {
        assert_eq!(kind(error), io::ErrorKind::ReadOnlyFilesystem, "{error}");
    }
    assert_eq!(bench.fs.injected(), errors.len() as u64);
    bench.fs.canonical(dir).unwrap();
    assert_eq!(bench.fs.list(dir).unwrap().len(), 2);
    assert!(bench.fs.exists(&old).unwrap());
    bench.fs.space(dir).unwrap();
    let file = bench.fs.open(&old).unwrap();
    let mut bytes = [0; 3];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!((&bytes, file.len().unwrap()), (b"old", 3));
    drop(bench.fs.lock_existing(&old).unwrap());
    assert_eq!(bench.fs.injected(), errors.len() as u64);
}

#[test]
fn what_is_done_may_be_reported_as_failed() {
    let bench = Bench::new();
    bench.next_goes_wrong(Fault::EioAfter);
    assert!(bench.file.write_at(b"new", 0).is_err());
    assert_eq!((bench.now(), bench.durable()), (b"new".to_vec(), b"old".to_vec()));
    bench.next_goes_wrong(Fault::EioAfter);
    bench.file.sync_data().unwrap_err();
    assert_eq!(bench.durable(), b"new");
    bench.next_goes_wrong(Fault::EioAfter);
    bench.fs.remove(&path("000001.log")).unwrap_err();
    assert!(!bench.disk.exists(&path("000001.log")).unwrap());
}

#[test]
fn transfers_are_short_or_torn_where_planned() {
    let bench = Bench::new();
    bench.next_goes_wrong(Fault::Short(2));
    assert_eq!(bench.file.write_at(b"new", 0).unwrap(), 2);
    assert_eq!(bench.now(), b"ned");
    bench.next_goes_wrong(Fault::Torn(1));
    assert!(bench.file.write_at(b"torn", 0).is_err());
    assert_eq!(bench.now(), b"ted");
    let mut buf = [0; 3];
    bench.next_goes_wrong(Fault::Short(1));
    assert_eq!(bench.file.read_at(&mut buf, 0).unwrap(), 1);
    assert_eq!(buf, [b't', 0, 0]);
    bench.next_goes_wrong(Fault::Eio);
    assert!(bench.file.read_at(&mut buf, 0).is_err());
}

#[test]
fn a_lost_sync_is_not_noticed_until_the_power_fails() {
    let bench = Bench::new();
    bench.file.write_all_at(b"new", 0).unwrap();
    bench.next_goes_wrong(Fault::LostSync);
    bench.file.sync_data().unwrap();
    assert_eq!((bench.now(), bench.durable()), (b"new".to_vec(), b"old".to_vec()));
    bench.file.sync_data().unwrap();
    assert_eq!(bench.durable(), b"new");

    bench.fs.create(&path("created")).unwrap();
    bench.next_goes_wrong(Fault::LostSync);
    bench.fs.sync_dir(Path::new(DIR)).unwrap();
    assert!(!bench.disk.crash(Keep::SyncedOnly).exists(&path("created")).unwrap());
}

#[test]
fn a_forgetting_sync_fails_once_and_none_makes_up_for_it() {
    let bench = Bench::new();
    bench.file.write_all_at(b"new", 0).unwrap();
    bench.next_goes_wrong(Fault::ForgettingSync);
    bench.file.sync_data().unwrap_err();
    bench.fs.clear_plan();
    // Neither this handle, nor another one, nor one by another name, nor another process.
    bench.file.sync_data().unwrap();
    bench.fs.rename(&path("000001.log"), &path("000002.log")).unwrap();
    bench.fs.sync_dir(Path::new(DIR)).unwrap();
    bench.fs.open_writable(&path("000002.log")).unwrap().sync_all().unwrap();
    let durable = || read(&bench.disk.crash(Keep::SyncedOnly), "000002.log");
    assert_eq!(read(&bench.disk, "000002.log"), b"new");
    assert_eq!(durable(), b"old");
    let other = bench.disk.open_writable(&path("000002.log")).unwrap();
    other.sync_data().unwrap();
    assert_eq!(durable(), b"old");

    // What is written later can be made durable, and it alone is.
    other.write_all_at(b"!", 3).unwrap();
    other.sync_data().unwrap();
    assert_eq!(durable(), b"old!");
    other.write_all_at(b"new", 0).unwrap();
    other.sync_data().unwrap();
    assert_eq!(durable(), b"new!");
    let faults: Vec<_> = bench.fs.trace().into_iter().filter_map(|op| op.fault).collect();
    assert_eq!(faults, [Fault::ForgettingSync]);
}

#[test]
fn names_are_forgotten_likewise() {
    let bench = Bench::new();
    bench.fs.create(&path("lost")).unwrap();
    bench.next_goes_wrong(Fault::ForgettingSync);
    bench.fs.sync_dir(Path::new(DIR)).unwrap_err();
    bench.fs.sync_dir(Path::new(DIR)).unwrap();
    let is_durable = |name| bench.disk.crash(Keep::SyncedOnly).exists(&path(name)).unwrap();
    assert!(bench.fs.exists(&path("lost")).unwrap() && !is_durable("lost"));
    let mut seen =
        (0..100).map(|seed| bench.disk.crash(Keep::Subset { seed }).exists(&path("lost")).unwrap());
    assert!(seen.any(|is_there| is_there), "it may have come to the disk");
    bench.fs.create(&path("later")).unwrap();
    bench.fs.sync_dir(Path::new(DIR)).unwrap();
    assert!(is_durable("later") && !is_durable("lost"));
}

#[test]
fn a_fault_that_does_not_apply_is_not_injected() {
    let bench = Bench::new();
    for fault in [Fault::Short(1), Fault::Torn(1), Fault::LostSync, Fault::ForgettingSync] {
        bench.next_goes_wrong(fault);
        assert!(bench.fs.exists(Path::new(DIR)).unwrap());
    }
    bench.next_goes_wrong(Fault::Short(3));
    assert_eq!(bench.file.write_at(b"all", 0).unwrap(), 3);
    assert_eq!(bench.fs.injected(), 0);
    assert!(bench.fs.trace().iter().all(|op| op.fault.is_none()));
}

#[test]
fn without_power_nothing_works_and_nothing_changes() {
    let bench = Bench::new();
    bench.fs.fail_from(bench.fs.next_index() + 1, Fault::Eio);
    bench.file.write_all_at(b"last", 0).unwrap();
    let dir = Path::new(DIR);
    let errors = [
        bench.file.write_all_at(b"x", 0).unwrap_err(),
        bench.file.read_exact_at(&mut [0], 0).unwrap_err(),
        bench.file.allocate(100).unwrap_err(),
        bench.file.sync_data().unwrap_err(),
        bench.file.sync_all().unwrap_err(),
        bench.file.start_writeback(0, 1).unwrap_err(),
        bench.file.len().unwrap_err(),
        bench.fs.create_dir(&path("dir")).unwrap_err(),
        bench.fs.create(&path("new")).unwrap_err(),
        bench.fs.open(&path("000001.log")).unwrap_err(),
        bench.fs.open_writable(&path("000001.log")).unwrap_err(),
        bench.fs.rename(&path("000001.log"), &path("new")).unwrap_err(),
        bench.fs.remove(&path("000001.log")).unwrap_err(),
        bench.fs.sync_dir(dir).unwrap_err(),
        bench.fs.list(dir).unwrap_err(),
        bench.fs.exists(dir).unwrap_err(),
        bench.fs.lock(&path("LOCK")).unwrap_err(),
        bench.fs.space(dir).unwrap_err(),
    ];
    for error in &errors {
        assert_eq!(kind(error), io::Error::from_raw_os_error(5).kind(), "{error}");
    }
    assert_eq!(bench.fs.injected(), errors.len() as u64);
    assert_eq!((bench.now(), bench.durable()), (b"last".to_vec(), b"old".to_vec()));
    assert_eq!(bench.disk.list(dir).unwrap().len(), 1);
}

#[test]
fn the_trace_tells_what_was_asked_for() {
    let bench = Bench::new();
    let first = bench.fs.next_index();
    let temp = FileName::LogTemp(2).path(Path::new(DIR));
    let file = bench.fs.create(&temp).unwrap();
    file.allocate(4096).unwrap();
    file.write_all_at(b"header", 8).unwrap();
    bench.fs.fail_at(first + 3, Fault::LostSync);
    file.sync_all().unwrap();
    bench.fs.rename(&temp, &FileName::Log(2).path(Path::new(DIR))).unwrap();
    let trace = bench.fs.trace();
    let lines: Vec<_> = trace.iter().map(ToString::to_string).collect();
    let expected = [
        "create /000002.log.tmp",
        "allocate /000002.log.tmp 4096",
        "write /000002.log.tmp 8+6",
        "sync /000002.log.tmp: LostSync",
        "rename /000002.log.tmp to /000002.log",
    ];
    let numbered = (first..).zip(expected).map(|(index, text)| format!("{index} {text}"));
    assert_eq!(lines, numbered.collect::<Vec<_>>());
    assert_eq!(trace[2].file_name(), Some(FileName::LogTemp(2)));
    assert_eq!(trace[4].file_name(), Some(FileName::Log(2)));
    let changes: Vec<_> = trace.iter().map(|op| op.kind.is_change()).collect();
    assert_eq!(changes, [true, true, true, false, true]);
}

#[test]
fn a_plan_chooses_by_kind_and_file() {
    let bench = Bench::new();
    bench.fs.set_plan(|op| match (op.kind, op.file_name()) {
        (OpKind::Write, Some(FileName::Manifest(_))) => Some(Fault::Enospc),
        _ => None,
    });
    let manifest = bench.fs.create(&path("MANIFEST-000001")).unwrap();
    assert!(manifest.write_all_at(b"x", 0).unwrap_err().is_no_space());
    bench.file.write_all_at(b"x", 0).unwrap();
}

#[test]
fn an_image_can_be_taken_after_every_operation() {
    let bench = Bench::new();
    let images = Arc::new(Mutex::new(Vec::new()));
    let (disk, taken) = (bench.disk.clone(), Arc::clone(&images));
    bench
        .fs
        .after_each(move |_| taken.lock().push(read(&disk.crash(Keep::SyncedOnly), "000001.log")));
    bench.file.write_all_at(b"new", 0).unwrap();
    bench.file.sync_data().unwrap();
    bench.fs.clear_hooks();
    bench.file.sync_data().unwrap();
    assert_eq!(*images.lock(), [b"old".to_vec(), b"new".to_vec()]);
}

#[test]
fn a_sync_can_be_held_while_others_go_on() {
    let bench = Bench::new();
    let (reached, sync_reached) = mpsc::channel();
    let (release, held) = mpsc::channel();
    let held = Mutex::new(held);
    bench.fs.on_sync(move |path| {
        reached.send(path.to_owned()).unwrap();
        held.lock().recv().unwrap();
    });
    bench.file.write_all_at(b"new", 0).unwrap();
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| bench.file.sync_data());
        assert_eq!(sync_reached.recv().unwrap(), path("000001.log"));
        // The sync has begun and made nothing durable; writes pass it by.
        bench.file.write_all_at(b"er", 3).unwrap();
        assert_eq!((bench.now(), bench.durable()), (b"newer".to_vec(), b"old".to_vec()));
        release.send(()).unwrap();
        syncing.join().unwrap().unwrap();
    });
    assert_eq!(bench.durable(), b"newer");
}

#[test]
fn descriptors_are_shown_on_request_only() {
    let dir = tempfile::tempdir().unwrap();
    let fs = FaultFs::new(Arc::new(StdFs));
    let file = fs.create(&dir.path().join("file")).unwrap();
    assert!(file.descriptor().is_none());
    fs.show_descriptors();
    assert!(file.descriptor().is_some());
}

#[test]
fn a_file_system_can_be_said_to_be_nearly_full() {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let root = Path::new("/");
    let (true_space, pretended) = (fs.space(root).unwrap(), Space { free: 1, total: 1_000 });
    fs.pretend_space(Some(pretended));
    assert_eq!(fs.space(root).unwrap(), pretended);
    fs.space(Path::new("/missing")).unwrap_err();
    fs.pretend_space(None);
    assert_eq!(fs.space(root).unwrap(), true_space);
}
