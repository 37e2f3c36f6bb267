//! What an append costs: records of 133 bytes (a key of 16, a value of 100 and their encoding),
//! alone and in groups, into segments of a real directory. Nothing is synced.
//!
//! `cargo bench -p lsm-wal` takes the directory from `LSM_BENCH_DIR`, or the system's temporary
//! one. Each line is the median of some runs, with the fastest and the slowest.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lsm_base::{Seq, fs::StdFs};
use lsm_wal::{Record, Wal, WalOptions};

const PAYLOAD_LEN: usize = 133;
const RECORDS: u64 = 400_000;
const RUNS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    for group in [1, 4, 32] {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let dir = match std::env::var_os("LSM_BENCH_DIR") {
                Some(parent) => tempfile::tempdir_in(parent)?,
                None => tempfile::tempdir()?,
            };
            runs.push(nanoseconds_per_record(dir.path(), group)?);
        }
        runs.sort_by(f64::total_cmp);
        println!(
            "append, groups of {group:2}: {:6.1} ns a record ({:.1} to {:.1})",
            runs[RUNS / 2],
            runs[0],
            runs[RUNS - 1]
        );
    }
    Ok(())
}

fn nanoseconds_per_record(dir: &Path, group: u64) -> Result<f64, Box<dyn Error>> {
    let mut epoch = 0;
    let epochs = Box::new(move || {
        epoch += 1;
        epoch
    });
    let options = WalOptions { segment_size: 128 << 20, ..WalOptions::default() };
    let wal = Wal::create(Arc::new(StdFs), dir, options, 1, epochs)?;
    let payload = [0x5a; PAYLOAD_LEN];
    let start = Instant::now();
    let mut seq = 1;
    while seq <= RECORDS {
        let records: Vec<Record<'_>> = (seq..seq + group)
            .map(|seq| Record { first_seq: Seq::new(seq), payload: &payload })
            .collect();
        wal.append(&records)?;
        seq += group;
    }
    let elapsed = start.elapsed();
    Ok(elapsed.as_nanos() as f64 / (seq - 1) as f64)
}
