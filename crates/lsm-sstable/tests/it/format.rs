//! The frame of the file as its documentation describes it, taken apart by hand here: what a later
//! release may add, and what this one must refuse.

use lsm_base::checksum::{checksum64, region_seed};
use lsm_base::{Cursor, Error};
use lsm_sstable::{BlockCache, CursorMode, ReadMode, Table, TableOptions};
use std::sync::Arc;

use crate::support::{Entry, ID, bytes_of, entry_at, fs_with, put, table_path};

const FOOTER_LEN: usize = 64;
const DIRECTORY_REGION: u8 = 0xfe;
const FOOTER_REGION: u8 = 0xff;

fn entries() -> Vec<Entry> {
    (0..100).map(|i| put(format!("key{i:04}"), i + 1, b"value")).collect()
}

fn word(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

fn seal(bytes: &mut Vec<u8>, start: usize, region: u8) {
    let checksum = checksum64(region_seed(ID, start as u64, region), &bytes[start..]);
    bytes.extend_from_slice(&checksum.to_le_bytes());
}

/// The footer for a directory that ends the file so far.
fn push_footer(bytes: &mut Vec<u8>, directory_offset: usize, version: u32) {
    let start = bytes.len();
    for number in [directory_offset, start - directory_offset, ID as usize, start + FOOTER_LEN] {
        bytes.extend_from_slice(&(number as u64).to_le_bytes());
    }
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&version.to_le_bytes());
    seal(bytes, start, FOOTER_REGION);
    bytes.extend_from_slice(b"LSMTABLE");
}

/// The same table with one more section.
fn with_section(good: &[u8], kind: u16, flags: u16) -> Vec<u8> {
    let footer = good.len() - FOOTER_LEN;
    let directory = word(good, footer);
    let mut out = good[..directory].to_vec();
    let section = out.len();
    out.extend_from_slice(b"what a later release knows");
    seal(&mut out, section, kind as u8);
    let section_len = out.len() - section;

    let new_directory = out.len();
    let old_sections = &good[directory + 8..footer - 8];
    out.extend_from_slice(&(old_sections.len() as u32 / 24 + 1).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(old_sections);
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(section as u64).to_le_bytes());
    out.extend_from_slice(&(section_len as u64).to_le_bytes());
    seal(&mut out, new_directory, DIRECTORY_REGION);
    push_footer(&mut out, new_directory, 0);
    out
}

fn open(bytes: &[u8], mode: ReadMode) -> lsm_base::Result<Arc<Table>> {
    Table::open_standalone(fs_with(bytes), &table_path(), mode, BlockCache::new(1 << 20))
}

fn assert_unsupported(bytes: &[u8], expected: &str) {
    for mode in [ReadMode::Map, ReadMode::Pread] {
        match open(bytes, mode) {
            Err(Error::UnsupportedFormat { path, detail }) => {
                assert_eq!(path, table_path());
                assert!(detail.contains(expected), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_newer_version_is_unsupported() {
    let good = bytes_of(ID, TableOptions::default(), &entries());
    let directory = word(&good, good.len() - FOOTER_LEN);
    let mut same = good[..good.len() - FOOTER_LEN].to_vec();
    push_footer(&mut same, directory, 0);
    assert_eq!(same, good, "the frame is as documented");
    let mut newer = good[..good.len() - FOOTER_LEN].to_vec();
    push_footer(&mut newer, directory, 1);
    assert_unsupported(&newer, "format version 1");
}

#[test]
fn an_unknown_required_section_is_unsupported() {
    let good = bytes_of(ID, TableOptions::default(), &entries());
    assert_unsupported(&with_section(&good, 999, 1), "type 999");
    assert_unsupported(&with_section(&good, 16, 1), "range tombstones");
    assert_unsupported(&with_section(&good, 999, 2), "flags");
}

#[test]
fn an_unknown_optional_section_is_skipped_but_checked() {
    let good = bytes_of(ID, TableOptions::default(), &entries());
    let mut extended = with_section(&good, 999, 0);
    let table = open(&extended, ReadMode::Map).unwrap();
    let mut cursor = table.cursor(CursorMode::Read);
    cursor.seek(b"key0050", lsm_base::Seq::MAX).unwrap();
    assert_eq!(entry_at(&cursor).as_ref(), Some(&entries()[50]));
    table.verify().unwrap();
    let text = table.inspect().unwrap().to_string();
    assert!(text.contains("optional  unknown (999)"), "{text}");
    assert!(text.contains("\nproperties\n  keyspace     3 \"users\"\n"), "{text}");

    let section = word(&good, good.len() - FOOTER_LEN);
    extended[section] ^= 1;
    let table = open(&extended, ReadMode::Map).unwrap();
    assert!(matches!(
        table.verify(),
        Err(Error::Corruption { offset, .. }) if offset == section as u64
    ));
}

#[test]
fn a_section_twice_is_corrupt() {
    let good = bytes_of(ID, TableOptions::default(), &entries());
    let twice = with_section(&good, 4, 1);
    assert!(matches!(open(&twice, ReadMode::Map), Err(Error::Corruption { .. })));
}

#[test]
fn a_table_without_filter_answers_too() {
    let options = TableOptions { bloom_bits_per_key: 0, ..TableOptions::default() };
    let table = open(&bytes_of(ID, options, &entries()), ReadMode::Map).unwrap();
    let inspection = table.inspect().unwrap();
    assert!(inspection.filter.is_none());
    let names: Vec<_> = inspection.sections.iter().map(|section| section.name).collect();
    assert_eq!(names, ["data", "fences", "properties"]);
    assert!(table.probe(0).unwrap().is_some());
    assert!(crate::support::get(&table, b"key0007", lsm_base::Seq::MAX).unwrap().is_some());
    assert!(crate::support::get(&table, b"key0007x", lsm_base::Seq::MAX).unwrap().is_none());
}

#[test]
fn other_files_are_no_tables() {
    for bytes in [vec![], vec![0; 63], vec![0; 64], vec![0; 10_000], b"LSMTABLE".repeat(100)] {
        let error = open(&bytes, ReadMode::Map).unwrap_err();
        assert!(matches!(error, Error::Corruption { .. }), "{error}");
    }
    let missing = Table::open_standalone(
        Arc::new(lsm_base::fs::MemFs::new()),
        &table_path(),
        ReadMode::Map,
        BlockCache::new(0),
    );
    assert!(matches!(missing, Err(Error::MissingFile(path)) if path == table_path()));
}
