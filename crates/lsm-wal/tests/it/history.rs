//! Random histories of one log over several crashes, against a list of what was appended.

use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::{Keep, MemFs};
use lsm_wal::{Lsn, ReplayFrom, Wal, WalOptions, remove_segments};
use proptest::prelude::*;

use crate::support::{FROM_FIRST, OWNER, append, dir, epochs, payload, recover};

#[derive(Clone, Debug)]
enum Step {
    /// Appends a group of payloads of these lengths.
    Append(Vec<usize>),
    Sync,
    Rotate,
    /// Makes a segment with more room than usual ready.
    Prepare(u64),
    /// Gives up all but so many of the newest segments.
    Release(u64),
    /// Ends the log in this way, and begins the next one.
    Crash(Keep),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lens = prop::collection::vec(prop_oneof![0_usize..100, 0_usize..600], 1..5);
    let keep = prop_oneof![
        Just(Keep::SyncedOnly),
        Just(Keep::Everything),
        any::<u64>().prop_map(|seed| Keep::Subset { seed }),
    ];
    let step = prop_oneof![
        8 => lens.prop_map(Step::Append),
        3 => Just(Step::Sync),
        2 => Just(Step::Rotate),
        1 => (0_u64..5000).prop_map(Step::Prepare),
        1 => (0_u64..3).prop_map(Step::Release),
        2 => keep.prop_map(Step::Crash),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..60)
}

/// A log and what it must be found to hold.
struct Model {
    fs: MemFs,
    wal: Wal,
    floor: u64,
    /// Records from the floor on, each with its segment; and how many of them are synced.
    records: Vec<(u64, u64, Vec<u8>)>,
    synced: usize,
    next_seq: u64,
}

const OPTIONS: WalOptions = WalOptions { segment_size: 1024, writeback_bytes: 4096, owner: OWNER };

impl Model {
    fn begin(fs: MemFs, first: u64, next_seq: u64) -> Model {
        let seam: Arc<dyn Fs> = Arc::new(fs.clone());
        let wal = Wal::create(seam, dir(), OPTIONS, first, epochs(first + 7)).unwrap();
        // What is older is in tables now.
        remove_segments(&fs, dir(), first).unwrap();
        Model { fs, wal, floor: first, records: Vec::new(), synced: 0, next_seq }
    }

    fn append(&mut self, lens: &[usize]) {
        let seqs = self.next_seq..;
        let payloads: Vec<_> =
            seqs.clone().zip(lens).map(|(seq, &len)| payload(seq, len)).collect();
        let bytes = lens.iter().map(|&len| Wal::record_len(len as u64)).sum();
        if self.wal.remaining() < bytes {
            self.wal.prepare(bytes).unwrap();
            self.wal.rotate(0).unwrap();
        }
        let end = append(&self.wal, self.next_seq, &payloads).unwrap();
        assert_eq!(self.wal.appended_lsn(), end);
        self.next_seq += lens.len() as u64;
        let records = seqs.zip(payloads).map(|(seq, payload)| (end.segment, seq, payload));
        self.records.extend(records);
    }

    fn sync(&mut self) {
        self.wal.sync(self.wal.appended_lsn()).unwrap();
        self.synced = self.records.len();
    }

    fn release(&mut self, kept: u64) {
        let floor = self.wal.active_segment().saturating_sub(kept).max(self.floor);
        self.wal.release(floor).unwrap();
        let gone = self.records.partition_point(|&(segment, ..)| segment < floor);
        self.records.drain(..gone);
        self.synced = self.synced.saturating_sub(gone);
        self.floor = floor;
    }

    /// Recovers `image`, and goes on with it. `known` is what the MANIFEST knows to be synced.
    fn restart(self, image: MemFs, keep: Keep, known: Lsn, clean_end: Option<Lsn>) -> Model {
        let from = ReplayFrom {
            first_segment: self.floor,
            synced: known,
            highest_used: self.floor,
            clean_end,
            ..FROM_FIRST
        };
        let found = recover(&image, from).unwrap();
        let expected: Vec<_> =
            self.records.iter().map(|(_, seq, payload)| (*seq, payload.clone())).collect();
        let count = found.records.len();
        assert_eq!(found.records[..], expected[..count]);
        assert!(self.synced <= count, "{} of {} synced records", count, self.synced);
        if keep == Keep::Everything || clean_end.is_some() {
            assert_eq!(count, expected.len());
            assert_eq!(found.report.reason, None);
        }
        if self.synced == expected.len() && count == expected.len() {
            assert_eq!(found.report.dropped_records, 0);
        }
        assert!(self.wal.active_segment() < found.report.next_segment);
        Model::begin(image, found.report.next_segment, self.next_seq)
    }

    fn take(mut self, step: Step) -> Model {
        match step {
            Step::Append(lens) => self.append(&lens),
            Step::Sync => self.sync(),
            Step::Rotate => {
                self.wal.prepare(0).unwrap();
                self.wal.rotate(0).unwrap();
            }
            Step::Prepare(capacity) => {
                self.wal.prepare(capacity).unwrap();
                assert!(self.wal.is_ready(capacity));
            }
            Step::Release(kept) => self.release(kept),
            Step::Crash(keep) => {
                let image = self.fs.crash(keep);
                // The MANIFEST may know all that was synced, or nothing.
                let known =
                    if self.next_seq.is_multiple_of(2) { self.wal.synced_lsn() } else { Lsn::ZERO };
                return self.restart(image, keep, known, None);
            }
            Step::Close => {
                let end = self.wal.close().unwrap();
                let image = self.fs.crash(Keep::SyncedOnly);
                let known = self.wal.synced_lsn();
                return self.restart(image, Keep::SyncedOnly, known, Some(end));
            }
        }
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_prefix_with_all_that_was_synced_survives(steps in steps(), seed: u64) {
        let mut model = Model::begin(MemFs::new(), 1, 1);
        for step in steps {
            model = model.take(step);
        }
        for keep in [Keep::SyncedOnly, Keep::Subset { seed }, Keep::Everything] {
            let image = model.fs.crash(keep);
            let next = model.restart(image, keep, Lsn::ZERO, None);
            // Once more from what the first recovery made of it, with nothing appended since.
            model = next;
        }
    }
}
