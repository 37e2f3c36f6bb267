//! The harnesses of a soak: which tests they are, what makes each run another, and how long it is.
//!
//! A harness is a line of the table. Its tests take their seed from the environment, so that a shard,
//! a harness with one seed, can be made again. What does the same in each run has no place here: such
//! is `lost_sync`, which holds one script, and the list of what no cut notices is that of its script.

use std::fmt::Write;

/// A randomised test, or a few that share a seed.
#[derive(Debug)]
pub(super) struct Harness {
    /// What `--only` and the tally call it.
    pub(super) name: &'static str,
    pub(super) program: Program,
    /// All must run: one that was renamed is a failure.
    pub(super) tests: &'static [&'static str],
    /// The variable that takes the seed.
    pub(super) seed: &'static str,
    /// How many seeds in a row one run uses up.
    pub(super) seeds_per_shard: u64,
    /// What makes a shard a minute long or so, where the usual run is not.
    pub(super) scale: &'static [(&'static str, &'static str)],
}

/// The program that the tests of a harness are compiled into.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Program {
    pub(super) package: &'static str,
    pub(super) target: Target,
}

/// Which test program of a package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Target {
    Unit,
    Integration,
}

impl Target {
    /// How cargo is asked for it.
    pub(super) fn flags(self) -> &'static [&'static str] {
        match self {
            Target::Unit => &["--lib"],
            Target::Integration => &["--test", "it"],
        }
    }

    /// What cargo calls it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Target::Unit => "lib",
            Target::Integration => "test",
        }
    }
}

/// What the tests are told, beside which they are. Two of them at once would be two jobs.
pub(super) const ARGUMENTS: &[&str] = &["--exact", "--nocapture", "--test-threads=1"];

const SEED: &str = "LSM_SEED";
const FUZZ_SEED: &str = "LSM_FUZZ_SEED";
const PROPERTY_SEED: &str = "PROPTEST_RNG_SEED";

/// The seed makes a failure again: nothing is to be written among the sources.
const KEEP_NOTHING: (&str, &str) = ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");

const fn integration(
    name: &'static str,
    package: &'static str,
    tests: &'static [&'static str],
    scale: &'static [(&'static str, &'static str)],
) -> Harness {
    let program = Program { package, target: Target::Integration };
    Harness { name, program, tests, seed: SEED, seeds_per_shard: 1, scale }
}

const fn fuzz(
    name: &'static str,
    package: &'static str,
    tests: &'static [&'static str],
    scale: &'static [(&'static str, &'static str)],
) -> Harness {
    let program = Program { package, target: Target::Unit };
    Harness { name, program, tests, seed: FUZZ_SEED, seeds_per_shard: 1, scale }
}

const fn property(
    name: &'static str,
    program: Program,
    tests: &'static [&'static str],
    scale: &'static [(&'static str, &'static str)],
) -> Harness {
    Harness { name, program, tests, seed: PROPERTY_SEED, seeds_per_shard: 1, scale }
}

const fn unit(package: &'static str) -> Program {
    Program { package, target: Target::Unit }
}

const fn it(package: &'static str) -> Program {
    Program { package, target: Target::Integration }
}

const ENGINE: &str = "lsm-engine";

/// Every harness.
pub(super) const HARNESSES: &[Harness] = &[
    integration(
        "power_loss",
        ENGINE,
        &[
            "power_loss::every_synced_write_and_a_prefix_of_the_rest_survive",
            "power_loss::they_survive_beside_background_threads",
        ],
        &[("LSM_STEPS", "2000")],
    ),
    integration(
        "faults",
        ENGINE,
        &[
            "faults::no_fault_loses_what_was_acknowledged",
            "faults::none_does_beside_background_threads",
        ],
        &[("LSM_FAULT_STEPS", "300")],
    ),
    integration(
        "death",
        ENGINE,
        &["death::what_an_open_serves_is_on_disk"],
        &[("LSM_STEPS", "1000")],
    ),
    Harness {
        seed: "LSM_MODEL_SEED",
        seeds_per_shard: 3,
        ..integration(
            "model",
            ENGINE,
            &[
                "model::small_memtables",
                "model::small_memtables_without_threads",
                "model::small_memtables_with_a_block_for_each_entry",
                "model::blocks_tables_and_caches",
                "model::logs_and_memory",
                "model::threads_and_changes",
                "model::a_real_directory",
            ],
            // Said aloud, so that a stream is judged by its answers and not by the figures that the
            // usual seed reaches.
            &[("LSM_MODEL_OPS", "12000")],
        )
    },
    integration(
        "sweep",
        ENGINE,
        &[
            "sweep::a_damaged_store_that_was_closed_is_right_or_refused_1",
            "sweep::a_damaged_store_that_was_closed_is_right_or_refused_2",
            "sweep::a_damaged_store_that_was_closed_is_right_or_refused_3",
            "sweep::a_damaged_store_that_was_closed_is_right_or_refused_4",
            "sweep::a_damaged_store_that_was_not_closed_is_right_or_refused_1",
            "sweep::a_damaged_store_that_was_not_closed_is_right_or_refused_2",
            "sweep::a_damaged_store_that_was_not_closed_is_right_or_refused_3",
            "sweep::a_damaged_store_that_was_not_closed_is_right_or_refused_4",
        ],
        &[],
    ),
    integration(
        "kill",
        ENGINE,
        &["kill::what_was_acknowledged_survives_a_kill"],
        &[("LSM_KILLS", "1000")],
    ),
    // Where nobody may mount a disk it says that it did nothing.
    integration(
        "small_disk",
        ENGINE,
        &["kill::small_disk::what_was_acknowledged_survives_a_kill_on_a_full_disk"],
        &[("LSM_KILLS", "400")],
    ),
    integration(
        "checkpoint",
        ENGINE,
        &[
            "checkpoint::broken::a_power_loss_leaves_a_copy_that_is_complete_or_refused",
            "checkpoint::broken::a_fault_ends_a_copy_and_harms_no_store",
        ],
        &[("LSM_IMAGES", "40")],
    ),
    integration(
        "repair",
        ENGINE,
        &["repair::damage::damage_in_several_places_is_told"],
        &[("LSM_DAMAGES", "20000")],
    ),
    // They take no seed: what differs is how their threads meet.
    integration(
        "concurrency",
        ENGINE,
        &[
            "concurrency::a_writer_that_meets_a_flush_at_the_commit_lock_is_not_forgotten",
            "concurrency::waiting_until_idle_waits_for_work_that_has_not_begun",
            "concurrency::a_worker_that_panics_stops_writes_and_keeps_nobody_waiting",
            "concurrency::counters_that_many_threads_increment_lose_nothing",
            "concurrency::a_batch_is_seen_whole_by_every_reader",
            "concurrency::a_cursor_sees_all_up_to_the_sequence_that_it_tells",
            "concurrency::closing_ends_every_call_and_nothing_is_written_after_it",
            "concurrency::the_last_handle_closes_and_one_opener_has_the_store",
            "concurrency::a_keyspace_that_is_dropped_while_it_is_written_to_is_gone_for_good",
        ],
        &[],
    ),
    integration(
        "linearizability",
        "lsm-server",
        &["linearizability::every_history_has_an_order_although_the_server_is_killed"],
        &[("LSM_HISTORIES", "200")],
    ),
    fuzz(
        "fuzz-base",
        "lsm-base",
        &["fuzz::tests::the_corpus_of_batches", "fuzz::tests::the_corpus_of_keys"],
        &[("LSM_FUZZ_RUNS", "1000000")],
    ),
    fuzz(
        "fuzz-wal",
        "lsm-wal",
        &["fuzz::tests::the_corpus_of_logs", "fuzz::tests::the_corpus_of_journals"],
        &[("LSM_FUZZ_RUNS", "200000")],
    ),
    fuzz(
        "fuzz-sstable",
        "lsm-sstable",
        &[
            "fuzz::tests::the_corpus_of_blocks",
            "fuzz::tests::the_corpus_of_fences",
            "fuzz::tests::the_corpus_of_filters",
            "fuzz::tests::the_corpus_of_tables",
        ],
        &[("LSM_FUZZ_RUNS", "200000")],
    ),
    fuzz(
        "fuzz-compaction",
        "lsm-compaction",
        &["fuzz::tests::the_corpus_of_edits"],
        &[("LSM_FUZZ_RUNS", "1000000")],
    ),
    fuzz(
        "fuzz-engine",
        ENGINE,
        &["fuzz::tests::the_corpus_of_recoveries", "fuzz::tests::the_corpus_of_operations"],
        &[("LSM_FUZZ_RUNS", "20000")],
    ),
    fuzz(
        "fuzz-server",
        "lsm-server",
        &[
            "fuzz::tests::the_corpus_of_heads",
            "fuzz::tests::the_corpus_of_paths",
            "fuzz::tests::the_corpus_of_queries",
            "fuzz::tests::the_corpus_of_json",
        ],
        &[("LSM_FUZZ_RUNS", "500000")],
    ),
    property(
        "merge",
        unit("lsm-base"),
        &[
            "merging::tests::every_walk_goes_as_over_one_sorted_vector",
            "merging::tests::after_an_error_it_stands_on_nothing_until_a_seek",
        ],
        &[("PROPTEST_CASES", "20000"), KEEP_NOTHING],
    ),
    property(
        "memtable",
        it("lsm-memtable"),
        &[
            "against_model::a_memtable_reads_like_a_sorted_map",
            "against_model::inserts_within_their_bounds_never_fail",
        ],
        &[("PROPTEST_CASES", "10000"), KEEP_NOTHING],
    ),
    property(
        "log",
        it("lsm-wal"),
        &["history::a_prefix_with_all_that_was_synced_survives"],
        &[("PROPTEST_CASES", "10000"), KEEP_NOTHING],
    ),
    property(
        "table",
        it("lsm-sstable"),
        &["model::tables_hold_what_was_added", "runs::a_run_reads_as_one_table"],
        &[("PROPTEST_CASES", "2000"), KEEP_NOTHING],
    ),
    property(
        "compaction",
        it("lsm-compaction"),
        &["simulation::readers_find_what_the_model_says_whatever_runs_meanwhile"],
        &[("PROPTEST_CASES", "1000"), KEEP_NOTHING],
    ),
];

impl Harness {
    /// What the environment says in a shard.
    pub(super) fn variables(&self, seed: u64) -> Vec<(&'static str, String)> {
        let scale = self.scale.iter().map(|(name, value)| (*name, (*value).to_string()));
        [(self.seed, seed.to_string())].into_iter().chain(scale).collect()
    }

    /// The command that makes a shard again, as a person would type it.
    pub(super) fn replay(&self, seed: u64) -> String {
        let mut line = String::new();
        for (name, value) in self.variables(seed) {
            write!(line, "{name}={value} ").expect("a string takes what is written to it");
        }
        let target = self.program.target.flags().join(" ");
        let tests = self.tests.join(" ");
        let arguments = ARGUMENTS.join(" ");
        let package = self.program.package;
        line + &format!(
            "cargo test --locked --all-features -p {package} {target} -- {tests} {arguments}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = HARNESSES.iter().map(|harness| harness.name).collect();
        assert_eq!(names.len(), HARNESSES.len());
    }

    #[test]
    fn every_test_stands_in_the_file_that_its_name_says() {
        for harness in HARNESSES {
            let Program { package, target } = harness.program;
            let folder = match target {
                Target::Unit => "src",
                Target::Integration => "tests/it",
            };
            let folder = crate::workspace_root().join("crates").join(package).join(folder);
            for test in harness.tests {
                let (module, name) = test.rsplit_once("::").expect("it is in a module");
                let inline = module.strip_suffix("::tests").unwrap_or(module);
                let files = [module, inline]
                    .map(|module| folder.join(module.replace("::", "/")).with_extension("rs"));
                let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
                // Parts of the sweep are made by a macro or stand there; either way by this name.
                let has_test = |text: String| text.contains(&format!("fn {name}("));
                assert!(texts.into_iter().any(has_test), "{package}: {test}");
            }
        }
    }

    #[test]
    fn a_replay_is_the_shard_in_words() {
        let kill = HARNESSES.iter().find(|harness| harness.name == "kill").unwrap();
        assert_eq!(
            kill.replay(7),
            "LSM_SEED=7 LSM_KILLS=1000 cargo test --locked --all-features -p lsm-engine --test it \
             -- kill::what_was_acknowledged_survives_a_kill --exact --nocapture --test-threads=1"
        );
    }
}
