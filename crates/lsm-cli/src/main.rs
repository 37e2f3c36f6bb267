//! `lsm`: the command line of the store.
//!
//! One line of arguments becomes one [`Args`], a [`Source`](source::Source) (a directory, or a
//! server), and one command that asks it. What a command has to say goes to stdout, everything
//! else to stderr, and the exit code says how it went ([`exit`]).
//!
//! | module | what |
//! |---|---|
//! | `args` | the arguments, as they are documented by `--help` |
//! | `text` | bytes as text and back: keys and values as arguments and on a terminal |
//! | `source` | what the commands ask: a directory or a server |
//! | `commands` | one file for each verb |
//! | `records` | NDJSON and CSV, as they are imported and exported |
//! | `output` | stdout, where a reader may go away at any time |
//! | `progress` | bars on stderr |
//! | `interrupt` | Ctrl-C |
//! | `files` | the files of the user: values, tokens, imports |
//! | `exit` | failures, and the exit code of each |

#![forbid(unsafe_code)]
// These macros panic where a stream takes nothing.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod args;
mod commands;
mod exit;
mod files;
mod interrupt;
mod output;
mod progress;
mod records;
mod source;
mod text;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    raise_file_limit();
    let outcome = interrupt::watch().and_then(|()| commands::run(args));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report().into(),
    }
}

/// Lets the process have as many files open as it may: a store has one for each table.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A system may have a lower limit than the one that it tells; then the usual one has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
