//! What the commands ask: a directory, or a server. Both answer the same questions.

mod directory;
mod requests;
mod server;
mod verify;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use lsm_compaction::version::is_keyspace_name;
use lsm_engine::Seq;
use lsm_server::wire::{ItemRef, Stats, Tree};
use serde::Serialize;

use self::directory::Directory;
pub(crate) use self::directory::must_exist;
#[cfg(test)]
pub(crate) use self::directory::tests as directories;
use self::server::Server;
use crate::args::{self, Place};
use crate::exit::{self, Failure, Outcome};
use crate::files;
use crate::progress::Progress;

/// A store. Calls that write return when what they wrote is on disk, but for
/// [`write`](Source::write), which may leave that to the end of the use.
pub(crate) trait Source: Send {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Outcome<Option<Found>>;

    /// Stores a value, if the condition holds.
    fn put(&self, key: &[u8], value: &[u8], condition: PutCondition) -> Outcome;

    /// Removes keys, all at once.
    fn delete(&self, keys: &[Vec<u8>]) -> Outcome;

    /// Removes a key that must have a value. Returns whether it had one.
    fn delete_existing(&self, key: &[u8]) -> Outcome<bool>;

    /// Stores a batch, whole or not at all.
    fn write(&self, batch: &[Pair]) -> Outcome;

    /// Gives every item of a range to `each`, as of one moment.
    fn scan(
        &self,
        range: &Range,
        what: Wanted,
        each: &mut dyn FnMut(ItemRef<'_>) -> Outcome,
    ) -> Outcome;

    /// Figures about the store.
    fn stats(&self) -> Outcome<Stats>;

    /// The shape of the tree.
    fn tree(&self) -> Outcome<Tree>;

    /// Writes memtables to tables.
    fn flush(&self, progress: &Progress) -> Outcome;

    /// Merges the tables that hold keys of a range.
    fn compact(&self, start: Option<&[u8]>, end: Option<&[u8]>, progress: &Progress) -> Outcome;

    /// Makes everything safe and ends the use of the store.
    fn close(self: Box<Self>) -> Result<(), Unfinished>;

    /// The same, for who does not ask what became of what was written.
    fn finish(self: Box<Self>) -> Outcome {
        self.close().map_err(|unfinished| unfinished.failure)
    }

    /// The same, for who asked for a write and was told that it is done: if it is safe, that the rest
    /// did not come to a good end is only told.
    fn finish_write(self: Box<Self>) -> Outcome {
        match self.close() {
            Err(Unfinished { failure: Failure::Said { message, .. }, is_safe: true }) => {
                exit::say(&format!("it is done; but at the end: {message}"));
                Ok(())
            }
            closed => closed.map_err(|unfinished| unfinished.failure),
        }
    }
}

/// Why the use of a store did not come to a good end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unfinished {
    pub(crate) failure: Failure,
    /// Whether everything that was written is safe all the same.
    pub(crate) is_safe: bool,
}

/// A value that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) value: Vec<u8>,
    /// The sequence of the write that stored it.
    pub(crate) seq: u64,
}

/// What must hold for a put to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PutCondition {
    Always,
    /// The key has no value.
    Absent,
    /// The key was last written at this sequence.
    Seq(Seq),
}

/// A key and its value, to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Pair {
    /// Bytes of key and value.
    pub(crate) fn len(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// What a scan is to give of each item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    Keys,
    KeysAndValues,
}

/// Which keys a scan gives, and in which order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Range {
    /// The first key, itself included.
    pub(crate) start: Vec<u8>,
    /// The key before which the range ends, if it ends.
    pub(crate) end: Option<Vec<u8>>,
    pub(crate) limit: Option<u64>,
    pub(crate) direction: Direction,
}

/// In which order a scan gives the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Direction {
    #[default]
    Up,
    Down,
}

impl From<args::Range> for Range {
    fn from(range: args::Range) -> Range {
        let (start, end) = match range.prefix {
            Some(prefix) => {
                let end = lsm_engine::base::key::prefix_successor(&prefix.0);
                (prefix.0, end)
            }
            None => (range.start.map_or(Vec::new(), |key| key.0), range.end.map(|key| key.0)),
        };
        let direction = if range.reverse { Direction::Down } else { Direction::Up };
        Range { start, end, limit: range.limit, direction }
    }
}

/// What a verification read, and what was wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Verified {
    pub(crate) is_clean: bool,
    pub(crate) tables: u64,
    pub(crate) table_bytes: u64,
    pub(crate) entries: u64,
    pub(crate) log_records: u64,
    pub(crate) damaged_files: u64,
    /// A sentence for each damaged file, with file and offset; a server sends none.
    pub(crate) damage: Vec<String>,
    /// Whether nothing but tables was read, since the store cannot be opened.
    pub(crate) tables_only: bool,
}

/// What a command is going to do with the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Only read: nothing on disk changes.
    Read,
    /// Change what is there.
    Change,
    /// Write, and begin a new database if there is none.
    Create,
}

/// The place that the arguments and the environment name: exactly one.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Chosen {
    Directory(PathBuf),
    Server(String),
}

/// Opens the store that the arguments name.
pub(crate) fn open(place: &Place, access: Access) -> Outcome<Box<dyn Source>> {
    match chosen(place)? {
        Chosen::Directory(path) => {
            Ok(Box::new(Directory::open(&path, place.keyspace.as_deref(), access)?))
        }
        Chosen::Server(url) => Ok(Box::new(server(place, &url)?)),
    }
}

/// Reads and checks every byte of the store that the arguments name, even if it cannot be opened.
pub(crate) fn verify(place: &Place, progress: &Progress) -> Outcome<Verified> {
    match chosen(place)? {
        Chosen::Directory(path) => verify::directory(&path, progress),
        Chosen::Server(url) => server(place, &url)?.verify(progress),
    }
}

fn server(place: &Place, url: &str) -> Outcome<Server> {
    refuse_keyspace(place.keyspace.as_deref())?;
    let token = match (&place.token_file, from_env("LSM_TOKEN")) {
        (Some(path), _) => Some(files::read_token(path)?),
        (None, Some(token)) => Some(files::check_token(&token.to_string_lossy(), "LSM_TOKEN")?),
        (None, None) => None,
    };
    Server::new(url, token)
}

/// The place that the arguments and the environment name.
fn chosen(place: &Place) -> Outcome<Chosen> {
    if let Some(name) = place.keyspace.as_deref().filter(|name| !is_keyspace_name(name)) {
        let rule = "a keyspace name has 1 to 64 of A-Z a-z 0-9 _ -";
        return Err(Failure::usage(format!("--keyspace {name:?}: {rule}")));
    }
    let (db, url) = (from_env("LSM_DB").map(PathBuf::from), from_env("LSM_URL"));
    let url = url.map(|url| url.to_string_lossy().into_owned());
    let chosen = choose((place.db.clone(), place.url.clone()), (db, url))?;
    if matches!(chosen, Chosen::Directory(_)) && place.token_file.is_some() {
        return Err(Failure::usage("--token-file is for a server; a directory has no token"));
    }
    Ok(chosen)
}

/// A variable of the environment, unless it is empty.
fn from_env(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Decides between directory and server. What the arguments say hides the environment.
fn choose(
    arguments: (Option<PathBuf>, Option<String>),
    environment: (Option<PathBuf>, Option<String>),
) -> Outcome<Chosen> {
    let (given, names) = match arguments {
        (None, None) => (environment, "LSM_DB and LSM_URL are both set"),
        _ => (arguments, "--db and --url are both given"),
    };
    match given {
        (Some(path), None) => Ok(Chosen::Directory(path)),
        (None, Some(url)) => Ok(Chosen::Server(url)),
        (Some(_), Some(_)) => Err(Failure::usage(format!("{names}; choose one"))),
        (None, None) => Err(Failure::usage("say where: --db DIR or --url http://host:port")),
    }
}

fn refuse_keyspace(name: Option<&str>) -> Outcome {
    match name {
        None | Some("default") => Ok(()),
        Some(_) => Err(Failure::usage(
            "a server has no routes for keyspaces other than `default`; use --db while it is down",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Status;

    #[test]
    fn exactly_one_place_is_chosen_and_arguments_hide_the_environment() {
        let (db, url) = (Some(PathBuf::from("d")), Some("http://h".to_owned()));
        let (env_db, env_url) = (Some(PathBuf::from("e")), Some("http://e".to_owned()));
        let is = |chosen: Outcome<Chosen>, path: &str| {
            assert_eq!(chosen.unwrap(), Chosen::Directory(path.into()));
        };
        is(choose((db.clone(), None), (env_db.clone(), env_url.clone())), "d");
        is(choose((None, None), (env_db.clone(), None)), "e");
        let chosen = choose((None, url.clone()), (env_db.clone(), None)).unwrap();
        assert_eq!(chosen, Chosen::Server("http://h".into()));
        for bad in [
            choose((db, url), (None, None)),
            choose((None, None), (env_db, env_url)),
            choose((None, None), (None, None)),
        ] {
            assert!(matches!(bad, Err(Failure::Said { status: Status::Usage, .. })));
        }
    }

    #[test]
    fn a_prefix_is_a_range() {
        let prefix = |bytes: &[u8]| args::Range {
            prefix: Some(crate::text::Bytes(bytes.to_vec())),
            start: None,
            end: None,
            limit: Some(3),
            reverse: true,
        };
        let range = Range::from(prefix(b"a\xff"));
        assert_eq!((&range.start[..], range.end.as_deref()), (&b"a\xff"[..], Some(&b"b"[..])));
        assert_eq!((range.limit, range.direction), (Some(3), Direction::Down));
        assert_eq!(Range::from(prefix(b"\xff")).end, None);
    }
}
