//! The corpus of a fuzz target, replayed by a plain test.
//!
//! A target is a function of bytes that panics where the code under it is wrong; the fuzzer of
//! `xtask/fuzz` calls it, and so does [`replay`]: with each file of the target's folder of
//! `xtask/fuzz/corpus`, with the seeds that the caller has made, and with random changes of both.
//! What a failure was about is printed as hexadecimal digits: make a file of them, and it is a
//! regression test.
//!
//! `LSM_FUZZ_SEED` is the seed of the changes and `LSM_FUZZ_RUNS` how many there are;
//! `LSM_FUZZ_BLESS` writes the caller's seeds into the folder, for the fuzzer to begin with.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::SplitMix64;
use crate::fs::{Fs, StdFs};

/// How many changed inputs a plain test tries of a target that takes microseconds.
pub const RUNS: u64 = 4000;

/// The longest input that is made by changes, in bytes.
const MAX_LEN: usize = 16 << 10;

/// Numbers at which code changes its mind.
const EDGES: [u64; 12] =
    [0, 1, 7, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 56, u64::MAX >> 1, u64::MAX];

/// Calls `target` with all of its corpus, with `seeds`, and with `runs` random changes of both.
///
/// # Panics
/// If the target does, or the corpus cannot be read or has fewer than two inputs.
pub fn replay(name: &str, seeds: &[Vec<u8>], runs: u64, target: fn(&[u8])) {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/fuzz/corpus")).join(name);
    if std::env::var_os("LSM_FUZZ_BLESS").is_some() {
        write_seeds(&dir, seeds);
    }
    let mut inputs = read_all(&dir);
    let files = inputs.len();
    assert!(2 <= files, "{} has too few inputs: LSM_FUZZ_BLESS=1 writes the seeds", dir.display());
    inputs.extend_from_slice(seeds);
    for input in &inputs {
        run(target, input, "as it is in the corpus or among the seeds");
    }
    let seed = number("LSM_FUZZ_SEED", 1);
    let runs = number("LSM_FUZZ_RUNS", runs);
    let mut random = SplitMix64::new(seed);
    for round in 0..runs {
        let input = changed(&inputs, &mut random);
        run(target, &input, &format!("LSM_FUZZ_SEED={seed}, change {round}"));
    }
    println!("{name}: {files} files, {} seeds, {runs} changes of them", seeds.len());
}

fn run(target: fn(&[u8]), input: &[u8], what: &str) {
    let report = Report { input, what };
    target(input);
    drop(report);
}

/// Says what the target was called with when it panicked.
struct Report<'a> {
    input: &'a [u8],
    what: &'a str,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut digits = String::new();
            for byte in self.input {
                write!(digits, "{byte:02x}").expect("a string takes all");
            }
            eprintln!("{}: {digits}", self.what);
        }
    }
}

/// One input with one to four changes.
fn changed(inputs: &[Vec<u8>], random: &mut SplitMix64) -> Vec<u8> {
    let pick = |random: &mut SplitMix64| &inputs[random.below(inputs.len() as u64) as usize];
    let mut bytes = pick(random).clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let longest = 1 << random.below(8);
        let len = (random.below(longest) as usize).min(bytes.len() - at);
        match random.below(8) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next_u64() as u8;
                }
            }
            3 | 4 => {
                let edge = EDGES[random.below(EDGES.len() as u64) as usize].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4) as usize].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            5 => drop(bytes.drain(at..at + len)),
            6 => {
                let copy = bytes[at..at + len].to_vec();
                let to = random.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(to..to, copy);
            }
            _ => {
                let other = pick(random);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }
    bytes.truncate(MAX_LEN);
    bytes
}

fn read_all(dir: &Path) -> Vec<Vec<u8>> {
    let entries = StdFs.list(dir).expect("the corpus is a folder of the repository");
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort();
    names.into_iter().map(|name| read(&dir.join(name))).collect()
}

fn read(path: &Path) -> Vec<u8> {
    let file = StdFs.open(path).expect("the corpus is readable");
    let mut bytes = vec![0; file.len().expect("a file has a length") as usize];
    file.read_exact_at(&mut bytes, 0).expect("the corpus is readable");
    bytes
}

fn write_seeds(dir: &Path, seeds: &[Vec<u8>]) {
    // The folder of all targets is there; that of this one may be new.
    let _ = StdFs.create_dir(dir);
    for (index, seed) in seeds.iter().enumerate() {
        let path: PathBuf = dir.join(format!("seed-{index}"));
        let _ = StdFs.remove(&path);
        let file = StdFs.create(&path).expect("the corpus is writable");
        file.write_all_at(seed, 0).expect("the corpus is writable");
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number stands in the variable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_that_few_inputs_show_is_noticed() {
        let mistaken = |bytes: &[u8]| assert!(bytes.len() < 3 || bytes[1] != 0x80, "a mistake");
        let replayed = std::panic::catch_unwind(|| replay("batch", &[], RUNS, mistaken));
        assert!(replayed.is_err());
    }

    #[test]
    fn the_whole_corpus_is_small() {
        let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/fuzz/corpus"));
        let targets = StdFs.list(dir).unwrap();
        assert!(14 <= targets.len(), "{targets:?}");
        let inputs = targets.iter().flat_map(|target| StdFs.list(&dir.join(&target.name)).unwrap());
        let bytes: u64 = inputs.map(|input| input.len).sum();
        assert!(bytes < 256 << 10, "{bytes} bytes: `cargo fuzz cmin` keeps what is worth it");
    }
}
