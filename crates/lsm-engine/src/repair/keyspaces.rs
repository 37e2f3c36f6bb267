//! The keyspaces of a damaged store: which there were, which were dropped, and what they are called.
//!
//! Invariant: no two have the same name, and each has a name that a keyspace may have.

use std::collections::{BTreeMap, BTreeSet};

use lsm_base::KeyspaceId;
use lsm_base::plant::{self, Plant};
use lsm_compaction::edit::CreatedKeyspace;
use lsm_compaction::version::is_keyspace_name;

use super::evidence::Evidence;
use super::tables::Found;

/// The keyspaces that the target is to have.
#[derive(Default)]
pub(super) struct Keyspaces {
    names: BTreeMap<KeyspaceId, String>,
    dropped: BTreeSet<KeyspaceId>,
    /// Ids below this that have no name were dropped.
    known_below: u32,
    guessed: Vec<String>,
}

impl Keyspaces {
    /// Takes the names from the MANIFEST, or if that cannot be believed, from what is left of it and
    /// from the tables.
    pub(super) fn learn(&mut self, evidence: &Evidence, found: &Found) {
        self.names.insert(KeyspaceId::DEFAULT, "default".into());
        if let Some(state) = evidence.believed() {
            self.known_below = state.next_keyspace_id;
            for (id, tree) in state.version.trees() {
                self.names.insert(id, tree.name().into());
            }
            return;
        }
        self.dropped.clone_from(&evidence.dropped);
        let told = evidence.names.iter().map(|(id, name)| (*id, name.as_str()));
        for (id, name) in told.chain(found.names()) {
            if !self.dropped.contains(&id) && is_keyspace_name(name) {
                self.names.entry(id).or_insert_with(|| name.to_owned());
            }
        }
        self.drop_namesakes();
        for id in found.keyspaces() {
            self.admit(id);
        }
    }

    /// Of two keyspaces of one name, the older was dropped before the younger could be created.
    fn drop_namesakes(&mut self) {
        let mut youngest: BTreeMap<&str, KeyspaceId> = BTreeMap::new();
        for (id, name) in &self.names {
            youngest.insert(name, *id);
        }
        let is_older = |id: &KeyspaceId, name: &String| youngest[name.as_str()] != *id;
        let older: Vec<_> =
            self.names.iter().filter(|(id, name)| is_older(id, name)).map(|(id, _)| *id).collect();
        for id in older {
            self.names.remove(&id);
            self.dropped.insert(id);
        }
    }

    /// Whether the keyspace is to be in the target; one of which nothing is known gets a name.
    pub(super) fn admit(&mut self, id: KeyspaceId) -> bool {
        if self.names.contains_key(&id) {
            return true;
        }
        let is_dropped = self.dropped.contains(&id) || id.0 < self.known_below;
        if is_dropped && !plant::is_live(Plant::RepairRevivesDropped) {
            return false;
        }
        let mut name = format!("keyspace-{}", id.0);
        while self.names.values().any(|other| *other == name) {
            name.push('-');
        }
        self.guessed.push(name.clone());
        self.names.insert(id, name);
        true
    }

    /// The name of a keyspace of the target.
    pub(super) fn name(&self, id: KeyspaceId) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (KeyspaceId, &str)> {
        self.names.iter().map(|(id, name)| (*id, name.as_str()))
    }

    /// The names that nothing told.
    pub(super) fn guessed(&self) -> &[String] {
        &self.guessed
    }

    /// All of them but the one that every store begins with.
    pub(super) fn created(&self) -> Vec<CreatedKeyspace> {
        let created = self.iter().filter(|(id, _)| *id != KeyspaceId::DEFAULT);
        created
            .map(|(id, name)| CreatedKeyspace { id, name: name.into(), unknown: Vec::new() })
            .collect()
    }
}
