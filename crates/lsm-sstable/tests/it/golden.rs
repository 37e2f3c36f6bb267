//! Table files as earlier builds wrote them, kept as bytes.
//!
//! `plain-v0.sst` is also what the builder must write today, byte for byte. Of a compressed table
//! only the reading is fixed: what LZ4 makes of a payload is the library's business.
//! With `UPDATE_GOLDEN=1` in the environment the files are written anew.

use std::path::Path;
use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::StdFs;
use lsm_sstable::{BlockCache, Compression, ReadMode, Table, TableOptions};

use crate::support::{Entry, ID, bytes_of, delete, find, fs_with, get, put, table_path};

fn entries() -> Vec<Entry> {
    let mut entries = vec![
        put(b"apple", 70_000, b"red"),
        delete(b"apple", 12),
        put(b"apple", 3, b"green"),
        put(b"banana", 4, "yellow ".repeat(30)),
        put(b"cherry", 5, b""),
    ];
    entries.extend((0..10).map(|i| put(format!("key{i:02}"), 100 + i, "value ".repeat(5))));
    entries
}

fn options(compression: Compression) -> TableOptions {
    TableOptions { block_size: 256, compression, bloom_bits_per_key: 10 }
}

fn golden(name: &str, bytes: &'static [u8], compression: Compression) -> Vec<u8> {
    if std::env::var_os("UPDATE_GOLDEN").is_none() {
        return bytes.to_vec();
    }
    let written = bytes_of(ID, options(compression), &entries());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/testdata").join(name);
    if StdFs.exists(&path).unwrap() {
        StdFs.remove(&path).unwrap();
    }
    StdFs.create(&path).unwrap().write_all_at(&written, 0).unwrap();
    written
}

fn assert_reads(bytes: &[u8]) {
    let fs: Arc<dyn Fs> = fs_with(bytes);
    let table =
        Table::open_standalone(fs, &table_path(), ReadMode::Map, BlockCache::new(1 << 20)).unwrap();
    table.verify().unwrap();
    for (key, _) in &entries() {
        let expected = find(&entries(), &key.user_key, key.seq).cloned();
        assert_eq!(get(&table, &key.user_key, key.seq).unwrap(), expected);
    }
}

#[test]
fn the_plain_table_is_written_and_read_as_ever() {
    let plain = include_bytes!("testdata/plain-v0.sst");
    let bytes = golden("plain-v0.sst", plain, Compression::None);
    assert_reads(&bytes);
    let written = bytes_of(ID, options(Compression::None), &entries());
    assert!(written == bytes, "the builder writes other bytes than it did");
}

#[test]
fn the_compressed_table_is_read_as_ever() {
    let compressed = include_bytes!("testdata/lz4-v0.sst");
    assert_reads(&golden("lz4-v0.sst", compressed, Compression::Lz4));
}
