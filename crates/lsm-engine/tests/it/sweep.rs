//! One place of one file is not what was written there, for every place of every file.
//!
//! Every byte of a small store that has every kind of block gets each of its bits turned, and is
//! made 0x00 and 0xff; every file is cut at every length, and grows; sectors of 512 bytes are wiped,
//! and change places with each other; files are lost, and change places. What is read then is what
//! was written, or the answer is an error that names a file of the store and a place in it: never
//! anything else, no panic, no allocation beyond a limit, and none takes more of the processor's time
//! than [`LONGEST`]. A store that was not closed may also have lost the end of its log that no later
//! record vouches for, and says so unless nothing but zeros is left.
//!
//! Nothing of this is random. `LSM_SEED` makes other values, one of 26, and moves the damage that is
//! met by an open for writing rather than for reading, one of 3, and by a store that maps its tables
//! rather than one that does not, one of 2: there are 156 different sweeps.

mod damage;

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use lsm_base::fs::{Keep, MemFs};
use lsm_base::{Error as Base, FileName};
use lsm_engine::{Error, ReadMode};

use self::damage::{Damage, Files};
use crate::allocator;
use crate::harness::specimen::{MODES, Specimen, open_in, open_read_only_in};
use crate::harness::{DIR, from_env, names, read_file};
use crate::support::processor_time;

/// The sweep of a store is cut into so many tests, which run beside each other.
const PARTS: usize = 4;

/// How many changes of one byte a part of either store makes at least: fewer would say that
/// something is not swept any more. The closed one has no log.
const LEAST_NOT_CLOSED: usize = 42_500;
const LEAST_CLOSED: usize = 33_000;
const _: () = assert!(300_000 <= PARTS * (LEAST_NOT_CLOSED + LEAST_CLOSED));

/// The most that an open for reading and what follows it may ask for at once, whatever the bytes
/// say: a memtable and as much again, while the longest file has 4 KiB.
const LARGEST_ALLOCATION: usize = 32 << 10;

/// The same of an open for writing, which brings the log into tables: the builder's buffer.
const LARGEST_TO_WRITE: usize = 1 << 20;

/// The most that the processor may work for an open and what follows it. The stores have no threads,
/// so that all of it is this thread's.
const LONGEST: Duration = Duration::from_secs(1);

/// The most that it may take by the clock: far beyond what it does on a busy machine. Whatever never
/// ends is ended by who runs the tests.
const LONGEST_ON_THE_WALL: Duration = Duration::from_secs(60);

/// One store, and what damage has done to it so far.
struct Sweep {
    specimen: Specimen,
    store: MemFs,
    files: Files,
    refused: usize,
    /// The most of the processor's time.
    slowest: Duration,
    largest: usize,
}

impl Sweep {
    fn of(is_closed: bool, seed: u64) -> Sweep {
        let owner = char::from(b'a' + (seed % 26) as u8);
        let specimen = Specimen { owner, is_closed };
        let store = specimen.make();
        let names = names(&store, |_| true);
        let files = names.into_iter().map(|name| (name.clone(), read_file(&store, &name)));
        let (slowest, largest) = (Duration::ZERO, 0);
        Sweep { specimen, files: Files(files.collect()), store, refused: 0, slowest, largest }
    }

    /// Damages the store, and judges what it answers to an open for writing or for reading, whose
    /// tables are mapped or not.
    fn try_damage(
        &mut self,
        damage: &Damage,
        for_writing: bool,
        mode: ReadMode,
    ) -> Result<(), String> {
        let image = self.store.crash(Keep::Everything);
        damage.apply(&self.files, &image);
        allocator::take_largest();
        let (started, worked) = (Instant::now(), processor_time());
        let judged = panic::catch_unwind(AssertUnwindSafe(|| {
            let opened = match for_writing {
                true => open_in(&image, mode),
                false => open_read_only_in(&image, mode),
            };
            self.specimen.judge(opened, damage.may_lose(&self.files))
        }));
        let (elapsed, worked) = (started.elapsed(), processor_time() - worked);
        self.slowest = self.slowest.max(worked);
        let largest = allocator::take_largest();
        self.largest = self.largest.max(largest);
        if (if for_writing { LARGEST_TO_WRITE } else { LARGEST_ALLOCATION }) < largest {
            return Err(format!("an allocation of {largest} bytes"));
        }
        if LONGEST < worked || LONGEST_ON_THE_WALL < elapsed {
            return Err(format!("it took {elapsed:?}, {worked:?} of the processor"));
        }
        let refusal = judged.map_err(|_| "it panicked".to_owned())??;
        self.refused += usize::from(refusal.is_some());
        match refusal.and_then(|error| misplaced(&error, damage, &self.files, &image)) {
            None => Ok(()),
            Some(why) => Err(why),
        }
    }
}

/// What is wrong with where an error says that the damage is.
fn misplaced(error: &Error, damage: &Damage, files: &Files, image: &MemFs) -> Option<String> {
    let Some(Base::Corruption { path, offset, .. }) = error.base() else { return None };
    let name = path.strip_prefix(Path::new(DIR)).ok()?.to_str()?;
    // What a table lacks shows in no other file.
    let is_other = damage.place().is_some_and(|hit| {
        matches!(FileName::parse(files.name(hit)), Some(FileName::Table(_)))
            && files.name(hit) != name
    });
    let is_outside = (read_file(image, name).len() as u64) < *offset;
    (is_other || is_outside).then(|| error.to_string())
}

/// Does every [`PARTS`]th damage, `part` first; `LSM_SWEEP_ONLY` is the number of a single one.
fn sweep(is_closed: bool, part: usize) {
    let (started, worked) = (Instant::now(), processor_time());
    let seed = from_env("LSM_SEED", 0);
    let mut sweep = Sweep::of(is_closed, seed);
    let damages = sweep.files.damages();
    let only = from_env("LSM_SWEEP_ONLY", u64::MAX) as usize;
    let (mut count, mut bytes) = (0, 0);
    for (number, damage) in damages.iter().enumerate().skip(part).step_by(PARTS) {
        if only != usize::MAX && only != number || damage.is_needless(&sweep.files) {
            continue;
        }
        // Neighbours are opened differently, and so is one place by different damage.
        let for_writing = (number / PARTS + seed as usize % 3).is_multiple_of(3);
        let mode = MODES[(number / PARTS + seed as usize % 4 / 2) % 2];
        if let Err(why) = sweep.try_damage(damage, for_writing, mode) {
            panic!(
                "{}: {why} (LSM_SEED={seed} LSM_SWEEP_ONLY={number})",
                damage.describe(&sweep.files)
            );
        }
        count += 1;
        bytes += usize::from(damage.is_of_a_byte());
    }
    let Sweep { refused, slowest, largest, files, .. } = sweep;
    println!(
        "{count} of {} damages of {}, {bytes} of them of one byte, {refused} refused, slowest {slowest:.1?}, largest \
         allocation {largest}, in {:.1?}, {:.1?} of the processor",
        damages.len(),
        files.list(),
        started.elapsed(),
        processor_time() - worked,
    );
    if only == usize::MAX {
        let least = if is_closed { LEAST_CLOSED } else { LEAST_NOT_CLOSED };
        assert!(least <= bytes, "{bytes} changes of a byte");
        assert!(bytes + bytes / 20 <= count, "{count} damages");
        assert!(count / 3 < refused && refused < count, "{refused} of {count} were refused");
    }
}

#[test]
fn a_damaged_store_that_was_closed_is_right_or_refused_1() {
    sweep(true, 0);
}

#[test]
fn a_damaged_store_that_was_closed_is_right_or_refused_2() {
    sweep(true, 1);
}

#[test]
fn a_damaged_store_that_was_closed_is_right_or_refused_3() {
    sweep(true, 2);
}

#[test]
fn a_damaged_store_that_was_closed_is_right_or_refused_4() {
    sweep(true, 3);
}

#[test]
fn a_damaged_store_that_was_not_closed_is_right_or_refused_1() {
    sweep(false, 0);
}

#[test]
fn a_damaged_store_that_was_not_closed_is_right_or_refused_2() {
    sweep(false, 1);
}

#[test]
fn a_damaged_store_that_was_not_closed_is_right_or_refused_3() {
    sweep(false, 2);
}

#[test]
fn a_damaged_store_that_was_not_closed_is_right_or_refused_4() {
    sweep(false, 3);
}
