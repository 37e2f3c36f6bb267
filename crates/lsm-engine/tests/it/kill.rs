//! Processes are killed while they open a store and write to it: everything that they said is there.
//!
//! 1. Two processes open the same directory at once. One is refused, with the error that says so.
//! 2. The other writes, with three threads and both durabilities, and says what was acknowledged.
//!    It is killed after a random number of acknowledgements, or where a thread stands before a
//!    random change of the disk, which often is one of the recovery.
//! 3. This process, which holds what was said, opens the directory and compares every key. After
//!    some kills others come first, of processes that are to recover what the killed one left.
//!
//! The directory stays the same, so that its levels grow. `LSM_SEED` and `LSM_KILLS` say which
//! moments and how many.

mod child;
mod oracle;
mod rivals;

use std::fmt;
use std::path::Path;
use std::time::Instant;

use lsm_base::testing::SplitMix64;
use lsm_engine::Db;

use self::oracle::Oracle;
use self::rivals::{Moment, Said, live};
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
    /// Levels that have tables, in the keyspace that has most.
    levels: usize,
    tables: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} in recovery, {} before a change of the disk; {} second openers refused; \
             {} acknowledgements; {} checks, {} records replayed; {} tables, {} levels",
            self.kills,
            self.in_recovery,
            self.at_changes,
            self.refused,
            self.acks,
            self.checks,
            self.replayed,
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
    figures: Figures,
}

impl Run<'_> {
    /// Half of the lives end before a change of the disk; those that follow a kill directly, in recovery.
    fn moment(&mut self, follows_a_kill: bool) -> Moment {
        if follows_a_kill {
            // An open after a kill has more to do than most of those that came to their end.
            let change = self.random.below(2 * self.changes);
            return Moment { acks: 1 + self.random.below(50), change: Some(change) };
        }
        match self.random.below(2) {
            0 => Moment { acks: 1 + self.random.below(300), change: None },
            _ => {
                let change = self.changes + self.random.below(1_500);
                Moment { acks: 1_000, change: Some(change) }
            }
        }
    }

    /// One life of a process, to its kill.
    fn kill(&mut self, follows_a_kill: bool) {
        let moment = self.moment(follows_a_kill);
        let life = live(self.dir, moment);
        let mut is_open = false;
        for said in life.said {
            match said {
                Said::Open { changes, served } => {
                    is_open = true;
                    self.changes = self.changes.max(changes);
                    self.oracle.serve(served);
                }
                Said::Acked { writer, number, seq } => self.oracle.acknowledge(writer, number, seq),
                Said::Refused | Said::Stopped | Said::Ended => {}
            }
        }
        self.figures.kills += 1;
        self.figures.in_recovery += u64::from(!is_open);
        self.figures.at_changes += u64::from(life.has_stopped);
        self.figures.refused += u64::from(life.has_refused);
    }

    /// Opens the store as it was left, and compares it with what was said.
    fn check(&mut self) {
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
    let mut run = Run {
        dir: &dir.join("data"),
        random: SplitMix64::new(seed),
        oracle: Oracle::default(),
        changes: 10,
        figures: Figures::default(),
    };
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
    std::fs::remove_dir_all(dir).unwrap();
}
