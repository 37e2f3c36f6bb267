//! The writing side: rotation, errors that seal, and what a sync covers.

use lsm_base::fs::MemFs;

use super::*;
use crate::format::MAX_PAYLOAD_LEN;

const DIR: &str = "/";

fn create(options: WalOptions) -> (Arc<MemFs>, Wal) {
    let fs = Arc::new(MemFs::new());
    let mut epoch = 100;
    let epochs = Box::new(move || {
        epoch += 1;
        epoch
    });
    let wal = Wal::create(fs.clone(), Path::new(DIR), options, 1, epochs).unwrap();
    (fs, wal)
}

fn small() -> WalOptions {
    WalOptions { segment_size: 512, writeback_bytes: 0, owner: 0 }
}

fn append(wal: &Wal, seq: u64, payload: &[u8]) -> Result<Lsn> {
    wal.append(&[Record { first_seq: Seq::new(seq), payload }])
}

fn log_names(fs: &MemFs) -> Vec<String> {
    let entries = fs.list(Path::new(DIR)).unwrap();
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

#[test]
fn appends_advance_one_mark_and_syncs_the_other() {
    let (_, wal) = create(small());
    let start = Lsn::new(1, FILE_HEADER_LEN);
    assert_eq!((wal.appended_lsn(), wal.synced_lsn()), (start, start));
    let first = append(&wal, 1, b"one").unwrap();
    assert_eq!(first, Lsn::new(1, FILE_HEADER_LEN + LINK_RECORD_LEN + record_len(3)));
    let second = append(&wal, 2, b"two").unwrap();
    assert_eq!((wal.appended_lsn(), wal.synced_lsn()), (second, start));
    // A sync covers all that was appended, not only what was asked for.
    wal.sync(first).unwrap();
    assert_eq!(wal.synced_lsn(), second);
    wal.sync(second).unwrap();
}

#[test]
fn a_position_that_was_never_appended_cannot_be_synced() {
    let (_, wal) = create(small());
    let end = append(&wal, 1, b"one").unwrap();
    let beyond = Lsn::new(end.segment, end.offset + 8);
    assert!(matches!(wal.sync(beyond), Err(Error::InvalidArgument(_))));
    wal.sync(end).unwrap();
}

#[test]
fn remaining_is_exact() {
    let (_, wal) = create(small());
    let room = wal.remaining();
    let fitting = vec![1; (room - record_len(0)) as usize];
    let mut oversized = fitting.clone();
    oversized.push(1);
    assert!(matches!(append(&wal, 1, &oversized), Err(Error::InvalidArgument(_))));
    assert_eq!(wal.remaining(), room);
    append(&wal, 1, &fitting).unwrap();
    assert_eq!(wal.remaining(), 0);
    // The end trailer has its place all the same.
    wal.close().unwrap();
}

#[test]
fn a_payload_may_be_as_long_as_a_record_and_no_longer() {
    let (_, wal) = create(small());
    // Nobody touches it, so it takes no memory.
    let payload = vec![0; MAX_PAYLOAD_LEN as usize + 1];
    let why = |len: u64| append(&wal, 1, &payload[..len as usize]).unwrap_err().to_string();
    assert_eq!(why(MAX_PAYLOAD_LEN + 1), format!("a log record of {} bytes", MAX_PAYLOAD_LEN + 1));
    let len = record_len(MAX_PAYLOAD_LEN);
    assert_eq!(why(MAX_PAYLOAD_LEN), format!("{len} bytes do not fit segment 1"));
}

#[test]
fn sequences_must_ascend() {
    let (_, wal) = create(small());
    assert!(matches!(append(&wal, 0, b""), Err(Error::InvalidArgument(_))));
    append(&wal, 5, b"").unwrap();
    for seq in [4, 5] {
        assert!(matches!(append(&wal, seq, b""), Err(Error::InvalidArgument(_))));
    }
    let pair = [6, 6].map(|seq| Record { first_seq: Seq::new(seq), payload: b"" });
    assert!(matches!(wal.append(&pair), Err(Error::InvalidArgument(_))));
    append(&wal, 6, b"").unwrap();
}

#[test]
fn an_empty_group_changes_nothing() {
    let (_, wal) = create(small());
    let before = wal.appended_lsn();
    assert_eq!(wal.append(&[]).unwrap(), before);
    assert_eq!(wal.appended_lsn(), before);
}

#[test]
fn a_rotation_needs_a_ready_segment() {
    let (_, wal) = create(small());
    append(&wal, 1, b"one").unwrap();
    assert!(!wal.is_ready(0));
    assert_eq!(wal.rotate(0).unwrap(), None);
    wal.prepare(0).unwrap();
    assert!(wal.is_ready(0));
    assert_eq!(wal.rotate(0).unwrap(), Some(2));
    assert_eq!(wal.active_segment(), 2);
    assert!(!wal.is_ready(0));
}

#[test]
fn a_small_ready_segment_is_replaced_by_a_larger_one() {
    let (fs, wal) = create(small());
    wal.prepare(0).unwrap();
    assert!(!wal.is_ready(4000));
    wal.prepare(4000).unwrap();
    assert!(wal.is_ready(4000));
    assert_eq!(log_names(&fs), ["000001.log", "000002.log"]);
    assert_eq!(wal.rotate(8000).unwrap(), None);
    assert_eq!(wal.rotate(4000).unwrap(), Some(2));
    append(&wal, 1, &[7; 3000]).unwrap();
    assert!(matches!(wal.prepare(MAX_FILE_LEN), Err(Error::InvalidArgument(_))));
}

#[test]
fn who_makes_a_segment_may_say_how_long_it_is() {
    let (_, wal) = create(small());
    let room = wal.remaining();
    assert!(wal.install(0, || None).unwrap().is_none());
    assert!(!wal.is_ready(0));
    for (seq, segment_size, expected) in [(1, 2 * 512, room + 512), (2, 512, room)] {
        append(&wal, seq, b"one").unwrap();
        assert!(wal.install(0, || Some(segment_size)).unwrap().unwrap().offer());
        assert!(wal.install(0, || unreachable!("one is ready")).unwrap().is_none());
        wal.rotate(0).unwrap();
        assert_eq!((wal.remaining(), wal.active_len()), (expected, segment_size));
    }
}

#[test]
fn a_segment_that_stands_tells_its_number_before_it_is_offered() {
    let (fs, wal) = create(small());
    for number in 2..=3 {
        let installed = wal.install(0, || Some(512)).unwrap().unwrap();
        assert_eq!(installed.number(), number);
        assert!(log_names(&fs).contains(&format!("{number:06}.log")));
        assert!(installed.offer());
        assert_eq!(wal.rotate(0).unwrap(), Some(number));
    }
}

#[test]
fn a_segment_may_be_as_long_as_a_file_and_no_longer() {
    let own = FILE_HEADER_LEN + LINK_RECORD_LEN + END_RECORD_LEN;
    let usual = |segment_size, records_len| {
        let sizes = WalOptions { segment_size, ..small() }.sizes_for(records_len);
        sizes.map(|sizes| sizes.usual).ok()
    };
    assert_eq!(usual(MAX_FILE_LEN, 0), Some(MAX_FILE_LEN));
    assert_eq!(usual(MAX_FILE_LEN + 1, 0), None);
    assert_eq!(usual(512, MAX_FILE_LEN - own), Some(MAX_FILE_LEN));
    assert_eq!(usual(512, MAX_FILE_LEN - own + 1), None);
    assert_eq!(usual(512, u64::MAX), None);
}

#[test]
fn a_rotation_from_an_empty_segment_links_it_first() {
    let (_, wal) = create(small());
    wal.prepare(0).unwrap();
    wal.rotate(0).unwrap();
    assert_eq!(wal.appended_lsn(), Lsn::new(1, FILE_HEADER_LEN + LINK_RECORD_LEN));
    let end = append(&wal, 1, b"one").unwrap();
    wal.sync(end).unwrap();
    assert_eq!(wal.synced_lsn(), end);
}

#[test]
fn what_a_crash_left_of_a_preparation_is_in_nobodys_way() {
    let (fs, wal) = create(small());
    let leftover = FileName::LogTemp(2).path(Path::new(DIR));
    fs.create(&leftover).unwrap().write_all_at(&[0xaa; 5000], 0).unwrap();
    wal.prepare(0).unwrap();
    assert_eq!(log_names(&fs), ["000001.log", "000002.log"]);
    assert_eq!(fs.open(&FileName::Log(2).path(Path::new(DIR))).unwrap().len().unwrap(), 512);
}

#[test]
fn what_does_not_fit_the_disk_is_taken_away_again() {
    let (fs, wal) = create(small());
    fs.set_capacity(1024);
    let error = wal.prepare(4000).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert_eq!(log_names(&fs), ["000001.log"]);
}

#[test]
fn segments_below_a_number_are_removed_and_counted() {
    let (fs, wal) = create(small());
    for seq in 1..=2 {
        append(&wal, seq, b"x").unwrap();
        wal.prepare(0).unwrap();
        wal.rotate(0).unwrap();
    }
    for name in ["000002.log.tmp", "000003.log.tmp", "000001.sst"] {
        fs.create(&Path::new(DIR).join(name)).unwrap();
    }
    assert_eq!(crate::remove_segments(&*fs, Path::new(DIR), 3).unwrap(), 3);
    assert_eq!(log_names(&fs), ["000001.sst", "000003.log", "000003.log.tmp"]);
}

#[test]
fn a_log_is_not_begun_over_another() {
    let (fs, _wal) = create(small());
    let again = Wal::create(fs, Path::new(DIR), small(), 1, Box::new(|| 1));
    assert!(matches!(again, Err(Error::InvalidArgument(_))), "{again:?}");
}

#[test]
fn numbers_out_of_range_are_refused() {
    for number in [0, FILE_NUMBER_END] {
        let fs = Arc::new(MemFs::new());
        let wal = Wal::create(fs, Path::new(DIR), small(), number, Box::new(|| 1));
        assert!(matches!(wal, Err(Error::InvalidArgument(_))), "{wal:?}");
    }
}

#[test]
fn released_segments_are_gone_and_the_active_one_stays() {
    let (fs, wal) = create(small());
    for seq in 1..=3 {
        append(&wal, seq, b"x").unwrap();
        wal.prepare(0).unwrap();
        wal.rotate(0).unwrap();
    }
    assert_eq!(wal.release(3).unwrap(), 2);
    assert_eq!(log_names(&fs), ["000003.log", "000004.log"]);
    assert_eq!(wal.release(3).unwrap(), 0);
    assert!(matches!(wal.release(5), Err(Error::InvalidArgument(_))));
    assert_eq!(log_names(&fs), ["000003.log", "000004.log"]);
    // Sequence 3 is in segment 3, which is still there to be synced.
    wal.sync(wal.appended_lsn()).unwrap();
}

#[test]
fn nothing_follows_a_close() {
    let (_, wal) = create(small());
    append(&wal, 1, b"one").unwrap();
    let end = wal.close().unwrap();
    assert_eq!((wal.appended_lsn(), wal.synced_lsn()), (end, end));
    assert!(matches!(append(&wal, 2, b"two"), Err(Error::InvalidArgument(_))));
    assert!(matches!(wal.prepare(0), Err(Error::InvalidArgument(_))));
    assert!(matches!(wal.rotate(0), Err(Error::InvalidArgument(_))));
    assert!(matches!(wal.close(), Err(Error::InvalidArgument(_))));
    wal.sync(end).unwrap();
}

#[test]
fn a_retired_log_takes_nothing_and_goes_whole() {
    let (fs, wal) = create(small());
    append(&wal, 1, b"one").unwrap();
    wal.prepare(0).unwrap();
    wal.rotate(0).unwrap();
    append(&wal, 2, b"two").unwrap();
    wal.prepare(0).unwrap();
    assert!(wal.release(3).is_err());
    let end = wal.retire().unwrap();
    assert_eq!(end, Lsn::new(4, FILE_HEADER_LEN));
    assert!(matches!(append(&wal, 3, b"three"), Err(Error::InvalidArgument(_))));
    assert!(matches!(wal.prepare(0), Err(Error::InvalidArgument(_))));
    assert!(matches!(wal.rotate(0), Err(Error::InvalidArgument(_))));
    assert!(matches!(wal.retire(), Err(Error::InvalidArgument(_))));
    assert!(matches!(wal.close(), Err(Error::InvalidArgument(_))));
    assert!(wal.release(5).is_err());
    assert_eq!(log_names(&fs), ["000001.log", "000002.log", "000003.log"]);
    assert_eq!(wal.release(4).unwrap(), 3);
    assert!(log_names(&fs).is_empty());
    let from = crate::ReplayFrom {
        first_segment: end.segment,
        clean_end: Some(end),
        ..crate::ReplayFrom::default()
    };
    let report = crate::replay(&*fs, Path::new(DIR), from, &mut |_| Ok(())).unwrap();
    assert_eq!((report.records, report.next_segment), (0, 4));
}

#[test]
fn the_buffer_of_an_oversized_group_is_given_back() {
    let (_, wal) = create(WalOptions { segment_size: 8 << 20, writeback_bytes: 1 << 20, owner: 0 });
    append(&wal, 1, &[1; 64]).unwrap();
    assert_ne!(wal.tail.lock().buffer_capacity(), 0);
    append(&wal, 2, &vec![1; 4 << 20]).unwrap();
    assert_eq!(wal.tail.lock().buffer_capacity(), 0);
}

#[test]
fn appends_rotations_preparations_and_syncs_run_beside_each_other() {
    const COUNT: u64 = 2000;
    let (fs, wal) = create(WalOptions { segment_size: 2048, writeback_bytes: 256, owner: 0 });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=COUNT {
                while wal.remaining() < record_len(8) {
                    wal.prepare(0).unwrap();
                    wal.rotate(0).unwrap();
                }
                append(&wal, seq, &seq.to_le_bytes()).unwrap();
                wal.start_writeback();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut before = Lsn::ZERO;
                while wal.synced_lsn() < wal.appended_lsn() || wal.active_segment() < 10 {
                    let upto = wal.appended_lsn();
                    wal.sync(upto).unwrap();
                    let after = wal.synced_lsn();
                    assert!(upto <= after && before <= after);
                    before = after;
                    wal.prepare(0).unwrap();
                    wal.start_writeback();
                }
            });
        }
    });
    wal.sync(wal.appended_lsn()).unwrap();
    let image = fs.crash(lsm_base::fs::Keep::SyncedOnly);
    let from = crate::ReplayFrom {
        first_segment: 1,
        synced: wal.synced_lsn(),
        highest_used: wal.active_segment(),
        ..crate::ReplayFrom::default()
    };
    let mut expected = 1..=COUNT;
    let report = crate::replay(&image, Path::new(DIR), from, &mut |record| {
        assert_eq!(record.first_seq.get(), expected.next().unwrap());
        Ok(())
    });
    assert_eq!(report.unwrap().records, COUNT);
}
