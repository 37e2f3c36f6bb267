//! Records that come to the log by calls and through a map are one log, on a real file system.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::StdFs;
use lsm_base::testing::SplitMix64;
use lsm_base::{FileName, Fs, Seq};
use lsm_wal::{Medium, Record, Wal, WalOptions, replay};

use crate::support::{FROM_FIRST, OWNER, epochs, payload};

const OPTIONS: WalOptions =
    WalOptions { segment_size: 256 << 10, writeback_bytes: 16 << 10, owner: OWNER };

const RECORDS: u64 = 6_000;

/// Writes a log whose groups go by the media that `medium` draws, and leaves it open.
fn write(dir: &Path, mut medium: impl FnMut(u64) -> Medium) -> Wal {
    let wal = Wal::create(Arc::new(StdFs), dir, OPTIONS, 1, epochs(1)).unwrap();
    let mut random = SplitMix64::new(7);
    for seq in 1..=RECORDS {
        let payload = payload(seq, random.below(400) as usize);
        let len = Wal::record_len(payload.len() as u64);
        if wal.remaining() < len {
            wal.prepare(len).unwrap();
            wal.rotate(len).unwrap().expect("it was just made ready");
        }
        let record = Record { first_seq: Seq::new(seq), payload: &payload };
        let end = wal.append_by(&[record], medium(random.below(2))).unwrap();
        if random.below(200) == 0 {
            wal.sync(end).unwrap();
        }
        if wal.take_writeback_request() {
            wal.start_writeback();
        }
    }
    wal
}

fn segments(dir: &Path) -> Vec<Vec<u8>> {
    let mut numbers = 1..;
    let path = |number: u64| FileName::Log(number).path(dir);
    std::iter::from_fn(|| std::fs::read(path(numbers.next()?)).ok()).collect()
}

#[test]
fn the_bytes_of_a_log_do_not_say_how_they_came_there() {
    let (by_calls, by_both) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let calls = write(by_calls.path(), |_| Medium::Call);
    let both = write(by_both.path(), |drawn| if drawn == 0 { Medium::Call } else { Medium::Map });
    // What a process that ended now would leave.
    let found = segments(by_both.path());
    assert!(3 < found.len());
    // A header says how far the log was synced before; everything is where it is all the same.
    assert_eq!(segments(by_calls.path()), found);
    drop((calls, both));
    assert_eq!(segments(by_both.path()), found);
    let mut next = 1;
    let fs: Arc<dyn Fs> = Arc::new(StdFs);
    let report = replay(&*fs, by_both.path(), FROM_FIRST, &mut |record| {
        assert_eq!(record.first_seq, Seq::new(next));
        next += 1;
        Ok(())
    });
    report.unwrap();
    assert_eq!(next, RECORDS + 1);
}
