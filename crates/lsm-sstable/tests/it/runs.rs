//! Sorted runs: many tables that read as one.

use std::path::PathBuf;
use std::sync::Arc;

use lsm_base::cursor::Motion;
use lsm_base::fs::MemFs;
use lsm_base::{Cursor, Error, Fs, Seq};
use lsm_sstable::{CursorMode, ReadMode, RunTable, SortedRun, TableOptions};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{entries, motion, user_key, walk};
use crate::support::{Entry, build, entry_at, find, get, open, put};

fn run_of(fs: &Arc<MemFs>, entries: &[Entry], cuts: &[usize]) -> Arc<SortedRun> {
    let options = TableOptions { block_size: 100, ..TableOptions::default() };
    let mut tables = Vec::new();
    let mut chunk = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        chunk.push(entry.clone());
        let splits_a_key =
            entries.get(index + 1).is_some_and(|next| next.0.user_key == entry.0.user_key);
        if index + 1 == entries.len() || (!splits_a_key && cuts.contains(&(index % 20))) {
            let number = tables.len() as u64;
            let path = PathBuf::from(format!("/{number:06}.sst"));
            let summary = build(&**fs, &path, number, options, &chunk);
            tables.push(RunTable {
                table: open(Arc::clone(fs) as Arc<dyn Fs>, &path, &summary, ReadMode::Map),
                smallest: summary.smallest.user_key,
                largest: summary.largest.user_key,
            });
            chunk.clear();
        }
    }
    SortedRun::new(tables)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_run_reads_as_one_table(
        entries in entries(),
        cuts in vec(0_usize..20, 0..10),
        other in vec(user_key(), 10),
        motions in vec(motion(), 100),
    ) {
        let run = run_of(&Arc::new(MemFs::new()), &entries, &cuts);
        for mode in [CursorMode::Read, CursorMode::Compaction] {
            walk(&mut run.cursor(mode), &entries, &motions);
            let all = std::iter::once(Motion::First)
                .chain(entries.iter().map(|_| Motion::Next))
                .chain([Motion::Last])
                .chain(entries.iter().map(|_| Motion::Prev));
            walk(&mut run.cursor(mode), &entries, &all.collect::<Vec<_>>());
        }
        let keys = entries.iter().map(|(key, _)| key.user_key.to_vec()).chain(other);
        for key in keys {
            let found = run.find(&key).and_then(|table| get(table, &key, Seq::MAX).unwrap());
            prop_assert_eq!(found.as_ref(), find(&entries, &key, Seq::MAX));
        }
    }
}

#[test]
fn an_empty_run_has_no_entries() {
    let run = SortedRun::new(Vec::new());
    assert!(run.find(b"a").is_none() && run.tables().is_empty());
    let mut cursor = run.cursor(CursorMode::Read);
    let all = [
        Motion::First,
        Motion::Last,
        Motion::Seek(b"a".to_vec(), 1),
        Motion::SeekBefore(b"a".to_vec(), 1),
    ];
    walk(&mut cursor, &[], &all);
}

#[test]
fn tables_are_opened_when_the_cursor_comes_to_them() {
    let fs = Arc::new(MemFs::new());
    let entries: Vec<Entry> = (0..60).map(|i| put(format!("key{i:03}"), 1, b"v")).collect();
    let run = run_of(&fs, &entries, &[19]);
    assert_eq!(run.tables().len(), 3);
    fs.remove(&PathBuf::from("/000002.sst")).unwrap();
    let mut cursor = run.cursor(CursorMode::Read);
    cursor.seek_to_first().unwrap();
    for entry in &entries[..39] {
        assert_eq!(entry_at(&cursor).as_ref(), Some(entry));
        cursor.next().unwrap();
    }
    assert!(matches!(cursor.next(), Err(Error::MissingFile(_))));
    assert!(!cursor.valid(), "a cursor that failed stands on nothing");
    cursor.seek(b"key010", Seq::MAX).unwrap();
    assert_eq!(entry_at(&cursor).as_ref(), Some(&entries[10]));
}

#[test]
#[should_panic(expected = "disjoint")]
fn tables_that_overlap_are_no_run() {
    let fs = Arc::new(MemFs::new());
    let run = run_of(&fs, &[put(b"a", 1, b""), put(b"b", 1, b"")], &[0]);
    let table = run.tables()[0].clone();
    let wide = RunTable { largest: b"z".as_slice().into(), ..table.clone() };
    let _ = SortedRun::new(vec![wide, run.tables()[1].clone()]);
}
