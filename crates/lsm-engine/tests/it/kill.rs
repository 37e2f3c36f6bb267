//! Processes are killed while they open a store and write to it: everything that they said is there.
//!
//! 1. Two processes open the same directory at once. One is refused, with the error that says so.
//! 2. The other writes, with three threads and both durabilities, and says what was acknowledged.
//!    It is killed after a random number of acknowledgements, or where a thread stands before a
//!    random change of the disk, which often is one of the recovery.
//!    Some are stopped for a while before, as a busy machine does it, and a third process is refused
//!    meanwhile.
//! 3. This process, which holds what was said, opens the directory and compares every key. After
//!    some kills others come first, of processes that are to recover what the killed one left.
//! 4. One thread of the child makes and drops keyspaces, and copies of the store. A copy that was not
//!    finished is whole or refused.
//! 5. Now and then the store is repaired as it was left, and nothing of it is lost.
//!
//! The directory stays the same, so that its levels grow. `LSM_SEED` and `LSM_KILLS` say which
//! moments and how many.

mod child;
mod oracle;
mod rivals;
mod small_disk;
mod spaces;

use std::fmt;
use std::path::Path;
use std::time::Instant;

use lsm_base::testing::SplitMix64;
use lsm_engine::{Db, ErrorKind, Read as _, Repair};

use self::oracle::{Oracle, Progress};
use self::rivals::{Life, Moment, Said, live};
use crate::harness::from_env;

/// How many kills there are by default.
const KILLS: u64 = 300;

/// What a run came to.
#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    /// Kills before the store was open.
    in_recovery: u64,
    /// Kills before a change of the disk, in recovery or later.
    at_changes: u64,
    /// Second openers that were refused.
    refused: u64,
    /// How often the store was compared, key by key.
    checks: u64,
    /// Log records that these opens replayed.
    replayed: u64,
    acks: u64,
    /// Processes that were stopped while another was refused.
    pauses: u64,
    /// Steps of the keyspaces that come and go.
    steps: u64,
    /// Copies that were whole, those that a kill came upon among them.
    copies: u64,
    /// Copies that a kill came upon and that are refused, or empty.
    refused_copies: u64,
    repairs: u64,
    /// Levels that have tables, in the keyspace that has most.
    levels: usize,
    tables: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} in recovery, {} before a change of the disk; {} second openers refused; \
             {} stopped for a while; {} acknowledgements, {} steps; {} checks, {} records replayed; \
             {} copies, {} unfinished; {} repairs; {} tables, {} levels",
            self.kills,
            self.in_recovery,
            self.at_changes,
            self.refused,
            self.pauses,
            self.acks,
            self.steps,
            self.checks,
            self.replayed,
            self.copies,
            self.refused_copies,
            self.repairs,
            self.tables,
            self.levels
        )
    }
}

/// The moments of a run, and what is known of the store.
struct Run<'a> {
    dir: &'a Path,
    random: SplitMix64,
    oracle: Oracle,
    /// How often an open has changed the disk, at most.
    changes: u64,
    /// The copies that were begun since the last check.
    copies: Vec<Copy>,
    figures: Figures,
}

/// A copy that a process began to make.
struct Copy {
    name: (u64, u64),
    /// What had been acknowledged when it was begun.
    least: Progress,
    /// Whether the process said that it is whole.
    is_whole: bool,
}

impl<'a> Run<'a> {
    fn new(dir: &'a Path, random: SplitMix64, oracle: Oracle) -> Run<'a> {
        let (copies, figures) = (Vec::new(), Figures::default());
        Run { dir, random, oracle, changes: 10, copies, figures }
    }

    /// Half of the lives end before a change of the disk; those that follow a kill directly, in recovery.
    fn moment(&mut self, follows_a_kill: bool) -> Moment {
        let pause = (self.random.below(3) == 0).then(|| 1 + self.random.below(40));
        if follows_a_kill {
            // An open after a kill has more to do than most of those that came to their end.
            let change = self.random.below(2 * self.changes);
            return Moment {
                acks: 1 + self.random.below(50),
                change: Some(change),
                pause,
                full: None,
            };
        }
        match self.random.below(2) {
            0 => Moment { acks: 1 + self.random.below(300), change: None, pause, full: None },
            _ => {
                let change = self.changes + self.random.below(1_500);
                Moment { acks: 1_000, change: Some(change), pause, full: None }
            }
        }
    }

    /// One life of a process, to its kill.
    fn kill(&mut self, follows_a_kill: bool) {
        let moment = self.moment(follows_a_kill);
        let life = live(self.dir, moment);
        self.hear(life);
    }

    /// Notes what a process said until it was killed.
    fn hear(&mut self, life: Life) {
        let mut is_open = false;
        for said in life.said {
            match said {
                Said::Open { changes, served } => {
                    is_open = true;
                    self.changes = self.changes.max(changes);
                    self.oracle.serve(served);
                }
                Said::Acked { writer, number, seq } => self.oracle.acknowledge(writer, number, seq),
                Said::Stepped(number) => {
                    self.oracle.acknowledge_step(number);
                    self.figures.steps += 1;
                }
                Said::Copying(process, number) => {
                    let least = self.oracle.acknowledged();
                    let name = (process, number);
                    self.copies.push(Copy { name, least, is_whole: false });
                }
                Said::Copied(process, number) => {
                    let copy = self.copies.last_mut().expect("it was begun");
                    assert_eq!(copy.name, (process, number));
                    copy.is_whole = true;
                }
                Said::Full | Said::Refused | Said::Stopped | Said::Ended => {}
            }
        }
        self.figures.kills += 1;
        self.figures.in_recovery += u64::from(!is_open);
        self.figures.at_changes += u64::from(life.has_stopped);
        self.figures.refused += u64::from(life.has_refused);
        self.figures.pauses += u64::from(life.has_paused);
    }

    /// Opens the store as it was left, and compares it with what was said.
    fn check(&mut self) {
        if self.random.below(8) == 0 {
            self.repair();
        }
        for copy in std::mem::take(&mut self.copies) {
            self.check_copy(&copy);
        }
        let db = child::builder(self.dir).open().unwrap();
        self.oracle.check(&db);
        assert!(db.verify().unwrap().is_clean());
        self.figures.checks += 1;
        self.figures.replayed += db.recovery_report().replayed_records;
        self.figures.acks = self.oracle.acks();
        (self.figures.levels, self.figures.tables) = shape(&db);
        // Half of the time the next process finds a log that was closed.
        if self.random.below(2) == 0 {
            db.close().unwrap();
        }
    }
}

impl Run<'_> {
    /// Repairs the store as the kill left it: nothing is lost.
    fn repair(&mut self) {
        let dir = self.dir.with_file_name("repaired");
        let report = match Repair::new(self.dir, &dir).run() {
            // The first open had hardly begun.
            Err(error) if error.kind() == ErrorKind::MissingFile => {
                return self.oracle.check_served(Progress::default());
            }
            report => report.unwrap(),
        };
        assert!(report.is_lossless() && report.damage.is_empty(), "{report:?}");
        let db = child::builder(&dir).open().unwrap();
        let found = Progress::of(&db);
        self.oracle.check_served(found);
        self.oracle.check_copy(&db, found);
        drop(db);
        std::fs::remove_dir_all(dir).unwrap();
        self.figures.repairs += 1;
    }

    /// A copy is whole, or refused if nobody said that it is.
    fn check_copy(&mut self, copy: &Copy) {
        let dir = child::copy_dir(self.dir, copy.name.0, copy.name.1);
        if !dir.exists() {
            assert!(!copy.is_whole, "{} is gone", dir.display());
            self.figures.refused_copies += 1;
            return;
        }
        match child::builder(&dir).open_read_only() {
            Ok(db) => {
                let found = Progress::of(&db);
                assert!(copy.least.is_within(&found), "{found:?} without {:?}", copy.least);
                self.oracle.check_copy(&db, found);
                assert!(db.verify().unwrap().is_clean());
                self.figures.copies += 1;
            }
            Err(error) => {
                assert!(!copy.is_whole, "{error}");
                // Whoever may write is refused too, or begins an empty store where nothing counts.
                match child::builder(&dir).open() {
                    Ok(db) => assert_eq!((db.seq().get(), db.scan::<&[u8]>(..).count()), (0, 0)),
                    Err(error) => assert_ne!(error.kind(), ErrorKind::Locked, "{error}"),
                }
                self.figures.refused_copies += 1;
            }
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}

/// How many levels of a keyspace have tables, and how many tables there are in all.
fn shape(db: &Db) -> (usize, usize) {
    let keyspaces = db.levels();
    let tables = |level: &lsm_engine::LevelInfo| level.tables.len();
    let filled = keyspaces.iter().map(|k| k.levels.iter().filter(|l| 0 < tables(l)).count());
    (filled.max().unwrap_or(0), keyspaces.iter().flat_map(|k| &k.levels).map(tables).sum())
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if std::env::var_os(child::DIR).is_some() {
        return;
    }
    let (seed, kills) = (from_env("LSM_SEED", 6), from_env("LSM_KILLS", KILLS));
    // Not in memory, as the folder for temporary files may be; it stays if the test fails.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    println!("LSM_SEED={seed} LSM_KILLS={kills} in {}", dir.display());
    let started = Instant::now();
    let data = dir.join("data");
    let mut run = Run::new(&data, SplitMix64::new(seed), Oracle::default());
    while run.figures.kills < kills {
        run.kill(false);
        while run.figures.kills < kills && run.random.below(2) == 0 {
            run.kill(true);
        }
        run.check();
    }
    let figures = run.figures;
    println!("{figures} in {:.1} s", started.elapsed().as_secs_f64());
    assert_eq!(figures.kills, kills);
    assert!(kills / 10 <= figures.in_recovery, "{figures}");
    assert!(kills / 3 <= figures.checks, "{figures}");
    assert!(kills * 3 / 4 <= figures.refused, "{figures}");
    assert!(kills * 20 <= figures.acks, "{figures}");
    assert!(2 <= figures.levels, "{figures}");
    assert!(kills / 10 <= figures.pauses, "{figures}");
    assert!(kills <= figures.steps, "{figures}");
    assert!(kills / 10 <= figures.copies, "{figures}");
    assert!(kills / 30 <= figures.refused_copies, "{figures}");
    assert!(kills / 50 <= figures.repairs, "{figures}");
    std::fs::remove_dir_all(dir).unwrap();
}
