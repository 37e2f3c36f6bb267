//! Builds two tables, merges them, and reads the result.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::MemFs;
use lsm_base::{Cursor, FileName, Fs, InternalKeyRef, KeyspaceId, Kind, Result, Seq};
use lsm_compaction::job::{self, Aborted, Cause, JobContext, Recheck};
use lsm_compaction::{
    Elision, InProgress, NewTable, OutputOptions, OutputWriter, Picker, PickerOptions, State,
    TableMeta, VersionEdit,
};
use lsm_sstable::{
    BlockCache, CursorMode, ReadMode, RunCursor, RunTable, SortedRun, Table, TableOptions,
};

fn main() -> Result<()> {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let dir = Path::new("/db");
    fs.create_dir(dir)?;
    let mut number = 0;
    let mut new_table = || {
        number += 1;
        let file = fs.create(&FileName::Table(number).path(dir))?;
        Ok(NewTable { file, number, id: number * 0x5eed }) // random in a database
    };
    let keyspace = (KeyspaceId::DEFAULT, "default");
    let output = OutputOptions {
        keyspace,
        table: TableOptions::default(),
        target_bytes: 64 << 20,
        max_grandparent_bytes: 640 << 20,
    };

    // Two flushes: the newer one overwrites `apple` and deletes `pear`.
    let mut state = State::new(0xdb);
    let flushes: [&[(&str, u64, Kind, &str)]; 2] = [
        &[("apple", 1, Kind::Put, "green"), ("pear", 2, Kind::Put, "yellow")],
        &[("apple", 3, Kind::Put, "red"), ("pear", 4, Kind::Delete, "")],
    ];
    for entries in flushes {
        let mut writer = OutputWriter::new(output, &[], &mut new_table);
        for (user_key, seq, kind, value) in entries {
            let key = InternalKeyRef::new(user_key.as_bytes(), Seq::new(*seq), *kind);
            writer.add(key, value.as_bytes())?;
        }
        let mut edit = VersionEdit::default();
        for table in writer.finish()? {
            edit.add_table(0, table.meta);
        }
        state = state.apply(&edit)?; // and its bytes, `edit.encode()`, go into the MANIFEST
    }

    // What is due? L0 is full with two tables here.
    let tree = Arc::clone(state.version.tree(keyspace.0).expect("the default keyspace"));
    let compaction = Picker {
        keyspace: keyspace.0,
        tree: &tree,
        running: &InProgress::new(),
        options: &PickerOptions { l0_trigger: 2, ..PickerOptions::default() },
        oldest_snapshot: Seq::new(4),
    }
    .pick()
    .expect("L0 is full");
    println!("{compaction:?}");

    // The merge.
    let cursor = |run: &[Arc<TableMeta>]| cursor(&fs, dir, run);
    let inputs = compaction.runs().into_iter().map(cursor).collect();
    let context = JobContext {
        fs: Arc::clone(&fs),
        snapshots: &[Seq::new(4)],
        elision: Elision::below(&tree, compaction.output_level),
        grandparents: &compaction.grandparents,
        output,
        expected_entries: compaction.input_entries(),
        recheck: Recheck::Sample,
    };
    let outcome = match job::run(inputs, context, &mut new_table, &mut |_| false) {
        Ok(outcome) => outcome,
        Err(Aborted { cause: Cause::Failed(error), .. }) => return Err(error),
        Err(Aborted { cause: Cause::Cancelled, .. }) => unreachable!("nobody cancels"),
    };
    state = state.apply(&compaction.edit(outcome.tables))?;

    // One entry is left: the other versions are hidden, and the tombstone hides nothing any more.
    let left: Vec<_> = state.version.tables().cloned().collect();
    let mut cursor = cursor(&left);
    cursor.seek_to_first()?;
    assert_eq!(cursor.key(), InternalKeyRef::new(b"apple", Seq::new(3), Kind::Put));
    assert_eq!(cursor.value(), b"red");
    cursor.next()?;
    assert!(!cursor.valid());
    print!("{:?}", state.version);
    Ok(())
}

/// A cursor over tables that do not overlap.
fn cursor(fs: &Arc<dyn Fs>, dir: &Path, run: &[Arc<TableMeta>]) -> RunCursor {
    let open = |meta: &TableMeta| RunTable {
        table: Table::new(meta.source(fs, dir), ReadMode::Pread, BlockCache::new(1 << 20)),
        smallest: meta.smallest.user_key.clone(),
        largest: meta.largest.user_key.clone(),
    };
    SortedRun::new(run.iter().map(|meta| open(meta)).collect()).cursor(CursorMode::Compaction)
}
