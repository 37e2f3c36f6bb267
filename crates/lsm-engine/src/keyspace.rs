//! Keyspaces: separate orders of keys in one database, written together by one log.

use std::fmt;
use std::sync::Arc;

use lsm_base::{KeyspaceId, Seq};
use lsm_compaction::VersionEdit;
use lsm_compaction::edit::{CreatedKeyspace, DroppedKeyspace};
use lsm_compaction::version::is_keyspace_name;

use crate::error::{Error, Result};
use crate::handle::{Caller, Handle};
use crate::inner::Inner;
use crate::options::WriteOptions;
use crate::read::{Read, View};
use crate::version_set::Current;

/// A keyspace of a database. Cheap to clone.
///
/// Its reads and writes are those of [`Read`] and of [`Db`](crate::Db); a batch writes to several
/// keyspaces at once by [`WriteBatch::put_in`](crate::WriteBatch::put_in), which takes the number
/// alone: a batch does not notice that a keyspace is one of another database.
#[derive(Clone)]
pub struct Keyspace {
    handle: Handle,
    id: KeyspaceId,
    name: Arc<str>,
}

impl Keyspace {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number, unique for the life of the database.
    #[must_use]
    pub const fn id(&self) -> KeyspaceId {
        self.id
    }

    /// Stores `value` under `key`; like [`Db::put`](crate::Db::put).
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Seq> {
        self.put_with(key, value, &WriteOptions::default())
    }

    /// Stores `value` under `key`; like [`Db::put_with`](crate::Db::put_with).
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &WriteOptions,
    ) -> Result<Seq> {
        self.handle.call(|call| call.put(self.id, key.as_ref(), value.as_ref(), options))
    }

    /// Removes `key`; like [`Db::delete`](crate::Db::delete).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Seq> {
        self.delete_with(key, &WriteOptions::default())
    }

    /// Removes `key`; like [`Db::delete_with`](crate::Db::delete_with).
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: &WriteOptions) -> Result<Seq> {
        self.handle.call(|call| call.delete(self.id, key.as_ref(), options))
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = &self.handle.look().dir;
        f.debug_struct("Keyspace").field("dir", dir).field("name", &self.name).finish()
    }
}

impl Read for Keyspace {
    fn view(&self) -> View<'_> {
        View { inner: self.handle.look(), keyspace: self.id, seq: None }
    }
}

impl From<&Keyspace> for KeyspaceId {
    fn from(keyspace: &Keyspace) -> KeyspaceId {
        keyspace.id
    }
}

impl Handle {
    /// Every keyspace, by name.
    pub(crate) fn keyspaces(&self) -> Result<Vec<Keyspace>> {
        self.look().check_open()?;
        let super_version = self.look().super_versions.load();
        let trees = super_version.version.state.version.trees();
        let mut keyspaces: Vec<_> =
            trees.map(|(id, tree)| self.keyspace_handle(id, tree.name())).collect();
        keyspaces.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keyspaces)
    }

    fn keyspace_handle(&self, id: KeyspaceId, name: &str) -> Keyspace {
        Keyspace { handle: self.clone(), id, name: name.into() }
    }
}

impl Caller<'_> {
    /// The keyspace of this name, created if there is none.
    pub(crate) fn keyspace(&self, name: &str) -> Result<Keyspace> {
        self.check_open()?;
        if !is_keyspace_name(name) {
            let detail = format!("a keyspace name has 1 to 64 of A-Z a-z 0-9 _ -: {name:?}");
            return Err(Error::invalid(detail));
        }
        let id = match self.find_keyspace(name) {
            Some(id) => id,
            None => self.create_keyspace(name)?,
        };
        Ok(self.handle().keyspace_handle(id, name))
    }

    fn create_keyspace(&self, name: &str) -> Result<KeyspaceId> {
        let _call = self.begin_call()?;
        let mut current = self.versions.lock();
        self.versions.decide(self, &mut current)?;
        // Somebody else may have created it while this call waited for the lock.
        if let Some(id) = current.state().version.keyspace(name) {
            return Ok(id);
        }
        let id = KeyspaceId(current.state().next_keyspace_id);
        let created = CreatedKeyspace { id, name: name.into(), unknown: Vec::new() };
        let edit = VersionEdit { created_keyspaces: vec![created], ..VersionEdit::default() };
        self.install_in_order(&mut current, edit)?;
        Ok(id)
    }

    /// Drops a keyspace and all that is in it.
    pub(crate) fn drop_keyspace(&self, name: &str) -> Result<()> {
        let _call = self.begin_call()?;
        // Edits before this one are decided first, and none comes between the place in commit order
        // and the edit: what fails up to there leaves the keyspace as it was.
        let mut current = self.versions.lock();
        self.versions.decide(self, &mut current)?;
        let Some(id) = current.state().version.keyspace(name) else {
            return Err(Error::invalid(format!("there is no keyspace {name:?}")));
        };
        if id == KeyspaceId::DEFAULT {
            return Err(Error::invalid("the default keyspace cannot be dropped"));
        }
        self.commit().drop_keyspace(self, id, |seq| {
            // The log is on disk up to the place of the drop before the drop is, so no older write
            // can be lost behind it.
            self.commit().sync(self)?;
            let dropped = DroppedKeyspace { id, seq };
            let edit = VersionEdit { dropped_keyspaces: vec![dropped], ..VersionEdit::default() };
            self.install_in_order(&mut current, edit)
        })
    }
}

impl Inner {
    /// Installs the edit of a call that has to say what became of it: a failure may leave it
    /// undecided.
    fn install_in_order(&self, current: &mut Current, edit: VersionEdit) -> Result<()> {
        self.versions.log_and_apply(self, current, edit.into()).map_err(|error| {
            match error.base() {
                Some(cause) if current.is_undecided() => Error::indeterminate(cause.clone()),
                _ => error,
            }
        })
    }
}
