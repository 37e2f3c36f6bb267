//! A store under random writes, snapshots, flushes and compactions that overlap in time, held
//! against a model that never forgets.
//!
//! A flush or a merge begins at one step and is installed at another, so that others begin and end
//! in between. After every installation each reader must find what the model says; the version
//! checks its own invariants whenever an edit is applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_base::testing::SplitMix64;
use lsm_base::{InternalKeyRef, Kind, Seq};
use lsm_compaction::compaction::{Compaction, Reason};
use lsm_compaction::in_progress::JobId;
use lsm_compaction::job::Outcome;
use lsm_compaction::picker::{ManualCompaction, ManualStep};
use lsm_compaction::{KeyRange, LEVELS, PickerOptions};
use proptest::prelude::*;

use crate::store::{Entry, Store, never};

/// Tables of 1 KiB, so that a few hundred writes fill several levels.
fn options() -> PickerOptions {
    PickerOptions {
        l0_trigger: 3,
        base_bytes: 2 << 10,
        multiplier: 3,
        table_bytes: 1 << 10,
        ..PickerOptions::default()
    }
}

#[derive(Clone, Debug)]
enum Action {
    /// Writes so many operations to keys of a window that begins somewhere, so many in a hundred
    /// of them deletes, and flushes them.
    Flush {
        window: u64,
        operations: u64,
        deletes: u64,
    },
    /// Begins what the picker picks.
    Compact,
    /// Begins the next step of a request to compact a window that begins somewhere.
    CompactRange {
        window: u64,
    },
    /// Installs the flush or merge that is so far down the queue.
    Install {
        index: usize,
    },
    Snapshot,
    /// Gives up the snapshot of this index.
    Release {
        index: usize,
    },
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (window(), 1..60_u64, prop_oneof![Just(10_u64), Just(35), Just(95)]).prop_map(
            |(window, operations, deletes)| Action::Flush { window, operations, deletes }
        ),
        6 => Just(Action::Compact),
        2 => window().prop_map(|window| Action::CompactRange { window }),
        6 => (0..4_usize).prop_map(|index| Action::Install { index }),
        1 => Just(Action::Snapshot),
        1 => (0..4_usize).prop_map(|index| Action::Release { index }),
    ]
}

fn window() -> impl Strategy<Value = u64> {
    prop_oneof![1..12_u64, 1..KEYS]
}

enum Pending {
    Flush { foreseen: usize, outcome: Outcome },
    Merge { job: JobId, compaction: Arc<Compaction>, outcome: Outcome },
    Move { job: JobId, compaction: Arc<Compaction> },
}

const KEYS: u64 = 200;

fn user_key(number: u64) -> Vec<u8> {
    format!("key{number:04}").into_bytes()
}

struct Simulation {
    store: Store,
    random: SplitMix64,
    /// Every version ever written, by key and sequence.
    model: BTreeMap<(Vec<u8>, Seq), Option<Vec<u8>>>,
    last_seq: u64,
    /// How far everything is in installed tables.
    flushed_seq: u64,
    snapshots: Vec<Seq>,
    pending: Vec<Pending>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        Simulation {
            store: Store::new(options()),
            random: SplitMix64::new(seed),
            model: BTreeMap::new(),
            last_seq: 0,
            flushed_seq: 0,
            snapshots: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Flush { window, operations, deletes } => {
                self.flush(*window, *operations, *deletes);
            }
            Action::Compact => {
                self.compact();
            }
            Action::CompactRange { window } => self.compact_range(*window),
            Action::Install { index } => self.install(*index),
            Action::Snapshot => self.snapshots.push(Seq::new(self.flushed_seq)),
            Action::Release { index } => {
                if *index < self.snapshots.len() {
                    self.snapshots.remove(*index);
                }
            }
        }
    }

    /// The snapshots that a job that begins now must respect.
    fn readers(&self) -> Vec<Seq> {
        let mut readers = self.snapshots.clone();
        readers.push(Seq::new(self.last_seq));
        readers.sort_unstable();
        readers
    }

    fn flush(&mut self, window: u64, operations: u64, deletes: u64) {
        // Flushes are installed in their order, so one at a time begins.
        if self.pending.iter().any(|pending| matches!(pending, Pending::Flush { .. })) {
            return;
        }
        let first = self.random.below(KEYS);
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..operations {
            self.last_seq += 1;
            let user_key = user_key((first + self.random.below(window)) % KEYS);
            let seq = Seq::new(self.last_seq);
            let value = (deletes <= self.random.below(100)).then(|| {
                let mut value = vec![0; self.random.below(80) as usize];
                self.random.fill(&mut value);
                value
            });
            let kind = if value.is_some() { Kind::Put } else { Kind::Delete };
            let key = InternalKeyRef::new(&user_key, seq, kind).to_owned();
            entries.push((key, value.clone().unwrap_or_default()));
            self.model.insert((user_key, seq), value);
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let readers = self.readers();
        let (foreseen, outcome) = self.store.flush(entries, &readers).unwrap();
        self.pending.push(Pending::Flush { foreseen, outcome });
    }

    fn compact(&mut self) -> bool {
        let oldest = self.readers()[0];
        match self.store.picker(oldest).pick() {
            Some(compaction) => {
                self.begin(compaction);
                true
            }
            None => false,
        }
    }

    fn compact_range(&mut self, window: u64) {
        let first = self.random.below(KEYS);
        let request = ManualCompaction {
            start: Some(user_key(first).into()),
            end: Some(user_key(first + window).into()),
            up_to_seq: Seq::MAX,
            before_number: self.store.state.next_file_number,
        };
        let oldest = self.readers()[0];
        match self.store.picker(oldest).pick_manual(&request) {
            ManualStep::Run(compaction) => self.begin(compaction),
            ManualStep::Wait | ManualStep::Done => {}
        }
    }

    fn begin(&mut self, compaction: Compaction) {
        let compaction = Arc::new(compaction);
        self.check_alone(&compaction);
        let job = self.store.running.begin(Arc::clone(&compaction));
        let pending = if compaction.is_trivial_move {
            Pending::Move { job, compaction }
        } else {
            let readers = self.readers();
            let outcome = self.store.compact(&compaction, &readers, &mut never).unwrap();
            Pending::Merge { job, compaction, outcome }
        };
        self.pending.push(pending);
    }

    /// No table is read by two compactions.
    fn check_alone(&self, compaction: &Compaction) {
        for job in self.store.running.jobs() {
            for table in compaction.tables() {
                assert!(job.tables().all(|other| other.number != table.number), "{compaction:?}");
            }
        }
    }

    fn install(&mut self, index: usize) {
        if self.pending.is_empty() {
            return;
        }
        let pending = self.pending.remove(index.min(self.pending.len() - 1));
        match pending {
            Pending::Flush { foreseen, outcome } => {
                self.store.install_flush(foreseen, &outcome);
                self.flushed_seq = self.last_seq;
            }
            Pending::Merge { job, compaction, outcome } => {
                self.check_hull(&compaction, &outcome);
                self.store.install(&compaction.edit(outcome.tables));
                self.store.running.end(job);
            }
            Pending::Move { job, compaction } => {
                self.store.install(&compaction.move_edit(&self.store.options.compression));
                self.store.running.end(job);
            }
        }
        self.check_readers();
    }

    fn check_hull(&self, compaction: &Compaction, outcome: &Outcome) {
        if let Some(outputs) = KeyRange::hull(&outcome.tables) {
            let hull = compaction.hull();
            assert!(hull.smallest() <= outputs.smallest() && outputs.largest() <= hull.largest());
        }
    }

    fn check_readers(&mut self) {
        let now = Seq::new(self.flushed_seq);
        for seq in self.snapshots.clone().into_iter().chain([now]) {
            for number in 0..KEYS {
                let user_key = user_key(number);
                let versions =
                    self.model.range((user_key.clone(), Seq::ZERO)..=(user_key.clone(), seq));
                let expected = versions.last().and_then(|(_, value)| value.clone());
                let found = self.store.get(&user_key, seq);
                assert_eq!(found, expected, "key {number} at {seq:?}\n{:?}", self.store.tree());
            }
        }
    }

    fn settle(&mut self) {
        while !self.pending.is_empty() {
            self.install(0);
        }
        let mut steps = 0;
        while self.compact() {
            self.install(0);
            steps += 1;
            assert!(steps < 500, "the tree does not settle\n{:?}", self.store.tree());
        }
        for score in self.store.picker(Seq::MAX).scores() {
            assert!(score.level == LEVELS - 1 || score.fill < 1.0, "{score:?}");
        }
    }

    fn compact_everything(&mut self) {
        self.snapshots.clear();
        let request = ManualCompaction {
            start: None,
            end: None,
            up_to_seq: Seq::MAX,
            before_number: self.store.state.next_file_number,
        };
        let mut steps = 0;
        loop {
            let oldest = self.readers()[0];
            match self.store.picker(oldest).pick_manual(&request) {
                ManualStep::Run(compaction) => {
                    assert_eq!(compaction.reason, Reason::Manual);
                    self.begin(compaction);
                    self.install(0);
                }
                ManualStep::Wait => panic!("nothing runs"),
                ManualStep::Done => {
                    assert_eq!(self.store.picker(oldest).manual_debt(&request), 0);
                    return;
                }
            }
            steps += 1;
            assert!(steps < 500, "the request does not end");
        }
    }

    /// After a compaction of everything, without snapshots, one version of each living key is left.
    fn check_nothing_is_left_over(&mut self) {
        let entries = self.store.entries();
        let living =
            (0..KEYS).filter(|number| self.store.get(&user_key(*number), Seq::MAX).is_some());
        assert_eq!(entries.len(), living.count());
        assert!(self.store.tree().tables().all(|(level, _)| level == LEVELS - 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn readers_find_what_the_model_says_whatever_runs_meanwhile(
        seed: u64,
        actions in prop::collection::vec(any_action(), 20..120),
    ) {
        let mut simulation = Simulation::new(seed);
        for action in &actions {
            simulation.act(action);
        }
        simulation.settle();
        simulation.compact_everything();
        simulation.check_nothing_is_left_over();
    }
}

/// The tree grows to several levels, is deleted to almost nothing, and grows again, while flushes
/// and several merges are under way at any time.
#[test]
fn a_tree_grows_and_shrinks_and_grows() {
    for seed in 0..4 {
        let mut simulation = Simulation::new(seed);
        for step in 0..900_u64 {
            let deletes = if (step / 150) % 2 == 0 { 5 } else { 97 };
            let pick = simulation.random.below(100);
            let window = if pick.is_multiple_of(2) { 8 } else { KEYS };
            match pick {
                0..30 => simulation.flush(window, 40, deletes),
                30..58 => {
                    simulation.compact();
                }
                58..70 => simulation.compact_range(window),
                _ => {
                    let index = simulation.random.below(4) as usize;
                    if 3 < simulation.pending.len() {
                        simulation.install(index);
                    }
                }
            }
        }
        simulation.settle();
    }
}

#[test]
fn many_levels_fill_and_settle() {
    let mut simulation = Simulation::new(7);
    for round in 0..120 {
        simulation.flush(KEYS, 30, 30);
        simulation.install(0);
        if round % 3 == 0 {
            simulation.compact();
        }
        if round % 40 == 0 {
            simulation.act(&Action::Snapshot);
        }
    }
    let used = |simulation: &Simulation| {
        (0..LEVELS).filter(|level| !simulation.store.tree().level(*level).is_empty()).count()
    };
    assert!(2 < used(&simulation), "{:?}", simulation.store.tree());
    simulation.settle();
    simulation.compact_everything();
    simulation.check_nothing_is_left_over();
}
