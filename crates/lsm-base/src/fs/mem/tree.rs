//! The names of a file system in memory, now and on the medium.
//!
//! A directory is a map from names to files and directories. Every change of a name is kept, in
//! order, until its directory is synced; what the name was at the last sync and those changes are
//! its *history*, of which a power loss leaves any one state.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::Content;
use super::inode::Inode;
use crate::fs::DirEntry;
use crate::testing::SplitMix64;

/// How many removed files are remembered for the sake of their stale sectors.
const REMEMBERED: usize = 8;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<Inode>),
    Dir,
}

#[derive(Debug)]
pub(super) struct Tree {
    /// By path from the root, whose own is empty. A directory stands before what is in it.
    dirs: BTreeMap<PathBuf, Dir>,
    /// What removed and replaced files held, the latest last.
    removed: VecDeque<Content>,
    /// How many operations on names there were.
    op_count: u64,
    pub(super) random: SplitMix64,
}

#[derive(Debug, Default)]
struct Dir {
    now: BTreeMap<Arc<str>, Node>,
    durable: BTreeMap<Arc<str>, Node>,
    unsynced: Vec<Change>,
    /// How many of these, the first ones, the next sync will not make durable.
    forgotten: usize,
}

/// A change of a name that no sync has covered. The two halves of a rename have one `op`.
#[derive(Clone, Debug)]
struct Change {
    op: u64,
    name: Arc<str>,
    node: Option<Node>,
}

/// Picks one state from the history of a name, by its place in the list of the operations that made
/// the states. The first is the durable one and counts as operation 0.
pub(super) type PickName<'a> = &'a mut dyn FnMut(&[u64]) -> usize;

/// Picks one state of a file.
pub(super) type PickContent<'a> = &'a mut dyn FnMut(&Inode) -> Content;

impl Tree {
    pub(super) fn new(random: SplitMix64) -> Tree {
        let dirs = BTreeMap::from([(PathBuf::new(), Dir::default())]);
        Tree { dirs, removed: VecDeque::new(), op_count: 0, random }
    }

    /// The length of all files together.
    pub(super) fn used(&self) -> u64 {
        let mut files = HashMap::new();
        for node in self.dirs.values().flat_map(|dir| dir.now.values()) {
            if let Node::File(inode) = node {
                files.insert(Arc::as_ptr(inode), inode.lock().now.len());
            }
        }
        files.values().sum()
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        let path = from_root(path)?;
        if self.dirs.contains_key(&path) {
            return Ok(true);
        }
        let (dir, name) = split(&path)?;
        Ok(self.dirs.get(dir).is_some_and(|dir| dir.now.contains_key(name)))
    }

    pub(super) fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        match self.exists(path)? {
            true => from_root(path),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Arc<Inode>> {
        let path = from_root(path)?;
        let (dir, name) = split(&path)?;
        match self.dirs.get(dir).and_then(|dir| dir.now.get(name)) {
            Some(Node::File(inode)) => Ok(Arc::clone(inode)),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file_or_new(&mut self, path: &Path) -> io::Result<Arc<Inode>> {
        match self.file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let inode = Inode::new(Content::default());
                self.create(path, Node::File(Arc::clone(&inode)))?;
                Ok(inode)
            }
            found => found,
        }
    }

    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.exists(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let path = from_root(path)?;
        let (dir, name) = split(&path)?;
        self.dir(dir)?;
        self.op_count += 1;
        if matches!(node, Node::Dir) {
            self.dirs.insert(path.clone(), Dir::default());
        }
        self.set(dir, name, Some(node));
        Ok(())
    }

    /// Returns how many bytes that has freed.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<u64> {
        let inode = self.file(from)?;
        let (from, to) = (from_root(from)?, from_root(to)?);
        let ((from_dir, from_name), (to_dir, to_name)) = (split(&from)?, split(&to)?);
        match self.dir(to_dir)?.now.get(to_name) {
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            // A rename between two names of one file does nothing: so says POSIX.
            Some(Node::File(other)) if Arc::ptr_eq(other, &inode) => return Ok(0),
            _ => {}
        }
        self.op_count += 1;
        let freed = self.set(to_dir, to_name, Some(Node::File(inode)));
        self.set(from_dir, from_name, None);
        Ok(freed)
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.file(from)?;
        self.create(to, Node::File(inode))
    }

    /// Returns how many bytes that has freed.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<u64> {
        self.file(path)?;
        let path = from_root(path)?;
        let (dir, name) = split(&path)?;
        self.op_count += 1;
        Ok(self.set(dir, name, None))
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let dir = self.dir_mut(&from_root(dir)?)?;
        for change in dir.unsynced.split_off(dir.forgotten) {
            // Of what was forgotten of other names a power loss may still leave any state.
            dir.unsynced.retain(|forgotten| forgotten.name != change.name);
            match change.node {
                Some(node) => dir.durable.insert(change.name, node),
                None => dir.durable.remove(&change.name),
            };
        }
        dir.forgotten = dir.unsynced.len();
        Ok(())
    }

    pub(super) fn forget_unsynced(&mut self, dir: &Path) {
        let Ok(dir) = from_root(dir) else { return };
        if let Ok(dir) = self.dir_mut(&dir) {
            dir.forgotten = dir.unsynced.len();
        }
    }

    pub(super) fn list(&mut self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.dir(&from_root(dir)?)?;
        let mut entries: Vec<DirEntry> = dir
            .now
            .iter()
            .map(|(name, node)| match node {
                Node::File(inode) => (name, inode.lock().now.len(), true),
                Node::Dir => (name, 0, false),
            })
            .map(|(name, len, is_file)| DirEntry { name: name.to_string(), len, is_file })
            .collect();
        self.random.shuffle(&mut entries);
        Ok(entries)
    }

    /// The tree that is found after a power loss that leaves the picked state of every name and
    /// of every file that has one.
    pub(super) fn image(&self, pick_name: PickName<'_>, pick_content: PickContent<'_>) -> Tree {
        let mut image = Tree::new(self.random.clone());
        image.removed.clone_from(&self.removed);
        let mut files: HashMap<*const Inode, Arc<Inode>> = HashMap::new();
        for (path, dir) in &self.dirs {
            if !image.dirs.contains_key(path) {
                // Its name is lost.
                continue;
            }
            for (name, node) in dir.survivors(pick_name) {
                let node = match node {
                    Node::Dir => {
                        image.dirs.insert(path.join(&*name), Dir::default());
                        Node::Dir
                    }
                    Node::File(old) => {
                        let new = files
                            .entry(Arc::as_ptr(&old))
                            .or_insert_with(|| Inode::new(pick_content(&old)));
                        new.lock().links += 1;
                        Node::File(Arc::clone(new))
                    }
                };
                let dir = image.dirs.get_mut(path).expect("it was just found there");
                dir.now.insert(Arc::clone(&name), node.clone());
                dir.durable.insert(name, node);
            }
        }
        image
    }

    /// The tree that is found after a power loss that left a mixture.
    pub(super) fn subset(&self, seed: u64) -> Tree {
        let mut random = SplitMix64::new(seed);
        let mut names = SplitMix64::new(random.next_u64());
        // None of the changes, all, the first ones as a journal keeps them, or every name for itself.
        let cut = self.op_count - random.below(self.unsynced_op_count() + 1);
        let mode = random.below(4);
        let mut pick_name = |ops: &[u64]| match mode {
            0 => 0,
            1 => ops.len() - 1,
            2 => ops.partition_point(|&op| op <= cut) - 1,
            _ => names.below(ops.len() as u64) as usize,
        };
        let stale = self.removed.iter().cloned().collect::<Vec<_>>();
        self.image(&mut pick_name, &mut |file| file.lock().survivor(&mut random, &stale))
    }

    /// How many operations back the oldest is that some directory has not synced.
    fn unsynced_op_count(&self) -> u64 {
        let oldest = self.dirs.values().filter_map(|dir| dir.unsynced.first()).map(|c| c.op).min();
        oldest.map_or(0, |oldest| self.op_count + 1 - oldest)
    }

    fn dir(&self, path: &Path) -> io::Result<&Dir> {
        self.dirs.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn dir_mut(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dirs.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Changes what a name in an existing directory stands for, and returns how many bytes that has
    /// freed.
    fn set(&mut self, dir: &Path, name: &str, node: Option<Node>) -> u64 {
        if let Some(Node::File(inode)) = &node {
            inode.lock().links += 1;
        }
        let op = self.op_count;
        let dir = self.dir_mut(dir).expect("the caller has looked it up");
        let name: Arc<str> = name.into();
        let replaced = match &node {
            Some(node) => dir.now.insert(Arc::clone(&name), node.clone()),
            None => dir.now.remove(&name),
        };
        dir.unsynced.push(Change { op, name, node });
        let Some(Node::File(inode)) = replaced else { return 0 };
        let mut file = inode.lock();
        file.links -= 1;
        if file.links != 0 {
            return 0;
        }
        if self.removed.len() == REMEMBERED {
            self.removed.pop_front();
        }
        self.removed.push_back(file.now.clone());
        // While it has a handle its space stays taken: the handle's end frees it.
        if file.is_gone() { file.now.len() } else { 0 }
    }
}

impl Dir {
    /// The entries of which the picked state is not "absent".
    fn survivors(&self, pick: PickName<'_>) -> BTreeMap<Arc<str>, Node> {
        let mut entries = self.durable.clone();
        let mut changes: Vec<&Change> = self.unsynced.iter().collect();
        // Stable: the changes of a name stay in order.
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        for of_name in changes.chunk_by(|a, b| a.name == b.name) {
            let name = &of_name[0].name;
            let mut ops = vec![0];
            ops.extend(of_name.iter().map(|change| change.op));
            // State 0 is the one that `entries` already has.
            let Some(last) = pick(&ops).checked_sub(1) else { continue };
            match &of_name[last].node {
                Some(node) => entries.insert(Arc::clone(name), node.clone()),
                None => entries.remove(name),
            };
        }
        entries
    }
}

/// The path from the root, which is also the working directory.
fn from_root(path: &Path) -> io::Result<PathBuf> {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => result.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
    }
    Ok(result)
}

/// The directory and the name of a path from the root.
fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((path.parent().expect("a path with a name has a parent"), name))
}
