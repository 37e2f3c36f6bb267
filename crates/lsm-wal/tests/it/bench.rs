//! A log on a disk that becomes full or fails, and what is found of it afterwards.

use std::sync::Arc;

use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, OpKind};
use lsm_base::{Fs, Result};
use lsm_wal::{Lsn, Wal};

use crate::support::{FROM_FIRST, append, create, payload, recover, tiny};

/// Bytes of a record of the bench: 20 of payload, padded, and the overhead.
pub(crate) const RECORD: usize = 64;

/// A log on a disk that can fail.
pub(crate) struct Bench {
    pub(crate) mem: MemFs,
    pub(crate) fault: FaultFs,
    pub(crate) wal: Wal,
}

impl Bench {
    /// With one segment, in which nothing is.
    pub(crate) fn new() -> Bench {
        let mem = MemFs::new();
        let fault = FaultFs::new(Arc::new(mem.clone()));
        let fs: Arc<dyn Fs> = Arc::new(fault.clone());
        let wal = create(&fs, tiny()).unwrap();
        Bench { mem, fault, wal }
    }

    /// Appends so many records, whose payloads have 20 bytes, with sequences from `seq` on.
    pub(crate) fn append(&self, seq: u64, count: u64) -> Result<Lsn> {
        let payloads: Vec<_> = (seq..seq + count).map(|seq| payload(seq, 20)).collect();
        append(&self.wal, seq, &payloads)
    }

    /// Fills the disk within the next write, after `len` bytes of it.
    pub(crate) fn fill_disk_after(&self, len: usize) {
        let mut writes = 0;
        self.fault.set_plan(move |op| {
            if op.kind != OpKind::Write {
                return None;
            }
            writes += 1;
            if writes == 1 && len != 0 { Some(Fault::Short(len)) } else { Some(Fault::Enospc) }
        });
    }

    /// The sequences found after a crash.
    pub(crate) fn found(&self, keep: Keep) -> Vec<u64> {
        let found = recover(&self.mem.crash(keep), FROM_FIRST).unwrap();
        found.records.iter().map(|&(seq, _)| seq).collect()
    }

    /// Every way to go on answers with the error that ended the log, and no file is touched.
    pub(crate) fn assert_poisoned(&self, reason: &str) {
        self.fault.clear_plan();
        self.fault.clear_trace();
        let end = self.wal.appended_lsn();
        let results = [
            self.append(1000, 1).map(drop),
            self.wal.sync(end),
            self.wal.rotate(0).map(drop),
            self.wal.prepare(0),
            self.wal.close().map(drop),
        ];
        for result in results {
            assert_eq!(result.unwrap_err().to_string(), reason);
        }
        assert_eq!(self.fault.trace(), []);
    }
}
