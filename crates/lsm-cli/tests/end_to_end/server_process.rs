//! The program `lsm-server`: found or built, started on a free port, ended in either way.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::client::Client;
use crate::process::{Process, command, run_within};

/// How long the server may take to compile, from nothing.
const BUILD_TIME: Duration = Duration::from_secs(1200);

/// A server that has opened its store.
pub(crate) struct ServerProcess {
    process: Process,
    pub(crate) url: String,
}

impl ServerProcess {
    /// Starts a server on a store, with memtables so small that the data fills many of them.
    pub(crate) fn start(data: &Path) -> ServerProcess {
        let mut command = command(binary());
        command.args(["--listen", "127.0.0.1:0", "--memtable-size", "1MiB", "--data-dir"]);
        let process = Process::start(command.arg(data).stderr(std::process::Stdio::null()));
        let line = process.next_line().expect("a server says where it listens");
        let after = line.split_once(" listening on ").unwrap_or_else(|| panic!("{line}")).1;
        let url = after.split(' ').next().expect("a split has a first part").to_owned();
        ServerProcess { process, url }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for the end of a killed server.
    pub(crate) fn wait_killed(mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(self.process.wait().signal(), Some(9));
    }

    /// Asks it to end, and waits for a good end.
    pub(crate) fn stop(mut self) {
        self.process.terminate();
        assert_eq!(self.process.wait().code(), Some(0));
    }
}

/// The program, which a run of the whole workspace has built; else it is built here.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let binary = Path::new(env!("CARGO_BIN_EXE_lsm")).with_file_name("lsm-server");
        if !is_fresh(&binary) {
            build(&binary);
        }
        binary
    })
}

/// Whether the program is there and not older than a source that cargo names for it.
fn is_fresh(binary: &Path) -> bool {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified());
    let (Ok(built), Ok(names)) =
        (changed(binary), std::fs::read_to_string(binary.with_extension("d")))
    else {
        return false;
    };
    let Some((_, sources)) = names.split_once(": ") else { return false };
    let is_older =
        |source: &str| changed(Path::new(source)).is_ok_and(|time: SystemTime| time <= built);
    sources
        .trim_end()
        .replace("\\ ", "\0")
        .split(' ')
        .all(|name| is_older(&name.replace('\0', " ")))
}

/// Builds the program where it is looked for, in the profile of this test.
fn build(binary: &Path) {
    let folder = binary.parent().expect("a program is in a folder");
    let target = folder.parent().expect("cargo's folders are below the target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "test",
        Some(name) => name,
    };
    let arguments =
        ["build", "--package", "lsm-server", "--bin", "lsm-server", "--profile", profile];
    let mut command = command(env!("CARGO"));
    command.args(arguments).arg("--target-dir").arg(target);
    let finished = run_within(command.current_dir(env!("CARGO_MANIFEST_DIR")), BUILD_TIME);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}
