//! Runs the binary.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use lsm_engine::{Db, Options};
use tempfile::TempDir;

/// A directory for a database, and the program that works on it.
pub(crate) struct Lsm {
    dir: TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Lsm {
    /// In an empty directory: there is no database yet.
    pub(crate) fn new() -> Lsm {
        Lsm { dir: tempfile::tempdir().unwrap() }
    }

    /// The directory of the database.
    pub(crate) fn db(&self) -> PathBuf {
        self.dir.path().join("db")
    }

    /// A file beside the database.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Leaves the database as a kill does: with a log, which holds one more write.
    pub(crate) fn kill_after_a_write(&self) {
        let options = Options { background_threads: 0, ..Options::default() };
        let db = Db::builder(self.db()).options(options).open().unwrap();
        db.put("late", "write").unwrap();
        // The files of a store that is open are those of one that was killed.
        let killed = self.dir.path().join("killed");
        std::fs::create_dir(&killed).unwrap();
        for file in self.files("") {
            std::fs::copy(&file, killed.join(file.file_name().unwrap())).unwrap();
        }
        drop(db);
        std::fs::remove_dir_all(self.db()).unwrap();
        std::fs::rename(killed, self.db()).unwrap();
    }

    /// The program with these arguments, on this database.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = bare(arguments);
        command.arg("--db").arg(self.db());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        run(&mut self.command(arguments), b"")
    }

    /// Runs it with something on stdin.
    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, arguments: &[S], stdin: &[u8]) -> Ran {
        run(&mut self.command(arguments), stdin)
    }

    /// Runs it; it must succeed and say nothing on stderr. Returns stdout.
    pub(crate) fn ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        self.run(arguments).ok()
    }

    /// The files of the database with this ending, or whose names begin so, in order.
    pub(crate) fn files(&self, part: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.db()).unwrap().map(|entry| entry.unwrap().path());
        let is_meant = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.ends_with(part) || name.starts_with(part)
        };
        let mut files: Vec<PathBuf> = entries.filter(is_meant).collect();
        files.sort();
        files
    }
}

impl Ran {
    /// It succeeded and said nothing on stderr.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        String::from_utf8(self.stdout).unwrap()
    }

    /// It failed with this code and one line on stderr, which has these words.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stderr.starts_with("lsm: "), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing: {}", self.stderr);
        }
    }
}

impl From<Output> for Ran {
    fn from(Output { status, stdout, stderr }: Output) -> Ran {
        Ran { code: status.code(), stdout, stderr: String::from_utf8(stderr).unwrap() }
    }
}

/// The program with these arguments and nothing of our environment.
pub(crate) fn bare<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lsm"));
    command.args(arguments);
    for name in ["LSM_DB", "LSM_URL", "LSM_TOKEN"] {
        command.env_remove(name);
    }
    command
}

/// Starts the program with pipes for all its streams.
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs the program to its end.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Ran {
    let mut child = start(command);
    // A program that fails early does not read all of it.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap().into()
}

/// Turns the bits of one byte of a file.
pub(crate) fn damage(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}

/// So many lines of NDJSON, in key order: `key-000000` and so on.
pub(crate) fn items(count: usize) -> String {
    (0..count).map(item).collect()
}

/// One of these lines.
pub(crate) fn item(index: usize) -> String {
    format!("{{\"key\":\"key-{index:06}\",\"value\":\"{index:0100}\"}}\n")
}
