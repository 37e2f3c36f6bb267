//! The power fails, at every moment and more than once.
//!
//! A script runs on a disk in memory. After every operation that can change what a power loss
//! leaves, and after every acknowledged write, images of the disk are taken: one with nothing that
//! was not synced, one with a random part of it, and after every eighth operation one with all of it,
//! as a death of the process leaves it. `harness/cuts.rs` says what becomes of them.
//!
//! Nothing is sampled but the moment inside each recovery. `LSM_SEED` makes another script,
//! `LSM_STEPS` sets its length, and `LSM_CUT_EVERY=4` takes every fourth operation only; the cuts
//! after acknowledged writes are always all taken.

use std::time::Instant;

use crate::harness::cuts::{Count, Plan, cut_everywhere};
use crate::harness::from_env;
use crate::harness::script::Script;

/// How many steps the script has.
const STEPS: u64 = 2_000;

/// One of so many of them has the script beside background threads.
const SHORTER: u64 = 4;

/// How many images there are at least for each step: one that is acknowledged as synced has two, and
/// each that changes the disk several.
const IMAGES_PER_STEP: u64 = 6;

/// How many images a run makes at least.
const FLOOR: u64 = 15_000;

const _: () = assert!(FLOOR <= IMAGES_PER_STEP * (STEPS + STEPS / SHORTER));

fn survive(seed: u64, steps: u64, threads: usize) {
    let started = Instant::now();
    let every = from_env("LSM_CUT_EVERY", 1);
    let plan = Plan { threads, every, whole_every: 8, images_per_name: 12 };
    let count = cut_everywhere(&Script::new(seed, steps as usize), &plan, |_, _| None);
    let Count { images, recoveries } = count.unwrap();
    let took = started.elapsed();
    println!("{images} images, {recoveries} recoveries in {took:.1?}, LSM_SEED={seed}");
    // One image for each step does not become less where not every operation is cut after.
    let least = steps * (1 + (IMAGES_PER_STEP - 1) / every);
    // Each is recovered twice or more.
    assert!(least <= images && 2 * images <= recoveries, "{images} images of {steps} steps");
}

#[test]
fn every_synced_write_and_a_prefix_of_the_rest_survive() {
    survive(from_env("LSM_SEED", 1), from_env("LSM_STEPS", STEPS), 0);
}

#[test]
fn they_survive_beside_background_threads() {
    survive(from_env("LSM_SEED", 2), from_env("LSM_STEPS", STEPS) / SHORTER, 1);
}
