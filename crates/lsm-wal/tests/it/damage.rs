//! Every byte of a small log changed, every length cut, every sector exchanged.
//!
//! What must come of it is computed from where the damage is and from what the headers that it
//! left say: an error that names the place, or exactly the records before it.

use std::path::PathBuf;
use std::sync::Arc;

use lsm_base::checksum::{checksum64, region_seed};
use lsm_base::fs::MemFs;
use lsm_base::{Error, Fs};
use lsm_wal::{
    FILE_HEADER_LEN, Finding, Inspector, Lsn, RecordInfo, RecordKind, ReplayFrom, Wal, check,
};

use crate::support::{
    FROM_FIRST, OWNER, append, copy, corruption, create, dir, log, payload, read, recover, tiny,
    write,
};

/// A log of three segments and an unused one, with synced and unsynced records.
struct Sample {
    fs: MemFs,
    records: Vec<(u64, Vec<u8>)>,
    layout: Vec<(u64, RecordInfo)>,
    clean_end: Option<Lsn>,
}

const SEGMENTS: u64 = 3;

impl Sample {
    fn crashed() -> Sample {
        Sample::new(|_| None)
    }

    fn closed() -> Sample {
        Sample::new(|wal| Some(wal.close().unwrap()))
    }

    fn new(end: impl FnOnce(&Wal) -> Option<Lsn>) -> Sample {
        let fs = Arc::new(MemFs::new());
        let seam: Arc<dyn Fs> = fs.clone();
        let wal = create(&seam, tiny()).unwrap();
        let mut records = Vec::new();
        let mut seq = 1;
        for (group, len) in [(2, 5), (1, 40), (1, 0), (2, 8), (1, 60), (3, 9)].into_iter() {
            let payloads: Vec<_> = (seq..seq + group).map(|seq| payload(seq, len)).collect();
            let bytes: u64 =
                payloads.iter().map(|payload| Wal::record_len(payload.len() as u64)).sum();
            if wal.remaining() < bytes {
                wal.prepare(bytes).unwrap();
                wal.rotate(0).unwrap();
            }
            let upto = append(&wal, seq, &payloads).unwrap();
            // Every second group is synced, so that each header tells of a different past.
            if seq % 2 == 0 {
                wal.sync(upto).unwrap();
            }
            records.extend((seq..).zip(payloads));
            seq += group;
        }
        wal.prepare(0).unwrap();
        wal.rotate(0).unwrap();
        records.push((seq, payload(seq, 30)));
        append(&wal, seq, &[payload(seq, 30)]).unwrap();
        wal.sync(wal.appended_lsn()).unwrap();
        records.push((seq + 1, payload(seq + 1, 3)));
        append(&wal, seq + 1, &[payload(seq + 1, 3)]).unwrap();
        wal.prepare(0).unwrap();
        assert_eq!(wal.active_segment(), SEGMENTS);
        let clean_end = end(&wal);
        let fs = copy(&fs);
        let layout = layout(&fs);
        Sample { fs, records, layout, clean_end }
    }

    fn from(&self) -> ReplayFrom {
        ReplayFrom { clean_end: self.clean_end, ..FROM_FIRST }
    }

    /// What must come of damage to the byte at `offset` of a segment.
    fn verdict(&self, number: u64, offset: u64) -> Verdict {
        if offset < FILE_HEADER_LEN {
            return Verdict::Corrupt(log(number), 0);
        }
        let contains =
            |info: &RecordInfo| (info.offset..info.offset + info.record_len).contains(&offset);
        let hit =
            self.layout.iter().position(|(segment, info)| *segment == number && contains(info));
        let Some(hit) = hit else {
            return Verdict::Prefix(self.records.len());
        };
        let place = Lsn::new(number, self.layout[hit].1.offset);
        // The log is whole up to the end of the record before, in whichever segment that is.
        let end = match hit.checked_sub(1).map(|before| &self.layout[before]) {
            Some((segment, info)) => Lsn::new(*segment, info.offset + info.record_len),
            None => Lsn::new(1, FILE_HEADER_LEN),
        };
        let others = self.layout.iter().enumerate().filter(|&(index, _)| index != hit);
        let synced = others.map(|(_, (_, info))| info.synced).max().unwrap();
        if end < synced || self.clean_end.is_some() {
            return Verdict::Corrupt(log(number), place.offset);
        }
        let before = self.layout[..hit].iter();
        Verdict::Prefix(before.filter(|(_, info)| info.kind == RecordKind::Data).count())
    }

    fn check(&self, fs: &MemFs, verdict: &Verdict, what: &str) {
        match verdict {
            Verdict::Corrupt(path, offset) => {
                let found = corruption(recover(fs, self.from()));
                assert_eq!(found, (path.clone(), *offset), "{what}");
            }
            Verdict::Prefix(count) => {
                let found =
                    recover(fs, self.from()).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(found.records, self.records[..*count], "{what}");
                if *count < self.records.len() {
                    assert!(found.report.reason.is_some(), "{what}: nothing is dropped in silence");
                }
            }
        }
    }

    /// Correct data or an error: a prefix that no header calls too short.
    fn check_sound(&self, fs: &MemFs, what: &str) {
        match recover(fs, self.from()) {
            Err(Error::Corruption { .. } | Error::MissingFile(_)) => {}
            Err(error) => panic!("{what}: {error}"),
            Ok(found) => {
                assert_eq!(found.records, self.records[..found.records.len()], "{what}");
                assert!(self.clean_end.is_none() || found.records.len() == self.records.len());
                for (_, info) in layout(fs) {
                    assert!(info.synced <= found.report.end, "{what}: {info:?}");
                }
            }
        }
    }
}

#[derive(Debug)]
enum Verdict {
    Corrupt(PathBuf, u64),
    Prefix(usize),
}

/// All records whose headers are whole, in the order of the log.
fn layout(fs: &MemFs) -> Vec<(u64, RecordInfo)> {
    let mut records = Vec::new();
    for number in 1..=SEGMENTS {
        let Ok(inspector) = Inspector::open(fs, &log(number)) else { continue };
        for finding in inspector {
            if let Finding::Record(info) = finding.unwrap() {
                records.push((number, info));
            }
        }
    }
    records
}

fn every_byte(sample: &Sample) {
    let mut verdicts = [0; 2];
    for number in 1..=SEGMENTS + 1 {
        let file = sample.fs.open_writable(&log(number)).unwrap();
        for (offset, byte) in (0..).zip(read(&sample.fs, &log(number))) {
            let verdict = sample.verdict(number, offset);
            verdicts[usize::from(matches!(verdict, Verdict::Corrupt(..)))] += 1;
            for damaged in [byte ^ 1, byte ^ 0x80, !byte, 0] {
                if damaged == byte {
                    continue;
                }
                file.write_all_at(&[damaged], offset).unwrap();
                let what = format!("segment {number}, byte {offset}: {byte} to {damaged}");
                sample.check(&sample.fs, &verdict, &what);
            }
            file.write_all_at(&[byte], offset).unwrap();
        }
    }
    sample.check(&sample.fs, &Verdict::Prefix(sample.records.len()), "undamaged again");
    assert!(verdicts.iter().all(|&count| 100 < count), "both outcomes were seen: {verdicts:?}");
}

#[test]
fn every_byte_of_a_crashed_log_matters_as_promised() {
    every_byte(&Sample::crashed());
}

#[test]
fn every_byte_of_a_closed_log_matters_as_promised() {
    every_byte(&Sample::closed());
}

#[test]
fn a_segment_of_another_length_is_corrupt() {
    for sample in [Sample::crashed(), Sample::closed()] {
        for number in 1..=SEGMENTS + 1 {
            let whole = read(&sample.fs, &log(number));
            for len in 0..whole.len() {
                let fs = copy(&sample.fs);
                write(&fs, &log(number), &whole[..len]);
                assert_eq!(corruption(recover(&fs, sample.from())).0, log(number), "cut at {len}");
            }
            for more in [1, 8, 512, 4096] {
                let mut extended = whole.clone();
                extended.resize(whole.len() + more, 0);
                write(&sample.fs, &log(number), &extended);
                assert_eq!(corruption(recover(&sample.fs, sample.from())).0, log(number));
            }
            write(&sample.fs, &log(number), &whole);
        }
    }
}

#[test]
fn a_missing_segment_is_missed_unless_it_was_never_used() {
    for sample in [Sample::crashed(), Sample::closed()] {
        for number in 1..=SEGMENTS + 1 {
            let fs = copy(&sample.fs);
            fs.remove(&log(number)).unwrap();
            // The last one in use is known to be: by the MANIFEST, or by the one prepared behind it.
            match recover(&fs, sample.from()) {
                Err(Error::MissingFile(path)) => {
                    assert_eq!(path, log(number));
                    assert!(number <= SEGMENTS);
                }
                Ok(found) => {
                    assert_eq!(number, SEGMENTS + 1);
                    assert_eq!(found.records, sample.records);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn exchanged_stretches_are_never_taken_for_what_they_replace() {
    for sample in [Sample::crashed(), Sample::closed()] {
        let contents: Vec<_> =
            (1..=SEGMENTS + 1).map(|number| read(&sample.fs, &log(number))).collect();
        for (number, content) in (1..).zip(&contents) {
            for start in (0..content.len()).step_by(64) {
                let end = content.len().min(start + 128);
                let mut stretches = vec![vec![0; end - start], vec![0xa5; end - start]];
                for other in &contents {
                    for from in [start, start.saturating_sub(64), start + 64] {
                        stretches.extend(other.get(from..from + end - start).map(<[u8]>::to_vec));
                    }
                }
                for stretch in stretches {
                    let fs = copy(&sample.fs);
                    let file = fs.open_writable(&log(number)).unwrap();
                    file.write_all_at(&stretch, start as u64).unwrap();
                    sample.check_sound(&fs, &format!("segment {number} from {start}"));
                }
            }
        }
    }
}

#[test]
fn exchanged_segments_are_corrupt() {
    let sample = Sample::crashed();
    for (one, other) in [(1, 2), (2, 3), (3, 4), (1, 4)] {
        let fs = copy(&sample.fs);
        let contents = (read(&fs, &log(one)), read(&fs, &log(other)));
        write(&fs, &log(one), &contents.1);
        write(&fs, &log(other), &contents.0);
        corruption(recover(&fs, sample.from()));
    }
}

/// Whatever the owner's number differs in, and wherever the segment stands.
#[test]
fn a_segment_of_another_owner_is_refused() {
    for sample in [Sample::crashed(), Sample::closed()] {
        assert_eq!(sample.from().owner, OWNER);
        for number in 1..=SEGMENTS + 1 {
            for bit in [0, 63, 64, 127] {
                let fs = copy(&sample.fs);
                let mut bytes = read(&fs, &log(number));
                let owner = u128::from_le_bytes(bytes[40..56].try_into().unwrap());
                assert_eq!(owner, OWNER);
                bytes[40..56].copy_from_slice(&(owner ^ 1 << bit).to_le_bytes());
                let epoch = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
                let sum = checksum64(region_seed(epoch, 0, 1), &bytes[..72]);
                bytes[72..80].copy_from_slice(&sum.to_le_bytes());
                write(&fs, &log(number), &bytes);
                assert_eq!(corruption(recover(&fs, sample.from())), (log(number), 40));
                let upto = Lsn::new(1, FILE_HEADER_LEN);
                assert_eq!(
                    corruption(check(&fs, dir(), OWNER, 1, upto, &mut |_| {})),
                    (log(number), 40)
                );
            }
        }
        // And the whole log is not somebody else's.
        let from = ReplayFrom { owner: OWNER + 1, ..sample.from() };
        assert_eq!(corruption(recover(&sample.fs, from)), (log(1), 40));
        let opened = Inspector::open(&sample.fs, &log(1)).unwrap();
        assert_eq!(opened.header().owner, OWNER);
    }
}

#[test]
fn records_of_another_life_never_validate() {
    // Two logs with equal records and equal places, that differ in their epochs alone.
    let make = |epoch| {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let epochs = crate::support::epochs(epoch);
        let wal = Wal::create(Arc::clone(&fs), dir(), tiny(), 1, epochs).unwrap();
        append(&wal, 1, &[payload(1, 50), payload(2, 50)]).unwrap();
        read(&*fs, &log(1))
    };
    let (old, new) = (make(1), make(2));
    let header = FILE_HEADER_LEN as usize;
    let mixed = [&new[..header], &old[header..]].concat();
    let fs = MemFs::new();
    write(&fs, &log(1), &mixed);
    let found = recover(&fs, FROM_FIRST).unwrap();
    assert!(found.records.is_empty());
    assert_eq!((found.report.dropped_records, found.report.end), (0, Lsn::new(1, FILE_HEADER_LEN)));
    assert_ne!(found.report.dropped_bytes, 0);
}
