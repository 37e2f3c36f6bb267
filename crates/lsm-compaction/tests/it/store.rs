//! A store of nothing but tables, in memory: what the engine does with this crate, without threads.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::cursor::VecCursor;
use lsm_base::fs::MemFs;
use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, FileName, Fs, InternalKey, KeyspaceId, Kind, Result, Seq};
use lsm_compaction::compaction::Compaction;
use lsm_compaction::job::{self, Aborted, JobContext, Outcome, Recheck};
use lsm_compaction::output::{NewTable, OutputOptions};
use lsm_compaction::table_meta::TableMeta;
use lsm_compaction::{
    Elision, InProgress, KeyRange, Picker, PickerOptions, State, Tree, VersionEdit,
};
use lsm_sstable::{
    BlockCache, CursorMode, ReadMode, RunCursor, RunTable, SortedRun, Table, TableOptions,
};

pub(crate) type Entry = (InternalKey, Vec<u8>);

pub(crate) const KEYSPACE: KeyspaceId = KeyspaceId::DEFAULT;

/// Tables, and the state that names them.
pub(crate) struct Store {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    pub(crate) state: State,
    pub(crate) running: InProgress,
    pub(crate) options: PickerOptions,
    pub(crate) recheck: Recheck,
    next_number: u64,
    opened: HashMap<u64, Arc<Table>>,
}

impl Store {
    pub(crate) fn new(options: PickerOptions) -> Store {
        Store::on(Arc::new(MemFs::new()), options)
    }

    pub(crate) fn on(fs: Arc<dyn Fs>, options: PickerOptions) -> Store {
        let dir = PathBuf::from("/db");
        fs.create_dir(&dir).unwrap();
        Store {
            fs,
            dir,
            state: State::new(1),
            running: InProgress::new(),
            options,
            recheck: Recheck::Full,
            next_number: 1,
            opened: HashMap::new(),
        }
    }

    pub(crate) fn tree(&self) -> &Arc<Tree> {
        self.state.version.tree(KEYSPACE).unwrap()
    }

    pub(crate) fn picker(&self, oldest_snapshot: Seq) -> Picker<'_> {
        Picker {
            keyspace: KEYSPACE,
            tree: self.tree(),
            running: &self.running,
            options: &self.options,
            oldest_snapshot,
        }
    }

    pub(crate) fn install(&mut self, edit: &VersionEdit) {
        // Through the codec, as if the MANIFEST had been read back.
        let edit = VersionEdit::decode(&edit.encode(), Path::new("MANIFEST-000001"), 0).unwrap();
        self.state = self.state.apply(&edit).unwrap();
    }

    /// Writes entries, which are sorted, into tables for the level that is foreseen for them.
    pub(crate) fn flush(
        &mut self,
        entries: Vec<Entry>,
        snapshots: &[Seq],
    ) -> Result<(usize, Outcome), Aborted> {
        let range = KeyRange::new(
            entries[0].0.user_key.clone(),
            entries[entries.len() - 1].0.user_key.clone(),
        );
        let level = self.picker(Seq::ZERO).flush_level(&range);
        let expected = entries.len() as u64;
        let elision = Elision::whole(self.tree());
        let cursor = VecCursor::new(entries);
        let outcome =
            self.run(vec![cursor], level, elision, &[], snapshots, expected, &mut never)?;
        Ok((level, outcome))
    }

    /// Installs what a flush wrote.
    pub(crate) fn install_flush(&mut self, foreseen: usize, outcome: &Outcome) {
        let Some(range) = KeyRange::hull(&outcome.tables) else { return };
        let level = self.picker(Seq::ZERO).confirm_flush_level(foreseen, &range);
        let mut edit = VersionEdit::default();
        for table in &outcome.tables {
            edit.add_table(level, Arc::clone(table));
        }
        self.install(&edit);
    }

    /// Runs a compaction that is no trivial move.
    pub(crate) fn compact(
        &mut self,
        compaction: &Compaction,
        snapshots: &[Seq],
        is_cancelled: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Outcome, Aborted> {
        let runs = compaction.runs().into_iter().map(|run| self.run_cursor(run)).collect();
        let elision = Elision::below(self.tree(), compaction.output_level);
        self.run(
            runs,
            compaction.output_level,
            elision,
            &compaction.grandparents,
            snapshots,
            compaction.input_entries(),
            is_cancelled,
        )
    }

    #[expect(clippy::too_many_arguments, reason = "what differs between a flush and a compaction")]
    fn run<C: Cursor>(
        &mut self,
        inputs: Vec<C>,
        level: usize,
        elision: Elision,
        grandparents: &[Arc<TableMeta>],
        snapshots: &[Seq],
        expected_entries: u64,
        is_cancelled: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Outcome, Aborted> {
        let table = TableOptions {
            block_size: 512,
            compression: self.options.compression[level],
            bloom_bits_per_key: 10,
        };
        let context = JobContext {
            fs: Arc::clone(&self.fs),
            snapshots,
            elision,
            grandparents,
            output: OutputOptions {
                keyspace: (KEYSPACE, "default"),
                table,
                target_bytes: self.options.table_bytes,
                max_grandparent_bytes: self.options.max_grandparent_bytes(),
            },
            expected_entries,
            recheck: self.recheck,
        };
        let (fs, dir, next_number) = (&self.fs, &self.dir, &mut self.next_number);
        let mut new_table = || {
            let number = *next_number;
            let file = fs.create(&FileName::Table(number).path(dir))?;
            *next_number += 1;
            Ok(NewTable { file, number, id: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) })
        };
        job::run(inputs, context, &mut new_table, is_cancelled)
    }

    pub(crate) fn run_cursor(&mut self, run: &[Arc<TableMeta>]) -> RunCursor {
        let tables = run.iter().map(|meta| RunTable {
            table: self.open(meta),
            smallest: meta.smallest.user_key.clone(),
            largest: meta.largest.user_key.clone(),
        });
        SortedRun::new(tables.collect()).cursor(CursorMode::Compaction)
    }

    pub(crate) fn open(&mut self, meta: &TableMeta) -> Arc<Table> {
        let source = meta.source(&self.fs, &self.dir);
        let table = self.opened.entry(meta.number);
        Arc::clone(
            table.or_insert_with(|| Table::new(source, ReadMode::Pread, BlockCache::new(1 << 20))),
        )
    }

    /// What a reader at `seq` finds: from the newest table to the oldest, the first hit ends it.
    pub(crate) fn get(&mut self, user_key: &[u8], seq: Seq) -> Option<Vec<u8>> {
        let tree = Arc::clone(self.tree());
        let covering = tree.tables().filter(|(_, table)| table.covers(user_key));
        for (_, meta) in covering {
            let table = self.open(meta);
            if let Some(entry) = table.get(user_key, hash_user_key(user_key), seq).unwrap() {
                return (entry.kind == Kind::Put).then(|| entry.value.to_vec());
            }
        }
        None
    }

    /// Every entry of the store, newest tables first.
    pub(crate) fn entries(&mut self) -> Vec<Entry> {
        let tree = Arc::clone(self.tree());
        let mut entries = Vec::new();
        for (_, meta) in tree.tables() {
            let mut cursor = self.open(meta).cursor(CursorMode::Read);
            cursor.seek_to_first().unwrap();
            while cursor.valid() {
                entries.push((cursor.key().to_owned(), cursor.value().to_vec()));
                cursor.next().unwrap();
            }
        }
        entries
    }
}

pub(crate) fn never(_: u64) -> bool {
    false
}
