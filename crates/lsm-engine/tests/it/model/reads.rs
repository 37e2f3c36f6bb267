//! The reading half of the driver.

use std::collections::VecDeque;
use std::ops::Bound;

use lsm_engine::{Entry, ErrorKind, KeyspaceId, Read, Resident, Scan, Seq, Snapshot};

use super::driver::{Driver, MAX_HELD};
use super::held::{HeldCursor, HeldSnapshot, Shared};
use super::input::Input;
use super::oracle::{Bounds, Space};

impl Driver {
    pub(super) fn get(&mut self) {
        let (keyspace, space) = self.pick_space();
        let key = self.input.key();
        // The database reads like its default keyspace.
        let by_db = keyspace.id() == KeyspaceId::DEFAULT && self.input.once_in(4);
        let (db, space) = (self.db(), space.borrow());
        let is_resident = match by_db {
            true => get_from(&mut self.input, &db, &space, &key, self.seq),
            false => get_from(&mut self.input, &keyspace, &space, &key, self.seq),
        };
        self.figures.resident += u64::from(is_resident);
    }

    pub(super) fn get_many(&mut self) {
        let (keyspace, space) = self.pick_space();
        let keys: Vec<_> = (0..self.input.below(12)).map(|_| self.input.key()).collect();
        if self.input.once_in(2) {
            return get_entries_from(&keyspace, &space.borrow(), &keys, self.seq);
        }
        let found = keyspace.get_many(&keys).unwrap();
        assert_eq!(found.len(), keys.len());
        for (key, found) in keys.iter().zip(found) {
            let expected = space.borrow().get(key, self.seq).map(|(value, _)| value.to_vec());
            assert_eq!(found.map(Vec::from), expected, "{}", key.escape_ascii());
        }
    }

    pub(super) fn scan(&mut self) {
        let (keyspace, space) = self.pick_space();
        let bounds = self.input.bounds();
        let scan = keyspace.scan(bounds.clone());
        compare_scan(&mut self.input, scan, &space.borrow(), &bounds, self.seq);
    }

    pub(super) fn prefix(&mut self) {
        let (keyspace, space) = self.pick_space();
        let mut prefix = self.input.key();
        prefix.truncate(self.input.below(1 + prefix.len()));
        let scan = keyspace.prefix(&prefix);
        compare_prefix(scan, &space.borrow(), &prefix, self.seq);
    }

    pub(super) fn hold_cursor(&mut self) {
        if MAX_HELD <= self.cursors.len() {
            let index = self.input.below(self.cursors.len());
            self.cursors.swap_remove(index);
        }
        let (keyspace, space) = self.pick_space();
        let (cursor, bounds) = if self.input.once_in(2) {
            (keyspace.cursor().unwrap(), (Bound::Unbounded, Bound::Unbounded))
        } else {
            let bounds = self.input.bounds();
            (keyspace.cursor_in(bounds.clone()).unwrap(), bounds)
        };
        assert_eq!(cursor.seq(), self.seq);
        assert!(!cursor.valid());
        let sleeps = self.input.once_in(3);
        let seq = self.seq;
        self.cursors.push(HeldCursor { cursor, space, bounds, seq, at: None, way: None, sleeps });
    }

    pub(super) fn step_cursor(&mut self) {
        if self.cursors.is_empty() {
            return self.found_nothing();
        }
        let index = self.input.below(self.cursors.len());
        let moves = 1 + self.input.below(6);
        if self.cursors[index].sleeps {
            return self.found_nothing();
        }
        for _ in 0..moves {
            self.figures.turns += u64::from(self.cursors[index].step(&mut self.input));
        }
    }

    /// Reads from cursors that have not moved since they were made. Returns whether there were any.
    pub(super) fn wake_cursors(&mut self) -> bool {
        let woken = self.figures.woken;
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.sleeps) {
            self.figures.woken += 1;
            cursor.wake();
        }
        woken < self.figures.woken
    }

    pub(super) fn hold_snapshot(&mut self) {
        if MAX_HELD <= self.snapshots.len() {
            let index = self.input.below(self.snapshots.len());
            self.snapshots.swap_remove(index);
        }
        let snapshot = self.db().snapshot().unwrap();
        assert_eq!(snapshot.seq(), self.seq);
        let spaces = self.spaces.iter().map(|(_, space)| Shared::clone(space)).collect();
        self.snapshots.push(HeldSnapshot { snapshot, spaces });
    }

    pub(super) fn read_snapshot(&mut self) {
        if self.snapshots.is_empty() {
            return self.found_nothing();
        }
        let index = self.input.below(self.snapshots.len());
        let HeldSnapshot { snapshot, spaces } = &self.snapshots[index];
        let space = spaces[self.input.below(spaces.len())].borrow();
        let is_dropped = self.spaces.iter().all(|(known, _)| known.id() != space.id);
        if is_dropped {
            return assert_dropped(snapshot, &space);
        }
        let view = snapshot.keyspace(&space.name).unwrap();
        let seq = snapshot.seq();
        match self.input.below(6) {
            5 => {
                let mut prefix = self.input.key();
                prefix.truncate(self.input.below(1 + prefix.len()));
                compare_prefix(view.prefix(&prefix), &space, &prefix, seq);
            }
            0 => {
                let bounds = self.input.bounds();
                compare_scan(&mut self.input, view.scan(bounds.clone()), &space, &bounds, seq);
            }
            1 if self.cursors.len() < MAX_HELD => {
                let bounds = self.input.bounds();
                let cursor = view.cursor_in(bounds.clone()).unwrap();
                assert_eq!(cursor.seq(), seq);
                let space =
                    Shared::clone(spaces.iter().find(|s| s.borrow().id == space.id).unwrap());
                self.cursors.push(HeldCursor {
                    cursor,
                    space,
                    bounds,
                    seq,
                    at: None,
                    way: None,
                    sleeps: false,
                });
            }
            2 => {
                let keys: Vec<_> = (0..self.input.below(12)).map(|_| self.input.key()).collect();
                get_entries_from(&view, &space, &keys, seq);
            }
            _ => {
                let key = self.input.key();
                let is_resident = get_from(&mut self.input, &view, &space, &key, seq);
                self.figures.resident += u64::from(is_resident);
            }
        }
    }

    /// Compares every keyspace as of now and of every snapshot, both ways and key by key.
    pub(super) fn compare_all(&mut self) {
        let all = (Bound::Unbounded, Bound::Unbounded);
        for (keyspace, space) in &self.spaces {
            let space = space.borrow();
            compare_forwards(keyspace.scan::<&[u8]>(..), &space, &all, self.seq);
            compare_backwards(keyspace.scan::<&[u8]>(..), &space, &all, self.seq);
            for (key, value, seq) in space.range(&all, self.seq) {
                let entry = keyspace.get_entry(key).unwrap().unwrap();
                assert_eq!((&entry.value[..], entry.seq), (value, seq));
            }
        }
        for held in &self.snapshots {
            for space in &held.spaces {
                let space = space.borrow();
                if self.spaces.iter().all(|(known, _)| known.id() != space.id) {
                    assert_dropped(&held.snapshot, &space);
                    continue;
                }
                let view = held.snapshot.keyspace(&space.name).unwrap();
                compare_forwards(view.scan::<&[u8]>(..), &space, &all, held.snapshot.seq());
            }
        }
    }
}

/// A keyspace that was dropped is not an empty one, to a snapshot that saw it least of all; and its
/// name may stand for another by now, which the snapshot never saw.
fn assert_dropped(snapshot: &Snapshot, space: &Space) {
    let found = snapshot.keyspace(&space.name).map(|view| view.seq());
    assert_eq!(found.map_err(|error| error.kind()), Err(ErrorKind::Closed), "{}", space.name);
}

/// Reads a key in one of the ways there are. Returns whether that was done without the disk.
fn get_from(input: &mut Input, from: &impl Read, space: &Space, key: &[u8], seq: Seq) -> bool {
    let expected = space.get(key, seq);
    let value = expected.map(|(value, _)| value);
    let as_seen = |entry: &Option<Entry>| {
        assert_eq!(entry.as_ref().map(|entry| (&entry.value[..], entry.seq)), expected);
    };
    match input.below(5) {
        0 => assert_eq!(from.get(key).unwrap().as_deref(), value),
        1 => assert_eq!(from.contains(key).unwrap(), value.is_some()),
        2 => assert_eq!(from.get_with(key, <[u8]>::to_vec).unwrap().as_deref(), value),
        3 => as_seen(&from.get_entry(key).unwrap()),
        _ => match from.try_get_resident(key).unwrap() {
            Resident::Known(entry) => {
                as_seen(&entry);
                return true;
            }
            Resident::WouldTouchDisk => {}
        },
    }
    false
}

/// Reads several keys at once.
fn get_entries_from(from: &impl Read, space: &Space, keys: &[Vec<u8>], seq: Seq) {
    let found = from.get_entries(keys).unwrap();
    assert_eq!(found.len(), keys.len());
    for (key, found) in keys.iter().zip(&found) {
        let found = found.as_ref().map(|entry| (&entry.value[..], entry.seq));
        assert_eq!(found, space.get(key, seq), "{}", key.escape_ascii());
    }
}

fn compare_scan(input: &mut Input, scan: Scan, space: &Space, bounds: &Bounds, seq: Seq) {
    match input.below(3) {
        0 => compare_forwards(scan, space, bounds, seq),
        1 => compare_backwards(scan, space, bounds, seq),
        _ => compare_both_ends(input, scan, space, bounds, seq),
    }
}

fn compare_forwards(mut scan: Scan, space: &Space, bounds: &Bounds, seq: Seq) {
    for (key, value, _) in space.range(bounds, seq) {
        let (found, found_value) = scan.next().unwrap().unwrap();
        assert_eq!((&found[..], &found_value[..]), (key, value));
    }
    assert!(scan.next().is_none());
}

fn compare_backwards(mut scan: Scan, space: &Space, bounds: &Bounds, seq: Seq) {
    for (key, value, _) in space.range(bounds, seq).rev() {
        let (found, found_value) = scan.next_back().unwrap().unwrap();
        assert_eq!((&found[..], &found_value[..]), (key, value));
    }
    assert!(scan.next_back().is_none());
}

fn compare_both_ends(input: &mut Input, mut scan: Scan, space: &Space, bounds: &Bounds, seq: Seq) {
    let mut expected: VecDeque<_> = space.range(bounds, seq).collect();
    loop {
        let (found, expected) = match input.below(2) {
            0 => (scan.next(), expected.pop_front()),
            _ => (scan.next_back(), expected.pop_back()),
        };
        let found = found.map(Result::unwrap);
        let found = found.as_ref().map(|(key, value)| (&key[..], &value[..]));
        assert_eq!(found, expected.map(|(key, value, _)| (key, value)));
        if found.is_none() {
            break;
        }
    }
    assert!(scan.next().is_none() && scan.next_back().is_none());
}

fn compare_prefix(mut scan: Scan, space: &Space, prefix: &[u8], seq: Seq) {
    let from = (Bound::Included(prefix.to_vec()), Bound::Unbounded);
    let expected = space.range(&from, seq).take_while(|(key, _, _)| key.starts_with(prefix));
    for (key, value, _) in expected {
        let (found, found_value) = scan.next().unwrap().unwrap();
        assert_eq!((&found[..], &found_value[..]), (key, value));
    }
    assert!(scan.next().is_none());
}
