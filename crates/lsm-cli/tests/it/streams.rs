//! Pipes that close, and Ctrl-C.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Output};
use std::thread;

use crate::lsm::{Lsm, damage, item, items, start};

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
fn damage_is_told_to_who_reads_nothing() {
    let lsm = Lsm::new();
    lsm.run_with(&["import"], items(5_000).as_bytes()).ok();
    lsm.kill_after_a_write();
    let name = |part: &str| lsm.files(part)[0].file_name().unwrap().to_str().unwrap().to_owned();
    let (table, segment, manifest) = (name(".sst"), name(".log"), name("MANIFEST"));
    for (name, offset) in [(&table, 100), (&segment, 100), (&manifest, 100)] {
        damage(&lsm.db().join(name), offset);
    }
    for verb in [
        &["verify"][..],
        &["verify", "--json"],
        &["inspect", "sst", &table],
        &["inspect", "sst", &table, "--json"],
        &["inspect", "wal", &segment],
        &["inspect", "wal", &segment, "--json"],
        &["inspect", "manifest", &manifest],
        &["inspect", "manifest", &manifest, "--json"],
    ] {
        // The pipe has no other end before the program can have written to it.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = lsm.command(verb).stdout(writer).output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(4), "{verb:?}: {stderr}");
        assert!(stderr.contains("damaged"), "{verb:?}: {stderr}");
    }
}

/// Interrupts a program, and waits for its end. The signal comes from the shell's own `kill`: a small
/// machine may have no program of this name.
fn interrupt(child: Child) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"kill -s INT "$0""#, &child.id().to_string()]);
    assert!(shell.status().unwrap().success());
    child.wait_with_output().unwrap()
}

/// An import was interrupted and said so in one line. Returns how many items it told of, which are
/// those that the store has.
fn stored(lsm: &Lsm, ended: Output) -> u64 {
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("lsm: interrupted; the first "), "{stderr}");
    let told = stderr.split(' ').find_map(|word| word.parse::<u64>().ok()).unwrap();
    assert!(told.is_multiple_of(1_000), "{stderr}");
    assert_eq!(lsm.ok(&["scan", "--count"]), format!("{told}\n"));
    told
}

#[test]
fn an_interrupted_import_leaves_whole_batches() {
    let lsm = Lsm::new();
    let mut child = start(&mut lsm.command(&["import"]));
    let mut stdin = child.stdin.take().unwrap();
    // Far more than a pipe and the program's buffer hold: when all of it is written, most of it was
    // read, and the program waits for more.
    stdin.write_all(items(40_000).as_bytes()).unwrap();
    assert_ne!(stored(&lsm, interrupt(child)), 0);
    // The store was closed, so that nothing had to be recovered.
    assert!(lsm.ok(&["stats"]).contains("0 log records replayed"));
    drop(stdin);
}

#[test]
fn an_import_that_is_interrupted_at_work_says_so_once() {
    for round in 1..=20 {
        let lsm = Lsm::new();
        let mut child = start(&mut lsm.command(&["import"]));
        let mut stdin = child.stdin.take().unwrap();
        // More than a pipe and the program's buffer hold, so that it is at work; then there is
        // always more, so that it is not found waiting.
        let begun = 4_000 + round * 173;
        stdin.write_all(items(begun).as_bytes()).unwrap();
        let feeder = thread::spawn(move || {
            (begun..).find(|index| stdin.write_all(item(*index).as_bytes()).is_err());
        });
        stored(&lsm, interrupt(child));
        feeder.join().unwrap();
    }
}
