//! A disk that becomes full: what is kept, and how the log goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lsm_base::fs::Keep;
use lsm_wal::ReplayFrom;
use parking_lot::Mutex;

use crate::bench::{Bench, RECORD};
use crate::support::{FROM_FIRST, payload, recover};

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
