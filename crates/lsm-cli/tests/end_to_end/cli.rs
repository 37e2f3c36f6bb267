//! The program `lsm`, on a directory or a server.

use std::path::{Path, PathBuf};

use crate::data::Batch;
use crate::oracle::{self, Oracle};
use crate::process::{command, run};

/// Where `lsm` works.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    Directory(&'a Path),
    Server(&'a str),
}

/// Runs `lsm` to a good end. Returns what it printed.
pub(crate) fn lsm(place: Place<'_>, arguments: &[&str]) -> Vec<u8> {
    let mut command = command(env!("CARGO_BIN_EXE_lsm"));
    match place {
        Place::Directory(path) => command.arg("--db").arg(path),
        Place::Server(url) => command.arg("--url").arg(url),
    };
    let finished = run(command.args(arguments));
    assert_eq!(finished.code, Some(0), "lsm {arguments:?} on {place:?}: {}", finished.stderr);
    finished.stdout
}

/// Imports puts with `lsm import`, from a file that the oracle's printer writes into `dir`.
pub(crate) fn import(place: Place<'_>, dir: &Path, batches: &[Batch]) {
    let ops = batches.iter().flatten();
    let items = ops.map(|op| (&op.key, op.value.as_ref().expect("an import has puts only")));
    let file: PathBuf = dir.join("import.ndjson");
    std::fs::write(&file, oracle::ndjson(items)).unwrap();
    lsm(place, &["import", file.to_str().expect("a temporary path is text")]);
}

/// Asserts that an export equals what the oracle prints, byte for byte.
pub(crate) fn assert_export(place: Place<'_>, oracle: &Oracle) {
    assert_same_lines(&lsm(place, &["export"]), &oracle.ndjson());
}

/// Asserts that `lsm scan --prefix` prints what the oracle has.
pub(crate) fn assert_prefix(place: Place<'_>, oracle: &Oracle, prefix: &[u8]) {
    let hex: String = prefix.iter().map(|byte| format!("{byte:02x}")).collect();
    let prefix_argument = format!("hex:{hex}");
    let expected = oracle::ndjson(oracle.prefix(prefix));
    assert!(!expected.is_empty(), "nothing begins with {prefix:?}");
    let exported = lsm(place, &["export", "--prefix", &prefix_argument]);
    assert_same_lines(&exported, &expected);
    let count = lsm(place, &["scan", "--count", "--prefix", &prefix_argument]);
    assert_eq!(count, format!("{}\n", oracle.prefix(prefix).count()).into_bytes());
}

/// Asserts that two texts are equal; if not, shows the first line that differs and no more.
pub(crate) fn assert_same_lines(found: &[u8], expected: &[u8]) {
    if found == expected {
        return;
    }
    let lines = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let (found, expected) = (lines(found), lines(expected));
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    panic!("{} lines, expected {}", found.lines().count(), expected.lines().count());
}
