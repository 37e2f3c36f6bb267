//! Which syncs are necessary: every class of them is left out in turn, and some cut must notice.
//!
//! A class is what is synced, of which sort of file, and what is being done to the store. A sync of
//! the directory is told apart by the last name that was changed before it. The classes that no
//! cut notices are listed here with the reason why each stands all the same;
//! `docs/durability.md` repeats the list.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lsm_base::FileName;
use lsm_base::fs::{Fault, Op, OpKind};

use crate::harness::cuts::{Phase, Plan, cut_everywhere};
use crate::harness::script::Script;
use crate::harness::{DIR, from_env};

/// Where a sync is called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Class {
    phase: Phase,
    what: String,
}

/// Tells the class of a sync, with an eye on the names that change.
#[derive(Default)]
struct Classifier {
    last_name: String,
}

impl Classifier {
    fn see(&mut self, op: &Op, phase: Phase) -> Option<Class> {
        let sort = op.file_name().map_or("directory", sort);
        match op.kind {
            OpKind::Create | OpKind::Rename | OpKind::CreateDir => {
                self.last_name = format!("{} {sort}", op.kind.verb());
                None
            }
            OpKind::SyncDir if *op.path != *Path::new(DIR) => {
                Some(Class { phase, what: "parent of the directory".into() })
            }
            OpKind::SyncDir => {
                Some(Class { phase, what: format!("directory after {}", self.last_name) })
            }
            OpKind::SyncAll | OpKind::SyncData => {
                // A log segment keeps the handle that it was made with, under its first name.
                let is_append = op.kind == OpKind::SyncData && sort == "new log";
                let what = if is_append { "log" } else { sort };
                Some(Class { phase, what: what.to_owned() })
            }
            _ => None,
        }
    }
}

fn sort(name: FileName) -> &'static str {
    match name {
        FileName::Lock => "LOCK",
        FileName::Current | FileName::CurrentTemp => "CURRENT",
        FileName::Manifest(_) | FileName::ManifestTemp(_) => "MANIFEST",
        FileName::Log(_) => "log",
        FileName::LogTemp(_) => "new log",
        FileName::Table(_) | FileName::TableTemp(_) => "table",
    }
}

fn classes(script: &Script, plan: &Plan) -> BTreeSet<Class> {
    let classes = Arc::new(Mutex::new(BTreeSet::new()));
    let found = Arc::clone(&classes);
    let mut classifier = Classifier::default();
    let result = cut_everywhere(script, plan, move |op, phase| {
        found.lock().unwrap().extend(classifier.see(op, phase));
        None
    });
    result.unwrap();
    let classes = classes.lock().unwrap();
    classes.clone()
}

#[test]
fn every_sync_is_missed_by_some_cut() {
    let script = Script::new(3, from_env("LSM_STEPS", STEPS) as usize);
    // An image with all that was done lacks nothing that a sync could bring.
    let sampled = Plan { threads: 0, every: 4, whole_every: u64::MAX, images_per_name: 40 };
    let all = Plan { every: 1, ..sampled };
    let mut unnoticed = Vec::new();
    let classes = classes(&script, &sampled);
    println!("{} classes", classes.len());
    for class in &classes {
        let cut = |plan: &Plan| {
            let lost = class.clone();
            let mut classifier = Classifier::default();
            cut_everywhere(&script, plan, move |op, phase| {
                (classifier.see(op, phase).as_ref() == Some(&lost)).then_some(Fault::LostSync)
            })
        };
        // The few operations between two syncs may all fall between two cuts.
        match cut(&sampled).and_then(|_| cut(&all)) {
            Ok(count) => {
                println!("{class:?}: not noticed in {count:?}");
                unnoticed.push(format!("{:?}: {}", class.phase, class.what));
            }
            Err(why) => println!("{class:?}: {why}"),
        }
    }
    assert_eq!(unnoticed, UNNOTICED);
    let is_short = from_env("LSM_STEPS", STEPS) < STEPS;
    assert!(is_short || classes.len() == CLASSES, "{} classes: {classes:#?}", classes.len());
}

/// How many steps the script has.
const STEPS: u64 = 210;

/// How many classes of syncs there are: none is to vanish unnoticed, and each that is new is counted.
const CLASSES: usize = 50;

/// The classes whose loss no cut notices. The first is that of the record that names a log segment,
/// which tells of a file that was lost otherwise than by a cut. In the others an open that makes a
/// segment ready also makes names durable afterwards, before anything relies on the segment; it is
/// the same sync as in `Write` and `Idle`, where nothing else does so.
const UNNOTICED: [&str; 3] = [
    "Write: MANIFEST",
    "OpenAfterClose: directory after rename log",
    "OpenAfterDeath: directory after rename log",
];
