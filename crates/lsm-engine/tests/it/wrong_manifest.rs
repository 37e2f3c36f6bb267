//! A MANIFEST that is whole and says what is not so: no checksum notices that.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::MemFs;
use lsm_base::{FileName, Fs, KeyspaceId, Seq};
use lsm_compaction::edit::{AddedTable, CreatedKeyspace};
use lsm_compaction::{TableMeta, VersionEdit};
use lsm_engine::{ErrorKind, Result, VerifyReport};
use lsm_wal::{Finding, Inspector, JournalWriter};

use crate::harness::specimen::{Specimen, open, open_read_only};
use crate::harness::{DIR, names, tree};

/// A keyspace without tables.
const THIRD: KeyspaceId = KeyspaceId(9);

/// The specimen, whose MANIFEST is one record, with another in its place.
fn with_changed(change: impl Fn(&mut VersionEdit)) -> MemFs {
    let image = Specimen { owner: 'a', is_closed: true }.make();
    let name = names(&image, |name| matches!(name, FileName::Manifest(_))).pop().unwrap();
    let path = Path::new(DIR).join(&name);
    let mut inspector = Inspector::open(&image, &path).unwrap();
    let header = *inspector.header();
    let Some(Ok(Finding::Record(record))) = inspector.next() else { panic!("no record") };
    let payload = record.payload.as_deref().unwrap();
    let mut edit = VersionEdit::decode(payload, &path, record.payload_offset()).unwrap();
    change(&mut edit);
    image.remove(&path).unwrap();
    let mut journal =
        JournalWriter::create(&image, &path, header.number, header.epoch, header.owner).unwrap();
    journal.append(&edit.encode()).unwrap();
    image
}

/// Changes what is said of one of the deeper tables.
fn change_table(edit: &mut VersionEdit, change: impl Fn(&mut TableMeta)) -> u64 {
    edit.created_keyspaces.push(CreatedKeyspace {
        id: THIRD,
        name: "third".into(),
        unknown: Vec::new(),
    });
    edit.next_keyspace_id = Some(THIRD.0 + 1);
    let added = edit.added_tables.iter_mut().max_by_key(|added| added.level).unwrap();
    let mut meta = TableMeta::clone(&added.table);
    change(&mut meta);
    added.table = Arc::new(meta);
    added.table.number
}

fn verify(image: &MemFs) -> Result<VerifyReport> {
    open_read_only(image)?.verify()
}

#[test]
fn a_manifest_that_is_written_anew_is_right() {
    let report = verify(&with_changed(|_| {})).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// What is changed of a table, and how that is told.
type Row = (&'static str, fn(&mut TableMeta));

const ROWS: [Row; 7] = [
    ("keyspace", |table| table.keyspace = THIRD),
    ("number of entries", |table| table.entries += 1),
    ("number of tombstones", |table| table.tombstones = table.entries),
    ("first key", |table| table.smallest.user_key = Box::from(&b"\0"[..])),
    ("last key", |table| table.largest.user_key = Box::from(&b"\xff"[..])),
    ("oldest sequence", |table| table.min_seq = Seq::ZERO),
    ("newest sequence", |table| table.max_seq = Seq::new(table.max_seq.get() + 1)),
];

#[test]
fn what_a_table_does_not_hold_is_told_by_its_name() {
    for (what, change) in ROWS {
        let number = std::cell::Cell::new(0);
        let image = with_changed(|edit| number.set(change_table(edit, change)));
        let report = verify(&image).unwrap();
        let file = FileName::Table(number.get());
        let expected =
            format!("corrupt db/{file} at 0: its {what} is not the one that the MANIFEST tells");
        let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
        assert!(damage.contains(&expected), "{what}: {damage:?}");
        assert!(report.damage.iter().all(|error| error.kind() == ErrorKind::Corruption));
    }
}

#[test]
fn a_length_that_a_table_has_not_is_told_by_its_name() {
    let number = std::cell::Cell::new(0);
    let image = with_changed(|edit| number.set(change_table(edit, |table| table.len -= 1)));
    let report = verify(&image).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    let expected = format!("db/{}", FileName::Table(number.get()));
    assert!(report.damage[0].to_string().contains(&expected), "{report:?}");
}

/// Tables of a level with keys in common, which a search would take for disjoint.
#[test]
fn levels_whose_tables_overlap_are_refused() {
    let image = with_changed(|edit| {
        let deep = edit.added_tables.iter().find(|added| 0 < added.level).unwrap();
        let mut table = TableMeta::clone(&deep.table);
        (table.number, table.id) = (table.number + 500, table.id + 1);
        let again = AddedTable { level: deep.level, table: Arc::new(table) };
        edit.added_tables.push(again);
    });
    let before = tree(&image);
    for opened in [open(&image), open_read_only(&image)] {
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.to_string().contains("MANIFEST-"), "{error}");
        assert!(error.to_string().contains("overlap"), "{error}");
    }
    assert_eq!(tree(&image), before);
}
