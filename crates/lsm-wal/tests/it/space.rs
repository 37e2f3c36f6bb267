//! A disk that has no space for a segment of the usual size.

use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::{Keep, MemFs};
use lsm_wal::WalOptions;

use crate::support::{FROM_FIRST, append, create, payload, recover, tiny};

#[test]
fn a_nearly_full_disk_gets_smaller_segments() {
    let mem = MemFs::new();
    mem.set_capacity(11 << 19);
    let fs: Arc<dyn Fs> = Arc::new(mem.clone());
    let options = || WalOptions { segment_size: 16 << 20, ..tiny() };
    let wal = create(&fs, options()).unwrap();
    assert!(wal.remaining() <= 4 << 20, "{}", wal.remaining());
    // A quarter of what is usual did fit, and of the rest a sixteenth.
    wal.prepare(0).unwrap();
    append(&wal, 1, &[payload(1, 1000)]).unwrap();
    assert!(wal.rotate(0).unwrap().is_some());
    assert!((900 << 10..=1 << 20).contains(&wal.remaining()), "{}", wal.remaining());
    append(&wal, 2, &[payload(2, 1000)]).unwrap();
    // Nothing smaller than a MiB is made, and what a record needs is never cut short.
    assert!(wal.prepare(0).unwrap_err().is_no_space());
    assert!(wal.prepare(3 << 20).unwrap_err().is_no_space());
    assert!(!wal.is_ready(0));
    wal.sync(wal.appended_lsn()).unwrap();
    assert_eq!(recover(&mem.crash(Keep::SyncedOnly), FROM_FIRST).unwrap().records.len(), 2);
    // With space again segments are what they were.
    mem.set_capacity(64 << 20);
    wal.prepare(0).unwrap();
    assert!(wal.rotate(0).unwrap().is_some());
    assert!(15 << 20 < wal.remaining());
}
