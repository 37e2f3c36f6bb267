//! A shard as a process: begun, waited for, and judged.
//!
//! It leads a process group of its own, and whatever way it ends, the whole group ends with it: what a
//! test has started does not outlive it. Only then is the leader reaped, so that its number is nobody
//! else's yet.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::tally::Outcome;

/// How long it takes at most to notice that a shard is over.
const POLL: Duration = Duration::from_millis(20);

/// What ends a shard from outside.
pub(super) struct Limits<'a> {
    /// How long it may take.
    pub(super) time: Duration,
    /// Whether the whole soak is to end.
    pub(super) is_interrupted: &'a AtomicBool,
}

/// How a shard ended.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// By itself or at its time limit, and why that is no pass.
    Over(Outcome, Option<String>),
    /// With the whole soak: it counts for nothing.
    Interrupted,
}

/// Runs a test program to its end. What it prints goes to the file `output`. It passes if it says so
/// and has run `tests` tests: a name that no test has any more is no pass.
pub(super) fn run(
    command: &mut Command,
    tests: usize,
    output: &Path,
    limits: &Limits<'_>,
) -> io::Result<Ended> {
    let file = File::create(output)?;
    command.stdout(file.try_clone()?).stderr(file).process_group(0);
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let stopped = watch(pid, limits);
    // Of the group that is gone there is nothing to end.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok(match stopped? {
        Some(ended) => ended,
        None if !status.success() => Ended::Over(Outcome::Failed, Some(status.to_string())),
        None => judge(&String::from_utf8_lossy(&fs::read(output)?), tests),
    })
}

/// Waits until the process is over, or is to be.
fn watch(pid: Pid, limits: &Limits<'_>) -> io::Result<Option<Ended>> {
    let deadline = Instant::now() + limits.time;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        if waitid(WaitId::Pid(pid), options)?.is_some() {
            return Ok(None);
        }
        if limits.is_interrupted.load(Ordering::Relaxed) {
            return Ok(Some(Ended::Interrupted));
        }
        if deadline <= Instant::now() {
            let why = format!("not over after {} s", limits.time.as_secs());
            return Ok(Some(Ended::Over(Outcome::TimedOut, Some(why))));
        }
        thread::sleep(POLL);
    }
}

fn judge(output: &str, tests: usize) -> Ended {
    match passed(output) {
        Some(count) if count == tests => Ended::Over(Outcome::Passed, None),
        count => {
            let why = format!("ran {} tests of {tests}", count.unwrap_or(0));
            Ended::Over(Outcome::Failed, Some(why))
        }
    }
}

/// How many tests the program says have passed. A test may print what a program of its own said; the
/// last word is that of the program around it.
fn passed(output: &str) -> Option<usize> {
    let (_, result) = output.rsplit_once("test result: ok. ")?;
    result.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::io::Read;

    const LONG: Duration = Duration::from_secs(60);

    /// How a shell ends that is to run two tests, and what it printed.
    fn shell(script: &str, time: Duration, is_interrupted: bool) -> (Ended, String) {
        let scratch = Scratch::new("child");
        let output = scratch.path().join("output.txt");
        let is_interrupted = AtomicBool::new(is_interrupted);
        let limits = Limits { time, is_interrupted: &is_interrupted };
        let ended = run(Command::new("sh").args(["-c", script]), 2, &output, &limits).unwrap();
        (ended, fs::read_to_string(&output).unwrap())
    }

    fn failed(why: &str) -> Ended {
        Ended::Over(Outcome::Failed, Some(why.into()))
    }

    #[test]
    fn a_shard_passes_if_all_its_tests_do() {
        let (ended, output) = shell("echo 'test result: ok. 2 passed; 0 failed'", LONG, false);
        assert_eq!(ended, Ended::Over(Outcome::Passed, None));
        assert_eq!(output, "test result: ok. 2 passed; 0 failed\n");
    }

    #[test]
    fn a_shard_fails_with_its_tests_and_keeps_what_they_said() {
        let (ended, output) = shell("echo out; echo err >&2; exit 101", LONG, false);
        assert_eq!((ended, &*output), (failed("exit status: 101"), "out\nerr\n"));
        let (ended, _) = shell("echo 'test result: ok. 2 passed'; kill -9 $$", LONG, false);
        assert_eq!(ended, failed("signal: 9 (SIGKILL)"));
    }

    #[test]
    fn a_shard_that_ran_no_test_or_not_all_fails() {
        assert_eq!(shell("exit 0", LONG, false).0, failed("ran 0 tests of 2"));
        let none = "echo 'test result: ok. 0 passed; 0 failed; 9 filtered out'";
        assert_eq!(shell(none, LONG, false).0, failed("ran 0 tests of 2"));
        let inner = "echo 'test result: ok. 2 passed'; echo 'test result: ok. 1 passed'";
        assert_eq!(shell(inner, LONG, false).0, failed("ran 1 tests of 2"));
    }

    #[test]
    fn what_is_not_over_in_time_is_ended() {
        let why = "not over after 0 s".to_string();
        let (ended, _) = shell("exec sleep 1000", Duration::from_millis(1), false);
        assert_eq!(ended, Ended::Over(Outcome::TimedOut, Some(why)));
    }

    #[test]
    fn whatever_a_shard_has_started_ends_with_it() {
        // Both processes hold the pipe open; the read ends when neither does.
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3>&0; sleep 1000 & echo >&3; wait"]).stdin(writer);
        let scratch = Scratch::new("child-group");
        let output = scratch.path().join("output.txt");
        let is_interrupted = AtomicBool::new(false);
        let limits = Limits { time: LONG, is_interrupted: &is_interrupted };
        let ended = thread::scope(|scope| {
            let shard = scope.spawn(|| {
                let ended = run(&mut command, 2, &output, &limits);
                // It has the pipe as well, for further children.
                drop(command);
                ended
            });
            reader.read_exact(&mut [0]).unwrap();
            is_interrupted.store(true, Ordering::Relaxed);
            shard.join().unwrap()
        });
        assert_eq!(ended.unwrap(), Ended::Interrupted);
        assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[test]
    fn an_interrupted_shard_counts_for_nothing() {
        assert_eq!(shell("exec sleep 1000", LONG, true).0, Ended::Interrupted);
    }
}
