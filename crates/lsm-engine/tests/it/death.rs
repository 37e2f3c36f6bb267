//! The process dies after every operation, another one goes on with what is in the page cache, and
//! then the power fails. What an open serves must be on disk: pages that nobody synced look the
//! same to a reader. `LSM_SEED` makes another script, and `LSM_STEPS` a longer one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op};
use lsm_engine::{Db, Read};

use crate::harness::script::{PROBE, Progress, Script, Step, probe};
use crate::harness::{self, changes_the_disk, from_env, kill, on, orphans};

/// How many steps the script has.
const STEPS: u64 = 120;

/// Lets everything fail once so many operations have changed the disk.
fn die_after(fs: &FaultFs, changes: u64) {
    let seen = AtomicU64::new(0);
    fs.set_plan(move |op: &Op| {
        let is_change = u64::from(changes_the_disk(op));
        (changes < seen.fetch_add(is_change, Ordering::Relaxed) + is_change).then_some(Fault::Eio)
    });
}

/// Runs a script until the process dies. Whether it lived to the end, and what was acknowledged.
fn live(script: &Script, fs: &FaultFs, progress: &Progress) -> (bool, usize) {
    let Ok(mut db) = harness::open(fs, 0) else { return (false, 0) };
    for (index, step) in script.steps.iter().enumerate() {
        progress.set_begun(index + 1);
        let result = match step {
            Step::Close | Step::Kill => {
                let closed = db.close();
                match closed.and_then(|()| harness::open(fs, 0)) {
                    Ok(next) => {
                        db = next;
                        continue;
                    }
                    Err(_) => return (false, index),
                }
            }
            _ => script.run_step(index, &db, progress),
        };
        if result.is_err() {
            return (false, index);
        }
    }
    (db.close().is_ok(), script.steps.len())
}

/// What the next process finds, and what is left of it when the power fails.
fn go_on(script: &Script, memory: &MemFs, progress: &Progress, acked: usize) {
    // The page cache has all that was acknowledged, synced or not.
    progress.set_durable(acked);
    let bounds = progress.bounds();
    let fs = on(memory);
    let db = harness::open(&fs, 0).unwrap();
    let got = script.judge(&db, bounds).unwrap();
    assert_eq!(orphans(&fs, &db), [""; 0]);
    let served = memory.crash(Keep::SyncedOnly);
    let seq = probe(&db, "after a death").unwrap();
    assert!(bounds.max_seq < seq.get());
    let probed = memory.crash(Keep::SyncedOnly);
    kill(&fs, db);
    for (image, has_probe) in [(served, false), (probed, true)] {
        let db: Db = harness::open(&on(&image), 0).unwrap();
        assert_eq!(script.judge(&db, bounds).unwrap(), got, "what was served is on disk");
        assert_eq!(db.get(PROBE).unwrap().is_some(), has_probe);
    }
}

#[test]
fn what_an_open_serves_is_on_disk() {
    let (seed, steps) = (from_env("LSM_SEED", 4), from_env("LSM_STEPS", STEPS));
    let script = Arc::new(Script::new(seed, steps as usize));
    let mut changes = 0;
    loop {
        let (memory, fs) = harness::disk();
        let progress = Progress::default();
        die_after(&fs, changes);
        let (has_ended, acked) = live(&script, &fs, &progress);

        go_on(&script, &memory, &progress, acked);
        if has_ended {
            break;
        }
        changes += 1;
    }
    println!("{changes} deaths, LSM_SEED={seed}");
    assert!(steps < STEPS || 300 < changes, "{changes} deaths");
}
