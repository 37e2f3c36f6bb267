//! Write-back: who asks for it, what is pushed, and that nobody waits for it.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use lsm_base::Fs;
use lsm_base::file_name::FileName;
use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op, OpKind};
use lsm_wal::{Wal, WalOptions};
use parking_lot::Mutex;

use crate::support::{FROM_FIRST, append, create, payload, recover, tiny};

/// A log that wants its bytes pushed every 16 KiB.
fn pushing() -> (MemFs, FaultFs, Wal) {
    let mem = MemFs::new();
    let fault = FaultFs::new(Arc::new(mem.clone()));
    let fs: Arc<dyn Fs> = Arc::new(fault.clone());
    let wal =
        create(&fs, WalOptions { segment_size: 1 << 20, writeback_bytes: 16 << 10, ..tiny() });
    (mem, fault, wal.unwrap())
}

/// Far beyond what any of it takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn advice_that_fails_is_no_failure() {
    let (mem, fault, wal) = pushing();
    fault.set_plan(|op| (op.kind == OpKind::StartWriteback).then_some(Fault::Eio));
    let mut requests = 0;
    for seq in 1..=100 {
        append(&wal, seq, &[payload(seq, 1000)]).unwrap();
        if wal.take_writeback_request() {
            requests += 1;
            assert!(!wal.take_writeback_request(), "one request a stretch");
            wal.start_writeback();
        }
    }
    let mut pushed = Vec::new();
    for op in fault.trace().iter().filter(|op| op.kind == OpKind::StartWriteback) {
        pushed.push((op.offset, op.offset + op.len));
    }
    // Each stretch begins where the one before ended, and every request has one.
    let stretches: Vec<_> = (0..6).map(|index| (index << 14, (index + 1) << 14)).collect();
    assert_eq!((pushed, requests), (stretches, 6));
    wal.sync(wal.appended_lsn()).unwrap();
    assert_eq!(recover(&mem.crash(Keep::SyncedOnly), FROM_FIRST).unwrap().records.len(), 100);
}

#[test]
fn an_append_waits_for_no_write_back() {
    let (_, fault, wal) = pushing();
    let (begun, has_begun) = mpsc::channel();
    let (appended, has_appended) = mpsc::channel();
    let has_appended = Mutex::new(has_appended);
    fault.before_each(move |op| {
        if op.kind == OpKind::StartWriteback {
            begun.send(()).unwrap();
            has_appended.lock().recv_timeout(LIMIT).expect("an append beside the write-back");
        }
    });
    append(&wal, 1, &[payload(1, 20 << 10)]).unwrap();
    std::thread::scope(|scope| {
        let pusher = scope.spawn(|| wal.start_writeback());
        has_begun.recv_timeout(LIMIT).expect("the append asks for it, and does not do it");
        append(&wal, 2, &[payload(2, 20 << 10)]).unwrap();
        wal.sync(wal.appended_lsn()).unwrap();
        appended.send(()).unwrap();
        // What came beside it is pushed as well before the call returns.
        appended.send(()).unwrap();
        assert_eq!(pusher.join().unwrap(), 32 << 10);
    });
    fault.clear_hooks();
    assert_eq!(wal.start_writeback(), 0);
}

#[test]
fn a_segment_left_behind_is_still_pushed_and_a_log_that_ended_is_not() {
    let (_, fault, wal) = pushing();
    append(&wal, 1, &[payload(1, 20 << 10)]).unwrap();
    wal.prepare(0).unwrap();
    assert!(wal.rotate(0).unwrap().is_some());
    append(&wal, 2, &[payload(2, 20 << 10)]).unwrap();
    fault.clear_trace();
    assert_eq!(wal.start_writeback(), 32 << 10);
    let files: Vec<_> = fault.trace().iter().map(Op::file_name).collect();
    assert_eq!(files, [Some(FileName::LogTemp(1)), Some(FileName::LogTemp(2))]);

    append(&wal, 3, &[payload(3, 20 << 10)]).unwrap();
    fault.set_plan(|op| op.kind.is_sync().then_some(Fault::Eio));
    wal.sync(wal.appended_lsn()).unwrap_err();
    fault.clear_trace();
    assert_eq!(wal.start_writeback(), 0);
    assert_eq!(fault.trace(), []);
}
