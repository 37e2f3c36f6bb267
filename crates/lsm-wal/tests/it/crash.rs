//! Power cuts after every single file operation, of the log and of the journal, and again inside
//! the recovery.

use std::path::Path;
use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::{FaultFs, Keep, MemFs};
use lsm_wal::{JournalWriter, Lsn, ReplayFrom, Wal, WalOptions, read_journal, remove_segments};
use parking_lot::Mutex;

use crate::support::{FROM_FIRST, append, create, dir, epochs, payload, recover, tiny};

/// What the writer has been told so far, and what it was doing.
#[derive(Clone, Default)]
struct Told {
    from: Option<ReplayFrom>,
    /// Records whose append was begun, had returned, and whose sync had returned.
    begun: usize,
    appended: usize,
    synced: usize,
    /// Records in segments that were released.
    released: usize,
}

/// A file system as a power cut leaves it, and what must be found in it.
struct Image {
    fs: MemFs,
    keep: Keep,
    told: Told,
    at: String,
}

/// How many of the random mixtures are looked at after each operation.
const SUBSETS: u64 = 6;

/// Runs `work` and takes images after each of its file operations.
fn images(work: impl FnOnce(&Arc<dyn Fs>, &Mutex<Told>)) -> Vec<Image> {
    let mem = MemFs::new();
    let fault = FaultFs::new(Arc::new(mem.clone()));
    let told = Arc::new(Mutex::new(Told::default()));
    let images = Arc::new(Mutex::new(Vec::new()));
    let (hook_told, hook_images) = (Arc::clone(&told), Arc::clone(&images));
    fault.after_each(move |op| {
        let subsets = (0..SUBSETS).map(|index| Keep::Subset { seed: op.index * SUBSETS + index });
        for keep in [Keep::SyncedOnly, Keep::Everything].into_iter().chain(subsets) {
            let told = hook_told.lock().clone();
            hook_images.lock().push(Image { fs: mem.crash(keep), keep, told, at: op.to_string() });
        }
    });
    let fs: Arc<dyn Fs> = Arc::new(fault.clone());
    work(&fs, &told);
    fault.clear_hooks();
    std::mem::take(&mut *images.lock())
}

/// Every record that the work appends, in order.
fn record(index: usize) -> (u64, Vec<u8>) {
    let seq = index as u64 + 1;
    (seq, payload(seq, (index * 37) % 300))
}

/// Appends, syncs, rotates, prepares, releases: as an engine does.
fn work(fs: &Arc<dyn Fs>, told: &Mutex<Told>) {
    told.lock().from = Some(FROM_FIRST);
    let options = WalOptions { segment_size: 2048, writeback_bytes: 4096, ..tiny() };
    let wal = create(fs, options).unwrap();
    let mut segment_starts = vec![0];
    let mut index = 0;
    for (step, group) in [1, 3, 2, 1, 5, 1, 4, 2, 12, 1, 3, 2].into_iter().enumerate() {
        let records: Vec<_> = (index..index + group).map(record).collect();
        let payloads: Vec<_> = records.iter().map(|(_, payload)| payload.clone()).collect();
        let bytes = payloads.iter().map(|payload| Wal::record_len(payload.len() as u64)).sum();
        if wal.remaining() < bytes {
            wal.prepare(bytes).unwrap();
            wal.rotate(0).unwrap();
            segment_starts.push(index);
        }
        told.lock().begun = index + group;
        let end = append(&wal, records[0].0, &payloads).unwrap();
        index += group;
        told.lock().appended = index;
        if step % 3 == 1 {
            wal.sync(end).unwrap();
            told.lock().synced = index;
        }
        if step == 8 {
            // What is in the first segments is in tables by now, and the MANIFEST says so.
            let mut told = told.lock();
            let floor = wal.active_segment() - 1;
            told.released = segment_starts[floor as usize - 1];
            told.from = Some(ReplayFrom {
                first_segment: floor,
                synced: wal.synced_lsn(),
                highest_used: wal.active_segment(),
                ..FROM_FIRST
            });
            drop(told);
            wal.release(floor).unwrap();
        }
    }
    wal.prepare(0).unwrap();
    let end = wal.close().unwrap();
    let mut told = told.lock();
    told.synced = index;
    let from = told.from.unwrap();
    told.from = Some(ReplayFrom { clean_end: Some(end), ..from });
    drop(told);
    // One more operation, so that there are images of the closed log.
    fs.list(dir()).unwrap();
}

/// What is found is a prefix that holds all that was promised.
fn check(image: &Image) -> Vec<(u64, Vec<u8>)> {
    let Image { fs, keep, told, at } = image;
    let Some(from) = told.from else { return Vec::new() };
    let found = recover(fs, from).unwrap_or_else(|error| panic!("{keep:?} after {at}: {error}"));
    let count = told.released + found.records.len();
    let all: Vec<_> = (0..told.begun.max(count)).map(record).collect();
    assert_eq!(found.records, all[told.released.min(count)..count], "{keep:?} after {at}");
    let least = if *keep == Keep::Everything { told.appended } else { told.synced };
    assert!(least <= count && count <= told.begun, "{keep:?} after {at}: {count} records");
    if *keep == Keep::Everything && told.begun == told.appended {
        assert_eq!(found.report.reason, None, "after {at}");
    }
    found.records
}

#[test]
fn what_was_synced_survives_a_power_cut_after_any_operation() {
    let images = images(work);
    assert!(400 < images.len());
    let mut partly = 0;
    for image in &images {
        let before = image.told.released + check(image).len();
        partly += usize::from(image.told.synced < before && before < image.told.appended);
    }
    assert!(10 < partly, "the images differ in what survived: {partly}");
}

/// Brings a recovered log into a new one, as an engine brings it into tables.
fn restart(fs: &Arc<dyn Fs>, told: &Mutex<Told>, from: ReplayFrom) {
    let found = recover(&**fs, from).unwrap();
    let next = found.report.next_segment;
    let wal = Wal::create(Arc::clone(fs), dir(), tiny(), next, epochs(next + 100)).unwrap();
    // The MANIFEST moves the floor when all that was recovered is in tables.
    {
        let mut told = told.lock();
        *told = Told { released: found.records.len(), ..Told::default() };
        told.synced = told.released;
        told.appended = told.released;
        told.begun = told.released;
        told.from = Some(ReplayFrom {
            first_segment: next,
            synced: Lsn::ZERO,
            highest_used: next,
            ..FROM_FIRST
        });
    }
    remove_segments(&**fs, dir(), next).unwrap();
    let (seq, payload) = record(found.records.len());
    told.lock().begun += 1;
    let end = append(&wal, seq, &[payload]).unwrap();
    told.lock().appended += 1;
    wal.sync(end).unwrap();
    told.lock().synced += 1;
    fs.list(dir()).unwrap();
}

#[test]
fn a_recovery_that_is_cut_off_is_begun_anew() {
    let images = images(work);
    // Every eleventh image, so that each kind of cut meets each kind of operation.
    let unreleased = images.iter().filter(|image| image.told.released == 0);
    let mut seen = 0;
    for image in unreleased.step_by(11) {
        let Some(from) = image.told.from else { continue };
        let recovered = check(image).len();
        let outer = image.told.clone();
        for image in restart_images(&image.fs, from, &outer) {
            if image.told.from == Some(from) {
                // The floor has not moved: all is as before the recovery.
                let found = recover(&image.fs, from).unwrap();
                assert_eq!(found.records.len(), recovered, "{:?} after {}", image.keep, image.at);
            } else {
                check(&image);
            }
            seen += 1;
        }
    }
    assert!(1000 < seen, "{seen} images");
}

fn restart_images(image: &MemFs, from: ReplayFrom, outer: &Told) -> Vec<Image> {
    let mem = image.crash(Keep::Everything);
    let fault = FaultFs::new(Arc::new(mem.clone()));
    let told = Arc::new(Mutex::new(Told { from: Some(from), ..outer.clone() }));
    let images = Arc::new(Mutex::new(Vec::new()));
    let (hook_told, hook_images) = (Arc::clone(&told), Arc::clone(&images));
    fault.after_each(move |op| {
        if !op.kind.is_change() && !op.kind.is_sync() {
            return;
        }
        for keep in [Keep::SyncedOnly, Keep::Everything, Keep::Subset { seed: op.index }] {
            let told = hook_told.lock().clone();
            hook_images.lock().push(Image { fs: mem.crash(keep), keep, told, at: op.to_string() });
        }
    });
    let fs: Arc<dyn Fs> = Arc::new(fault.clone());
    restart(&fs, &told, from);
    fault.clear_hooks();
    std::mem::take(&mut *images.lock())
}

#[test]
fn a_journal_keeps_every_record_whose_append_returned() {
    let path = Path::new("/MANIFEST-000001");
    let images = images(|fs, told| {
        let mut journal = JournalWriter::create(&**fs, path, 1, 5, 0).unwrap();
        for index in 0..12 {
            told.lock().begun = index + 1;
            journal.append(&record(index).1).unwrap();
            if index == 0 {
                fs.sync_dir(dir()).unwrap();
                // From here on something may refer to the journal.
                told.lock().from = Some(FROM_FIRST);
            }
            told.lock().synced = index + 1;
        }
    });
    let mut seen = 0;
    for Image { fs, keep, told, at } in images.iter().filter(|image| image.told.from.is_some()) {
        let mut found = Vec::new();
        let report = read_journal(fs, path, &mut |_, payload| {
            found.push(payload.to_vec());
            Ok(())
        });
        let report = report.unwrap_or_else(|error| panic!("{keep:?} after {at}: {error}"));
        let expected: Vec<_> = (0..found.len()).map(|index| record(index).1).collect();
        assert_eq!(found, expected);
        assert!((told.synced..=told.begun).contains(&found.len()), "{keep:?} after {at}");
        assert_eq!(report.reason.is_some(), report.dropped_bytes != 0);
        seen += 1;
    }
    assert!(100 < seen, "{seen} images");
}
