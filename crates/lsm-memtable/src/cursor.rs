//! Cursors over a memtable, in the order of internal keys and in both directions.
//!
//! A cursor walks the list of key entries and, within an entry, its versions from the newest to
//! the oldest. It keeps its place by two slots and shares the memtable, so it borrows nothing; and
//! since entries are only ever added, its place stays good.

use std::fmt;
use std::sync::Arc;

use lsm_base::{Cursor, InternalKeyRef, Result, Seq};

use crate::arena::Slot;
use crate::key_entry::KeyEntry;
use crate::memtable::Memtable;
use crate::version::Version;

/// A position among the entries of a [`Memtable`]. Its motions never fail.
pub struct MemtableCursor {
    memtable: Arc<Memtable>,
    position: Option<Position>,
    read_ahead: ReadAhead,
}

#[derive(Clone, Copy)]
struct Position {
    entry: Slot,
    version: Slot,
}

impl MemtableCursor {
    pub(crate) fn new(memtable: Arc<Memtable>) -> MemtableCursor {
        MemtableCursor { memtable, position: None, read_ahead: ReadAhead::default() }
    }

    /// The entry and the version on which the cursor stands.
    #[inline]
    fn current(&self) -> (KeyEntry<'_>, Version<'_>) {
        let position = self.position.expect("the cursor stands on an entry");
        position.of(&self.memtable)
    }
}

/// Asks for entries before the cursor comes to them.
///
/// Neighbours in the list lie far apart unless their keys were inserted in order, and each names
/// only the next, so that walking the list waits for memory at each step. The index knows them all.
#[derive(Default)]
struct ReadAhead {
    /// How many steps forward the cursor takes before the index is asked again.
    pause: u32,
}

impl ReadAhead {
    /// Entries that are asked for at a time.
    const COUNT: u32 = 16;
    /// Neighbours closer than this many bytes are left to the processor's own foresight.
    const NEAR: usize = 4096;

    #[inline]
    fn step(&mut self, table: &Memtable, entry: KeyEntry<'_>, next: KeyEntry<'_>) {
        if self.pause != 0 {
            self.pause -= 1;
        } else if ReadAhead::NEAR < entry.slot().distance(next.slot()) {
            table.prefetch_behind(next, ReadAhead::COUNT);
            self.pause = ReadAhead::COUNT - 1;
        }
    }
}

impl Position {
    #[inline]
    fn new(entry: KeyEntry<'_>, version: Version<'_>) -> Position {
        Position { entry: entry.slot(), version: version.slot() }
    }

    #[inline]
    fn newest_of(entry: KeyEntry<'_>) -> Position {
        Position::new(entry, entry.newest())
    }

    /// The entry and the version at this position.
    #[inline]
    fn of(self, table: &Memtable) -> (KeyEntry<'_>, Version<'_>) {
        let space = table.space();
        (KeyEntry::new(space, self.entry), Version::new(space, self.version))
    }

    fn oldest_of(entry: KeyEntry<'_>) -> Position {
        Position::new(entry, entry.oldest())
    }
}

impl Cursor for MemtableCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.position.is_some()
    }

    #[inline]
    fn key(&self) -> InternalKeyRef<'_> {
        let (entry, version) = self.current();
        let (seq, kind) = version.seq_and_kind();
        InternalKeyRef::new(entry.key(), seq, kind)
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().1.value()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        let table = &*self.memtable;
        self.position = table.list().first(table.space()).map(Position::newest_of);
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        let table = &*self.memtable;
        self.position = table.list().last(table.space()).map(Position::oldest_of);
        Ok(())
    }

    fn seek(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        let table = &*self.memtable;
        let (floor, next) = table.around(user_key);
        let hit = floor.filter(|entry| entry.key() == user_key);
        let seen = hit.and_then(|entry| Some(Position::new(entry, entry.version_at(seq)?)));
        self.position = seen.or_else(|| next.map(Position::newest_of));
        Ok(())
    }

    fn seek_before(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        let table = &*self.memtable;
        self.position = table.around(user_key).0.and_then(|floor| {
            if floor.key() != user_key {
                return Some(Position::oldest_of(floor));
            }
            let newest = floor.newest();
            match seq < newest.seq() {
                true => Some(Position::new(floor, newest.oldest_after(seq))),
                false => table.list().before(table.space(), floor).map(Position::oldest_of),
            }
        });
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let MemtableCursor { memtable: table, position, read_ahead } = self;
        let (entry, version) = position.expect("the cursor stands on an entry").of(table);
        *position = match version.older() {
            Some(older) => Some(Position::new(entry, older)),
            None => {
                let next = table.list().after(table.space(), Some(entry));
                if let Some(next) = next {
                    read_ahead.step(table, entry, next);
                }
                next.map(Position::newest_of)
            }
        };
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        let table = &*self.memtable;
        let (entry, version) = self.current();
        let newest = entry.newest();
        self.position = match newest.slot() == version.slot() {
            true => table.list().before(table.space(), entry).map(Position::oldest_of),
            false => Some(Position::new(entry, newest.newer_than(version))),
        };
        Ok(())
    }
}

impl fmt::Debug for MemtableCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.position.map(|_| self.key());
        f.debug_struct("MemtableCursor").field("key", &key).finish()
    }
}
