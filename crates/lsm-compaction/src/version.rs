//! Versions: which tables the store consists of at one moment.
//!
//! Invariant: a version never changes; an edit makes a new one, which shares the levels that the
//! edit leaves alone. An edit that would break an invariant of [`Tree`] makes none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lsm_base::{Error, KeyspaceId, Result};

use crate::edit::{CreatedKeyspace, VersionEdit};
use crate::table_meta::TableMeta;
use crate::tree::Tree;

/// How many levels a tree has.
pub const LEVELS: usize = 7;

/// The tables of every keyspace. Immutable; a clone shares everything.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Version {
    trees: Arc<BTreeMap<KeyspaceId, Arc<Tree>>>,
}

impl Version {
    /// A version without keyspaces.
    #[must_use]
    pub fn new() -> Version {
        Version::default()
    }

    /// The tree of a keyspace, unless it was dropped or never created.
    #[must_use]
    pub fn tree(&self, keyspace: KeyspaceId) -> Option<&Arc<Tree>> {
        self.trees.get(&keyspace)
    }

    /// The trees by keyspace.
    pub fn trees(&self) -> impl Iterator<Item = (KeyspaceId, &Arc<Tree>)> {
        self.trees.iter().map(|(keyspace, tree)| (*keyspace, tree))
    }

    /// The keyspace of this name.
    #[must_use]
    pub fn keyspace(&self, name: &str) -> Option<KeyspaceId> {
        self.trees().find(|(_, tree)| tree.name() == name).map(|(keyspace, _)| keyspace)
    }

    /// Every table of the store.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableMeta>> {
        self.trees.values().flat_map(|tree| tree.tables().map(|(_, table)| table))
    }

    /// The version after `edit`.
    ///
    /// # Errors
    /// `InvalidArgument` if the edit deletes what is not there, adds what contradicts the tables
    /// that stay, or names a keyspace that does not live.
    pub fn apply(&self, edit: &VersionEdit) -> Result<Version> {
        self.change(edit).map_err(Error::InvalidArgument)
    }

    fn change(&self, edit: &VersionEdit) -> Result<Version, String> {
        let mut trees = BTreeMap::clone(&self.trees);
        for dropped in &edit.dropped_keyspaces {
            if trees.remove(&dropped.id).is_none() {
                return Err(format!("there is no keyspace {} to drop", dropped.id.0));
            }
        }
        for created in &edit.created_keyspaces {
            create(&mut trees, created)?;
        }
        for (keyspace, change) in changes(edit)? {
            let Some(tree) = trees.get_mut(&keyspace) else {
                return Err(format!("there is no keyspace {} to change", keyspace.0));
            };
            *tree = Arc::new(tree.change(&change.deleted, &change.added)?);
        }
        Ok(Version { trees: Arc::new(trees) })
    }
}

impl fmt::Debug for Version {
    /// A line for each keyspace and each table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (keyspace, tree) in self.trees() {
            write!(f, "keyspace {} `{}`\n{tree:?}", keyspace.0, tree.name())?;
        }
        Ok(())
    }
}

/// Longest name of a keyspace, in bytes.
pub const MAX_KEYSPACE_NAME_LEN: usize = 64;

/// Whether a keyspace may have this name: 1 to 64 of `[A-Za-z0-9_-]`.
#[must_use]
pub fn is_keyspace_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_KEYSPACE_NAME_LEN).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn create(
    trees: &mut BTreeMap<KeyspaceId, Arc<Tree>>,
    created: &CreatedKeyspace,
) -> Result<(), String> {
    let CreatedKeyspace { id, name, unknown } = created;
    if !is_keyspace_name(name) {
        return Err(format!("keyspace {} has a forbidden name", id.0));
    }
    if trees.values().any(|tree| tree.name() == name) {
        return Err(format!("there are two keyspaces `{name}`"));
    }
    match trees.insert(*id, Arc::new(Tree::with_options(name, unknown))) {
        None => Ok(()),
        Some(_) => Err(format!("there are two keyspaces {}", id.0)),
    }
}

/// What an edit does to one tree.
#[derive(Default)]
struct Change {
    deleted: Vec<(usize, u64)>,
    added: Vec<(usize, Arc<TableMeta>)>,
}

fn changes(edit: &VersionEdit) -> Result<BTreeMap<KeyspaceId, Change>, String> {
    let mut changes = BTreeMap::<KeyspaceId, Change>::new();
    for deleted in &edit.deleted_tables {
        let change = changes.entry(deleted.keyspace).or_default();
        change.deleted.push((deleted.level, deleted.number));
    }
    for added in &edit.added_tables {
        added.table.check()?;
        let change = changes.entry(added.table.keyspace).or_default();
        change.added.push((added.level, Arc::clone(&added.table)));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::DroppedKeyspace;
    use crate::testing::table;
    use expect_test::expect;
    use lsm_base::Seq;

    fn created(id: u32, name: &str) -> VersionEdit {
        let created = CreatedKeyspace { id: KeyspaceId(id), name: name.into(), unknown: vec![] };
        VersionEdit { created_keyspaces: vec![created], ..VersionEdit::default() }
    }

    #[test]
    fn keyspaces_come_and_go_with_their_tables() {
        let mut edit = created(0, "default");
        edit.add_table(6, Arc::new(table(1, "a", "m", 5, 9)));
        let version = Version::new().apply(&edit).unwrap();
        let version = version.apply(&created(1, "users")).unwrap();
        expect![[r#"
            keyspace 0 `default`
            L6 000001.sst [a#9:Put..m#5:Put] 1048576 bytes, 100 entries, 0 tombstones, #5..#9, None
            keyspace 1 `users`
        "#]]
        .assert_eq(&format!("{version:?}"));
        let dropped = DroppedKeyspace { id: KeyspaceId(0), seq: Seq::new(10) };
        let edit = VersionEdit { dropped_keyspaces: vec![dropped], ..VersionEdit::default() };
        let version = version.apply(&edit).unwrap();
        assert_eq!(version.tables().count(), 0);
        assert_eq!(version.keyspace("users"), Some(KeyspaceId(1)));
        assert!(version.apply(&edit).is_err());
    }

    #[test]
    fn names_and_ids_are_unique_and_well_formed() {
        let version = Version::new().apply(&created(0, "a-Z_9")).unwrap();
        for edit in [created(1, "a-Z_9"), created(0, "b"), created(1, ""), created(1, "ä")] {
            assert!(matches!(version.apply(&edit), Err(Error::InvalidArgument(_))), "{edit:?}");
        }
        assert!(version.apply(&created(1, &"x".repeat(64))).is_ok());
        assert!(version.apply(&created(1, &"x".repeat(65))).is_err());
    }

    #[test]
    fn tables_of_unknown_keyspaces_and_impossible_tables_are_refused() {
        let version = Version::new();
        let mut edit = VersionEdit::default();
        edit.add_table(0, Arc::new(table(1, "a", "m", 5, 9)));
        assert!(version.apply(&edit).is_err());
        let version = version.apply(&created(0, "default")).unwrap();
        assert!(version.apply(&edit).is_ok());
        let mut reversed = table(1, "a", "m", 5, 9);
        std::mem::swap(&mut reversed.smallest, &mut reversed.largest);
        let mut edit = VersionEdit::default();
        edit.add_table(0, Arc::new(reversed));
        assert!(version.apply(&edit).is_err());
    }

    #[test]
    fn an_edit_shares_what_it_leaves_alone() {
        let mut edit = created(0, "default");
        edit.add_table(6, Arc::new(table(1, "a", "m", 5, 9)));
        let before = Version::new().apply(&edit).unwrap();
        let mut edit = VersionEdit::default();
        edit.add_table(5, Arc::new(table(2, "a", "m", 15, 19)));
        let after = before.apply(&edit).unwrap();
        let level = |version: &Version| Arc::clone(version.tree(KeyspaceId(0)).unwrap().level(6));
        assert!(Arc::ptr_eq(&level(&before), &level(&after)));
    }
}
