//! The schedule: which shard is next. A function of what the tally has, and of nothing else.
//!
//! The harnesses take turns, beginning behind the one whose shard is the last of the tally, so that
//! short soaks do not all begin alike. Each takes its lowest seed that the tally does not have: a
//! shard that was killed comes again.

use std::collections::BTreeSet;

use super::harness::Harness;
use super::tally::Tally;

/// A harness with one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shard {
    pub(super) harness: &'static Harness,
    pub(super) seed: u64,
}

/// The shards that are left, without an end.
pub(super) struct Schedule {
    turns: Vec<Turns>,
    next: usize,
}

/// The turns of a harness.
struct Turns {
    harness: &'static Harness,
    /// The seeds that are over or begun.
    taken: BTreeSet<u64>,
}

impl Schedule {
    /// The schedule of some harnesses, of which there must be one.
    pub(super) fn new(harnesses: &[&'static Harness], tally: &Tally) -> Schedule {
        assert!(!harnesses.is_empty(), "a soak has a harness");
        let turns =
            |harness: &&'static Harness| Turns { harness, taken: tally.seeds(harness.name) };
        let is_chosen = |name: &str| harnesses.iter().position(|harness| harness.name == name);
        let last = tally.records.iter().rev().find_map(|record| is_chosen(&record.harness));
        let next = last.map_or(0, |last| (last + 1) % harnesses.len());
        Schedule { turns: harnesses.iter().map(turns).collect(), next }
    }

    /// Takes the next shard.
    pub(super) fn take(&mut self) -> Shard {
        let count = self.turns.len();
        let turns = &mut self.turns[self.next];
        self.next = (self.next + 1) % count;
        let step = turns.harness.seeds_per_shard;
        let mut seeds = (1..).map(|number| number * step);
        let seed = seeds.find(|seed| turns.taken.insert(*seed)).expect("there is no last seed");
        Shard { harness: turns.harness, seed }
    }
}

#[cfg(test)]
mod tests {
    use super::super::harness::HARNESSES;
    use super::super::tally::{Outcome, Record};
    use super::*;
    use crate::scratch::Scratch;

    /// The next shards of these harnesses, where the tally has these.
    fn next(count: usize, names: &[&str], had: &[(&str, u64)]) -> Vec<(&'static str, u64)> {
        let scratch = Scratch::new("schedule");
        let mut tally = Tally::open(scratch.path()).unwrap();
        for (harness, seed) in had {
            let record = Record {
                harness: (*harness).into(),
                seed: *seed,
                commit: "0f0f".into(),
                begun_unix_s: 0,
                seconds: 1.0,
                result: Outcome::Failed,
                output: None,
            };
            tally.add(record).unwrap();
        }
        let is_chosen = |harness: &&Harness| names.contains(&harness.name);
        let harnesses: Vec<_> = HARNESSES.iter().filter(is_chosen).collect();
        let mut schedule = Schedule::new(&harnesses, &tally);
        let mut take = || schedule.take();
        (0..count).map(|_| take()).map(|shard| (shard.harness.name, shard.seed)).collect()
    }

    #[test]
    fn harnesses_take_turns_and_seeds_go_up() {
        let expected = [("faults", 1), ("death", 1), ("faults", 2), ("death", 2), ("faults", 3)];
        assert_eq!(next(5, &["death", "faults"], &[]), expected);
    }

    #[test]
    fn it_goes_on_where_the_tally_ends() {
        let had = [("faults", 1), ("death", 1), ("faults", 2)];
        assert_eq!(
            next(3, &["death", "faults"], &had),
            [("death", 2), ("faults", 3), ("death", 3)]
        );
        // What else was run does not say whose turn it is.
        let had = [("faults", 1), ("kill", 1)];
        assert_eq!(next(2, &["death", "faults"], &had), [("death", 1), ("faults", 2)]);
    }

    #[test]
    fn a_shard_that_was_killed_comes_again() {
        assert_eq!(
            next(3, &["kill"], &[("kill", 1), ("kill", 3)]),
            [("kill", 2), ("kill", 4), ("kill", 5)]
        );
    }

    #[test]
    fn no_two_shards_share_a_seed() {
        assert_eq!(
            next(3, &["model"], &[("model", 3)]),
            [("model", 6), ("model", 9), ("model", 12)]
        );
    }
}
