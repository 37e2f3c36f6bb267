//! What an append costs: records of 133 bytes (a key of 16, a value of 100 and their encoding),
//! alone and in groups, by calls and through a map, into segments of a real directory. Nothing is synced; a second thread
//! starts the write-back. The longest append shows whether appends wait for the disk.
//!
//! `cargo bench -p lsm-wal` takes the directory from `LSM_BENCH_DIR`, or the system's temporary
//! one. Each line has the medians of some runs, with the fastest and the slowest.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use lsm_base::{Seq, fs::StdFs};
use lsm_wal::{Medium, Record, Wal, WalOptions};

const PAYLOAD_LEN: usize = 133;
const RECORDS: u64 = 400_000;
const RUNS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let media = [Medium::Call, Medium::Map];
    for (medium, group) in media.into_iter().flat_map(|medium| [1, 4, 32].map(|n| (medium, n))) {
        let (mut means, mut longest) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let dir = match std::env::var_os("LSM_BENCH_DIR") {
                Some(parent) => tempfile::tempdir_in(parent)?,
                None => tempfile::tempdir()?,
            };
            let run = measure(dir.path(), medium, group)?;
            means.push(run.total.as_nanos() as f64 / RECORDS as f64);
            longest.push(run.longest.as_secs_f64() * 1e6);
        }
        means.sort_by(f64::total_cmp);
        longest.sort_by(f64::total_cmp);
        let spread = |runs: &[f64]| (runs[RUNS / 2], runs[0], runs[RUNS - 1]);
        let (mean, least, most) = spread(&means);
        print!(
            "append, {medium:?}, groups of {group:2}: {mean:6.1} ns a record ({least:.1} to {most:.1}), "
        );
        let (longest, least, most) = spread(&longest);
        println!("the longest {longest:.0} us ({least:.0} to {most:.0})");
    }
    Ok(())
}

struct Run {
    total: Duration,
    longest: Duration,
}

fn measure(dir: &Path, medium: Medium, group: u64) -> Result<Run, Box<dyn Error>> {
    let mut epoch = 0;
    let epochs = Box::new(move || {
        epoch += 1;
        epoch
    });
    let options = WalOptions { segment_size: 128 << 20, ..WalOptions::default() };
    let wal = Wal::create(Arc::new(StdFs), dir, options, 1, epochs)?;
    let (request, requested) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for () in requested {
                wal.start_writeback();
            }
        });
        let run = append_all(&wal, medium, group, &request);
        // The other thread ends with the last one who could ask.
        drop(request);
        run
    })
}

fn append_all(
    wal: &Wal,
    medium: Medium,
    group: u64,
    request: &mpsc::Sender<()>,
) -> Result<Run, Box<dyn Error>> {
    let payload = [0x5a; PAYLOAD_LEN];
    let start = Instant::now();
    let (mut before, mut longest) = (start, Duration::ZERO);
    let mut seq = 1;
    while seq <= RECORDS {
        let records: Vec<Record<'_>> = (seq..seq + group)
            .map(|seq| Record { first_seq: Seq::new(seq), payload: &payload })
            .collect();
        wal.append_by(&records, medium)?;
        seq += group;
        if wal.take_writeback_request() {
            request.send(())?;
        }
        let now = Instant::now();
        longest = longest.max(now - before);
        before = now;
    }
    Ok(Run { total: start.elapsed(), longest })
}
