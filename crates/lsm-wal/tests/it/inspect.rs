//! The view of one file that tools get.

use std::path::Path;
use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::{FaultFs, MemFs, OpKind};
use lsm_wal::{FileKind, Finding, Inspector, JournalWriter, Lsn, RecordKind, WalOptions};

use crate::support::{append, corruption, create, log, payload, tiny};

fn findings(fs: &dyn Fs, path: &Path) -> Vec<Finding> {
    let inspector = Inspector::open(fs, path).unwrap();
    let len = inspector.file_len();
    let findings: Vec<_> = inspector.map(Result::unwrap).collect();
    // Nothing is left out and nothing is told twice.
    let mut place = 80;
    for finding in &findings {
        let (offset, extent) = match finding {
            Finding::Record(info) => (info.offset, info.record_len),
            Finding::Gap { offset, len, .. } => (*offset, *len),
        };
        assert_eq!(offset, place);
        place += extent;
    }
    assert_eq!(place, len);
    findings
}

fn kinds(findings: &[Finding]) -> Vec<Option<RecordKind>> {
    let kind = |finding: &Finding| match finding {
        Finding::Record(info) => Some(info.kind),
        Finding::Gap { .. } => None,
    };
    findings.iter().map(kind).collect()
}

#[test]
fn a_segment_is_shown_to_its_end() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let wal = create(&fs, tiny()).unwrap();
    let first = append(&wal, 1, &[payload(1, 10)]).unwrap();
    wal.sync(first).unwrap();
    let second = append(&wal, 2, &[payload(2, 20)]).unwrap();
    wal.close().unwrap();
    let findings = findings(&*fs, &log(1));
    let (link, data, end) = (Some(RecordKind::Link), Some(RecordKind::Data), Some(RecordKind::End));
    assert_eq!(kinds(&findings), [link, data, data, end, None]);
    let Finding::Record(info) = &findings[2] else { panic!("a record") };
    assert_eq!((info.offset, info.first_seq.get(), info.payload_len), (first.offset, 2, 20));
    assert_eq!((info.synced, info.payload.as_ref()), (first, Some(&payload(2, 20))));
    let mut bytes = [0; 20];
    let file = fs.open(&log(1)).unwrap();
    file.read_exact_at(&mut bytes, info.payload_offset()).unwrap();
    assert_eq!(payload(2, 20), bytes);
    let Finding::Record(info) = &findings[3] else { panic!("a record") };
    assert_eq!((info.offset, info.synced), (second.offset, second));
    let Finding::Gap { content_len, .. } = findings[4] else { panic!("a gap") };
    assert_eq!(content_len, 0);
}

#[test]
fn damage_hides_neither_itself_nor_what_follows() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let wal = create(&fs, tiny()).unwrap();
    let ends: Vec<u64> =
        (1..=4).map(|seq| append(&wal, seq, &[payload(seq, 16)]).unwrap().offset).collect();
    let file = fs.open_writable(&log(1)).unwrap();
    file.write_all_at(&[0xff], ends[0] + 35).unwrap(); // payload of 2
    file.write_all_at(&[0xff], ends[1] + 2).unwrap(); // header of 3
    let findings = findings(&*fs, &log(1));
    let (link, data) = (Some(RecordKind::Link), Some(RecordKind::Data));
    assert_eq!(kinds(&findings), [link, data, data, None, data, None]);
    let Finding::Record(info) = &findings[2] else { panic!("a record") };
    assert_eq!((info.first_seq.get(), info.payload.as_ref()), (2, None));
    let Finding::Gap { offset, len, content_len, .. } = findings[3] else { panic!("a gap") };
    assert_eq!((offset, len, content_len), (ends[1], ends[2] - ends[1], len));
    let Finding::Record(info) = &findings[4] else { panic!("a record") };
    assert_eq!((info.first_seq.get(), info.payload.as_ref()), (4, Some(&payload(4, 16))));
}

#[test]
fn a_journal_is_shown_too() {
    let fs = MemFs::new();
    let path = Path::new("/MANIFEST-000009");
    let mut journal = JournalWriter::create(&fs, path, 9, 77, 0).unwrap();
    journal.append(b"snapshot").unwrap();
    journal.append(b"edit").unwrap();
    let inspector = Inspector::open(&fs, path).unwrap();
    let header = inspector.header();
    assert_eq!((header.kind, header.number, header.epoch), (FileKind::Journal, 9, 77));
    let findings = findings(&fs, path);
    assert_eq!(kinds(&findings), [Some(RecordKind::Edit); 2]);
    let Finding::Record(info) = &findings[1] else { panic!("a record") };
    assert_eq!((info.synced, info.payload.as_deref()), (Lsn::new(9, 128), Some(&b"edit"[..])));
}

#[test]
fn a_file_without_a_header_cannot_be_shown() {
    let fs = MemFs::new();
    fs.create(Path::new("/000001.log")).unwrap().write_all_at(&[7; 500], 0).unwrap();
    assert_eq!(corruption(Inspector::open(&fs, Path::new("/000001.log")).map(|_| ())).1, 0);
}

#[test]
fn many_gaps_do_not_make_the_file_be_read_many_times() {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let wal = create(&shared, WalOptions { segment_size: 4 << 20, ..tiny() }).unwrap();
    let mut offsets = Vec::new();
    for seq in 1..=400 {
        offsets.push(wal.appended_lsn().offset);
        append(&wal, seq, &[payload(seq, 1000)]).unwrap();
    }
    // Every second header is damaged, and three quarters of the segment are not used.
    let file = fs.open_writable(&log(1)).unwrap();
    for offset in offsets.iter().skip(1).step_by(2) {
        file.write_all_at(b"damage", *offset).unwrap();
    }
    fs.clear_trace();
    let findings = findings(&fs, &log(1));
    let gaps = findings.iter().filter(|finding| matches!(finding, Finding::Gap { .. })).count();
    assert_eq!(gaps, 200, "the last one reaches to the end");
    let reads = fs.trace().into_iter().filter(|op| op.kind == OpKind::Read);
    let read: u64 = reads.map(|op| op.len).sum();
    assert!(read < 4 * (4 << 20), "{read} bytes were read");
}
