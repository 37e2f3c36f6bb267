//! Disks that fail or interrupt: what is refused, what is kept, what may be tried again.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, OpKind};
use lsm_base::{Error, Fs};
use lsm_wal::{JournalWriter, Wal, read_journal};

use crate::bench::{Bench, RECORD};
use crate::support::{FROM_FIRST, create, dir, recover, tiny};

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
