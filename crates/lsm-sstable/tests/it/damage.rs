//! Contract C-1 and C-2: whatever happens to a byte of the file, reads give the right data or an
//! error that names file and offset.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::{MemFs, StdFs};
use lsm_base::{Cursor, Error, Fs, Result, Seq};
use lsm_sstable::{
    BlockCache, Compression, CursorMode, ReadMode, Table, TableOptions, TableSource,
};

use crate::support::{
    Entry, ID, bytes_of, delete, entry_at, find, fs_with, get, noise, put, table_path,
};

/// Entries that make every kind of block: raw, compressed, with and without kinds, with every
/// sequence width, with versions that straddle blocks, and one with wide offsets.
fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for index in 0..12_u64 {
        entries.push(put(
            format!("text{index:04}"),
            100 + index,
            "the same words again ".repeat(4),
        ));
    }
    for seq in (1..8).rev() {
        entries.push(put(b"version", seq * 70_000, noise(40)));
    }
    for index in 0..6 {
        entries.push(delete(format!("w{index}"), 300 * (index + 1)));
    }
    entries.push(put(b"wide", 1 << 40, vec![b'z'; 70_000]));
    entries.push(put(b"zz", 1, noise(50)));
    entries
}

fn options() -> TableOptions {
    TableOptions { block_size: 300, compression: Compression::Lz4, bloom_bits_per_key: 10 }
}

fn assert_names_the_place(error: &Error, len: u64, what: &str) {
    match error {
        Error::Corruption { path, offset, .. } => {
            assert_eq!(path, &table_path(), "{what}");
            assert!(*offset <= len, "{what}: {error}");
        }
        other => panic!("{what}: {other}"),
    }
}

/// What a reader could get from a damaged file.
struct Survey {
    errors: usize,
    verify: Result<()>,
}

/// Opens and reads everything in every way; panics on a wrong answer.
fn survey(fs: &Arc<MemFs>, len: u64, entries: &[Entry], what: &str) -> Survey {
    let mut errors = 0;
    let mut verify = Ok(());
    let mut note = |error: &Error| {
        assert_names_the_place(error, len, what);
        errors += 1;
    };
    for mode in [ReadMode::Map, ReadMode::Pread] {
        let cache = BlockCache::new(1 << 20);
        let fs: Arc<dyn Fs> = fs.clone();
        let source =
            TableSource { fs: Arc::clone(&fs), path: table_path(), number: 7, id: ID, len };
        let table = Table::new(source, mode, Arc::clone(&cache));
        for (key, _) in entries {
            match get(&table, &key.user_key, key.seq) {
                Ok(found) => {
                    let expected = find(entries, &key.user_key, key.seq).cloned();
                    assert_eq!(found, expected, "{what}");
                }
                Err(error) => note(&error),
            }
        }
        for cursor_mode in [CursorMode::Read, CursorMode::Compaction] {
            if let Err(error) = scan(&table, cursor_mode, entries, what) {
                note(&error);
            }
        }
        verify = table.verify().map(|_| ());
        if let Err(error) = &verify {
            note(error);
        }
        if let Err(error) = Table::open_standalone(fs, Path::new("/000007.sst"), mode, cache) {
            note(&error);
        }
    }
    Survey { errors, verify }
}

/// Scans both ways up to the first error.
fn scan(table: &Arc<Table>, mode: CursorMode, entries: &[Entry], what: &str) -> Result<()> {
    let mut cursor = table.cursor(mode);
    let forward = cursor.seek_to_first().and_then(|()| {
        for entry in entries {
            assert_eq!(entry_at(&cursor).as_ref(), Some(entry), "{what}");
            cursor.next()?;
        }
        assert!(!cursor.valid(), "{what}");
        Ok(())
    });
    assert!(forward.is_ok() || !cursor.valid(), "a cursor that failed stands on nothing");
    cursor.seek_to_last()?;
    for entry in entries.iter().rev() {
        assert_eq!(entry_at(&cursor).as_ref(), Some(entry), "{what}");
        cursor.prev()?;
    }
    forward
}

#[test]
fn every_byte_flipped_is_noticed() {
    let entries = entries();
    let good = bytes_of(ID, options(), &entries);
    assert!(good.len() < 6000, "{} bytes are too many for this test", good.len());
    let fs = fs_with(&good);
    let file = fs.open_writable(&table_path()).unwrap();
    assert_eq!(survey(&fs, good.len() as u64, &entries, "whole").errors, 0);
    for at in 0..good.len() {
        for damaged in [good[at] ^ 1 << (at % 8), !good[at]] {
            let what = format!("byte {at} is {damaged:#x}");
            file.write_all_at(&[damaged], at as u64).unwrap();
            let survey = survey(&fs, good.len() as u64, &entries, &what);
            assert!(survey.verify.is_err(), "{what}: verify did not notice");
        }
        file.write_all_at(&good[at..=at], at as u64).unwrap();
    }
}

#[test]
fn a_large_raw_block_is_covered_too() {
    let entries = [put(b"a", 5, noise(70_000)), put(b"b", 3, noise(500))];
    let options = TableOptions { compression: Compression::None, ..options() };
    let good = bytes_of(ID, options, &entries);
    let fs = fs_with(&good);
    let file = fs.open_writable(&table_path()).unwrap();
    for at in (0..good.len()).step_by(509).chain(0..60) {
        file.write_all_at(&[good[at] ^ 0x10], at as u64).unwrap();
        let survey = survey(&fs, good.len() as u64, &entries, &format!("byte {at}"));
        assert!(survey.verify.is_err());
        file.write_all_at(&good[at..=at], at as u64).unwrap();
    }
}

#[test]
fn every_truncation_and_extension_is_noticed() {
    let entries = entries();
    let good = bytes_of(ID, options(), &entries);
    let recorded = good.len() as u64;
    for len in 0..good.len() {
        let fs = fs_with(&good[..len]);
        let survey = survey(&fs, recorded, &entries, &format!("{len} bytes"));
        // In both modes: every get, both scans, verify, and the stand-alone open.
        assert_eq!(survey.errors, 2 * (entries.len() + 4), "{len} bytes");
    }
    for tail in [vec![0], vec![0xff; 64], good.clone()] {
        let fs = fs_with(&[&good[..], &tail[..]].concat());
        let source = TableSource { fs, path: table_path(), number: 7, id: ID, len: recorded };
        let table = Table::new(source, ReadMode::Map, BlockCache::new(0));
        assert_names_the_place(&table.properties().unwrap_err(), recorded, "extended");
    }
}

#[test]
fn a_sector_of_zeros_or_of_another_table_is_noticed() {
    let entries = entries();
    let good = bytes_of(ID, options(), &entries);
    let other = bytes_of(ID + 1, options(), &entries);
    assert_eq!(good.len(), other.len());
    let fs = fs_with(&good);
    let file = fs.open_writable(&table_path()).unwrap();
    for start in (0..good.len()).step_by(512) {
        let end = good.len().min(start + 512);
        for sector in [&vec![0; end - start], &other[start..end]] {
            file.write_all_at(sector, start as u64).unwrap();
            let survey = survey(&fs, good.len() as u64, &entries, &format!("sector {start}"));
            assert!(survey.verify.is_err(), "sector {start}");
        }
        file.write_all_at(&good[start..end], start as u64).unwrap();
    }
}

#[test]
fn swapped_blocks_are_noticed() {
    let entries: Vec<Entry> = (0..20).map(|i| put(format!("key{i:02}"), i + 1, b"value")).collect();
    let options = TableOptions { block_size: 1, ..options() };
    let good = bytes_of(ID, options, &entries);
    let fs = fs_with(&good);
    let table =
        Table::open_standalone(fs.clone(), &table_path(), ReadMode::Map, BlockCache::new(0))
            .unwrap();
    let inspection = table.inspect().unwrap();
    let (first, second) = (&inspection.blocks[3], &inspection.blocks[8]);
    assert_eq!(first.len, second.len);
    let bytes_at = |offset: u64| &good[offset as usize..][..first.len];
    let file = fs.open_writable(&table_path()).unwrap();
    file.write_all_at(bytes_at(second.offset), first.offset).unwrap();
    file.write_all_at(bytes_at(first.offset), second.offset).unwrap();
    for index in [3, 8] {
        let error = get(&table, format!("key{index:02}").as_bytes(), Seq::MAX).unwrap_err();
        assert_names_the_place(&error, good.len() as u64, "swapped");
    }
}

#[test]
fn a_damaged_block_does_not_stop_reads_of_others() {
    let entries: Vec<Entry> =
        (0..200).map(|i| put(format!("key{i:04}"), i + 1, noise(60))).collect();
    // Not compressed, so that reads of the map use it in place. It shows the file of now, so it has
    // to be a real one.
    let options = TableOptions { block_size: 400, compression: Compression::None, ..options() };
    let good = bytes_of(ID, options, &entries);
    let dir = tempfile::tempdir().unwrap();
    let on_disk: (Arc<dyn Fs>, _) = (Arc::new(StdFs), dir.path().join("000007.sst"));
    let in_memory: (Arc<dyn Fs>, _) = (Arc::new(MemFs::new()), table_path());
    for (mode, (fs, path)) in [(ReadMode::Map, on_disk), (ReadMode::Pread, in_memory)] {
        let file = fs.create(&path).unwrap();
        file.write_all_at(&good, 0).unwrap();
        file.write_all_at(&[!good[1000]], 1000).unwrap();
        let table = Table::open_standalone(fs, &path, mode, BlockCache::new(1 << 20)).unwrap();
        for _ in 0..2 {
            let failed = entries
                .iter()
                .filter(|(key, _)| match get(&table, &key.user_key, key.seq) {
                    Ok(found) => {
                        assert_eq!(found.as_ref(), find(&entries, &key.user_key, key.seq));
                        false
                    }
                    Err(Error::Corruption { path: named, offset, .. }) => {
                        assert!(named == path && offset <= good.len() as u64);
                        true
                    }
                    Err(other) => panic!("{other}"),
                })
                .count();
            assert!(0 < failed && failed < 10, "{failed} entries of one block");
        }
        // A description goes on behind the damage, and a seek does too.
        let inspection = table.inspect().unwrap();
        assert_eq!(inspection.blocks.iter().filter(|block| block.detail.is_err()).count(), 1);
        let mut cursor = table.cursor(CursorMode::Read);
        cursor.seek(b"key0100", Seq::MAX).unwrap();
        assert_eq!(entry_at(&cursor).as_ref(), Some(&entries[100]));
        // A repaired file is read again at once: the failure was not remembered.
        file.write_all_at(&good[1000..=1000], 1000).unwrap();
        for entry in &entries {
            let found = get(&table, &entry.0.user_key, entry.0.seq).unwrap();
            assert_eq!(found.as_ref(), Some(entry));
        }
    }
}

#[test]
fn a_file_that_changes_under_its_map_panics_nobody() {
    let entries: Vec<Entry> = (0..30)
        .map(|i| match i % 3 {
            0 => delete(format!("key{i:04}"), i + 1),
            _ => put(format!("key{i:04}"), i + 1, "the same words again ".repeat(4)),
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000007.sst");
    for compression in [Compression::None, Compression::Lz4] {
        let options = TableOptions { block_size: 600, compression, bloom_bits_per_key: 10 };
        let good = bytes_of(ID, options, &entries);
        let file = StdFs.create(&path).unwrap();
        file.write_all_at(&good, 0).unwrap();
        let cache = BlockCache::new(1 << 20);
        let table = Table::open_standalone(Arc::new(StdFs), &path, ReadMode::Map, cache).unwrap();
        scan(&table, CursorMode::Read, &entries, "whole").unwrap();
        let second = table.inspect().unwrap().blocks[1].offset;
        // Every byte of the first block, and the four bytes of its count together.
        for (at, len) in (0..second).map(|at| (at, 1)).chain([(0, 4)]) {
            for byte in [0, 1, 0x7f, 0xff] {
                file.write_all_at(&vec![byte; len], at).unwrap();
                read_whatever(&table, &entries);
            }
            file.write_all_at(&good[at as usize..][..len], at).unwrap();
        }
        scan(&table, CursorMode::Read, &entries, "whole again").unwrap();
        StdFs.remove(&path).unwrap();
    }
}

/// Reads in every way, and takes what comes.
fn read_whatever(table: &Arc<Table>, entries: &[Entry]) {
    let mut cursor = table.cursor(CursorMode::Read);
    for (key, _) in entries {
        let _ = get(table, &key.user_key, key.seq);
        let _ = cursor.seek(&key.user_key, key.seq);
        let _ = cursor.seek_before(&key.user_key, key.seq);
    }
    let _ = cursor.seek_to_first();
    for _ in entries {
        if cursor.valid() {
            entry_at(&cursor);
            let _ = cursor.next();
        }
    }
    let _ = cursor.seek_to_last();
    for _ in entries {
        if cursor.valid() {
            entry_at(&cursor);
            let _ = cursor.prev();
        }
    }
}
