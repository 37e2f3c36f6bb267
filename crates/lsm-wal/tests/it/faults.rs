//! Disks that are full, fail, or interrupt: what is refused, what is kept, what may be tried again.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use lsm_base::file_name::FileName;
use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op, OpKind};
use lsm_base::{Error, Fs, Result};
use lsm_wal::{JournalWriter, Lsn, ReplayFrom, Wal, read_journal};
use parking_lot::Mutex;

use crate::support::{FROM_FIRST, append, create, dir, payload, recover, tiny};

struct Bench {
    mem: MemFs,
    fault: FaultFs,
    wal: Wal,
}

impl Bench {
    fn new() -> Bench {
        let mem = MemFs::new();
        let fault = FaultFs::new(Arc::new(mem.clone()));
        let fs: Arc<dyn Fs> = Arc::new(fault.clone());
        let wal = create(&fs, tiny()).unwrap();
        Bench { mem, fault, wal }
    }

    fn append(&self, seq: u64, count: u64) -> Result<Lsn> {
        let payloads: Vec<_> = (seq..seq + count).map(|seq| payload(seq, 20)).collect();
        append(&self.wal, seq, &payloads)
    }

    /// Fills the disk within the next write, after `len` bytes of it.
    fn fill_disk_after(&self, len: usize) {
        let mut writes = 0;
        self.fault.set_plan(move |op| {
            if op.kind != OpKind::Write {
                return None;
            }
            writes += 1;
            if writes == 1 && len != 0 { Some(Fault::Short(len)) } else { Some(Fault::Enospc) }
        });
    }

    /// The sequences found after a crash.
    fn found(&self, keep: Keep) -> Vec<u64> {
        let found = recover(&self.mem.crash(keep), FROM_FIRST).unwrap();
        found.records.iter().map(|&(seq, _)| seq).collect()
    }

    /// Every way to go on answers with the error that ended the log, and no file is touched.
    fn assert_poisoned(&self, reason: &str) {
        self.fault.clear_plan();
        self.fault.clear_trace();
        let end = self.wal.appended_lsn();
        let results = [
            self.append(1000, 1).map(drop),
            self.wal.sync(end),
            self.wal.rotate(0).map(drop),
            self.wal.prepare(0),
            self.wal.close().map(drop),
        ];
        for result in results {
            assert_eq!(result.unwrap_err().to_string(), reason);
        }
        assert_eq!(self.fault.trace(), []);
    }
}

const RECORD: usize = 64; // 20 bytes of payload, padded, and the overhead

#[test]
fn a_full_disk_ends_the_segment_and_not_the_log() {
    // The write is cut off before it, within a header, within a payload, between two records.
    for cut in [0, 1, 31, 50, RECORD, RECORD + 20, 3 * RECORD - 1] {
        let bench = Bench::new();
        bench.append(1, 2).unwrap();
        bench.fill_disk_after(cut);
        let error = bench.append(3, 3).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        bench.fault.clear_plan();

        // It takes no more, but what it holds can be synced.
        assert!(bench.wal.needs_rotation());
        assert_eq!(bench.wal.remaining(), 0);
        assert!(bench.append(3, 1).unwrap_err().is_no_space());
        let end = bench.wal.appended_lsn();
        bench.wal.sync(end).unwrap();
        assert_eq!(bench.wal.synced_lsn(), end);

        // The next segment decides: the failed records are not part of the log, and their
        // sequences are free.
        bench.wal.prepare(0).unwrap();
        assert_eq!(bench.wal.rotate(0).unwrap(), Some(2));
        assert!(!bench.wal.needs_rotation());
        bench.append(3, 1).unwrap();
        bench.append(9, 1).unwrap();
        bench.wal.sync(bench.wal.appended_lsn()).unwrap();
        for keep in [Keep::SyncedOnly, Keep::Everything] {
            assert_eq!(bench.found(keep), [1, 2, 3, 9], "cut at {cut}");
        }
        bench.wal.close().unwrap();
    }
}

#[test]
fn until_the_next_segment_decides_a_failed_append_may_have_happened_in_part() {
    let bench = Bench::new();
    bench.append(1, 2).unwrap();
    bench.fill_disk_after(2 * RECORD + 5);
    bench.append(3, 3).unwrap_err();
    assert_eq!(bench.found(Keep::Everything), [1, 2, 3, 4]);
}

#[test]
fn a_disk_that_is_full_at_a_segments_first_write_makes_it_be_made_again() {
    for cut in [0, 40, 72, 72 + RECORD, 72 + RECORD + 10] {
        for prepared_ahead in [false, true] {
            let bench = Bench::new();
            bench.append(1, 2).unwrap();
            bench.wal.prepare(0).unwrap();
            assert_eq!(bench.wal.rotate(0).unwrap(), Some(2));
            if prepared_ahead {
                bench.wal.prepare(0).unwrap();
            }
            bench.fill_disk_after(cut);
            assert!(bench.append(3, 2).unwrap_err().is_no_space());
            bench.fault.clear_plan();
            assert!(bench.wal.needs_rotation() && !bench.wal.is_ready(0));
            bench.wal.sync(bench.wal.appended_lsn()).unwrap();

            bench.wal.prepare(0).unwrap();
            assert_eq!(bench.wal.rotate(0).unwrap(), Some(2), "the number comes into use only now");
            bench.append(3, 1).unwrap();
            bench.wal.prepare(0).unwrap();
            assert_eq!(bench.wal.rotate(0).unwrap(), Some(3));
            bench.append(4, 1).unwrap();
            bench.wal.sync(bench.wal.appended_lsn()).unwrap();
            for keep in [Keep::SyncedOnly, Keep::Everything] {
                assert_eq!(bench.found(keep), [1, 2, 3, 4], "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_power_cut_after_a_full_disk_never_mixes_what_failed_with_what_follows() {
    const SEEDS: u64 = 24;
    for cut in [0, 1, 31, 50, 72, 72 + RECORD, 72 + RECORD + 20, 3 * RECORD - 1] {
        for is_empty in [false, true] {
            let bench = Bench::new();
            bench.append(1, 2).unwrap();
            bench.wal.sync(bench.wal.appended_lsn()).unwrap();
            bench.wal.prepare(0).unwrap();
            if is_empty {
                assert!(bench.wal.rotate(0).unwrap().is_some());
            }
            // What a power cut leaves after each operation, and how much was promised by then.
            let promised = Arc::new(AtomicUsize::new(2));
            let images = Arc::new(Mutex::new(Vec::new()));
            let (mem, synced, taken) =
                (bench.mem.clone(), Arc::clone(&promised), Arc::clone(&images));
            bench.fault.after_each(move |op| {
                for seed in op.index * SEEDS..(op.index + 1) * SEEDS {
                    let image = mem.crash(Keep::Subset { seed });
                    taken.lock().push((image, synced.load(Ordering::Relaxed), op.to_string()));
                }
            });
            bench.fill_disk_after(cut);
            assert!(bench.append(3, 3).unwrap_err().is_no_space());
            bench.fault.clear_plan();
            bench.wal.prepare(0).unwrap();
            assert!(bench.wal.rotate(0).unwrap().is_some());
            bench.wal.sync(bench.append(10, 2).unwrap()).unwrap();
            promised.store(4, Ordering::Relaxed);
            bench.append(12, 1).unwrap();
            bench.fault.clear_hooks();
            for (image, promised, at) in images.lock().iter() {
                let found = recover(image, FROM_FIRST).unwrap().records;
                assert!(found.iter().all(|(seq, bytes)| *bytes == payload(*seq, 20)));
                let seqs: Vec<u64> = found.iter().map(|&(seq, _)| seq).collect();
                let went_on = [1, 2, 10, 11, 12].starts_with(&seqs);
                let failed_at_the_end = *promised == 2 && [1, 2, 3, 4, 5].starts_with(&seqs);
                let is_legal = *promised <= seqs.len() && (went_on || failed_at_the_end);
                assert!(is_legal, "cut at {cut}, {at}: {seqs:?}");
            }
        }
    }
}

#[test]
fn a_close_on_a_full_disk_uses_the_ready_segment() {
    let bench = Bench::new();
    bench.append(1, 1).unwrap();
    bench.fill_disk_after(3);
    bench.append(2, 1).unwrap_err();
    bench.fault.clear_plan();
    bench.wal.prepare(0).unwrap();
    let end = bench.wal.close().unwrap();
    assert_eq!(end.segment, 2);
    let from = ReplayFrom { clean_end: Some(end), ..FROM_FIRST };
    let found = recover(&bench.mem.crash(Keep::SyncedOnly), from).unwrap();
    assert_eq!(found.records, [(1, payload(1, 20))]);

    // Without one the log stays unclosed, and what was appended is synced all the same.
    let bench = Bench::new();
    bench.append(1, 1).unwrap();
    bench.fill_disk_after(3);
    bench.append(2, 1).unwrap_err();
    bench.fault.clear_plan();
    assert!(bench.wal.close().unwrap_err().is_no_space());
    assert_eq!(bench.found(Keep::SyncedOnly), [1]);
}

#[test]
fn a_preparation_may_fail_anywhere_and_be_tried_again_unless_a_sync_failed() {
    for fault in [Fault::Enospc, Fault::Eio, Fault::EioAfter] {
        let mut syncs = 0;
        for step in 0.. {
            let bench = Bench::new();
            bench.append(1, 1).unwrap();
            let index = bench.fault.next_index() + step;
            bench.fault.fail_at(index, fault);
            let result = bench.wal.prepare(0);
            bench.fault.clear_plan();
            let Some(op) = bench.fault.trace().into_iter().find(|op| op.fault.is_some()) else {
                result.unwrap();
                break;
            };
            match result {
                // That there was no leftover to remove is what was to be reached.
                Ok(()) => assert_eq!((op.kind, fault), (OpKind::Remove, Fault::EioAfter)),
                Err(error) if op.kind.is_sync() => {
                    bench.assert_poisoned(&error.to_string());
                    syncs += 1;
                    continue;
                }
                Err(error) => assert_eq!(error.is_no_space(), fault == Fault::Enospc),
            }
            bench.wal.prepare(0).unwrap();
            assert_eq!(bench.wal.rotate(0).unwrap(), Some(2));
            bench.append(2, 1).unwrap();
            bench.wal.sync(bench.wal.appended_lsn()).unwrap();
            assert_eq!(bench.found(Keep::SyncedOnly), [1, 2], "{op}");
            assert_eq!(bench.mem.list(dir()).unwrap().len(), 2, "{op}: nothing is left over");
        }
        assert_eq!(syncs, 2, "the file and the directory");
    }
}

#[test]
fn a_replacement_that_fails_leaves_nothing_ready() {
    // What stands under the name is not known then, so it must not be written to.
    let bench = Bench::new();
    bench.append(1, 1).unwrap();
    bench.wal.prepare(0).unwrap();
    bench.fault.set_plan(|op| (op.kind == OpKind::Rename).then_some(Fault::EioAfter));
    bench.wal.prepare(4096).unwrap_err();
    bench.fault.clear_plan();
    assert!(!bench.wal.is_ready(0));
    bench.wal.prepare(0).unwrap();
    bench.wal.rotate(0).unwrap();
    bench.append(2, 1).unwrap();
    bench.wal.sync(bench.wal.appended_lsn()).unwrap();
    assert_eq!(bench.found(Keep::SyncedOnly), [1, 2]);
}

#[test]
fn a_failed_append_ends_the_log() {
    for fault in [Fault::Eio, Fault::Torn(0), Fault::Torn(50), Fault::Torn(RECORD), Fault::EioAfter]
    {
        let bench = Bench::new();
        bench.wal.sync(bench.append(1, 2).unwrap()).unwrap();
        bench.append(3, 1).unwrap();
        bench.fault.fail_at(bench.fault.next_index(), fault);
        let error = bench.append(4, 2).unwrap_err();
        assert!(!bench.wal.needs_rotation() || !error.is_no_space());
        bench.assert_poisoned(&error.to_string());
        assert_eq!(bench.found(Keep::SyncedOnly), [1, 2]);
        let found = bench.found(Keep::Everything);
        assert_eq!(found[..3], [1, 2, 3], "{fault:?}");
        assert!(found.iter().copied().eq(1..=found.len() as u64));
    }
}

#[test]
fn a_failed_sync_ends_the_log_whatever_the_error() {
    for fault in [Fault::Eio, Fault::Enospc, Fault::EioAfter, Fault::ForgettingSync] {
        let bench = Bench::new();
        bench.wal.sync(bench.append(1, 2).unwrap()).unwrap();
        let synced = bench.wal.synced_lsn();
        let end = bench.append(3, 1).unwrap();
        bench.fault.fail_at(bench.fault.next_index(), fault);
        let error = bench.wal.sync(end).unwrap_err();
        assert_eq!(bench.wal.synced_lsn(), synced);
        bench.assert_poisoned(&error.to_string());
        // The kernel may show what the disk does not have; the disk has what was promised.
        assert_eq!(bench.found(Keep::Everything), [1, 2, 3]);
        let on_disk: &[u64] = if fault == Fault::EioAfter { &[1, 2, 3] } else { &[1, 2] };
        assert_eq!(bench.found(Keep::SyncedOnly), on_disk);
    }
}

#[test]
fn segments_are_synced_oldest_first_and_none_after_a_failure() {
    let bench = Bench::new();
    for seq in 1..=3 {
        bench.append(seq, 1).unwrap();
        bench.wal.prepare(0).unwrap();
        bench.wal.rotate(0).unwrap();
    }
    let end = bench.append(4, 1).unwrap();
    let synced = |trace: &[Op]| -> Vec<FileName> {
        trace.iter().filter(|op| op.kind.is_sync()).filter_map(Op::file_name).collect()
    };
    bench.fault.clear_trace();
    // Handles keep the temporary names under which they were created.
    bench.fault.set_plan(|op| {
        let is_second = op.file_name() == Some(FileName::LogTemp(2));
        (op.kind.is_sync() && is_second).then_some(Fault::Eio)
    });
    let error = bench.wal.sync(end).unwrap_err();
    let order = synced(&bench.fault.trace());
    assert_eq!(order, [FileName::LogTemp(1), FileName::LogTemp(2)]);
    bench.assert_poisoned(&error.to_string());
    assert_eq!(bench.found(Keep::SyncedOnly), [1]);
}

#[test]
fn a_segment_that_is_synced_already_is_not_synced_again() {
    let bench = Bench::new();
    bench.wal.sync(bench.append(1, 1).unwrap()).unwrap();
    bench.wal.prepare(0).unwrap();
    bench.wal.rotate(0).unwrap();
    let end = bench.append(2, 1).unwrap();
    bench.fault.clear_trace();
    bench.wal.sync(end).unwrap();
    bench.wal.sync(end).unwrap();
    assert_eq!(bench.fault.trace().len(), 1);
}

#[test]
fn a_released_segment_is_not_synced() {
    let bench = Bench::new();
    for seq in 1..=3 {
        bench.append(seq, 1).unwrap();
        bench.wal.prepare(0).unwrap();
        bench.wal.rotate(0).unwrap();
    }
    bench.wal.release(3).unwrap();
    bench.fault.clear_trace();
    bench.wal.sync(bench.wal.appended_lsn()).unwrap();
    let synced: Vec<_> = bench.fault.trace().iter().map(Op::file_name).collect();
    assert_eq!(synced, [Some(FileName::LogTemp(3))]);
}

#[test]
fn a_sync_covers_nothing_that_was_appended_while_it_ran() {
    let bench = Arc::new(Bench::new());
    let before = bench.append(1, 1).unwrap();
    let inside = Arc::clone(&bench);
    bench.fault.on_sync(move |_| {
        inside.append(2, 1).unwrap();
    });
    bench.wal.sync(before).unwrap();
    bench.fault.clear_hooks();
    assert_eq!(bench.wal.synced_lsn(), before);
    assert!(before < bench.wal.appended_lsn());
    bench.wal.sync(bench.wal.appended_lsn()).unwrap();
    assert_eq!(bench.found(Keep::SyncedOnly), [1, 2]);
}

#[test]
fn an_append_that_ran_beside_a_failing_sync_fails_with_it() {
    let bench = Bench::new();
    let end = bench.append(1, 1).unwrap();
    bench.fault.set_plan(|op| op.kind.is_sync().then_some(Fault::Eio));
    // The sync has begun before the append writes, and has failed before the write returns.
    let (syncing, is_syncing) = mpsc::channel();
    let (writing, is_writing) = mpsc::channel();
    let (failed, has_failed) = mpsc::channel();
    let (is_writing, has_failed) = (Mutex::new(is_writing), Mutex::new(has_failed));
    bench.fault.before_each(move |op| {
        if op.kind.is_sync() {
            syncing.send(()).unwrap();
            is_writing.lock().recv().unwrap();
        } else {
            writing.send(()).unwrap();
            has_failed.lock().recv().unwrap();
        }
    });
    let (synced, appended) = std::thread::scope(|scope| {
        let sync = scope.spawn(|| {
            let result = bench.wal.sync(end);
            failed.send(()).unwrap();
            result
        });
        is_syncing.recv().unwrap();
        let appended = bench.append(2, 1);
        (sync.join().unwrap(), appended)
    });
    bench.fault.clear_hooks();
    assert_eq!(appended.unwrap_err().to_string(), synced.unwrap_err().to_string());
    assert_eq!(bench.wal.appended_lsn(), end);
}

#[test]
fn interruptions_and_short_writes_are_no_failures() {
    let bench = Bench::new();
    let mut writes = 0;
    bench.fault.set_plan(move |op| match op.kind {
        OpKind::Write => {
            writes += 1;
            Some(if writes % 3 == 0 { Fault::Eintr } else { Fault::Short(7) })
        }
        _ => None,
    });
    bench.wal.sync(bench.append(1, 3).unwrap()).unwrap();
    assert!(10 < bench.fault.injected());
    assert_eq!(bench.found(Keep::SyncedOnly), [1, 2, 3]);
}

#[test]
fn a_read_error_is_an_error_and_neither_damage_nor_the_end() {
    let bench = Bench::new();
    for seq in 1..=12 {
        if bench.wal.remaining() < RECORD as u64 {
            bench.wal.prepare(0).unwrap();
            bench.wal.rotate(0).unwrap();
        }
        bench.append(seq, 1).unwrap();
    }
    let image = bench.mem.crash(Keep::Everything);
    let mut step = 0;
    loop {
        let fault = FaultFs::new(Arc::new(image.clone()));
        fault.fail_at(step, Fault::Eio);
        let result = recover(&fault, FROM_FIRST);
        if fault.injected() == 0 {
            assert_eq!(result.unwrap().records.len(), 12);
            break;
        }
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "operation {step}: {error}");
        step += 1;
    }
    assert!(20 < step);

    let fault = FaultFs::new(Arc::new(image));
    fault.set_plan(|op| match (op.kind, op.index % 3) {
        (OpKind::Read, 0) => Some(Fault::Eintr),
        (OpKind::Read, _) => Some(Fault::Short(100)),
        _ => None,
    });
    assert_eq!(recover(&fault, FROM_FIRST).unwrap().records.len(), 12);
    assert!(fault.trace().iter().all(|op| !op.kind.is_change() && !op.kind.is_sync()));
}

#[test]
fn a_journal_whose_append_or_sync_failed_takes_no_more() {
    let path = Path::new("/MANIFEST-000002");
    for (fault, step) in [
        (Fault::Enospc, 0),
        (Fault::Eio, 0),
        (Fault::Torn(20), 0),
        (Fault::Torn(45), 0),
        (Fault::EioAfter, 0),
        (Fault::Enospc, 1),
        (Fault::ForgettingSync, 1),
        (Fault::EioAfter, 1),
    ] {
        let mem = MemFs::new();
        let fs = FaultFs::new(Arc::new(mem.clone()));
        let mut journal = JournalWriter::create(&fs, path, 2, 8, 0).unwrap();
        journal.append(b"snapshot").unwrap();
        fs.sync_dir(dir()).unwrap();
        fs.fail_at(fs.next_index() + step, fault);
        let error = journal.append(b"edit").unwrap_err();
        assert!(journal.is_sealed());
        fs.clear_plan();
        fs.clear_trace();
        let again = journal.append(b"another").unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert_eq!(fs.trace(), []);
        for keep in [Keep::SyncedOnly, Keep::Everything] {
            let mut found = Vec::new();
            read_journal(&mem.crash(keep), path, &mut |_, payload| {
                found.push(payload.to_vec());
                Ok(())
            })
            .unwrap();
            assert_eq!(found[0], b"snapshot");
            assert!(found.len() == 1 || found[1..] == [b"edit"], "{fault:?}");
        }
    }
}

#[test]
fn a_log_whose_creation_failed_can_be_begun_by_the_next_open() {
    for fault in [Fault::Enospc, Fault::Eio, Fault::EioAfter] {
        for step in 0.. {
            let mem = MemFs::new();
            let faulty = FaultFs::new(Arc::new(mem.clone()));
            faulty.fail_at(step, fault);
            let fs: Arc<dyn Fs> = Arc::new(faulty.clone());
            let result = create(&fs, tiny());
            if faulty.injected() == 0 {
                result.unwrap();
                break;
            }
            for keep in [Keep::SyncedOnly, Keep::Everything] {
                let image = mem.crash(keep);
                let found = recover(&image, FROM_FIRST).unwrap();
                assert!(found.records.is_empty());
                let image: Arc<dyn Fs> = Arc::new(image);
                let next = found.report.next_segment;
                Wal::create(image, dir(), tiny(), next, crate::support::epochs(9)).unwrap();
            }
        }
    }
}
