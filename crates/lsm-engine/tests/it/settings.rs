//! Every setting that is allowed works.

use std::time::Duration;

use lsm_engine::{Health, Options, Read, WriteOptions};

use crate::support::{bounded, memory, open, tiny};

#[test]
fn filters_of_every_allowed_size_work_in_every_level() {
    bounded(|| {
        for bloom_bits_per_key in [0, 1, 28, 29, 31, 32] {
            let db = open(&memory(), &Options { bloom_bits_per_key, ..tiny() });
            db.put("k", "v").unwrap();
            db.flush().unwrap();
            assert_eq!(db.get("k").unwrap().unwrap(), b"v");
            db.put("k", "w").unwrap();
            db.compact::<&str>(..).unwrap();
            assert_eq!(db.get("k").unwrap().unwrap(), b"w");
            assert_eq!(db.get("absent").unwrap(), None);
        }
    });
}

#[test]
fn times_of_every_length_work() {
    bounded(|| {
        for compaction_interval in [Duration::from_nanos(1), Duration::MAX] {
            let db = open(&memory(), &Options { compaction_interval, ..tiny() });
            let patient =
                WriteOptions { stall_timeout: Some(Duration::MAX), ..WriteOptions::default() };
            for i in 0..200_u32 {
                db.put_with(i.to_be_bytes(), [7; 300], &patient).unwrap();
            }
            db.wait_idle().unwrap();
            db.flush().unwrap();
            assert_eq!(db.health(), Health::Running);
            assert_eq!(db.prefix("").count(), 200);
            db.close().unwrap();
        }
    });
}
