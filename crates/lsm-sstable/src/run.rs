//! A sorted run: tables whose user keys do not overlap, in order; one level of the tree.
//!
//! Invariant: the bounds of a member contain all its user keys, and every user key of a member is
//! above every one of the member before. (So the versions of a user key are in one table.)

use std::sync::Arc;

use lsm_base::key::{compare_user_keys, key_prefix};
use lsm_base::{Cursor, InternalKeyRef, Result, Seq};

use crate::cursor::TableCursor;
use crate::options::CursorMode;
use crate::table::Table;

/// A table of a run, and the bounds of its user keys.
#[derive(Clone, Debug)]
pub struct RunTable {
    /// The table.
    pub table: Arc<Table>,
    /// Its first user key, or one below.
    pub smallest: Box<[u8]>,
    /// Its last user key, or one above.
    pub largest: Box<[u8]>,
}

/// The tables of a run.
#[derive(Debug, Default)]
pub struct SortedRun {
    tables: Box<[RunTable]>,
    /// The prefixes of the largest keys, so that a search looks at few keys.
    largest_prefixes: Box<[u64]>,
}

impl SortedRun {
    /// The run of these tables.
    ///
    /// # Panics
    /// If their bounds overlap or are not in order.
    #[must_use]
    pub fn new(tables: Vec<RunTable>) -> Arc<SortedRun> {
        for table in &tables {
            assert!(table.smallest <= table.largest, "the bounds of a table in order");
        }
        for pair in tables.windows(2) {
            assert!(pair[0].largest < pair[1].smallest, "the tables of a run are disjoint");
        }
        let largest_prefixes = tables.iter().map(|table| key_prefix(&table.largest)).collect();
        Arc::new(SortedRun { tables: tables.into_boxed_slice(), largest_prefixes })
    }

    /// The tables, in key order.
    #[must_use]
    pub fn tables(&self) -> &[RunTable] {
        &self.tables
    }

    /// The one table whose bounds contain the key.
    #[must_use]
    #[inline]
    pub fn find(&self, user_key: &[u8]) -> Option<&Arc<Table>> {
        let table = self.tables.get(self.lower_bound(user_key))?;
        (&*table.smallest <= user_key).then_some(&table.table)
    }

    /// A cursor over all entries of the run.
    #[must_use]
    pub fn cursor(self: &Arc<Self>, mode: CursorMode) -> RunCursor {
        RunCursor { run: Arc::clone(self), mode, index: 0, cursor: None }
    }

    /// The first table whose largest key is at or above the key.
    #[inline]
    fn lower_bound(&self, user_key: &[u8]) -> usize {
        let prefix = key_prefix(user_key);
        let first = self.largest_prefixes.partition_point(|&largest| largest < prefix);
        if self.largest_prefixes.get(first) != Some(&prefix) {
            return first;
        }
        let ties = self.largest_prefixes[first..].partition_point(|&largest| largest == prefix);
        first
            + self.tables[first..first + ties]
                .partition_point(|table| compare_user_keys(&table.largest, user_key).is_lt())
    }
}

/// A position among the entries of a run. Tables are opened when the cursor reaches them.
#[derive(Debug)]
pub struct RunCursor {
    run: Arc<SortedRun>,
    mode: CursorMode,
    /// The table of `cursor`.
    index: usize,
    cursor: Option<TableCursor>,
}

impl RunCursor {
    /// The cursor of a table; `None` if there is no such table.
    fn enter(&mut self, index: usize) -> Option<&mut TableCursor> {
        if self.index != index || self.cursor.is_none() {
            let table = self.run.tables.get(index);
            self.cursor = table.map(|table| table.table.cursor(self.mode));
            self.index = index;
        }
        self.cursor.as_mut()
    }

    /// Goes on to the first entry of the tables behind if the current one has no more.
    #[inline]
    fn settle_forward(&mut self) -> Result<()> {
        if self.valid() { Ok(()) } else { self.enter_following() }
    }

    fn enter_following(&mut self) -> Result<()> {
        while !self.valid() {
            let Some(cursor) = self.enter(self.index + 1) else { return Ok(()) };
            cursor.seek_to_first()?;
        }
        Ok(())
    }

    fn settle_backward(&mut self) -> Result<()> {
        while !self.valid() {
            let Some(index) = self.index.checked_sub(1) else { return Ok(()) };
            let Some(cursor) = self.enter(index) else { return Ok(()) };
            cursor.seek_to_last()?;
        }
        Ok(())
    }

    #[inline]
    fn current(&self) -> &TableCursor {
        self.cursor.as_ref().expect("the cursor stands on an entry")
    }

    #[inline]
    fn current_mut(&mut self) -> &mut TableCursor {
        self.cursor.as_mut().expect("the cursor stands on an entry")
    }
}

impl Cursor for RunCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.cursor.as_ref().is_some_and(TableCursor::valid)
    }

    #[inline]
    fn key(&self) -> InternalKeyRef<'_> {
        self.current().key()
    }

    #[inline]
    fn peek(&self) -> Option<InternalKeyRef<'_>> {
        self.cursor.as_ref()?.peek()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().value()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        let Some(cursor) = self.enter(0) else { return Ok(()) };
        cursor.seek_to_first()?;
        self.settle_forward()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        let Some(last) = self.run.tables.len().checked_sub(1) else { return Ok(()) };
        let Some(cursor) = self.enter(last) else { return Ok(()) };
        cursor.seek_to_last()?;
        self.settle_backward()
    }

    fn seek(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        let index = self.run.lower_bound(user_key);
        let Some(cursor) = self.enter(index) else { return Ok(()) };
        cursor.seek(user_key, seq)?;
        self.settle_forward()
    }

    fn seek_before(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        let index = self.run.lower_bound(user_key);
        let Some(cursor) = self.enter(index) else { return self.seek_to_last() };
        cursor.seek_before(user_key, seq)?;
        self.settle_backward()
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.current_mut().next()?;
        self.settle_forward()
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.current_mut().prev()?;
        self.settle_backward()
    }
}
