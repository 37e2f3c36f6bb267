//! A tour of the store: writes, reads, scans, batches, conditions, keyspaces and snapshots.
//!
//! `cargo run -p lsm-engine --example tour`

use lsm_engine::{Condition, Db, ErrorKind, Read, Result, WriteBatch, WriteOptions};

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("lsm-tour-{}", std::process::id()));
    let db = Db::open(&dir)?;

    // `Ok` means on disk, unless the write asks for less.
    let seq = db.put("user:1", "Ada")?;
    db.put("user:2", "Grace")?;
    println!("user:1 is {:?}, written at {seq}", db.get("user:1")?);

    // A batch happens whole or not at all, across keyspaces too.
    let emails = db.keyspace("emails")?;
    let mut batch = WriteBatch::new();
    batch.put("user:3", "Edsger");
    batch.put_in(&emails, "edsger@example.org", "user:3");
    db.write(batch, &WriteOptions::default())?;

    // A condition makes a write safe against others: here, "if nobody wrote since I read".
    let read = db.get_entry("user:1")?.expect("it was just written");
    let unchanged = WriteOptions::condition(Condition::Seq(read.seq));
    db.put_with("user:1", "Ada Lovelace", &unchanged)?;
    let again = db.put_with("user:1", "Someone else", &unchanged);
    assert_eq!(again.map_err(|error| error.kind()), Err(ErrorKind::Conflict));

    // A snapshot keeps its moment while the store goes on.
    let snapshot = db.snapshot()?;
    db.delete("user:2")?;
    for entry in snapshot.prefix("user:") {
        let (key, value) = entry?;
        println!("then: {} = {}", key.escape_ascii(), value.escape_ascii());
    }
    for entry in db.scan("user:1"..="user:9").rev() {
        let (key, value) = entry?;
        println!("now, backwards: {} = {}", key.escape_ascii(), value.escape_ascii());
    }

    drop(snapshot);
    db.close()?;
    std::fs::remove_dir_all(&dir).expect("the example's own directory");
    Ok(())
}
