//! The catalogue: which mistake each number is, and which test is to notice it.
//!
//! The mistakes themselves stand in the code, by the names of `crates/lsm-base/src/plant.rs`.

/// A mistake, and who is to notice it.
pub(super) struct Entry {
    /// What `LSM_PLANT` calls it.
    pub(super) number: u16,
    /// What `lsm_base::plant::Plant` calls it.
    pub(super) name: &'static str,
    /// The test that must fail.
    pub(super) test: Test,
}

/// A test, by where it is compiled and what it is called there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Test {
    pub(super) program: Program,
    pub(super) name: &'static str,
}

/// A test program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Program {
    /// The integration tests of a package.
    Integration(&'static str),
    /// The unit tests of a package.
    Unit(&'static str),
    /// The models of a package, in its unit tests.
    Models(&'static str),
}

const ENGINE: Program = Program::Integration("lsm-engine");
const ENGINE_MODELS: Program = Program::Models("lsm-engine");
const MODEL: &str = "model::small_memtables_without_threads";
const POWER_LOSS: &str = "power_loss::every_synced_write_and_a_prefix_of_the_rest_survive";
const CURSOR: &str = "snapshots::a_table_that_a_cursor_has_not_opened_yet_stays_until_it_may";
const FAULTS: &str = "faults::no_fault_loses_what_was_acknowledged";
const FULL_DISK: &str = "full_disk::a_full_disk_ends_the_segment_and_not_the_log";
const HISTORIES: &str = "linearizability::every_history_has_an_order_although_the_server_is_killed";
const KILLS: &str = "kill::what_was_acknowledged_survives_a_kill";
const WHOLE: &str = "repair::whole::a_store_that_is_whole_loses_nothing";
const GATE: &str = "sync_gate::tests::a_sync_beside_one_that_fails_is_not_believed";
const PINNED_FIRST: &str = "super_version::model::loom_a_read_finds_what_a_flush_leaves_of_its_key";
const PINNED_EXACTLY: &str =
    "commit::publication::model::loom_a_cursor_has_every_write_up_to_its_sequence";
const UP_TO_SEQUENCE: &str =
    "commit::publication::model::loom_a_reader_sees_every_write_up_to_its_sequence";
const CUTS: &str = "job::tables_are_cut_at_their_size_and_never_within_a_user_key";

const fn entry(number: u16, name: &'static str, program: Program, test: &'static str) -> Entry {
    Entry { number, name, test: Test { program, name: test } }
}

/// Every mistake.
pub(super) const CATALOGUE: &[Entry] = &[
    entry(1, "UnlinkedBeforeRename", ENGINE, POWER_LOSS),
    entry(2, "HoleInLog", ENGINE, POWER_LOSS),
    entry(3, "AppendedBehindRemains", Program::Integration("lsm-wal"), FULL_DISK),
    entry(4, "SyncTriedAgain", ENGINE, FAULTS),
    entry(5, "LogUnlinkedInRecovery", ENGINE, POWER_LOSS),
    entry(6, "SequenceHandedOutTwice", ENGINE, POWER_LOSS),
    entry(7, "ReplayedInWrongOrder", ENGINE, POWER_LOSS),
    entry(8, "DropNotLogged", ENGINE, POWER_LOSS),
    entry(9, "TombstoneElidedTooEarly", ENGINE, MODEL),
    entry(10, "VersionsSplit", Program::Integration("lsm-compaction"), CUTS),
    entry(
        11,
        "SnapshotOverlooked",
        ENGINE_MODELS,
        "snapshot::model::loom_whoever_compacts_keeps_what_a_snapshot_sees",
    ),
    entry(
        12,
        "PublishedBeforeApplied",
        ENGINE,
        "concurrency::a_batch_is_seen_whole_by_every_reader",
    ),
    entry(13, "FilterLacksKeys", ENGINE, MODEL),
    entry(
        14,
        "TurnWithoutSeek",
        Program::Unit("lsm-base"),
        "merging::tests::every_walk_goes_as_over_one_sorted_vector",
    ),
    entry(15, "FlushedOutOfOrder", ENGINE, "model::small_memtables"),
    entry(16, "ReadErrorIsEnd", ENGINE, FAULTS),
    entry(17, "UnlinkedUnderReader", ENGINE, CURSOR),
    entry(18, "FullDiskPoisons", ENGINE, FAULTS),
    entry(
        19,
        "LengthTrusted",
        ENGINE,
        "sweep::a_damaged_store_that_was_not_closed_is_right_or_refused_1",
    ),
    entry(20, "LockIgnored", ENGINE, "open::a_directory_has_one_opener_by_whatever_name"),
    entry(
        21,
        "RotatedTopDown",
        Program::Models("lsm-memtable"),
        "memtable::model::loom_single_rotation_left",
    ),
    entry(22, "LogNeverReleased", ENGINE, "open::many_lives_leave_as_many_files_as_one"),
    entry(23, "ConditionJudgedTooEarly", Program::Integration("lsm-server"), HISTORIES),
    entry(24, "LogRemovedBeforeManifest", ENGINE, POWER_LOSS),
    entry(25, "SegmentUnnamed", ENGINE, "open::no_log_segment_is_missed_in_silence"),
    entry(26, "VisibleBeforePinned", ENGINE_MODELS, PINNED_FIRST),
    entry(27, "PinnedOnce", ENGINE_MODELS, PINNED_EXACTLY),
    entry(28, "PublishedUnordered", ENGINE_MODELS, UP_TO_SEQUENCE),
    entry(29, "PublishedPastWaiting", ENGINE_MODELS, UP_TO_SEQUENCE),
    entry(30, "PutsTakeReserve", ENGINE, "reserve::a_batch_that_puts_anything_is_refused_whole"),
    entry(31, "LogMapPrivate", ENGINE, KILLS),
    entry(101, "SegmentNotSynced", ENGINE, POWER_LOSS),
    entry(102, "SegmentNameNotSynced", ENGINE, POWER_LOSS),
    entry(103, "LogNotSynced", ENGINE, POWER_LOSS),
    entry(104, "ManifestNotSynced", ENGINE, POWER_LOSS),
    entry(105, "ManifestNameNotSynced", ENGINE, POWER_LOSS),
    entry(106, "CurrentNotSynced", ENGINE, POWER_LOSS),
    entry(107, "CurrentNameNotSynced", ENGINE, POWER_LOSS),
    entry(108, "ParentNotSynced", ENGINE, POWER_LOSS),
    entry(109, "TableNotSynced", ENGINE, POWER_LOSS),
    entry(110, "TableNameNotSynced", ENGINE, POWER_LOSS),
    entry(201, "ManifestSyncTriedAgain", ENGINE, FAULTS),
    entry(202, "TableSyncTriedAgain", ENGINE, FAULTS),
    entry(203, "SegmentSyncTriedAgain", ENGINE, FAULTS),
    entry(204, "DirSyncTriedAgain", Program::Unit("lsm-engine"), GATE),
    entry(
        301,
        "RepairLossUntold",
        ENGINE,
        "repair::damage::one_damaged_byte_of_a_closed_store_is_told",
    ),
    entry(
        302,
        "RepairRevivesDropped",
        ENGINE,
        "repair::belief::writes_to_a_keyspace_that_was_dropped_do_not_come_back",
    ),
    entry(
        303,
        "RepairReadsObsolete",
        ENGINE,
        "repair::belief::what_the_manifest_no_longer_names_does_not_come_back",
    ),
    entry(304, "RepairForgetsTombstone", ENGINE, WHOLE),
    entry(
        305,
        "RepairNamedTooEarly",
        ENGINE,
        "repair::target::a_power_loss_leaves_a_target_that_is_whole_or_none",
    ),
    entry(306, "RepairChangesSource", ENGINE, WHOLE),
    entry(
        307,
        "RepairReadsZeros",
        ENGINE,
        "repair::unreadable::a_place_that_cannot_be_read_is_told",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn code_and_catalogue_name_the_same_mistakes() {
        let root = crate::workspace_root();
        let text = fs::read_to_string(root.join("crates/lsm-base/src/plant.rs")).unwrap();
        let sown: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_suffix(',')?.trim().split_once(" = "))
            .map(|(name, number)| (number.parse().expect("a number"), name))
            .collect();
        let listed: Vec<_> = CATALOGUE.iter().map(|entry| (entry.number, entry.name)).collect();
        assert_eq!(sown, listed);
        assert!(listed.is_sorted(), "in the order of their numbers");
    }

    #[test]
    fn every_mistake_stands_in_the_code() {
        let mut code = String::new();
        for package in fs::read_dir(crate::workspace_root().join("crates")).unwrap() {
            read_all(&package.unwrap().path().join("src"), &mut code);
        }
        for entry in CATALOGUE {
            let place = format!("is_live(Plant::{})", entry.name);
            let step = format!("unless(Plant::{},", entry.name);
            let again = format!("again(Plant::{},", entry.name);
            let is_there = [&place, &step, &again].iter().any(|form| code.contains(*form));
            assert!(is_there, "{place} is nowhere");
        }
    }

    fn read_all(folder: &Path, code: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => read_all(&path, code),
                false => code.push_str(&fs::read_to_string(path).unwrap()),
            }
        }
    }
}
