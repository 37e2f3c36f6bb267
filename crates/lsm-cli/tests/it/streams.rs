//! Pipes that close, and Ctrl-C.

use std::io::{Read as _, Write as _};
use std::process::Command;

use crate::lsm::{Lsm, items, start};

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let lsm = Lsm::new();
    lsm.run_with(&["import"], items(5_000).as_bytes()).ok();
    for verb in [&["scan"][..], &["export"], &["scan", "-o", "json"]] {
        let mut child = start(&mut lsm.command(verb));
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 10]).unwrap();
        drop(stdout);
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), &ended.stderr[..]), (Some(0), &b""[..]), "{verb:?}");
    }
}

#[test]
fn an_interrupted_import_leaves_whole_batches() {
    let lsm = Lsm::new();
    let mut child = start(&mut lsm.command(&["import"]));
    let mut stdin = child.stdin.take().unwrap();
    // Far more than a pipe and the program's buffer hold: when all of it is written, most of it was
    // read, and the program waits for more.
    stdin.write_all(items(40_000).as_bytes()).unwrap();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    let told = stderr.split(' ').find_map(|word| word.parse::<u64>().ok()).unwrap();
    assert!(stderr.starts_with("lsm: interrupted; the first "), "{stderr}");
    assert!(told != 0 && told.is_multiple_of(1_000), "{stderr}");
    assert_eq!(lsm.ok(&["scan", "--count"]), format!("{told}\n"));
    // The store was closed, so that nothing had to be recovered.
    assert!(lsm.ok(&["stats"]).contains("0 log records replayed"));
    drop(stdin);
}
