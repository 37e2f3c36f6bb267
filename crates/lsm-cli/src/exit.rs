//! Failures, and the exit code of each.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it is done; also if whoever read stdout had enough |
//! | 1 | it failed |
//! | 2 | the arguments make no sense, or are refused |
//! | 3 | there is no such key |
//! | 4 | data is damaged or missing |
//! | 5 | another process has the directory |
//! | 130 | Ctrl-C |
//!
//! A failure is one line on stderr, and says what to do where there is something to do. What clap
//! finds wrong with the arguments, it says itself, in several.

use std::io;
use std::path::Path;

use lsm_engine::{ErrorKind, base};
use lsm_server::wire::{Code, Problem, WireError};

/// The result of whatever may end the program.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why the program ends early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// With this code and this sentence. What was asked for did not happen, or, if it is undecided,
    /// may have happened all the same.
    Said { status: Status, message: String, is_undecided: bool },
    /// Whoever read stdout is gone; there is nobody to tell.
    ClosedPipe,
}

/// The exit codes of failures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Error = 1,
    Usage = 2,
    NotFound = 3,
    Corruption = 4,
    Locked = 5,
    Interrupted = 130,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Failure {
        Failure::Said { status, message: message.into(), is_undecided: false }
    }

    pub(crate) fn error(message: impl Into<String>) -> Failure {
        Failure::new(Status::Error, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Status::Usage, message)
    }

    pub(crate) fn not_found(key: &[u8]) -> Failure {
        Failure::new(Status::NotFound, format!("there is no key {}", crate::text::print(key)))
    }

    /// A file of the user that cannot be used.
    pub(crate) fn file(what: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::error(format!("cannot {what} {}: {error}", path.display()))
    }

    /// A job that a server began and could not bring to its end.
    pub(crate) fn of_job(kind: &str, problem: Problem) -> Failure {
        of_problem(&format!("the server could not {kind}:"), problem)
    }

    /// The same failure, with what happened to the rest.
    pub(crate) fn and(self, more: &str) -> Failure {
        self.reworded(|message| format!("{message}; {more}"))
    }

    /// The same failure in other words.
    pub(crate) fn reworded(self, reword: impl FnOnce(String) -> String) -> Failure {
        match self {
            Failure::Said { status, message, is_undecided } => {
                Failure::Said { status, message: reword(message), is_undecided }
            }
            Failure::ClosedPipe => Failure::ClosedPipe,
        }
    }

    /// The same failure, of a call that may have happened all the same if that is so.
    pub(crate) fn undecided_if(self, is_undecided: bool) -> Failure {
        match self {
            Failure::Said { status, message, .. } => {
                Failure::Said { status, message, is_undecided }
            }
            Failure::ClosedPipe => Failure::ClosedPipe,
        }
    }

    /// Whether what was asked for may have happened all the same.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self, Failure::Said { is_undecided: true, .. })
    }

    /// Tells the user, and gives the exit code.
    pub(crate) fn report(self) -> u8 {
        match self {
            Failure::ClosedPipe => 0,
            Failure::Said { status, message, .. } => {
                say(&message);
                status as u8
            }
        }
    }
}

/// One line on stderr.
pub(crate) fn say(message: &str) {
    use std::io::Write as _;
    // Line ends of a message, of a file's name say, would make it look like several.
    let line = message.replace(['\n', '\r'], " ");
    // If stderr takes nothing, the exit code has to do.
    let _ = writeln!(io::stderr(), "lsm: {line}");
}

impl From<lsm_engine::Error> for Failure {
    fn from(error: lsm_engine::Error) -> Failure {
        let (status, hint) = match error.kind() {
            ErrorKind::Corruption => (
                Status::Corruption,
                "`lsm verify` lists all damage; restore from a copy, or see `lsm repair`",
            ),
            ErrorKind::MissingFile => (Status::Corruption, ""),
            ErrorKind::InvalidArgument => (Status::Usage, ""),
            ErrorKind::Locked => (Status::Locked, "if it is a server, ask it by --url"),
            ErrorKind::NoSpace => (Status::Error, "free some space and try again"),
            // Of what passes, this is what ever reaches a user.
            ErrorKind::Io if error.is_passing() => {
                (Status::Error, "let it have more files open by `ulimit -n`, one for each table")
            }
            _ => (Status::Error, ""),
        };
        let message = error.to_string();
        let message = if hint.is_empty() { message } else { format!("{message}; {hint}") };
        Failure::new(status, message).undecided_if(error.is_undecided())
    }
}

impl From<base::Error> for Failure {
    fn from(error: base::Error) -> Failure {
        lsm_engine::Error::from(error).into()
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Failure {
        Failure::error(error.detail)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        of_problem("the server answers", problem)
    }
}

/// The failure that a problem is, behind what the server was about.
fn of_problem(what: &str, problem: Problem) -> Failure {
    let (status, hint) = match problem.code {
        Code::Corruption => {
            (Status::Corruption, "; after `lsm verify` it names every damaged file")
        }
        Code::Unauthorized => (
            Status::Error,
            "; give the server's token by --token-file (of an open server: DATA-DIR/ADMIN_TOKEN)",
        ),
        Code::Busy | Code::Starting | Code::Draining => (Status::Error, "; try again later"),
        Code::EmptyKey | Code::KeyTooLarge => (Status::Usage, ""),
        _ => (Status::Error, ""),
    };
    let Problem { code, detail, .. } = problem;
    let detail = match problem.current_seq {
        Some(Some(seq)) => format!("the key was last written at {seq}"),
        Some(None) => "the key is absent".to_owned(),
        None => detail,
    };
    let failure = Failure::new(status, format!("{what} {}: {detail}{hint}", code.name()));
    // Every other answer is a refusal before anything was done.
    failure.undecided_if(matches!(code, Code::Io | Code::Internal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(failure: &Failure) -> Status {
        match failure {
            Failure::Said { status, .. } => *status,
            Failure::ClosedPipe => panic!("no status"),
        }
    }

    #[test]
    fn errors_of_the_engine_have_their_codes() {
        let path = Path::new("x/000001.sst");
        let corrupt = Failure::from(base::Error::corruption(path, 40, "block checksum mismatch"));
        assert_eq!(status_of(&corrupt), Status::Corruption);
        let Failure::Said { message, .. } = corrupt else { panic!("no message") };
        assert!(message.contains("x/000001.sst at 40"), "{message}");
        let missing = Failure::from(base::Error::MissingFile(path.into()));
        assert_eq!(status_of(&missing), Status::Corruption);
        assert_eq!(status_of(&Failure::from(base::Error::Locked(path.into()))), Status::Locked);
        assert_eq!(status_of(&Failure::from(base::Error::invalid("x"))), Status::Usage);
    }

    #[test]
    fn problems_of_a_server_have_theirs() {
        let status = |code| status_of(&Failure::from(Problem::new(code, "x")));
        assert_eq!(status(Code::Corruption), Status::Corruption);
        assert_eq!(status(Code::Busy), Status::Error);
        assert_eq!(status(Code::EmptyKey), Status::Usage);
        assert_eq!(status(Code::KeyTooLarge), Status::Usage);
        for (current, words) in [(Some(7), "the key was last written at 7"), (None, "is absent")] {
            let problem = Problem::new(Code::PreconditionFailed, "no").with_current_seq(current);
            let failure = Failure::from(problem);
            let Failure::Said { message, .. } = failure else { panic!("no message") };
            assert!(
                message.contains("precondition_failed") && message.ends_with(words),
                "{message}"
            );
        }
    }

    #[test]
    fn only_what_may_have_happened_is_undecided() {
        let of_code = |code| Failure::from(Problem::new(code, "x")).is_undecided();
        assert!(of_code(Code::Io) && of_code(Code::Internal));
        assert!(!of_code(Code::NoSpace) && !of_code(Code::Poisoned) && !of_code(Code::EmptyKey));
        assert!(Failure::error("x").undecided_if(true).and("y").is_undecided());
        assert!(!Failure::error("x").is_undecided());
    }
}
