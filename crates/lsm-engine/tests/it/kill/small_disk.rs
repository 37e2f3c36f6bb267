//! The same on a small disk that fills up: a `tmpfs` that nobody else sees, in a mount namespace.
//!
//! The test starts itself again in that namespace, which ends with it. A machine on which nobody may
//! have one cannot run it; that is said, here and at the end of `cargo xtask ci`.
//!
//! Once a process has the store, a file takes the rest of the disk but for a little. Each thread whose
//! write finds no space says so, and tries again when it hears that there is some. The process is
//! killed in the midst, and the store opened: where that finds no space either, again without the file.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lsm_base::Fs as _;
use lsm_base::fs::StdFs;
use lsm_base::testing::SplitMix64;
use lsm_engine::ErrorKind;

use super::oracle::Oracle;
use super::rivals::{Moment, Said, live};
use super::{Run, child};
use crate::harness::from_env;

/// Set in the namespace: where the small disk is.
const DISK: &str = "LSM_KILL_DISK";

/// How many kills there are by default.
const KILLS: u64 = 40;

/// More than the store takes, and little enough to fill.
const SIZE: &str = "16m";

/// What makes the rest of the disk unusable.
fn ballast(disk: &Path) -> std::path::PathBuf {
    disk.join("ballast")
}

/// Leaves so many bytes of the disk.
pub(super) fn fill(disk: &Path, left: u64) {
    let file = StdFs.create(&ballast(disk)).unwrap();
    loop {
        let free = StdFs.space(disk).unwrap().free;
        match file.allocate(free.saturating_sub(left).max(1)) {
            Ok(()) => return,
            // Some of it was taken meanwhile.
            Err(error) => assert!(error.is_no_space(), "{error}"),
        }
    }
}

fn make_room(disk: &Path) {
    let removed = StdFs.remove(&ballast(disk));
    assert!(removed.as_ref().err().is_none_or(|error| error.is_not_found()), "{removed:?}");
}

/// This program in a namespace of its own, where the disk is mounted; `None` if there can be none.
fn in_namespace(disk: &Path) -> Option<Command> {
    let script = format!("mount -t tmpfs -o size={SIZE} none \"$0\" && exec \"$@\"");
    let command = |flags: &str| {
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", &script]).arg(disk);
        command
    };
    // As root, or as one who is root in there alone.
    let may = |flags: &&str| command(flags).arg("true").output().is_ok_and(|o| o.status.success());
    ["-m", "-rm"].into_iter().find(may).map(command)
}

#[test]
fn what_was_acknowledged_survives_a_kill_on_a_full_disk() {
    if std::env::var_os(child::DIR).is_some() {
        return;
    }
    if let Some(disk) = std::env::var_os(DISK) {
        return kill_on(disk.as_ref());
    }
    let disk = tempfile::tempdir().unwrap();
    let Some(mut command) = in_namespace(disk.path()) else {
        eprintln!(
            "!!! NOT CHECKED: kills on a full disk, since `unshare` cannot mount a tmpfs here"
        );
        return;
    };
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture"]);
    command.arg("kill::small_disk::what_was_acknowledged_survives_a_kill_on_a_full_disk");
    let output = command.env(DISK, disk.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "it failed on the small disk");
}

fn kill_on(disk: &Path) {
    let (seed, kills) = (from_env("LSM_SEED", 7), from_env("LSM_KILLS", KILLS));
    println!("LSM_SEED={seed} LSM_KILLS={kills} on a disk of {SIZE}");
    let started = Instant::now();
    let data = disk.join("data");
    let mut run = Run::new(&data, SplitMix64::new(seed), Oracle::default());
    let (mut full, mut refused) = (0, 0);
    for _ in 0..kills {
        let left = run.random.below(600 << 10);
        let moment = Moment {
            acks: 3_000,
            change: None,
            pause: None,
            full: Some((left, 1 + run.random.below(3))),
        };
        let life = live(run.dir, moment);
        full += life.said.iter().filter(|said| **said == Said::Full).count();
        run.hear(life);
        // With the file in its place, or after that has failed for it.
        if run.random.below(2) == 0 {
            match child::builder(run.dir).open() {
                Ok(db) => drop(db),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                    refused += 1;
                }
            }
        }
        make_room(disk);
        run.check();
    }
    let figures = run.figures;
    println!(
        "{figures}; {full} writes found no space, {refused} opens; in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(kills as usize / 2 <= full, "{full} writes found no space");
    assert!(kills * 20 <= figures.acks, "{figures}");
}
