//! Syncs: what they cover, in which order, and what ends the log when one fails.

use std::sync::{Arc, mpsc};

use lsm_base::file_name::FileName;
use lsm_base::fs::{Fault, Keep, Op};
use parking_lot::Mutex;

use crate::bench::Bench;

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
