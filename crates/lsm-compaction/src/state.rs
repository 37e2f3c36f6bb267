//! The state of the store as the MANIFEST tells it: the version, and the counters around it.
//!
//! Invariant: a state is what the edits since the first record of the MANIFEST add up to, and
//! [`State::snapshot_edit`] is one edit that adds up to the same. Counters never go back.

use std::sync::Arc;

use lsm_base::key::KEY_ORDER;
use lsm_base::{Error, KeyspaceId, Result, Seq};

use crate::edit::{
    CHECKSUM, CreatedKeyspace, FORMAT_VERSION, Header, LogFloor, LogPosition, VersionEdit,
};
use crate::item::Item;
use crate::version::Version;

/// What the MANIFEST says. Immutable; a clone shares the tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Which store this is.
    pub header: Header,
    /// The tables.
    pub version: Version,
    /// Which part of the log is still needed.
    pub log_floor: LogFloor,
    /// Files of tables and MANIFESTs are numbered from here on.
    pub next_file_number: u64,
    /// The first sequence that the newest opening of the store may hand out.
    pub first_seq: Seq,
    /// No sequence up to this one is handed out again.
    pub last_seq: Seq,
    /// Keyspaces are numbered from here on; whichever is below and has no tree was dropped.
    pub next_keyspace_id: u32,
    /// Where the log ends, whole; `None` unless the store was closed and not opened since.
    pub clean_close: Option<LogPosition>,
    /// Items that this build does not know and may ignore.
    pub unknown: Vec<Item>,
}

impl State {
    /// The state of a new store: one keyspace, `default`, and no tables.
    #[must_use]
    pub fn new(db_id: u128) -> State {
        let header = Header {
            format_version: FORMAT_VERSION,
            db_id,
            key_order: KEY_ORDER.into(),
            checksum: CHECKSUM.into(),
        };
        let default = CreatedKeyspace {
            id: KeyspaceId::DEFAULT,
            name: "default".into(),
            unknown: Vec::new(),
        };
        let edit = VersionEdit { created_keyspaces: vec![default], ..VersionEdit::default() };
        let version = Version::new().apply(&edit).expect("the first keyspace of a store");
        State { version, next_keyspace_id: 1, ..State::empty(header) }
    }

    /// The state that the first record of a MANIFEST is applied to.
    pub(crate) fn empty(header: Header) -> State {
        State {
            header,
            version: Version::new(),
            log_floor: LogFloor::default(),
            next_file_number: 1,
            first_seq: Seq::ZERO,
            last_seq: Seq::ZERO,
            next_keyspace_id: 0,
            clean_close: None,
            unknown: Vec::new(),
        }
    }

    /// The state after `edit`.
    ///
    /// # Errors
    /// `InvalidArgument` as [`Version::apply`], or if the edit has a header, uses a keyspace id
    /// again, or takes back what was promised about the log or the first sequence.
    pub fn apply(&self, edit: &VersionEdit) -> Result<State> {
        match edit.header {
            None => self.change(edit),
            Some(_) => Err(Error::invalid("a header behind the first record")),
        }
    }

    pub(crate) fn change(&self, edit: &VersionEdit) -> Result<State> {
        let mut state = self.clone();
        state.advance(edit).map_err(Error::InvalidArgument)?;
        state.version = self.version.apply(edit)?;
        state.clean_close = edit.clean_close;
        state.unknown.extend_from_slice(&edit.unknown);
        Ok(state)
    }

    /// The whole state as one edit: the first record of a fresh MANIFEST.
    #[must_use]
    pub fn snapshot_edit(&self) -> VersionEdit {
        let mut edit = VersionEdit {
            header: Some(self.header.clone()),
            log_floor: Some(self.log_floor),
            next_file_number: Some(self.next_file_number),
            first_seq: Some(self.first_seq),
            last_seq: Some(self.last_seq),
            next_keyspace_id: Some(self.next_keyspace_id),
            clean_close: self.clean_close,
            unknown: self.unknown.clone(),
            ..VersionEdit::default()
        };
        for (id, tree) in self.version.trees() {
            let (name, unknown) = (tree.name().into(), tree.options().to_vec());
            edit.created_keyspaces.push(CreatedKeyspace { id, name, unknown });
            for (level, table) in tree.tables() {
                edit.add_table(level, Arc::clone(table));
            }
        }
        edit
    }

    /// Moves the counters: reserved numbers and used sequences only grow, in whatever order edits
    /// come in; what is promised about the log must not be taken back.
    fn advance(&mut self, edit: &VersionEdit) -> Result<(), String> {
        for created in &edit.created_keyspaces {
            if created.id.0 < self.next_keyspace_id {
                return Err(format!("keyspace id {} was in use before", created.id.0));
            }
            // Behind the last one there is none to go on with, so it would come again.
            if created.id.0 == u32::MAX {
                return Err("every keyspace id was in use before".into());
            }
        }
        let created = edit.created_keyspaces.iter().map(|created| created.id.0.saturating_add(1));
        let ids = created.chain(edit.next_keyspace_id);
        self.next_keyspace_id = ids.fold(self.next_keyspace_id, u32::max);

        let numbers = edit.added_tables.iter().map(|added| added.table.number.saturating_add(1));
        let numbers = numbers.chain(edit.next_file_number);
        self.next_file_number = numbers.fold(self.next_file_number, u64::max);

        let added = edit.added_tables.iter().map(|added| added.table.max_seq);
        let seqs = added.chain(edit.dropped_keyspaces.iter().map(|dropped| dropped.seq));
        self.last_seq = seqs.chain(edit.last_seq).fold(self.last_seq, Seq::max);

        raise("first sequence", &mut self.first_seq, edit.first_seq)?;
        if let Some(floor) = edit.log_floor {
            let LogFloor { first_segment, synced, highest_segment } = &mut self.log_floor;
            raise("first segment", first_segment, Some(floor.first_segment))?;
            raise("synced position of the log", synced, Some(floor.synced))?;
            raise("highest segment", highest_segment, Some(floor.highest_segment))?;
        }
        Ok(())
    }
}

fn raise<T: Ord + std::fmt::Debug>(
    what: &str,
    counter: &mut T,
    value: Option<T>,
) -> Result<(), String> {
    match value {
        Some(value) if value < *counter => {
            Err(format!("the {what} goes back from {counter:?} to {value:?}"))
        }
        Some(value) => {
            *counter = value;
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::DroppedKeyspace;
    use crate::testing::table;

    fn position(segment: u64, offset: u64) -> LogPosition {
        LogPosition { segment, offset }
    }

    #[test]
    fn counters_follow_what_enters_and_never_go_back() {
        let state = State::new(7);
        let mut edit = VersionEdit { next_file_number: Some(5), ..VersionEdit::default() };
        edit.add_table(0, Arc::new(table(9, "a", "m", 5, 20)));
        let state = state.apply(&edit).unwrap();
        assert_eq!((state.next_file_number, state.last_seq), (10, Seq::new(20)));
        let late = VersionEdit {
            next_file_number: Some(6),
            last_seq: Some(Seq::new(11)),
            ..VersionEdit::default()
        };
        let state = state.apply(&late).unwrap();
        assert_eq!((state.next_file_number, state.last_seq), (10, Seq::new(20)));
    }

    #[test]
    fn what_was_promised_about_the_log_stands() {
        let floor = |first_segment, synced, highest_segment| VersionEdit {
            log_floor: Some(LogFloor { first_segment, synced, highest_segment }),
            ..VersionEdit::default()
        };
        let state = State::new(7).apply(&floor(3, position(4, 100), 5)).unwrap();
        assert!(state.apply(&floor(3, position(4, 100), 5)).is_ok());
        for edit in [
            floor(2, position(4, 100), 5),
            floor(3, position(4, 99), 5),
            floor(3, position(4, 100), 4),
        ] {
            assert!(matches!(state.apply(&edit), Err(Error::InvalidArgument(_))));
        }
    }

    #[test]
    fn counters_that_are_said_count_and_the_first_sequence_stands() {
        let edit = VersionEdit {
            next_file_number: Some(5),
            first_seq: Some(Seq::new(30)),
            last_seq: Some(Seq::new(40)),
            next_keyspace_id: Some(9),
            ..VersionEdit::default()
        };
        let state = State::new(7).apply(&edit).unwrap();
        assert_eq!((state.next_file_number, state.next_keyspace_id), (5, 9));
        assert_eq!((state.first_seq, state.last_seq), (Seq::new(30), Seq::new(40)));
        let first = |seq| VersionEdit { first_seq: Some(Seq::new(seq)), ..VersionEdit::default() };
        assert!(state.apply(&first(30)).is_ok());
        assert_eq!(state.apply(&first(31)).unwrap().first_seq, Seq::new(31));
        let error = state.apply(&first(29)).unwrap_err();
        assert_eq!(error.to_string(), "the first sequence goes back from #30 to #29");
    }

    #[test]
    fn a_header_comes_first_or_never() {
        let state = State::new(7);
        let edit = VersionEdit { header: Some(state.header.clone()), ..VersionEdit::default() };
        assert!(matches!(state.apply(&edit), Err(Error::InvalidArgument(_))));
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let item = |tag| Item { tag, need: crate::item::Need::Optional, payload: vec![1] };
        let edit = |tag| VersionEdit { unknown: vec![item(tag)], ..VersionEdit::default() };
        let state = State::new(7).apply(&edit(40)).unwrap().apply(&edit(41)).unwrap();
        assert_eq!(state.unknown, [item(40), item(41)]);
    }

    #[test]
    fn one_edit_adds_up_to_the_whole_state() {
        let floor = LogFloor { first_segment: 3, synced: position(4, 100), highest_segment: 5 };
        let mut edit = VersionEdit {
            log_floor: Some(floor),
            next_file_number: Some(50),
            first_seq: Some(Seq::new(30)),
            last_seq: Some(Seq::new(40)),
            next_keyspace_id: Some(9),
            clean_close: Some(position(5, 9)),
            ..VersionEdit::default()
        };
        edit.add_table(0, Arc::new(table(9, "a", "m", 5, 20)));
        edit.add_table(6, Arc::new(table(8, "a", "m", 1, 4)));
        let state = State::new(7).apply(&edit).unwrap();
        assert_eq!((state.log_floor, state.clean_close), (floor, Some(position(5, 9))));
        let again = State::empty(state.header.clone()).change(&state.snapshot_edit()).unwrap();
        assert_eq!(again, state);
    }

    #[test]
    fn a_clean_close_holds_until_the_next_edit() {
        let close = VersionEdit { clean_close: Some(position(4, 9)), ..VersionEdit::default() };
        let closed = State::new(7).apply(&close).unwrap();
        assert_eq!(closed.clean_close, Some(position(4, 9)));
        assert_eq!(closed.apply(&VersionEdit::default()).unwrap().clean_close, None);
    }

    #[test]
    fn a_keyspace_id_is_used_once() {
        let create = |id| {
            let name = format!("k{id}");
            let created = CreatedKeyspace { id: KeyspaceId(id), name, unknown: Vec::new() };
            VersionEdit { created_keyspaces: vec![created], ..VersionEdit::default() }
        };
        let state = State::new(7).apply(&create(1)).unwrap();
        let dropped = DroppedKeyspace { id: KeyspaceId(1), seq: Seq::new(30) };
        let drop = VersionEdit { dropped_keyspaces: vec![dropped], ..VersionEdit::default() };
        let state = state.apply(&drop).unwrap();
        assert_eq!((state.next_keyspace_id, state.last_seq), (2, Seq::new(30)));
        assert!(state.apply(&create(1)).is_err());
        assert!(state.apply(&create(2)).is_ok());
        // The last one would come again, since none follows.
        assert!(state.apply(&create(u32::MAX)).is_err());
        let last = state.apply(&create(u32::MAX - 1)).unwrap();
        assert_eq!(last.next_keyspace_id, u32::MAX);
    }
}
