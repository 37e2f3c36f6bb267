//! A process whose lines are waited for with a limit in time, and which ends with its test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long anything may take, also on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running process.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a command; what it says on stderr goes where the test's does.
    pub(crate) fn start(command: &mut Command) -> Process {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (lines, received) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Who waits for no more lines is not owed any.
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Process { child, stdin, lines: received }
    }

    /// The next line of its stdout; `None` at the end.
    pub(crate) fn next_line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {PATIENCE:?}"),
        }
    }

    /// Writes a line to its stdin, if it still listens.
    pub(crate) fn tell(&mut self, line: &str) {
        // Who has ended needs to be told nothing.
        let _ = writeln!(self.stdin, "{line}");
    }

    /// Asks it to end, by the shell's own `kill`: a small machine may have no program of this name.
    pub(crate) fn terminate(&self) {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"kill -s TERM "$0""#, &self.child.id().to_string()]);
        assert!(shell.status().unwrap().success());
    }

    /// Ends it as `kill -9` does, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end. Lines that nobody waited for are dropped.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        while self.next_line().is_some() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; that is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process left that ran to its end.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Finished {
    run_within(command, PATIENCE)
}

/// Runs a command to its end, which must come within a time.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Finished {
    let (stdin, stdout) = (Stdio::null(), Stdio::piped());
    let mut child = command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    let collect = |mut pipe: Box<dyn std::io::Read + Send>| {
        let (done, collected) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            done.send(bytes)
        });
        collected
    };
    let stdout = collect(Box::new(child.stdout.take().expect("stdout is a pipe")));
    let stderr = collect(Box::new(child.stderr.take().expect("stderr is a pipe")));
    let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(limit), stderr.recv_timeout(limit)) else {
        child.kill().unwrap();
        panic!("{command:?} did not end within {limit:?}");
    };
    let code = child.wait().unwrap().code();
    Finished { code, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
}

/// Prints a line that `cargo test` shows although the test passes: it captures the macros of print.
/// Nextest captures all of stderr, and shows it in its profile `ci`.
pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A command without what our own environment says to our programs.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"LSM_"))
    {
        command.env_remove(name);
    }
    command
}
