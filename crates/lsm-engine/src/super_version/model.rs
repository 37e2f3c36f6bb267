//! Models of what readers pin: loom runs the shipped exchange of SuperVersions, and the unlinking of
//! what they lack, beside readers of real tables on a disk in memory.
//!
//! The store has one key. A model fails if a reader finds no version of it, or not the file of a
//! table that it pinned; or if a file stays that nobody has.

use loom::sync::Arc as LoomArc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use lsm_base::fs::{FaultFs, MemFs};
use lsm_base::key::{InternalKeyRef, hash_user_key};
use lsm_base::{FileName, Fs};
use lsm_compaction::{State, TableMeta, VersionEdit};
use lsm_memtable::{Arena, Memtable};
use lsm_sstable::{BlockCache, ReadMode};

use super::*;
use crate::build::TableFactory;
use crate::file_numbers::FileNumbers;
use crate::generation::Generation;
use crate::inner::open_table;
use crate::options::Options;

const DIR: &str = "data";
const KEY: &[u8] = b"k";

/// A store of one key without a log.
struct Store {
    disk: FaultFs,
    numbers: FileNumbers,
    super_versions: SuperVersions,
    obsolete: Obsolete,
    visible: AtomicU64,
}

impl Store {
    /// A store that has the key's version 1 in a table, and version 2 in a sealed generation.
    fn new() -> LoomArc<Store> {
        let disk = FaultFs::new(Arc::new(MemFs::new()));
        disk.create_dir(DIR.as_ref()).unwrap();
        let numbers = FileNumbers::from(1);
        let mut edit = VersionEdit::default();
        edit.add_table(1, write_table(&disk, &numbers, 1));
        let state = Arc::new(State::new(1).apply(&edit).unwrap());
        let version = OpenVersion::new(state, None, |meta| open(&disk, meta));
        let first = SuperVersion {
            active: GenerationView::empty(Generation::new(2, 2, 0, Arena::new(1 << 10))),
            sealed: vec![sealed_generation()],
            version: Arc::new(version),
        };
        // From here on the model may let another thread run wherever a file is opened or unlinked.
        let steps = LoomArc::new(AtomicU64::new(0));
        disk.before_each(move |_| {
            steps.fetch_add(1, Ordering::Relaxed);
        });
        LoomArc::new(Store {
            disk,
            numbers,
            super_versions: SuperVersions::new(first),
            obsolete: Obsolete::default(),
            visible: AtomicU64::new(1),
        })
    }

    fn visible(&self) -> Result<Seq> {
        Ok(Seq::new(self.visible.load(Ordering::Acquire)))
    }

    /// Reads the key as a call does.
    fn read(&self) {
        let (super_version, seq) = self.super_versions.pin(|| self.visible()).unwrap();
        let found = find(&super_version, seq);
        assert_eq!(found, Some(seq));
    }

    /// Puts a table of the key's version 2 in the place of the one before and of the generation.
    fn flush(&self, table: &Arc<TableMeta>) {
        let previous = self.super_versions.load_full();
        let mut edit = VersionEdit::default();
        let [(before, _)] = previous.version.tables().collect::<Vec<_>>()[..] else {
            panic!("there is one table")
        };
        edit.delete_table(1, before);
        edit.add_table(1, Arc::clone(table));
        let state = Arc::new(previous.version.state.apply(&edit).unwrap());
        let version =
            OpenVersion::new(state, Some(&previous.version), |meta| open(&self.disk, meta));
        drop(previous);
        self.super_versions.set_version(Arc::new(version), Some(1), &self.obsolete);
    }

    /// What the cleaner does.
    fn clean(&self) {
        self.obsolete.remove_from(&self.disk, DIR.as_ref()).unwrap();
    }

    fn files(&self) -> usize {
        self.disk.list(DIR.as_ref()).unwrap().len()
    }
}

/// The newest version of the key that a read at `seq` finds.
fn find(super_version: &SuperVersion, seq: Seq) -> Option<Seq> {
    let hash = hash_user_key(KEY);
    let in_memory = super_version
        .generations()
        .find_map(|view| Some(view.memtable(KeyspaceId::DEFAULT)?.get(KEY, hash, seq)?.seq));
    in_memory.or_else(|| {
        let tree = super_version.version.tree(KeyspaceId::DEFAULT).unwrap();
        let counters = FilterCounters::default();
        tree.get_with(KEY, hash, seq, &counters, |seq, _, _| seq).unwrap()
    })
}

fn write_table(disk: &FaultFs, numbers: &FileNumbers, seq: u64) -> Arc<TableMeta> {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let options = Options::default().resolve(1 << 30).unwrap();
    let factory =
        TableFactory { fs: &fs, dir: DIR.as_ref(), options: &options, numbers, obsolete: None };
    let key = InternalKeyRef { user_key: KEY, seq: Seq::new(seq), kind: Kind::Put };
    let tables = factory.write((KeyspaceId::DEFAULT, "default"), 1, |out| out.add(key, b"v"));
    tables.unwrap().pop().unwrap()
}

fn open(disk: &FaultFs, meta: &TableMeta) -> Arc<lsm_sstable::Table> {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    open_table(&fs, DIR.as_ref(), ReadMode::Pread, &BlockCache::new(0), meta)
}

/// Generation 1, which has the key's version 2.
fn sealed_generation() -> GenerationView {
    let arena = Arena::new(1 << 10);
    let mut writer = arena.writer().unwrap();
    let memtable = Arc::new(Memtable::new(&arena, b""));
    let (hash, seq) = (hash_user_key(KEY), Seq::new(2));
    memtable.insert(&mut writer, KEY, hash, seq, Kind::Put, b"v").unwrap();
    let generation = Generation::new(1, 1, 0, arena);
    generation.seal(seq, 0);
    GenerationView::empty(generation).with_memtable(KeyspaceId::DEFAULT, memtable)
}

fn explore(scenario: fn(&LoomArc<Store>)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || scenario(&Store::new()));
}

fn spawn(store: &LoomArc<Store>, work: impl FnOnce(&Store) + 'static) -> thread::JoinHandle<()> {
    let store = LoomArc::clone(store);
    thread::spawn(move || work(&store))
}

/// Whoever pins first, and asks what is visible then, finds what it is to see: version 1 is dropped
/// once version 2 is visible, although a read may just be about to begin.
#[test]
fn loom_a_read_finds_what_a_flush_leaves_of_its_key() {
    explore(|store| {
        let flushing = spawn(store, |store| {
            store.visible.store(2, Ordering::Release);
            let table = write_table(&store.disk, &store.numbers, 2);
            store.flush(&table);
        });
        store.read();
        flushing.join().unwrap();
        store.read();
    });
}

/// The file of a table that is out of the tree is there until its last reader is gone, and no longer.
#[test]
fn loom_a_table_is_unlinked_behind_its_last_reader() {
    explore(|store| {
        store.visible.store(2, Ordering::Release);
        let table = write_table(&store.disk, &store.numbers, 2);
        let version_1 = Seq::new(1);
        let flushing = spawn(store, move |store| {
            store.flush(&table);
            store.clean();
        });
        let cleaning = spawn(store, Store::clean);
        let pinned = store.super_versions.load();
        // Version 1 is in the old table alone, and in no memtable; the new one has no such version.
        let has_old = pinned.sealed.len() == 1;
        assert_eq!(find(&pinned, version_1).is_some(), has_old);
        drop(pinned);
        flushing.join().unwrap();
        cleaning.join().unwrap();
        store.clean();
        assert_eq!(store.files(), 1, "the new table is left");
        assert!(store.disk.exists(&FileName::Table(2).path(DIR.as_ref())).unwrap());
    });
}
