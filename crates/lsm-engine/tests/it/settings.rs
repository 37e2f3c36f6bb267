//! Every setting that is allowed works.

use lsm_engine::{Options, Read};

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
