//! What the tests share: a log in memory, what it was asked to keep, and what is found of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::fs::MemFs;
use lsm_base::{Error, FileName, Fs, Result, Seq};
use lsm_wal::{Lsn, Record, ReplayFrom, ReplayReport, Wal, WalOptions, replay};

/// The directory of every test's log: the root, which always exists.
pub(crate) fn dir() -> &'static Path {
    Path::new("/")
}

/// The path of a segment.
pub(crate) fn log(number: u64) -> PathBuf {
    FileName::Log(number).path(dir())
}

/// Epochs that differ from one start to another and from one segment to the next.
pub(crate) fn epochs(start: u64) -> Box<dyn FnMut() -> u64 + Send> {
    let mut epoch = start << 32;
    Box::new(move || {
        epoch += 1;
        epoch
    })
}

/// Whom the logs of the tests belong to.
pub(crate) const OWNER: u128 = 0x0000_1111_2222_3333_4444_5555_6666_7777;

/// Segments of half a kilobyte: a sector each.
pub(crate) fn tiny() -> WalOptions {
    WalOptions { segment_size: 512, writeback_bytes: 0, owner: OWNER }
}

/// A log from segment 1 on.
pub(crate) fn create(fs: &Arc<dyn Fs>, options: WalOptions) -> Result<Wal> {
    Wal::create(Arc::clone(fs), dir(), options, 1, epochs(1))
}

/// Appends a group of records with consecutive sequences from `seq` on.
pub(crate) fn append(wal: &Wal, seq: u64, payloads: &[Vec<u8>]) -> Result<Lsn> {
    let records: Vec<Record<'_>> = (seq..)
        .zip(payloads)
        .map(|(seq, payload)| Record { first_seq: Seq::new(seq), payload })
        .collect();
    wal.append(&records)
}

/// A payload that no other sequence has.
pub(crate) fn payload(seq: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|index| (seq.wrapping_mul(31) ^ index.wrapping_mul(7)) as u8).collect()
}

/// What a MANIFEST that knows nothing but the floor would say.
pub(crate) const FROM_FIRST: ReplayFrom = ReplayFrom {
    first_segment: 1,
    synced: Lsn::ZERO,
    highest_used: 0,
    names_all: false,
    clean_end: None,
    owner: OWNER,
};

/// What was found in a log.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) records: Vec<(u64, Vec<u8>)>,
    pub(crate) report: ReplayReport,
}

/// Replays, and checks that the report agrees with what was delivered.
pub(crate) fn recover(fs: &dyn Fs, from: ReplayFrom) -> Result<Found> {
    let mut records = Vec::new();
    let mut place = Lsn::ZERO;
    let report = replay(fs, dir(), from, &mut |record| {
        assert!(place < record.lsn, "records come in the order of the log");
        place = record.lsn;
        records.push((record.first_seq.get(), record.payload.to_vec()));
        Ok(())
    })?;
    assert_eq!(report.records, records.len() as u64);
    assert_eq!(report.bytes, records.iter().map(|(_, payload)| payload.len() as u64).sum::<u64>());
    assert_eq!(report.last_record_seq.get(), records.last().map_or(0, |&(seq, _)| seq));
    assert!(place < report.end);
    assert_eq!(report.reason.is_some(), report.dropped_bytes != 0, "{report:?}");
    Ok(Found { records, report })
}

/// The file and offset of a corruption; anything else fails the test.
pub(crate) fn corruption<T: std::fmt::Debug>(result: Result<T>) -> (PathBuf, u64) {
    match result {
        Err(Error::Corruption { path, offset, .. }) => (path, offset),
        other => panic!("no corruption: {other:?}"),
    }
}

/// All bytes of a file.
pub(crate) fn read(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Replaces all bytes of a file, its length included.
pub(crate) fn write(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    if fs.exists(path).unwrap() {
        fs.remove(path).unwrap();
    }
    fs.create(path).unwrap().write_all_at(bytes, 0).unwrap();
}

/// An independent copy of all that `fs` holds.
pub(crate) fn copy(fs: &MemFs) -> MemFs {
    fs.crash(lsm_base::fs::Keep::Everything)
}
