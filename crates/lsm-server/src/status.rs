//! From what the engine says to what the client is told.
//!
//! This is the one place that maps kinds of errors to codes and statuses. Messages of the engine name
//! files, so they go to the log and never to a client.

use lsm_engine::{Error, ErrorKind, Seq};

use crate::pool::stalled;
use crate::wire::{Code, Problem};

/// The problem that a failed call of the engine is.
pub(crate) fn problem_of(error: &Error) -> Problem {
    let (code, detail) = match error.kind() {
        ErrorKind::InvalidArgument => return Problem::new(Code::BadRequest, error.to_string()),
        ErrorKind::Conflict => {
            let current = error.current().flatten().map(Seq::get);
            return Problem::new(Code::PreconditionFailed, conflict_detail(current))
                .with_current_seq(current);
        }
        ErrorKind::Busy => return stalled(),
        ErrorKind::Poisoned => {
            (Code::Poisoned, "a write to disk failed; restart the server to write again")
        }
        ErrorKind::ReadOnly => (Code::Poisoned, "the store was opened for reading only"),
        ErrorKind::Closed => (Code::Draining, "the store is closed"),
        ErrorKind::NoSpace => (Code::NoSpace, "nothing was written; free some space and try again"),
        ErrorKind::Corruption | ErrorKind::MissingFile | ErrorKind::UnsupportedFormat => {
            (Code::Corruption, "the server's log says where")
        }
        ErrorKind::Io if error.is_passing() => {
            (Code::Busy, "the system refused an operation for the moment")
        }
        ErrorKind::Io => (Code::Io, "the server's log says which; a write may or may not be there"),
        _ => (Code::Internal, "the server's log says more"),
    };
    crate::log::failure(&format_args!("a request failed: {error}"));
    let problem = Problem::new(code, detail);
    if code == Code::Busy { problem.with_retry_after_ms(1000) } else { problem }
}

fn conflict_detail(current: Option<u64>) -> String {
    match current {
        Some(seq) => format!("the key's sequence is {seq}"),
        None => "the key does not exist".to_owned(),
    }
}
