//! The bytes of one segment and of one journal, frozen.
//!
//! What these files say is in every log ever written by this format version. A change here is a
//! change of the format.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::MemFs;
use lsm_wal::{JournalWriter, Wal, WalOptions, read_journal};

use crate::support::{FROM_FIRST, append, dir, log, read, recover, write};

const SEGMENT: &str = "\
6c736d2d77616c000000000000000000
0100000000000000efcdab8967452301
80010000000000000000000000000000
00000000000000009baf594ced532dd6
d1f00809200000000000000000000000
01000000000000004000000002000000
00000000000000000000000000000000
00000000000000000000000000000000
974afaa7596febbdaa2c8e6505000000
01000000000000000100000000000000
40000000010000006669727374000000
6e6c2fec7344500b06747b3500000000
02000000000000000100000000000000
b8000000010000002b590f8ccd3a236e
0932010c0d0000000300000000000000
0100000000000000b800000001000000
74686972642c206c6f6e676572000000
636d0d8dafa11c6f81f7936800000000
00000000000000000100000000000000
18010000030000008d4e33aaa68e7229
00000000000000000000000000000000
00000000000000000000000000000000
00000000000000000000000000000000
00000000000000000000000000000000
";

const JOURNAL: &str = "\
6c736d2d6a726e000000000000000000
05000000000000001032547698badcfe
00000000000000000000000000000000
0000000000000000a91717870e71e4e8
0a841cbc080000000000000000000000
05000000000000004000000004000000
736e617073686f74c2d62a13bec76712
f8f2cf32040000000000000000000000
05000000000000007000000004000000
656469740000000031f50558d2ea0e79
";

/// Sixteen bytes a line.
fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).fold(String::new(), |mut text, line| {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| (byte as char).to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_segment_is_written_as_ever() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let options = WalOptions { segment_size: 384, writeback_bytes: 0 };
    let epochs = Box::new(|| 0x0123_4567_89ab_cdef);
    let wal = Wal::create(Arc::clone(&fs), dir(), options, 1, epochs).unwrap();
    let end = append(&wal, 1, &[b"first".to_vec()]).unwrap();
    wal.sync(end).unwrap();
    append(&wal, 2, &[b"".to_vec(), b"third, longer".to_vec()]).unwrap();
    wal.close().unwrap();
    assert_eq!(hex(&read(&*fs, &log(1))), SEGMENT);
}

#[test]
fn a_segment_is_read_as_ever() {
    let fs = MemFs::new();
    write(&fs, &log(1), &unhex(SEGMENT));
    let found = recover(&fs, FROM_FIRST).unwrap();
    let expected = [(1, b"first".to_vec()), (2, Vec::new()), (3, b"third, longer".to_vec())];
    assert_eq!(found.records, expected);
}

#[test]
fn a_journal_is_written_as_ever() {
    let fs = MemFs::new();
    let path = Path::new("/MANIFEST-000005");
    let mut journal = JournalWriter::create(&fs, path, 5, 0xfedc_ba98_7654_3210).unwrap();
    journal.append(b"snapshot").unwrap();
    journal.append(b"edit").unwrap();
    assert_eq!(hex(&read(&fs, path)), JOURNAL);
}

#[test]
fn a_journal_is_read_as_ever() {
    let fs = MemFs::new();
    let path = Path::new("/MANIFEST-000005");
    write(&fs, path, &unhex(JOURNAL));
    let mut found = Vec::new();
    let report = read_journal(&fs, path, &mut |offset, payload| {
        found.push((offset, payload.to_vec()));
        Ok(())
    });
    assert_eq!(found, [(96, b"snapshot".to_vec()), (144, b"edit".to_vec())]);
    let report = report.unwrap();
    assert_eq!((report.number, report.end, report.dropped_bytes), (5, 160, 0));
}
