//! Mutants: the tally of small mistakes adds up, none survives without a reason, and few survive.

use std::collections::BTreeMap;

use super::{Findings, Tree};
use crate::mutants::tally::{PATH, Tally};

/// How many mutants of a crate the tests must notice, of 100 that compile.
const LEAST_NOTICED: usize = 90;

/// Checks the tally.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let Some(file) = tree.text(PATH) else {
        return findings.add(PATH, 1, "the tally is missing; `cargo xtask mutants` writes it");
    };
    let tally = match Tally::parse(&file.text) {
        Ok(tally) => tally,
        Err(why) => return findings.add(PATH, 1, format!("not a tally, at {why}")),
    };
    for entry in &tally.entries {
        if !tree.paths.contains(&entry.file) {
            findings.add(PATH, 1, format!("`{}` is gone; take its entry out", entry.file));
        }
        if !entry.adds_up() {
            findings.add(PATH, 1, format!("does not add up: {entry}"));
        }
        for survivor in entry.survived.iter().filter(|survivor| survivor.reason.trim().is_empty()) {
            let what = format!(
                "no test notices, and nobody says why: {}:{}: {}",
                entry.file, survivor.line, survivor.mutant
            );
            findings.add(PATH, 1, what);
        }
    }
    check_percentages(&tally, findings);
}

fn check_percentages(tally: &Tally, findings: &mut Findings) {
    let mut packages: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for entry in &tally.entries {
        let (noticed, all) = packages.entry(entry.package()).or_default();
        *noticed += entry.noticed();
        *all += entry.noticed() + entry.survived.len();
    }
    for (package, (noticed, all)) in packages {
        if noticed * 100 < all * LEAST_NOTICED {
            let what = format!(
                "{package}: tests notice {noticed} of {all} mutants, not {LEAST_NOTICED} %; \
                 write those that do"
            );
            findings.add(PATH, 1, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    const CODE: &str = "crates/lsm-wal/src/scan.rs";

    /// What is found of an entry with so many mutants caught and one that survived.
    fn found(mutants: usize, caught: usize, reason: &str) -> Vec<String> {
        let survivor = format!(r#"{{"line":7,"mutant":"replace < with <=","reason":"{reason}"}}"#);
        let counts = format!(r#""mutants":{mutants},"caught":{caught},"timeouts":2,"unviable":5"#);
        let tally = format!(
            r#"{{"entries":[{{"file":"{CODE}","commit":"0f","part":"all",{counts},"survived":[{survivor}]}}]}}"#
        );
        findings_of(check, &[(PATH, &tally), (CODE, "//! Scan.\n")])
    }

    #[test]
    fn a_sound_tally_is_silent() {
        assert_eq!(found(15, 7, "the two are the same there"), [""; 0]);
        assert_eq!(findings_of(check, &[(PATH, r#"{"entries":[]}"#)]), [""; 0]);
    }

    #[test]
    fn a_survivor_without_a_reason_is_found() {
        let expected = "docs/mutants.json:1: no test notices, and nobody says why: \
                        crates/lsm-wal/src/scan.rs:7: replace < with <=";
        assert_eq!(found(15, 7, ""), [expected]);
        assert_eq!(found(15, 7, " "), [expected]);
    }

    #[test]
    fn a_sum_that_is_wrong_is_found() {
        for mutants in [14, 16] {
            let found = found(mutants, 7, "why");
            assert!(found[0].starts_with("docs/mutants.json:1: does not add up: "), "{found:?}");
        }
    }

    #[test]
    fn too_many_survivors_are_found() {
        assert_eq!(
            found(14, 6, "why"),
            ["docs/mutants.json:1: lsm-wal: tests notice 8 of 9 mutants, not 90 %; \
                 write those that do"]
        );
    }

    #[test]
    fn what_is_no_tally_or_speaks_of_no_file_is_found() {
        assert_eq!(findings_of(check, &[]).len(), 1);
        let found_line = findings_of(check, &[(PATH, "{\n}\n")]);
        assert!(found_line[0].contains("not a tally, at 2: "), "{found_line:?}");
        let entry = r#"{"file":"crates/a/src/b.rs","commit":"0f","part":"all","mutants":0,"caught":0,"timeouts":0,"unviable":0,"survived":[]}"#;
        let tally = format!(r#"{{"entries":[{entry}]}}"#);
        let expected = "docs/mutants.json:1: `crates/a/src/b.rs` is gone; take its entry out";
        assert_eq!(findings_of(check, &[(PATH, &tally)]), [expected]);
    }
}
