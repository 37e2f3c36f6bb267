//! Journals: what is appended comes back, and what is damaged is told from what is torn.

use std::path::PathBuf;

use lsm_base::fs::{FaultFs, MemFs, OpKind, StdFs};

use super::*;
use crate::inspect::Inspector;
use crate::lsn::Lsn;

const PATH: &str = "/MANIFEST-000003";

fn written(payloads: &[&[u8]]) -> (MemFs, u64) {
    let fs = MemFs::new();
    let mut journal = JournalWriter::create(&fs, Path::new(PATH), 3, 0xfeed, 7).unwrap();
    for payload in payloads {
        journal.append(payload).unwrap();
    }
    assert!(!journal.is_sealed());
    (fs, journal.len())
}

fn read(fs: &MemFs) -> Result<(Vec<Vec<u8>>, JournalReport)> {
    let mut payloads = Vec::new();
    let report = read_journal(fs, Path::new(PATH), &mut |_, payload| {
        payloads.push(payload.to_vec());
        Ok(())
    })?;
    Ok((payloads, report))
}

/// The same journal with other bytes in the file.
fn replaced(bytes: &[u8]) -> MemFs {
    let fs = MemFs::new();
    fs.create(Path::new(PATH)).unwrap().write_all_at(bytes, 0).unwrap();
    fs
}

fn bytes_of(fs: &MemFs) -> Vec<u8> {
    let file = fs.open(Path::new(PATH)).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn what_was_appended_is_read() {
    let (fs, len) = written(&[b"snapshot", b"", b"edit"]);
    let (payloads, report) = read(&fs).unwrap();
    assert_eq!(payloads, [&b"snapshot"[..], b"", b"edit"]);
    let expected =
        JournalReport { number: 3, owner: 7, records: 3, end: len, dropped_bytes: 0, reason: None };
    assert_eq!(report, expected);
}

#[test]
fn a_journal_is_not_begun_over_another() {
    let (fs, _) = written(&[b"snapshot"]);
    let error = JournalWriter::create(&fs, Path::new(PATH), 3, 1, 7).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(read(&fs).unwrap().0, [b"snapshot"]);
}

#[test]
fn damage_is_dropped_only_at_the_end() {
    let payloads = [&b"snapshot"[..], b"first edit", b"second edit"];
    let (fs, len) = written(&payloads);
    let starts: Vec<u64> = payloads
        .iter()
        .scan(FILE_HEADER_LEN, |start, payload| {
            let this = *start;
            *start += record_len(payload.len() as u64);
            Some(this)
        })
        .collect();
    let whole = bytes_of(&fs);
    for offset in 0..len as usize {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[offset] ^= flip;
            let result = read(&replaced(&bytes));
            if (offset as u64) < starts[2] {
                let damaged = starts.iter().rev().find(|&&start| start <= offset as u64);
                let Err(Error::Corruption { path, offset: at, .. }) = result else {
                    panic!("byte {offset}: {result:?}");
                };
                assert_eq!((path, at), (PathBuf::from(PATH), damaged.copied().unwrap_or(0)));
            } else {
                let (found, report) = result.unwrap();
                assert_eq!(found, payloads[..2]);
                assert_eq!((report.end, report.dropped_bytes), (starts[2], len - starts[2]));
                assert!(report.reason.is_some());
            }
        }
    }
}

#[test]
fn a_journal_cut_anywhere_loses_its_last_record_at_most() {
    let payloads = [&b"snapshot"[..], b"first edit", b"second edit"];
    let (fs, len) = written(&payloads);
    let whole = bytes_of(&fs);
    let second = FILE_HEADER_LEN + record_len(8);
    for cut in 0..len {
        let result = read(&replaced(&whole[..cut as usize]));
        if cut < second {
            assert!(matches!(result, Err(Error::Corruption { .. })), "cut at {cut}: {result:?}");
        } else {
            let (found, report) = result.unwrap();
            assert_eq!(found[..], payloads[..found.len()]);
            assert_eq!(report.end + report.dropped_bytes, cut);
            assert!(found.len() < 3);
        }
    }
}

#[test]
fn zeros_behind_the_last_record_are_dropped_and_reported() {
    let (fs, len) = written(&[b"snapshot"]);
    let mut bytes = bytes_of(&fs);
    bytes.resize(bytes.len() + 1000, 0);
    let (found, report) = read(&replaced(&bytes)).unwrap();
    assert_eq!(found, [b"snapshot"]);
    assert_eq!((report.end, report.dropped_bytes), (len, 1000));
}

#[test]
fn a_journal_of_another_number_is_refused() {
    let (fs, _) = written(&[b"snapshot"]);
    fs.rename(Path::new(PATH), Path::new("/MANIFEST-000004")).unwrap();
    let result = read_journal(&fs, Path::new("/MANIFEST-000004"), &mut |_, _| Ok(()));
    assert!(matches!(result, Err(Error::Corruption { .. })), "{result:?}");
}

#[test]
fn an_oversized_record_is_refused_before_anything_is_written() {
    let (fs, len) = written(&[b"snapshot"]);
    let mut journal = JournalWriter::create(&fs, Path::new("/MANIFEST-000009"), 9, 1, 7).unwrap();
    let oversized = vec![0; MAX_PAYLOAD_LEN as usize + 1];
    assert!(matches!(journal.append(&oversized), Err(Error::InvalidArgument(_))));
    assert_eq!(journal.len(), FILE_HEADER_LEN);
    journal.append(b"snapshot").unwrap();
    assert_eq!(journal.len(), len);
}

#[test]
fn a_journal_is_filled_to_its_last_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("MANIFEST-000003");
    let mut journal = JournalWriter::create(&StdFs, &path, 3, 1, 7).unwrap();
    // As if as much had been appended; the file has a hole there.
    journal.place.offset = MAX_FILE_LEN - record_len(0);
    assert!(matches!(journal.append(b"x"), Err(Error::InvalidArgument(_))));
    journal.append(b"").unwrap();
    assert_eq!(journal.len(), MAX_FILE_LEN);
    assert!(matches!(journal.append(b""), Err(Error::InvalidArgument(_))));
}

#[test]
fn a_record_of_the_log_is_none_of_a_journal() {
    let (fs, len) = written(&[b"snapshot"]);
    let mut bytes = bytes_of(&fs);
    let place = Place { number: 3, epoch: 0xfeed, offset: len };
    encode_record(&mut bytes, place, RecordKind::Data, Seq::new(1), Lsn::ZERO, b"x");
    let error = read(&replaced(&bytes)).unwrap_err();
    assert!(matches!(&error, Error::Corruption { offset, .. } if *offset == len), "{error}");
}

#[test]
fn the_receiver_can_stop_the_reading() {
    let (fs, _) = written(&[b"snapshot", b"edit"]);
    let mut calls = 0;
    let result = read_journal(&fs, Path::new(PATH), &mut |_, _| {
        calls += 1;
        Err(Error::invalid("stop"))
    });
    assert!(matches!(result, Err(Error::InvalidArgument(_))));
    assert_eq!(calls, 1);
}

/// What a record that was being appended can leave is read, and no more: a file may have been made
/// long by mistake, and have no other end than that of the disk.
#[test]
fn a_journal_of_gigabytes_is_refused_without_being_read() {
    for len in [record_len(MAX_PAYLOAD_LEN) + 8, 3 << 30, MAX_FILE_LEN + 1, 1 << 36] {
        let (fs, end) = written(&[b"first", b"second"]);
        fs.open_writable(Path::new(PATH)).unwrap().allocate(end + len).unwrap();
        let fs = FaultFs::new(Arc::new(fs));
        let mut payloads = 0;
        let read = read_journal(&fs, Path::new(PATH), &mut |_, _| {
            payloads += 1;
            Ok(())
        });
        let error = read.unwrap_err().to_string();
        let expected = format!("corrupt {PATH} at {end}: no record header, and more bytes follow");
        assert!(error.starts_with(&expected), "{len}: {error}");
        let read = fs.trace().into_iter().filter(|op| op.kind == OpKind::Read).map(|op| op.len);
        assert_eq!(payloads, 2, "{len}");
        assert!(read.sum::<u64>() < 1 << 20, "{len}");
        // A tool shows what is whole, and looks for more where a record may be.
        fs.clear_trace();
        let findings: Vec<_> = Inspector::open(&fs, Path::new(PATH)).unwrap().collect();
        assert_eq!(findings.len(), 3, "{len}");
        let read = fs.trace().into_iter().filter(|op| op.kind == OpKind::Read).map(|op| op.len);
        assert!(read.sum::<u64>() < 2 * record_len(MAX_PAYLOAD_LEN), "{len}");
    }
}
