//! Describes a table file: its sections, properties, filter and blocks.
//!
//! `cargo run -p lsm-sstable --example inspect -- path/to/000042.sst`; without a path it builds a
//! small table and describes that.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::fs::StdFs;
use lsm_base::{Fs, InternalKeyRef, KeyspaceId, Kind, Seq};
use lsm_sstable::{BlockCache, ReadMode, Table, TableBuilder, TableOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => build_sample(dir.path())?,
    };
    let cache = BlockCache::new(8 << 20);
    // By pread: the file may be anyone's, and then a map is no good idea.
    let table = Table::open_standalone(Arc::new(StdFs), &path, ReadMode::Pread, cache)?;
    print!("{}", table.inspect()?);
    let report = table.verify()?;
    println!("\nverified {} bytes, {} entries", report.bytes, report.entries);
    Ok(())
}

fn build_sample(dir: &Path) -> lsm_base::Result<PathBuf> {
    let path = dir.join("000042.sst");
    let keyspace = (KeyspaceId::DEFAULT, "default");
    let mut builder =
        TableBuilder::new(StdFs.create(&path)?, 0x5eed, keyspace, TableOptions::default());
    for number in 0..200_u64 {
        let key = format!("planet/{number:04}");
        let kind = if number % 10 == 9 { Kind::Delete } else { Kind::Put };
        let value = if kind == Kind::Put { "a rock in orbit; ".repeat(4) } else { String::new() };
        let key = InternalKeyRef::new(key.as_bytes(), Seq::new(1 + number), kind);
        builder.add(key, value.as_bytes())?;
    }
    builder.finish()?;
    Ok(path)
}
