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

use crate::support::{FROM_FIRST, OWNER, append, dir, log, read, recover, tiny, write};

const SEGMENT: &str = "\
6c736d2d77616c000000000000000000
0100000000000000efcdab8967452301
90010000000000007777666655554444
33332222111100000000000000000000
0000000000000000970a785096f393e2
618f868e200000000000000000000000
01000000000000005000000002000000
00000000000000000000000000000000
00000000000000000000000000000000
7e7ec0faf0fd2183f305226405000000
01000000000000000100000000000000
50000000010000006669727374000000
fbdccf2063163df32ca3d82200000000
02000000000000000100000000000000
c800000001000000f7d99f4c18717dd3
2999812c0d0000000300000000000000
0100000000000000c800000001000000
74686972642c206c6f6e676572000000
d4322ec3da3b13a0b06a5e5500000000
00000000000000000100000000000000
280100000300000081bc7e2b7ec154ca
00000000000000000000000000000000
00000000000000000000000000000000
00000000000000000000000000000000
00000000000000000000000000000000
";

const JOURNAL: &str = "\
6c736d2d6a726e000000000000000000
05000000000000001032547698badcfe
00000000000000007777666655554444
33332222111100000000000000000000
0000000000000000f2587fce2260c4b7
a2bd5959080000000000000000000000
05000000000000005000000004000000
736e617073686f74e45373c5985368b4
af654d0d040000000000000000000000
05000000000000008000000004000000
6564697400000000587f854dbc7818b5
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
    let options = WalOptions { segment_size: 400, ..tiny() };
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
    let mut journal = JournalWriter::create(&fs, path, 5, 0xfedc_ba98_7654_3210, OWNER).unwrap();
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
    assert_eq!(found, [(112, b"snapshot".to_vec()), (160, b"edit".to_vec())]);
    let report = report.unwrap();
    assert_eq!((report.number, report.owner), (5, OWNER));
    assert_eq!((report.end, report.dropped_bytes), (176, 0));
}
