//! A disk that dies: places that cannot be read are damage, and are told like any other.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use lsm_base::FileName;
use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op, OpKind};
use lsm_engine::{Db, Durability, ErrorKind, Options, Repair, RepairReport, WriteOptions};

use super::{
    Content, TARGET, assert_told, content, differences, repair, repaired, specimens, truth,
};
use crate::harness::specimen::options;
use crate::harness::{DIR, disk, kill, names, on, read_file, tree};

/// Whether an operation is one on this file of the source.
fn is_on(op: &Op, name: &str) -> bool {
    *op.path == *Path::new(DIR).join(name)
}

/// Makes a stretch of a file of the source unreadable, for good.
fn break_place(fs: &FaultFs, name: &str, place: Range<u64>) {
    let name = name.to_owned();
    fs.set_plan(move |op| {
        let meets = op.offset < place.end && place.start < op.offset + op.len;
        (op.kind == OpKind::Read && meets && is_on(op, &name)).then_some(Fault::Eio)
    });
}

/// Repairs a store of which this cannot be read, and judges what comes of it.
fn judge(image: &MemFs, truth: &Content, context: &str, plan: impl Fn(&FaultFs)) -> RepairReport {
    let before = tree(image);
    let fs = on(image);
    plan(&fs);
    let report = repair(&fs).unwrap_or_else(|error| panic!("{context}: {error}"));
    let is_met = fs.injected() != 0;
    fs.clear_plan();
    assert_eq!(tree(image), before, "{context}: the source was changed");
    assert_told(truth, &repaired(image), &report);
    let is_noted = report.damage.iter().any(|line| line.contains("it cannot be read"));
    assert_eq!(is_noted, is_met, "{context}: {report:#?}");
    report
}

#[test]
fn a_place_that_cannot_be_read_is_told() {
    let (mut count, mut lossless) = (0, 0);
    for specimen in specimens() {
        let store = specimen.make();
        let truth = truth(specimen);
        for name in names(&store, |name| name != FileName::Lock) {
            let len = read_file(&store, &name).len() as u64;
            for at in (0..len).step_by(1024) {
                let image = store.crash(Keep::Everything);
                let context = format!("{specimen:?}, {name} at {at}");
                let report =
                    judge(&image, &truth, &context, |fs| break_place(fs, &name, at..at + 1));
                lossless += usize::from(report.is_lossless());
                count += 1;
                match FileName::parse(&name).unwrap() {
                    FileName::Current => assert!(report.is_lossless(), "{context}: {report:#?}"),
                    // Where it cannot be read nobody knows what was written.
                    FileName::Log(_) => assert!(!report.is_lossless(), "{context}"),
                    _ => {}
                }
            }
        }
    }
    println!("{count} places, {lossless} without a loss");
    assert!(30 < count && 2 <= lossless, "{count}, {lossless}");
}

#[test]
fn a_file_that_cannot_be_opened_is_told() {
    for specimen in specimens() {
        let store = specimen.make();
        for name in names(&store, |name| name != FileName::Lock) {
            for kind in [OpKind::Open, OpKind::Len] {
                let image = store.crash(Keep::Everything);
                let context = format!("{specimen:?}, {name}, {kind:?}");
                let (file, truth) = (name.clone(), truth(specimen));
                let report = judge(&image, &truth, &context, |fs| {
                    let file = file.clone();
                    fs.set_plan(move |op| {
                        (op.kind == kind && is_on(op, &file)).then_some(Fault::Eio)
                    });
                });
                let is_current = FileName::parse(&name) == Some(FileName::Current);
                assert_eq!(report.is_lossless(), is_current, "{context}: {report:#?}");
            }
        }
    }
}

/// A store of one table of a hundred pages.
fn with_a_large_table() -> (MemFs, Content, String) {
    let (memory, fs) = disk();
    let large = Options {
        memtable_size: Some(4 << 20),
        memory_budget: Some(16 << 20),
        max_log_bytes: None,
        table_size: 64 << 20,
        ..options()
    };
    let db = Db::builder(DIR).options(large).fs(Arc::new(fs.clone())).open().unwrap();
    for key in 0..2_000_u32 {
        let mut value = vec![0; 200];
        lsm_base::testing::SplitMix64::new(u64::from(key)).fill(&mut value);
        let buffered = WriteOptions::durability(Durability::Buffered);
        db.put_with(key.to_be_bytes(), value, &buffered).unwrap();
    }
    db.flush().unwrap();
    let truth = content(&db);
    db.close().unwrap();
    let tables = names(&memory, |name| matches!(name, FileName::Table(_)));
    let [table] = <[String; 1]>::try_from(tables).unwrap();
    (memory, truth, table)
}

#[test]
fn a_page_of_a_table_costs_the_blocks_in_it() {
    let (store, truth, table) = with_a_large_table();
    let bytes = read_file(&store, &table);
    let pages = bytes.len() as u64 / 4096;
    assert!(80 < pages, "{pages} pages");
    for page in (0..pages / 2).step_by(9) {
        // With the fences, and with the end of the file unreadable too.
        for more in [false, true] {
            let image = store.crash(Keep::Everything);
            let context = format!("page {page}, {more}");
            let report = judge(&image, &truth, &context, |fs| {
                let (table, last) = (table.clone(), bytes.len() as u64 - 1);
                fs.set_plan(move |op| {
                    let has = |at: u64| (op.offset..op.offset + op.len).contains(&at);
                    let meets = has(page * 4096 + 100) || more && has(last);
                    (op.kind == OpKind::Read && meets && is_on(op, &table)).then_some(Fault::Eio)
                });
            });
            let found = repaired_again(&image);
            let lost = differences(&truth, &found).len();
            assert!((1..=60).contains(&lost), "{context}: {lost} keys, {report:#?}");
            // With the fences each block is told for itself; without them nothing says whether there
            // were blocks at the end.
            let most = if more { 2 } else { 20 };
            assert!(report.lost.len() <= most, "{context}: {report:#?}");
            assert!(report.lost[0].detail.contains("it cannot be read"), "{report:#?}");
        }
    }
}

/// What the target holds, which was judged already.
fn repaired_again(image: &MemFs) -> Content {
    content(&super::open(image, TARGET).unwrap())
}

#[test]
fn what_stands_behind_an_unreadable_place_of_the_log_is_kept() {
    let (store, fs) = disk();
    let large = Options { max_log_bytes: None, ..options() };
    let db = Db::builder(DIR).options(large).fs(Arc::new(fs.clone())).open().unwrap();
    let sync = WriteOptions::durability(Durability::Buffered);
    for key in 0..60_u32 {
        db.put_with(key.to_be_bytes(), [7; 150], &sync).unwrap();
    }
    db.sync().unwrap();
    let truth = content(&db);
    kill(&fs, db);
    let log = names(&store, |name| matches!(name, FileName::Log(_))).remove(0);
    let report = judge(&store, &truth, "log", |fs| break_place(fs, &log, 5_000..5_001));
    assert!(!report.is_lossless() && report.log_bytes_lost < 10_000, "{report:#?}");
    let found = repaired_again(&store);
    let first = ("default".to_owned(), 0_u32.to_be_bytes().to_vec());
    let last = ("default".to_owned(), 59_u32.to_be_bytes().to_vec());
    assert!(found.contains_key(&first) && found.contains_key(&last) && found.len() < 60);
    let lost = report.lost.iter().find(|lost| lost.before_seq.is_some()).unwrap();
    assert!(lost.after_seq < lost.before_seq, "{report:#?}");
}

/// What the target cannot give back is no loss of the source: somebody has to look for a better disk.
#[test]
fn what_the_target_refuses_ends_the_repair() {
    for specimen in specimens() {
        for kind in [OpKind::Read, OpKind::Open, OpKind::Len, OpKind::Write, OpKind::SyncAll] {
            let image = specimen.make();
            let fs = on(&image);
            fs.set_plan(move |op| {
                let is_ours = op.path.starts_with(TARGET) && op.kind == kind;
                is_ours.then_some(Fault::Eio)
            });
            let result = repair(&fs);
            if fs.injected() == 0 {
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{kind:?}: {error}");
            assert!(error.to_string().contains(TARGET), "{kind:?}: {error}");
        }
    }
}

/// It is the process that has no descriptor left, and another time it may have.
#[test]
fn what_passes_ends_the_repair() {
    let image = specimens()[0].make();
    for name in names(&image, |name| name != FileName::Lock) {
        let fs = on(&image);
        let file = name.clone();
        fs.set_plan(move |op| {
            (op.kind == OpKind::Open && is_on(op, &file)).then_some(Fault::Emfile)
        });
        let result = Repair::new(DIR, format!("to-{name}")).options(options());
        let error = result.fs(Arc::new(fs)).run().unwrap_err();
        assert!(error.is_passing(), "{name}: {error}");
    }
}
