//! A turn: one engine in a process of its own, so that each has the memory to itself.
//!
//! Invariant: the process ends with its turn, also where what it prints cannot be read or passed on.
//! An engine that is left behind would work beside the next one, on the same disk.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::report::Outcome;
use crate::store::Result;

/// A process that prints a line of JSON for each workload.
pub(crate) struct Turn {
    child: Child,
}

impl Turn {
    pub(crate) fn start(command: &mut Command) -> Result<Turn> {
        Ok(Turn { child: command.stdout(Stdio::piped()).spawn()? })
    }

    /// Passes the lines on, and returns what they say once the process has come to a good end.
    pub(crate) fn follow(mut self, out: &mut dyn Write) -> Result<Vec<Outcome>> {
        let stdout = self.child.stdout.take().ok_or("the process has no output")?;
        let mut outcomes = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            writeln!(out, "{line}")?;
            outcomes.push(serde_json::from_str(&line)?);
        }
        match self.child.wait()? {
            status if status.success() => Ok(outcomes),
            status => Err(format!("it ended with {status}").into()),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Where it has ended already, neither does anything.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    /// A shell that prints this and then waits for a line, which never comes.
    fn turn(printed: &str) -> (Turn, PathBuf) {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"echo "$0"; read line"#, printed]).stdin(Stdio::piped());
        let turn = Turn::start(&mut shell).unwrap();
        // A process that has ended, and that nobody has waited for, is there too.
        let process = PathBuf::from(format!("/proc/{}", turn.child.id()));
        assert!(process.exists());
        (turn, process)
    }

    #[test]
    fn a_process_whose_lines_make_no_sense_is_ended() {
        let (turn, process) = turn("no json");
        let mut out = Vec::new();
        let error = turn.follow(&mut out).unwrap_err().to_string();
        assert!(error.contains("expected"), "{error}");
        assert_eq!(out, b"no json\n");
        assert!(!process.exists());
    }

    #[test]
    fn a_process_whose_lines_nobody_takes_is_ended() {
        struct Gone;

        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (turn, process) = turn("{}");
        turn.follow(&mut Gone).unwrap_err();
        assert!(!process.exists());
    }

    #[test]
    fn a_process_that_fails_has_no_outcomes() {
        let turn = Turn::start(Command::new("sh").args(["-c", "exit 3"])).unwrap();
        let error = turn.follow(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }
}
