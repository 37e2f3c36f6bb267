//! A store of more tables than the process may have files open, as it is started.

use std::process::Command;

use lsm_engine::{Db, Options};

use crate::lsm::{Lsm, run};

#[test]
fn a_store_of_many_tables_is_read_whole() {
    const KEYS: u32 = 1_000;
    let lsm = Lsm::new();
    let options = Options { table_size: 64 << 10, ..Options::default() };
    let db = Db::builder(lsm.db()).options(options).open().unwrap();
    let mut random = 1_u64;
    for index in 0..KEYS {
        // No codec makes it shorter.
        let value: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 56) as u8
        })
        .take(8 << 10)
        .collect();
        db.put(index.to_be_bytes(), value).unwrap();
    }
    db.compact::<&[u8]>(..).unwrap();
    db.close().unwrap();
    assert!(64 < lsm.files(".sst").len(), "{}", lsm.files(".sst").len());
    let scan = |limit: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit {limit} 48; exec \"$@\""), "sh"]);
        command.args([env!("CARGO_BIN_EXE_lsm"), "scan", "--count", "--db"]).arg(lsm.db());
        run(&mut command, b"")
    };
    // The soft limit can be raised, and with the hard one there is an end.
    assert_eq!(scan("-S -n").ok(), format!("{KEYS}\n"));
    scan("-n").failed(1, &["Too many open files", "ulimit"]);
}
