//! A log that is written, torn, and read back.
//!
//! `cargo run -p lsm-wal --example append_crash_replay`

use std::error::Error;
use std::sync::Arc;

use lsm_base::{FileName, Fs, Seq, fs::StdFs};
use lsm_wal::{Finding, Inspector, Record, ReplayFrom, Wal, WalOptions, remove_segments, replay};

/// Whom the log belongs to; a random number in earnest. A segment of another one is refused.
const DATABASE: u128 = 0x6c73_6d00;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let fs: Arc<dyn Fs> = Arc::new(StdFs);
    let options = WalOptions { segment_size: 4096, owner: DATABASE, ..WalOptions::default() };

    // Three records, of which two are synced.
    let wal = Wal::create(Arc::clone(&fs), dir, options, 1, epochs(7))?;
    wal.append(&[record(1, b"one"), record(2, b"two")])?;
    let synced = wal.appended_lsn();
    wal.sync(synced)?;
    wal.append(&[record(3, b"three")])?;
    drop(wal);

    // The power fails while the third is on its way to the disk.
    let path = FileName::Log(1).path(dir);
    fs.open_writable(&path)?.write_all_at(&[0; 8], synced.offset + 32)?;
    for finding in Inspector::open(&*fs, &path)? {
        match finding? {
            Finding::Record(info) => {
                let state = if info.payload.is_some() { "whole" } else { "torn" };
                println!("{:5} {:?} {:?}, {state}", info.offset, info.kind, info.first_seq);
            }
            Finding::Gap { offset, len, .. } => println!("{offset:5} {len} bytes unused"),
        }
    }

    // What was synced is there, what was torn is reported.
    let from =
        ReplayFrom { first_segment: 1, highest_used: 1, owner: DATABASE, ..ReplayFrom::default() };
    let report = replay(&*fs, dir, from, &mut |record| {
        println!("{} {}", record.first_seq, String::from_utf8_lossy(record.payload));
        Ok(())
    })?;
    println!("{} records, dropped: {}", report.records, report.reason.as_deref().unwrap_or("none"));
    assert_eq!(report.records, 2);

    // The log goes on in a new segment; a close makes it whole to the last byte.
    let wal = Wal::create(Arc::clone(&fs), dir, options, report.next_segment, epochs(8))?;
    remove_segments(&*fs, dir, report.next_segment)?;
    wal.append(&[record(3, b"three, again")])?;
    let from = ReplayFrom {
        first_segment: report.next_segment,
        highest_used: report.next_segment,
        clean_end: Some(wal.close()?),
        owner: DATABASE,
        ..ReplayFrom::default()
    };
    let report = replay(&*fs, dir, from, &mut |_| Ok(()))?;
    assert_eq!((report.records, report.reason), (1, None));
    Ok(())
}

const fn record(seq: u64, payload: &[u8]) -> Record<'_> {
    Record { first_seq: Seq::new(seq), payload }
}

/// Random numbers in earnest.
fn epochs(mut epoch: u64) -> Box<dyn FnMut() -> u64 + Send> {
    Box::new(move || {
        epoch = epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        epoch
    })
}
