//! `cargo xtask bench`: the benchmark, of this store alone or beside its peers.
//!
//! Builds `lsm-bench` with the release profile and runs it in the root of the workspace. With
//! `--peers` it is the package in `xtask/peers` instead: that one is no member of the workspace,
//! has a lock file of its own and compiles a store in C++, so nobody pays for it who does not ask.
//! Neither is part of `cargo xtask ci`: a figure from a busy machine says nothing.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The flags of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compares with RocksDB, fjall, redb and LMDB; wants libclang and a C++ compiler, and minutes for the first build
    #[arg(long)]
    peers: bool,
    /// Arguments of the benchmark; `cargo xtask bench -- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the subcommand. Its exit code is that of the benchmark.
pub(crate) fn run(args: &Args) -> ExitCode {
    match command(args, &crate::workspace_root()).status() {
        Ok(status) => {
            // Without a code it was ended by a signal.
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            code.map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("bench: cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command(args: &Args, root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["run", "--release"]);
    if args.peers {
        // Not locked: no check sees that lock file, so it lags whenever a crate of ours gains or
        // loses a dependency. Cargo then corrects that entry, and keeps all versions.
        // One folder for both: the crates that they share are compiled once.
        command.args(["--manifest-path", "xtask/peers/Cargo.toml"]);
        command.env("CARGO_TARGET_DIR", root.join(target));
    } else {
        command.args(["--locked", "--package", "lsm-bench"]);
    }
    // What is compiled knows where it comes from, and says so in its results.
    if let Ok(commit) = crate::git::commit(root) {
        command.env("LSM_BENCH_COMMIT", commit);
    }
    command.arg("--").args(&args.arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn words(line: &[&str]) -> Vec<String> {
        let line = Line::try_parse_from([&["bench"], line].concat()).expect("the line is valid");
        let command = command(&line.args, Path::new("/root-of-it"));
        assert_eq!(command.get_current_dir(), Some(Path::new("/root-of-it")));
        command.get_args().map(|word| word.to_str().expect("it is UTF-8").to_string()).collect()
    }

    #[test]
    fn the_benchmark_gets_its_arguments_as_they_are() {
        assert_eq!(
            words(&["--keys", "1000", "--json"]),
            ["run", "--release", "--locked", "--package", "lsm-bench", "--"]
                .into_iter()
                .chain(["--keys", "1000", "--json"])
                .collect::<Vec<_>>()
        );
        assert_eq!(words(&["--", "--help"]).last().map(String::as_str), Some("--help"));
        assert_eq!(words(&["--rounds=3", "--peers"]).last().map(String::as_str), Some("--peers"));
    }

    #[test]
    fn what_is_compiled_knows_its_commit() {
        let line = Line::try_parse_from(["bench"]).expect("the line is valid");
        let root = crate::workspace_root();
        let command = command(&line.args, &root);
        let commit = command.get_envs().find(|(name, _)| *name == "LSM_BENCH_COMMIT");
        // Without git there is none, as in a folder that was unpacked.
        let known = crate::git::commit(&root).ok().map(OsString::from);
        assert_eq!(commit.and_then(|(_, value)| value), known.as_deref());
    }

    #[test]
    fn peers_are_a_package_of_their_own() {
        let words = words(&["--peers", "--rounds", "3"]);
        assert!(words.windows(2).any(|pair| pair == ["--manifest-path", "xtask/peers/Cargo.toml"]));
        assert!(!words.contains(&"--package".to_string()) && !words.contains(&"--locked".into()));
        assert_eq!(words[words.len() - 3..], ["--", "--rounds", "3"]);
        assert!(crate::workspace_root().join("xtask/peers/Cargo.toml").is_file());
    }
}
