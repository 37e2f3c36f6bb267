//! Clocks and random sources: below the engine, nothing reads one that it was not handed. The engine
//! has a clock that measures, and none that tells the time of day, which jumps.

use super::{Findings, Tree};

const FLOORS: &[&str] = &[
    "crates/lsm-base/src/",
    "crates/lsm-memtable/src/",
    "crates/lsm-wal/src/",
    "crates/lsm-sstable/src/",
    "crates/lsm-compaction/src/",
];

/// The real file system may have to ask the system; those of the tests keep maps by path and by
/// address, and look things up in them.
const EXEMPT: &[&str] = &[
    "crates/lsm-base/src/fs/std.rs",
    "crates/lsm-base/src/fs/mem/tree.rs",
    "crates/lsm-base/src/fs/fault.rs",
];

/// The types rather than their calls, since a type can be renamed where it is imported. The maps and
/// sets of the standard library have a random order.
const SOURCES: &[&str] = &[
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "getrandom",
    "thread::sleep",
    "RandomState",
    "DefaultHasher",
    "HashMap",
    "HashSet",
];

/// What tells the time of day.
const WALL_CLOCKS: &[&str] = &["SystemTime", "UNIX_EPOCH"];

const ENGINE: &str = "crates/lsm-engine/src/";

/// Checks the sources of the engine and the crates below; their tests are free.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let is_below = |path: &str| FLOORS.iter().any(|floor| path.starts_with(floor));
    let is_exempt = |path: &str| EXEMPT.contains(&path);
    for rust in tree.rust.iter().filter(|rust| is_below(&rust.path) && !is_exempt(&rust.path)) {
        for source in SOURCES {
            for place in rust.words(source).filter(|place| !rust.is_test(*place)) {
                let what = format!("`{source}` below the engine; let the caller hand it in");
                findings.add(&rust.path, rust.line(place), what);
            }
        }
    }
    for rust in tree.rust.iter().filter(|rust| rust.path.starts_with(ENGINE)) {
        for clock in WALL_CLOCKS {
            for place in rust.words(clock).filter(|place| !rust.is_test(*place)) {
                let what = format!("`{clock}` in the engine; it jumps, so take `Instant`");
                findings.add(&rust.path, rust.line(place), what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    #[test]
    fn clocks_below_the_engine_are_found() {
        let text = "//! A.\nlet a = std::time::Instant::now();\nlet b = getrandom::u64();\n";
        let found = findings_of(check, &[("crates/lsm-wal/src/wal.rs", text)]);
        assert_eq!(
            found,
            [
                "crates/lsm-wal/src/wal.rs:2: `Instant` below the engine; let the caller hand it in",
                "crates/lsm-wal/src/wal.rs:3: `getrandom` below the engine; let the caller hand it in",
            ]
        );
    }

    #[test]
    fn other_names_hide_no_clock_and_no_random_order() {
        for text in [
            "use std::time::Instant as I;\nlet a = I::now();\n",
            "let age = UNIX_EPOCH.elapsed();\n",
            "let seed = HashMap::<u8, u8>::new();\n",
            "let names: HashSet<_> = names.collect();\n",
            "use std::hash::DefaultHasher as H;\n",
        ] {
            assert_eq!(
                findings_of(check, &[("crates/lsm-wal/src/wal.rs", text)]).len(),
                1,
                "{text}"
            );
        }
    }

    #[test]
    fn a_clock_that_jumps_is_found_in_the_engine() {
        let text = "let a = std::time::SystemTime::now();\n";
        let found = findings_of(check, &[("crates/lsm-engine/src/db.rs", text)]);
        assert_eq!(
            found,
            [
                "crates/lsm-engine/src/db.rs:1: `SystemTime` in the engine; it jumps, so take `Instant`"
            ]
        );
    }

    #[test]
    fn clocks_above_and_in_tests_are_silent() {
        let text = "let a = Instant::now();\n";
        let test = "#[test]\nfn f() { Instant::now(); }\n";
        let files = [
            ("crates/lsm-engine/src/db.rs", text),
            ("crates/lsm-base/src/fs/std.rs", text),
            ("crates/lsm-wal/src/wal/tests.rs", test),
            ("crates/lsm-wal/src/log.rs", "use std::time::Duration; // not Instant\n"),
        ];
        assert_eq!(findings_of(check, &files), [""; 0]);
    }
}
