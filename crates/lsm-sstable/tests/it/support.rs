//! What the tests share: entries, and tables made of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::fs::MemFs;
use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, Fs, InternalKey, KeyspaceId, Kind, Seq};
use lsm_sstable::{
    BlockCache, ReadMode, Table, TableBuilder, TableOptions, TableSource, TableSummary,
};

/// An internal key and its value.
pub(crate) type Entry = (InternalKey, Vec<u8>);

pub(crate) const ID: u64 = 0x0123_4567_89ab_cdef;

pub(crate) fn put(user_key: impl AsRef<[u8]>, seq: u64, value: impl AsRef<[u8]>) -> Entry {
    let key =
        InternalKey { user_key: user_key.as_ref().into(), seq: Seq::new(seq), kind: Kind::Put };
    (key, value.as_ref().to_vec())
}

pub(crate) fn delete(user_key: impl AsRef<[u8]>, seq: u64) -> Entry {
    let (key, value) = put(user_key, seq, b"");
    (InternalKey { kind: Kind::Delete, ..key }, value)
}

/// Writes a table of these entries.
pub(crate) fn build(
    fs: &dyn Fs,
    path: &Path,
    id: u64,
    options: TableOptions,
    entries: &[Entry],
) -> TableSummary {
    let file = fs.create(path).unwrap();
    let mut builder = TableBuilder::new(file, id, (KeyspaceId(3), "users"), options);
    for (key, value) in entries {
        builder.add(key.as_ref(), value).unwrap();
    }
    builder.finish().unwrap()
}

/// The bytes of a table of these entries.
pub(crate) fn bytes_of(id: u64, options: TableOptions, entries: &[Entry]) -> Vec<u8> {
    let fs = MemFs::new();
    let path = table_path();
    build(&fs, &path, id, options, entries);
    read_file(&fs, &path)
}

pub(crate) fn read_file(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A file system in memory with one file of these bytes.
pub(crate) fn fs_with(bytes: &[u8]) -> Arc<MemFs> {
    let fs = Arc::new(MemFs::new());
    fs.create(&table_path()).unwrap().write_all_at(bytes, 0).unwrap();
    fs
}

pub(crate) fn table_path() -> PathBuf {
    PathBuf::from("/000007.sst")
}

pub(crate) fn open(
    fs: Arc<dyn Fs>,
    path: &Path,
    summary: &TableSummary,
    mode: ReadMode,
) -> Arc<Table> {
    let (id, len) = (summary.id, summary.len);
    let source = TableSource { fs, path: path.to_owned(), number: 7, id, len };
    Table::new(source, mode, BlockCache::new(1 << 20))
}

/// What a get at `seq` must find.
pub(crate) fn find<'a>(entries: &'a [Entry], user_key: &[u8], seq: Seq) -> Option<&'a Entry> {
    entries.iter().find(|(key, _)| &*key.user_key == user_key && key.seq <= seq)
}

/// What a get at `seq` finds.
pub(crate) fn get(table: &Table, user_key: &[u8], seq: Seq) -> lsm_base::Result<Option<Entry>> {
    let entry = table.get(user_key, hash_user_key(user_key), seq)?;
    Ok(entry.map(|entry| {
        let key = InternalKey { user_key: user_key.into(), seq: entry.seq, kind: entry.kind };
        (key, entry.value.to_vec())
    }))
}

/// The entry that a cursor stands on.
pub(crate) fn entry_at(cursor: &impl Cursor) -> Option<Entry> {
    assert_eq!(cursor.peek(), cursor.valid().then(|| cursor.key()));
    cursor.valid().then(|| (cursor.key().to_owned(), cursor.value().to_vec()))
}

/// Bytes that do not compress.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| hash_user_key(&i.to_le_bytes()) as u8).collect()
}
