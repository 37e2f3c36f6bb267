//! Work that a server is asked for, on a store that was damaged under it: the exit codes of `lsm` are
//! those of the same verbs on a directory.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::process::{Finished, command, run};
use crate::server_process::ServerProcess;

#[test]
fn a_job_that_meets_damage_ends_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data);
    let token = data.join("ADMIN_TOKEN");
    let lsm = |arguments: &[&str]| {
        let mut command = command(env!("CARGO_BIN_EXE_lsm"));
        command.args(["--url", &server.url, "--token-file"]).arg(&token).args(arguments);
        run(&mut command)
    };
    // Two tables of the same keys, so that a compaction has to read them.
    for value in ["one", "two"] {
        assert_eq!(lsm(&["put", "key", value]).code, Some(0));
        assert_eq!(lsm(&["flush"]).code, Some(0));
    }
    assert_eq!(damage_tables(&data), 2);
    let failed = |finished: &Finished, words: &[&str]| {
        assert_eq!(finished.code, Some(4), "{}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
        for word in words {
            assert!(finished.stderr.contains(word), "{word:?} is missing: {}", finished.stderr);
        }
    };
    failed(&lsm(&["compact"]), &["the server could not compact", "corruption", "lsm verify"]);
    failed(&lsm(&["verify"]), &["2 files are damaged", "the server's log"]);
    // A flush reads no table, and what is written goes on.
    assert_eq!(lsm(&["put", "other", "three"]).code, Some(0));
    assert_eq!(lsm(&["flush"]).code, Some(0));
    assert_eq!(lsm(&["get", "other"]).stdout, b"three");
    server.stop();
}

/// Turns a byte in the first block of every table, in its place: the server has them mapped. Returns
/// how many there are.
fn damage_tables(data: &Path) -> usize {
    let paths = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let tables: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "sst")).collect();
    for table in &tables {
        let file = std::fs::File::options().read(true).write(true).open(table).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 8).unwrap();
        file.write_all_at(&[byte[0] ^ 0xff], 8).unwrap();
    }
    tables.len()
}
