//! Fuzz targets of this crate: what holds of any segments and journals. See
//! [`lsm_base::testing::corpus`].
//!
//! ```text
//! input of `log`      flags u8 | synced u16 | closed at u16 | segment*     segment := length u16, bytes
//! input of `journal`  flags u8 | the file
//! flags               1 checksums are made right   2 `synced` counts   4 `closed at` counts
//! ```
//!
//! With the first flag every checksum is made right before the bytes are read, and so are number,
//! owner and length in a file header: so the fuzzer gets behind them.

use std::path::Path;

use lsm_base::coding::Reader;
use lsm_base::fs::MemFs;
use lsm_base::{Error, FileName, Fs, Result, Seq};

use crate::format::{
    FILE_HEADER_LEN, RECORD_HEADER_LEN, record_len, seal_file_header, seal_record,
};
use crate::{Inspector, Lsn, ReplayFrom, read_journal, replay};

const DIR: &str = "db";
const REPAIRED: u8 = 1;
const SYNCED: u8 = 2;
const CLOSED: u8 = 4;

/// The most segments of one input.
const MAX_SEGMENTS: u64 = 4;

/// A log is delivered in order and the same each time, or an error names a place in one of its files.
pub fn log(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let (Some(flags), Some(synced), Some(closed)) = (reader.u8(), reader.u16(), reader.u16())
    else {
        return;
    };
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).expect("the disk is empty");
    let mut count = 0;
    while let Some(len) = reader.u16()
        && count < MAX_SEGMENTS
    {
        count += 1;
        let len = usize::from(len).min(reader.rest().len());
        let mut segment = reader.bytes(len).expect("so many are left").to_vec();
        if flags & REPAIRED != 0 {
            repair(&mut segment, count, len as u64);
        }
        put(&fs, FileName::Log(count), &segment);
    }
    let place = |is_wanted: u8, offset: u16| {
        let offset = u64::from(offset).next_multiple_of(8);
        (flags & is_wanted != 0).then(|| Lsn::new(count.max(1), offset))
    };
    let from = ReplayFrom {
        first_segment: 1,
        synced: place(SYNCED, synced).unwrap_or(Lsn::ZERO),
        clean_end: place(CLOSED, closed),
        ..ReplayFrom::default()
    };
    let first = deliver(&fs, from);
    assert_eq!(
        format!("{first:?}"),
        format!("{:?}", deliver(&fs, from)),
        "a replay changes nothing"
    );
    for number in 1..=count {
        inspect(&fs, FileName::Log(number));
    }
}

/// What a replay delivers: sequences and payloads.
type Delivered = Vec<(Seq, Vec<u8>)>;

/// What a replay delivers, and why it dropped the rest.
fn deliver(fs: &MemFs, from: ReplayFrom) -> Result<(Delivered, Option<String>)> {
    let mut found = Delivered::new();
    let replayed = replay(fs, Path::new(DIR), from, &mut |record| {
        found.push((record.first_seq, record.payload.to_vec()));
        Ok(())
    });
    let report = replayed.inspect_err(|error| check_error(fs, error))?;
    assert_eq!(report.records, found.len() as u64);
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "sequences ascend");
    assert_eq!(report.last_record_seq, found.last().map_or(Seq::ZERO, |record| record.0));
    // What is known to have been synced is not lost; where a closed log ends is known exactly.
    assert_eq!(from.clean_end.unwrap_or(report.end), report.end);
    let is_known = from.clean_end.is_none() && FILE_HEADER_LEN < from.synced.offset;
    assert!(!is_known || from.synced <= report.end, "{report:?}");
    Ok((found, report.reason))
}

/// A journal is delivered in order, or an error names a place in it.
pub fn journal(bytes: &[u8]) {
    let Some((flags, rest)) = bytes.split_first() else { return };
    let mut bytes = rest.to_vec();
    if flags & REPAIRED != 0 {
        repair(&mut bytes, 1, 0);
    }
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).expect("the disk is empty");
    let name = FileName::Manifest(1);
    put(&fs, name, &bytes);
    let (mut records, mut end) = (0, FILE_HEADER_LEN);
    let read = read_journal(&fs, &name.path(Path::new(DIR)), &mut |offset, payload| {
        assert_eq!(offset, end + RECORD_HEADER_LEN as u64, "records follow each other");
        end += record_len(payload.len() as u64);
        records += 1;
        Ok(())
    });
    match read {
        Ok(report) => {
            assert_eq!((report.records, report.end), (records, end));
            assert_eq!(report.end + report.dropped_bytes, bytes.len() as u64);
        }
        Err(error) => check_error(&fs, &error),
    }
    inspect(&fs, name);
}

fn put(fs: &MemFs, name: FileName, bytes: &[u8]) {
    let file = fs.create(&name.path(Path::new(DIR))).expect("the name is free");
    file.write_all_at(bytes, 0).expect("there is room");
}

/// Every look at a file ends.
fn inspect(fs: &MemFs, name: FileName) {
    let Ok(inspector) = Inspector::open(fs, &name.path(Path::new(DIR))) else { return };
    let most = inspector.file_len() / 4 + 2;
    assert!((inspector.count() as u64) < most, "an inspection without end");
}

fn check_error(fs: &MemFs, error: &Error) {
    match error {
        Error::Corruption { path, offset, .. } => {
            let len = fs.open(path).and_then(|file| file.len()).expect("a file of the log");
            assert!(*offset <= len, "{error}");
        }
        Error::MissingFile(path) | Error::UnsupportedFormat { path, .. } => {
            assert!(path.starts_with(DIR), "{error}");
        }
        _ => panic!("{error}"),
    }
}

/// Makes the checksums right of the header and of each record that ends within the file.
fn repair(bytes: &mut [u8], number: u64, capacity: u64) {
    let Some(epoch) = seal_file_header(bytes, number, capacity) else { return };
    let mut offset = FILE_HEADER_LEN;
    while let Some(end) = seal_record(bytes, epoch, offset) {
        offset = end;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lsm_base::testing::corpus;

    use super::*;
    use crate::{JournalWriter, Record, Wal, WalOptions};

    fn read(fs: &MemFs, name: FileName) -> Vec<u8> {
        let file = fs.open(&name.path(Path::new(DIR))).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn disk() -> MemFs {
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).unwrap();
        fs
    }

    /// A log of two segments in use and one that is ready, closed or not.
    fn segments(is_closed: bool, flags: u8) -> Vec<u8> {
        let fs = disk();
        let mut epoch = 0;
        let epochs = Box::new(move || {
            epoch += 1;
            epoch
        });
        let options = WalOptions { segment_size: 512, ..WalOptions::default() };
        let wal = Wal::create(Arc::new(fs.clone()), Path::new(DIR), options, 1, epochs).unwrap();
        for seq in 1..9 {
            let record = Record { first_seq: Seq::new(seq), payload: &[seq as u8; 30] };
            if wal.remaining() < record_len(30) {
                wal.prepare(0).unwrap();
                assert!(wal.rotate(0).unwrap().is_some());
            }
            let end = wal.append(&[record]).unwrap();
            if seq % 3 == 0 {
                wal.sync(end).unwrap();
            }
        }
        let synced = wal.synced_lsn();
        let end = if is_closed { wal.close().unwrap() } else { Lsn::ZERO };
        drop(wal);
        let mut input = vec![flags];
        input.extend_from_slice(&(synced.offset as u16).to_le_bytes());
        input.extend_from_slice(&(end.offset as u16).to_le_bytes());
        for number in 1..=2 {
            let bytes = read(&fs, FileName::Log(number));
            input.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
            input.extend_from_slice(&bytes);
        }
        input
    }

    #[test]
    fn the_corpus_of_logs() {
        let seeds = [
            segments(false, 0),
            segments(false, REPAIRED | SYNCED),
            segments(true, REPAIRED | CLOSED | SYNCED),
        ];
        corpus::replay("log", &seeds, corpus::RUNS, log);
    }

    #[test]
    fn the_corpus_of_journals() {
        let fs = disk();
        let path = FileName::Manifest(1).path(Path::new(DIR));
        let mut writer = JournalWriter::create(&fs, &path, 1, 0x5eed, 7).unwrap();
        for payload in [&b"first"[..], &[7; 100], b""] {
            writer.append(payload).unwrap();
        }
        let bytes = read(&fs, FileName::Manifest(1));
        let seeds = [0, REPAIRED].map(|flags| [&[flags], &bytes[..]].concat());
        corpus::replay("journal", &seeds, corpus::RUNS, journal);
    }

    #[test]
    fn a_repaired_file_is_read_whole() {
        let fs = disk();
        let path = FileName::Manifest(1).path(Path::new(DIR));
        let mut writer = JournalWriter::create(&fs, &path, 1, 0x5eed, 7).unwrap();
        writer.append(b"first").unwrap();
        let mut bytes = read(&fs, FileName::Manifest(1));
        let payload_at = FILE_HEADER_LEN as usize + RECORD_HEADER_LEN;
        bytes[payload_at] ^= 1;
        put(&fs, FileName::Manifest(2), &bytes);
        repair(&mut bytes, 3, 0);
        put(&fs, FileName::Manifest(3), &bytes);
        let read = |number| {
            let path = FileName::Manifest(number).path(Path::new(DIR));
            read_journal(&fs, &path, &mut |_, payload| {
                assert_eq!(payload, b"girst");
                Ok(())
            })
        };
        assert!(read(2).is_err());
        assert_eq!(read(3).unwrap().records, 1);
    }
}
