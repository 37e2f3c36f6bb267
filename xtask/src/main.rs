//! `cargo xtask`: the checks of this workspace and its benchmark, in plain Rust.
//!
//! [`Task`] is the table of contents. Nothing here depends on a crate of ours, so that the checks
//! start in seconds and still run when a crate does not compile.

#![forbid(unsafe_code)]

mod bench;
mod ci;
mod git;
mod instructions;
mod mutants;
mod plants;
#[cfg(test)]
mod scratch;
mod soak;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What `cargo xtask` was asked for.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The checks of this workspace, and its benchmark")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every check and test, and ends with a table of what passed
    Ci(ci::Args),
    /// Checks what no compiler checks: arrows between crates, unsafe code, pages, formats
    Tidy(tidy::Args),
    /// Makes mistakes, one after the other, and sees that a test notices each
    Plants(plants::Args),
    /// Runs the randomised tests with ever new seeds, for hours
    Soak(soak::Args),
    /// Makes small mistakes in the code that must not lose data, and sees that tests notice them
    Mutants(mutants::Args),
    /// Counts the instructions of the hot paths, against stored bounds
    Instructions(instructions::Args),
    /// Measures this store, or compares it with its peers
    Bench(bench::Args),
}

fn main() -> ExitCode {
    match Args::parse().task {
        Task::Ci(args) => ci::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Plants(args) => plants::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Mutants(args) => mutants::run(&args),
        Task::Instructions(args) => instructions::run(&args),
        Task::Bench(args) => bench::run(&args),
    }
}

/// The folder of the workspace: the one that cargo runs us in, else the one we were compiled in.
fn workspace_root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().expect("the package is a folder of the workspace").to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_unknown_task_is_refused() {
        assert!(Args::try_parse_from(["xtask", "tidi"]).is_err());
        assert!(Args::try_parse_from(["xtask"]).is_err());
        assert!(Args::try_parse_from(["xtask", "ci", "--only", "nothing"]).is_err());
        assert!(Args::try_parse_from(["xtask", "ci", "--only", "fmt", "--only", "tidy"]).is_ok());
        assert!(Args::try_parse_from(["xtask", "soak", "--hours", "0"]).is_err());
        assert!(Args::try_parse_from(["xtask", "soak", "--hours", "8", "--only", "kil"]).is_err());
        assert!(Args::try_parse_from(["xtask", "soak", "--hours", "8", "--only", "kill"]).is_ok());
        assert!(Args::try_parse_from(["xtask", "mutants", "--shard", "4/4"]).is_err());
        assert!(Args::try_parse_from(["xtask", "mutants", "--shard", "3/4"]).is_ok());
        assert!(Args::try_parse_from(["xtask", "bench", "--peers", "--keys", "9"]).is_ok());
    }
}
