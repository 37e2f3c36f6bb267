//! The file system: reached through `lsm_base::Fs` alone, so that tests can make every call fail.

use super::source::RustFile;
use super::{Findings, Tree};

/// The files of products that may call the standard library's file system, and why.
const EXEMPT: &[(&str, &str)] = &[
    ("crates/lsm-base/src/fs/std.rs", "the real file system behind the seam"),
    ("crates/lsm-bench/src/cli.rs", "the folders of the stores and of the report"),
    ("crates/lsm-bench/src/machine.rs", "the machine, from `/proc`"),
    ("crates/lsm-bench/src/measure.rs", "what the process used, from `/proc`"),
    ("crates/lsm-bench/src/runner.rs", "the folders that the measured stores are put in"),
    ("crates/lsm-cli/src/files.rs", "the files of the user: values, tokens, imports"),
    ("crates/lsm-server/src/config/files.rs", "the configuration and token files of the server"),
];

const CALLS: &[&str] =
    &["std::fs", "tokio::fs", "rustix::fs", "File::open", "File::create", "OpenOptions"];

/// What a path asks the file system by itself. With their parentheses, since the seam has methods of
/// the same names, which take a path.
const PATH_CALLS: &[&str] = &[
    ".exists()",
    ".try_exists()",
    ".metadata()",
    ".symlink_metadata()",
    ".is_file()",
    ".is_dir()",
    ".is_symlink()",
    ".read_dir()",
    ".read_link()",
    ".canonicalize()",
];

/// Checks the sources of every crate; tests, examples and benchmarks are free.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for rust in tree.rust.iter().filter(|rust| rust.path.starts_with("crates/")) {
        if EXEMPT.iter().any(|(path, _)| *path == rust.path) {
            continue;
        }
        let calls = CALLS.iter().flat_map(|call| rust.words(call).map(move |place| (place, *call)));
        let grouped = grouped_imports(rust).map(|place| (place, "std::{fs}"));
        let of_paths = PATH_CALLS
            .iter()
            .flat_map(|call| rust.code.match_indices(call).map(move |(place, _)| (place, *call)));
        for (place, call) in
            calls.chain(grouped).chain(of_paths).filter(|(place, _)| !rust.is_test(*place))
        {
            let what = format!(
                "`{call}` past the file-system seam; go through `lsm_base::Fs`, or name the file \
                 in xtask/src/tidy/std_fs.rs if it is none of the database's"
            );
            findings.add(&rust.path, rust.line(place), what);
        }
    }
}

/// The places of `fs` in `use std::{..}` and its like.
fn grouped_imports(rust: &RustFile) -> impl Iterator<Item = usize> {
    ["std::{", "tokio::{", "rustix::{"].into_iter().flat_map(move |open| {
        rust.code.match_indices(open).filter_map(move |(start, _)| {
            let inside = start + open.len();
            let end = inside + rust.code[inside..].find(';')?;
            let group = &rust.code[inside..end];
            super::source::words(group, "fs")
                .find(|place| !group[..*place].ends_with("::"))
                .map(|place| inside + place)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    fn count(path: &str, text: &str) -> usize {
        findings_of(check, &[(path, text)]).len()
    }

    #[test]
    fn calls_past_the_seam_are_found() {
        let path = "crates/lsm-wal/src/wal.rs";
        assert_eq!(count(path, "use std::fs;\n"), 1);
        assert_eq!(count(path, "use std::{\n    fmt,\n    fs::{self, read},\n};\n"), 1);
        assert_eq!(count(path, "use tokio::{fs, net};\n"), 1);
        assert_eq!(count(path, "let file = File::open(path)?;\n"), 1);
        assert_eq!(count(path, "OpenOptions::new()\n"), 1);
        assert_eq!(count("crates/lsm-base/src/fs/mem.rs", "use std::fs;\n"), 1);
        assert_eq!(count(path, "rustix::fs::fsync(file)?;\n"), 1);
        assert_eq!(count(path, "use rustix::{fs, io};\n"), 1);
    }

    #[test]
    fn paths_that_ask_by_themselves_are_found() {
        let path = "crates/lsm-cli/src/commands/inspect.rs";
        assert_eq!(count(path, "if !file.file.exists() {}\n"), 1);
        assert_eq!(count(path, "path.metadata()?.len();\ndir\n    .read_dir()?;\n"), 2);
        assert_eq!(count(path, "path.canonicalize()?.is_file();\n"), 2);
        assert_eq!(count(path, "fs.exists(path)?;\nentry.is_file;\n"), 0);
    }

    #[test]
    fn the_seam_itself_and_tests_are_silent() {
        assert_eq!(count("crates/lsm-base/src/fs/std.rs", "use std::fs;\n"), 0);
        assert_eq!(count("crates/lsm-wal/tests/it/main.rs", "use std::fs;\n"), 0);
        let path = "crates/lsm-wal/src/wal.rs";
        assert_eq!(count(path, "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"), 0);
        assert_eq!(count(path, "use std::{fmt, io};\nuse std::os::{unix::fs::X};\n"), 0);
        assert_eq!(count(path, "use lsm_base::fs::{File, Fs};\n// std::fs\n"), 0);
        assert_eq!(count("xtask/src/main.rs", "use std::fs;\n"), 0);
    }
}
