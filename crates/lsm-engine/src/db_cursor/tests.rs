//! What a motion costs, and where it pauses.

use super::*;
use crate::{Db, Durability, Options, Read, WriteOptions};
use lsm_base::WriteBatch;
use lsm_base::fs::{Fs, MemFs};

fn open() -> Db {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let options = Options { background_threads: 0, ..Options::default() };
    Db::builder("data").fs(fs).options(options).open().unwrap()
}

fn write(db: &Db, batch: WriteBatch) {
    db.write(batch, &WriteOptions::durability(Durability::Buffered)).unwrap();
}

/// Overwrites the key `hot` so many times, with a key on each side of it.
fn write_hot(db: &Db, count: u32) {
    let mut batch = WriteBatch::new();
    batch.put("before", "b");
    batch.put("then", "t");
    for version in 0..count {
        batch.put("hot", version.to_be_bytes());
    }
    write(db, batch);
}

/// Each key that a motion comes to, and the most that one of them passed over.
fn walk(cursor: &mut DbCursor, direction: Direction) -> (Vec<Vec<u8>>, u64) {
    match direction {
        Direction::Forwards => cursor.seek_to_first().unwrap(),
        Direction::Backwards => cursor.seek_to_last().unwrap(),
    }
    let (mut keys, mut most) = (Vec::new(), cursor.skipped);
    while cursor.valid() {
        keys.push(cursor.key().to_vec());
        match direction {
            Direction::Forwards => cursor.next().unwrap(),
            Direction::Backwards => cursor.prev().unwrap(),
        }
        most = most.max(cursor.skipped);
    }
    (keys, most)
}

#[test]
fn a_key_with_many_versions_costs_a_few_steps() {
    const VERSIONS: u32 = 100_000;
    /// Two keys in one motion: the versions behind the entry, and those before the next one.
    const MOST: u64 = 2 * (STEPS_IN_KEY as u64 + 1);
    // The versions are in memory, then in a table.
    for is_flushed in [false, true] {
        let db = open();
        write_hot(&db, 7);
        let old = db.snapshot().unwrap();
        write_hot(&db, VERSIONS);
        let middle = db.snapshot().unwrap();
        // None of these is visible to either.
        write_hot(&db, VERSIONS);
        if is_flushed {
            db.flush().unwrap();
        }
        for (snapshot, newest) in [(&old, 7), (&middle, VERSIONS)] {
            let mut cursor = snapshot.cursor().unwrap();
            for direction in [Direction::Forwards, Direction::Backwards] {
                let (mut keys, most) = walk(&mut cursor, direction);
                assert!(most <= MOST, "{most} steps {direction:?} at {}", snapshot.seq());
                keys.sort();
                assert_eq!(keys, [&b"before"[..], b"hot", b"then"]);
            }
            cursor.seek("hot").unwrap();
            assert_eq!(cursor.value(), (newest - 1).to_be_bytes());
            cursor.seek_for_prev("hot").unwrap();
            assert_eq!(cursor.value(), (newest - 1).to_be_bytes());
            assert!(cursor.skipped <= MOST, "{}", cursor.skipped);
        }
    }
}

/// A store of which a thousand keys were deleted, with one key on each side.
fn deleted() -> Db {
    let db = open();
    let mut batch = WriteBatch::new();
    batch.put("a", "1");
    batch.put("z", "1");
    for key in 0..1_000_u32 {
        batch.delete(format!("k{key:04}"));
    }
    write(&db, batch);
    db
}

#[test]
fn a_motion_pauses_behind_what_it_passed_over_and_goes_on_there() {
    let db = deleted();
    for direction in [Direction::Forwards, Direction::Backwards] {
        let mut cursor = db.cursor().unwrap();
        cursor.set_skip_limit(100);
        let (keys, most) = walk(&mut cursor, direction);
        assert_eq!(keys.len(), 1, "the next key is far away");
        assert!((100..110).contains(&most), "{most}");
        let mut pauses = 0;
        while let Some(pause) = cursor.paused() {
            let (passed, ahead) = (pause.passed.to_vec(), pause.ahead.to_vec());
            assert_eq!(passed < ahead, direction == Direction::Forwards);
            assert!(!cursor.valid());
            // Standing on nothing, it stays where it is.
            cursor.next().unwrap();
            cursor.prev().unwrap();
            assert_eq!(cursor.paused().map(|pause| pause.ahead), Some(&ahead[..]));
            cursor.resume().unwrap();
            pauses += 1;
        }
        assert!((9..11).contains(&pauses), "{pauses}");
        assert!(cursor.valid());
        assert_eq!(cursor.key(), if direction == Direction::Forwards { b"z" } else { b"a" });
        cursor.resume().unwrap();
        assert!(cursor.valid(), "there was nothing to go on with");
    }
}

#[test]
fn the_smallest_limit_gets_to_the_end_also_by_seeks_from_pause_to_pause() {
    let db = deleted();
    // Each key has more versions than a motion may pass over.
    for _ in 0..3 {
        let mut batch = WriteBatch::new();
        (0..1_000_u32).for_each(|key| batch.delete(format!("k{key:04}")));
        write(&db, batch);
    }
    for direction in [Direction::Forwards, Direction::Backwards] {
        let mut place =
            if direction == Direction::Forwards { b"k".to_vec() } else { b"l".to_vec() };
        let mut seeks = 0;
        loop {
            let mut cursor = db.cursor().unwrap();
            cursor.set_skip_limit(0);
            match direction {
                Direction::Forwards => cursor.seek(&place).unwrap(),
                Direction::Backwards => cursor.seek_for_prev(&place).unwrap(),
            }
            seeks += 1;
            match cursor.paused() {
                Some(pause) => place = pause.ahead.to_vec(),
                None => break assert!(cursor.valid()),
            }
        }
        assert_eq!(seeks, 1 + 1_000, "each gets on by a key");
    }
}

#[test]
fn a_motion_does_not_pause_where_nothing_is_ahead() {
    let db = deleted();
    for (range, direction) in
        [("b".."k1000", Direction::Forwards), ("b".."x", Direction::Backwards)]
    {
        let mut cursor = db.cursor_in(range).unwrap();
        cursor.set_skip_limit(1_000);
        let (keys, _) = walk(&mut cursor, direction);
        assert!(keys.is_empty() && cursor.paused().is_none());
        cursor.set_skip_limit(999);
        walk(&mut cursor, direction);
        assert!(cursor.paused().is_some());
        // A new motion forgets the pause, and so does one that fails.
        cursor.set_skip_limit(u64::MAX);
        walk(&mut cursor, direction);
        assert!(cursor.paused().is_none());
    }
    let mut cursor = db.cursor_in("b"..).unwrap();
    cursor.set_skip_limit(1);
    cursor.seek_to_first().unwrap();
    db.close().unwrap();
    cursor.resume().unwrap_err();
    assert!(cursor.paused().is_none());
}
