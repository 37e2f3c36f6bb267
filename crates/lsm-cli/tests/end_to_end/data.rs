//! The records: the lines of UnicodeData.txt, as two editions of an import.
//!
//! Debian's package `unicode-data` has the whole file. Where it is not installed, an extract beside
//! this file takes its place; a line on stderr and the summary of `cargo xtask ci` say so.
//!
//! Keys are code points: most as text (`0041`), every fourth as four bytes, of which many are no
//! UTF-8. Values are the rest of the line: every eighth in UTF-16 with its mark, which is no UTF-8
//! either, every eighth behind the character itself, so that controls, quotes and surrogates occur.

use std::path::Path;

use crate::process;

/// How many operations a batch has.
pub(crate) const BATCH_LEN: usize = 200;

const PACKAGED: &str = "/usr/share/unicode/UnicodeData.txt";
const EXTRACT: &str = include_str!("data/UnicodeData.extract.txt");
const MAX_EXTRACT_LEN: usize = 256 << 10;

/// One operation: a put, or without a value a delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Op {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// Operations that happen together or not at all.
pub(crate) type Batch = Vec<Op>;

/// Every record, in the order of the file.
pub(crate) struct Records {
    records: Vec<Op>,
}

impl Records {
    /// The whole file, or else the extract.
    pub(crate) fn load() -> Records {
        let whole = Path::new(PACKAGED);
        if !whole.exists() {
            process::say(&format!(
                "!!! {PACKAGED} IS MISSING (apt-get install unicode-data): \
                 the end-to-end test runs on an extract of it"
            ));
            return Records::parse(EXTRACT);
        }
        let records = Records::parse(&std::fs::read_to_string(whole).unwrap());
        assert!(30_000 <= records.len(), "{} records in {PACKAGED}", records.len());
        records
    }

    fn parse(text: &str) -> Records {
        Records { records: text.lines().enumerate().map(|(n, line)| record(n, line)).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The first import: a put of every record.
    pub(crate) fn first_edition(&self) -> Vec<Batch> {
        batches(&self.records)
    }

    /// Deletes of every third record.
    pub(crate) fn deletion(&self) -> Vec<Batch> {
        let third = self.records.iter().skip(1).step_by(3);
        batches(
            &third.map(|record| Op { key: record.key.clone(), value: None }).collect::<Vec<_>>(),
        )
    }

    /// The second import: another value for every record, and a delete of every 97th.
    pub(crate) fn second_edition(&self) -> Vec<Batch> {
        let op = |(n, record): (usize, &Op)| {
            let new = |value: &Vec<u8>| [value, &b";second"[..]].concat();
            let value = record.value.as_ref().filter(|_| n % 97 != 0).map(new);
            Op { key: record.key.clone(), value }
        };
        batches(&self.records.iter().enumerate().map(op).collect::<Vec<_>>())
    }
}

/// One line of the file. Its first field is the code point in hexadecimal, its second the name.
fn record(number: usize, line: &str) -> Op {
    let (code_point, rest) = line.split_once(';').expect("a line has fields");
    let code = u32::from_str_radix(code_point, 16).expect("a line begins with a code point");
    let key = match code % 4 {
        1 => code.to_be_bytes().to_vec(),
        _ => code_point.as_bytes().to_vec(),
    };
    let value = match number % 8 {
        _ if (0xd800..0xe000).contains(&code) => [&surrogate(code), rest.as_bytes()].concat(),
        3 => utf16(rest),
        6 => {
            let character = char::from_u32(code).expect("surrogates are told apart above");
            format!("{character}{rest}").into_bytes()
        }
        _ => rest.as_bytes().to_vec(),
    };
    Op { key, value: Some(value) }
}

/// A surrogate in the three bytes that UTF-8 would use if it allowed surrogates.
fn surrogate(code: u32) -> [u8; 3] {
    let low_six = |shift: u32| 0x80 | (code >> shift & 0x3f) as u8;
    [0xe0 | (code >> 12) as u8, low_six(6), low_six(0)]
}

fn utf16(text: &str) -> Vec<u8> {
    let mark = [0xfeff];
    mark.into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

fn batches(ops: &[Op]) -> Vec<Batch> {
    ops.chunks(BATCH_LEN).map(<[Op]>::to_vec).collect()
}

#[test]
fn the_extract_has_every_kind_of_record_and_keeps_its_size() {
    assert!(EXTRACT.len() <= MAX_EXTRACT_LEN);
    let records = Records::parse(EXTRACT);
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    assert_eq!(records.len(), 4_368);
    assert!(100 < records.records.iter().filter(|op| !is_text(&op.key)).count());
    let value = |op: &Op| op.value.clone().expect("a record has a value");
    assert!(500 < records.records.iter().filter(|op| !is_text(&value(op))).count());
    assert!(records.records.iter().any(|op| value(op).starts_with(b"\xed\xa0\x80")));
    let mut keys: Vec<_> = records.records.iter().map(|op| &op.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), records.len(), "every key once");
}
