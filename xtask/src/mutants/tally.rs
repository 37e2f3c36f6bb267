//! The tally of mutants, `docs/mutants.json`: what became of them, file by file.
//!
//! An entry is a file, or a part of one, at a commit. A survivor is a change of the code that no test
//! noticed; it stands here until a test does, or with the reason, written by a person, why none can.
//! Invariant of a sound tally: each entry adds up, and each survivor has its reason.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where it is, from the root of the workspace.
pub(crate) const PATH: &str = "docs/mutants.json";

/// The tally.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tally {
    /// The last shard of all mutants that was tested in its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_shard: Option<String>,
    pub(crate) entries: Vec<Entry>,
}

/// What became of the mutants of a file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) file: String,
    pub(crate) commit: String,
    /// Which of the file's mutants these are: all, a shard, or those in lines that were changed.
    pub(crate) part: String,
    /// How many there are.
    pub(crate) mutants: usize,
    pub(crate) caught: usize,
    /// Tests that never ended have noticed too.
    pub(crate) timeouts: usize,
    /// They do not compile.
    pub(crate) unviable: usize,
    pub(crate) survived: Vec<Survivor>,
}

/// A change of the code that no test noticed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Survivor {
    /// The line at the commit.
    pub(crate) line: usize,
    pub(crate) mutant: String,
    /// Why no test can notice; empty until a person has looked.
    pub(crate) reason: String,
}

/// How the tally tells mutants apart: file, line, and what is changed. Some lines have several of one
/// name.
pub(crate) type Name = (String, usize, String);

/// Whether tests notice a mutant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Noticed {
    ByFailure,
    ByTimeout,
    No,
}

/// What an entry calls all mutants of its file.
pub(crate) const WHOLE: &str = "all";

impl Tally {
    /// Reads the tally of a workspace. One that is not there is empty.
    pub(crate) fn read(root: &Path) -> Result<Tally, String> {
        match fs::read_to_string(root.join(PATH)) {
            Ok(text) => Tally::parse(&text).map_err(|error| format!("{PATH}:{error}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Tally::default()),
            Err(error) => Err(format!("{PATH}: {error}")),
        }
    }

    /// Reads a tally from its text; an error begins with its line.
    pub(crate) fn parse(text: &str) -> Result<Tally, String> {
        serde_json::from_str(text).map_err(|error| format!("{}: {error}", error.line()))
    }

    /// Writes it in its place.
    pub(crate) fn write(&self, root: &Path) -> Result<(), String> {
        let mut text = serde_json::to_string_pretty(self).expect("a tally has only plain fields");
        text.push('\n');
        fs::write(root.join(PATH), text).map_err(|error| format!("{PATH}: {error}"))
    }

    /// Adds what became of a file. It takes the place of what was known of the same part, and of
    /// every part if it is all of the file. A survivor that was looked at keeps its reason.
    pub(crate) fn add(&mut self, mut entry: Entry) {
        for survivor in &mut entry.survived {
            if let Some(reason) = self.reason(&entry.file, &survivor.mutant) {
                survivor.reason = reason.to_string();
            }
        }
        let is_replaced =
            |old: &Entry| old.file == entry.file && (entry.part == WHOLE || old.part == entry.part);
        self.entries.retain(|old| !is_replaced(old));
        self.entries.push(entry);
        self.entries.sort_by(|a, b| (&a.file, &a.part).cmp(&(&b.file, &b.part)));
    }

    /// The survivors that nobody gave a reason for, with their files.
    pub(crate) fn without_reason(&self) -> impl Iterator<Item = (&str, &Survivor)> {
        let all = self.entries.iter().flat_map(|entry| {
            entry.survived.iter().map(|survivor| (entry.file.as_str(), survivor))
        });
        all.filter(|(_, survivor)| survivor.reason.is_empty())
    }

    /// Takes over what became of survivors without a reason when they met new tests. One that does
    /// not stand any more where it stood stays.
    pub(crate) fn judge_again(&mut self, again: &BTreeMap<Name, Vec<Noticed>>) {
        for Entry { file, caught, timeouts, survived, .. } in &mut self.entries {
            let mut again = again.clone();
            let name = |survivor: &Survivor| (file.clone(), survivor.line, survivor.mutant.clone());
            // Those that no test can notice survive first.
            for survivor in survived.iter().filter(|survivor| !survivor.reason.is_empty()) {
                again.get_mut(&name(survivor)).and_then(Vec::pop);
            }
            survived.retain(|survivor| {
                if !survivor.reason.is_empty() {
                    return true;
                }
                match again.get_mut(&name(survivor)).and_then(Vec::pop) {
                    Some(Noticed::ByFailure) => *caught += 1,
                    Some(Noticed::ByTimeout) => *timeouts += 1,
                    Some(Noticed::No) | None => return true,
                }
                false
            });
        }
    }

    /// The reason that a person gave for a mutant, wherever in its file it stands now.
    fn reason(&self, file: &str, mutant: &str) -> Option<&str> {
        let of_file = self.entries.iter().filter(|entry| entry.file == file);
        let mut survivors = of_file.flat_map(|entry| &entry.survived);
        let found = survivors.find(|old| old.mutant == mutant && !old.reason.is_empty())?;
        Some(&found.reason)
    }
}

impl Entry {
    /// Whether every mutant has become something.
    pub(crate) fn adds_up(&self) -> bool {
        self.mutants == self.noticed() + self.unviable + self.survived.len()
    }

    /// How many mutants the tests noticed.
    pub(crate) fn noticed(&self) -> usize {
        self.caught + self.timeouts
    }

    /// The crate of the file.
    pub(crate) fn package(&self) -> &str {
        self.file.split('/').nth(1).unwrap_or_default()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { file, part, mutants, caught, timeouts, unviable, survived, .. } = self;
        write!(
            f,
            "{file} ({part}): {mutants} mutants, {caught} caught, {timeouts} timeouts, \
             {unviable} unviable, {} survived",
            survived.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn entry(file: &str, part: &str, reason: &str) -> Entry {
        let mutant = "replace < with <= in picked".to_string();
        let survived = vec![Survivor { line: 7, mutant, reason: reason.into() }];
        let (file, commit, part) = (file.into(), "0f0f".into(), part.into());
        Entry { file, commit, part, mutants: 6, caught: 3, timeouts: 1, unviable: 1, survived }
    }

    #[test]
    fn what_was_written_is_read() {
        let scratch = Scratch::new("mutants");
        fs::create_dir(scratch.path().join("docs")).unwrap();
        assert_eq!(Tally::read(scratch.path()), Ok(Tally::default()));
        let mut tally = Tally { last_shard: Some("3/100".into()), ..Tally::default() };
        tally.add(entry("crates/a/src/b.rs", WHOLE, "it is the same"));
        tally.write(scratch.path()).unwrap();
        assert_eq!(Tally::read(scratch.path()), Ok(tally));
        fs::write(scratch.path().join(PATH), "{\n\"entries\": 1\n}\n").unwrap();
        let why = Tally::read(scratch.path()).unwrap_err();
        assert!(why.starts_with("docs/mutants.json:2: "), "{why}");
    }

    #[test]
    fn a_new_entry_takes_the_place_of_what_it_covers() {
        let parts = |tally: &Tally| -> Vec<String> {
            tally.entries.iter().map(|entry| entry.part.clone()).collect()
        };
        let mut tally = Tally::default();
        for part in ["1/4", "2/4", "1/4"] {
            tally.add(entry("crates/a/src/b.rs", part, ""));
        }
        tally.add(entry("crates/a/src/a.rs", "1/4", ""));
        assert_eq!(parts(&tally), ["1/4", "1/4", "2/4"]);
        tally.add(entry("crates/a/src/b.rs", WHOLE, ""));
        assert_eq!(parts(&tally), ["1/4", WHOLE]);
    }

    #[test]
    fn a_survivor_keeps_the_reason_that_a_person_gave() {
        let mut tally = Tally::default();
        tally.add(entry("crates/a/src/b.rs", WHOLE, "it is the same"));
        tally.add(entry("crates/a/src/b.rs", WHOLE, ""));
        tally.add(entry("crates/a/src/c.rs", WHOLE, ""));
        let reason = |index: usize| &*tally.entries[index].survived[0].reason;
        assert_eq!((reason(0), reason(1)), ("it is the same", ""));
    }

    #[test]
    fn new_tests_may_notice_what_has_no_reason() {
        let mut tally = Tally::default();
        for (file, reason) in [("a", ""), ("b", ""), ("c", ""), ("d", "it is the same")] {
            tally.add(entry(file, WHOLE, reason));
        }
        // Two of one name in one line, one of which was noticed before.
        let again = [("a", vec![Noticed::ByFailure, Noticed::No]), ("b", vec![Noticed::ByTimeout])];
        let again = again.map(|(file, noticed)| {
            ((file.to_string(), 7, "replace < with <= in picked".to_string()), noticed)
        });
        let mut again = BTreeMap::from(again);
        again.insert(
            ("c".into(), 8, "replace < with <= in picked".into()),
            vec![Noticed::ByFailure],
        );
        again.insert(
            ("d".into(), 7, "replace < with <= in picked".into()),
            vec![Noticed::ByFailure],
        );
        // One of the two has its reason, and is the one that survives.
        let mut with_reason = entry("e", WHOLE, "it is the same");
        with_reason
            .survived
            .push(Survivor { reason: String::new(), ..with_reason.survived[0].clone() });
        with_reason.mutants += 1;
        tally.entries.push(with_reason);
        let noticed = vec![Noticed::ByFailure, Noticed::No];
        again.insert(("e".into(), 7, "replace < with <= in picked".into()), noticed);
        tally.judge_again(&again);
        let counts = |entry: &Entry| (entry.caught, entry.timeouts, entry.survived.len());
        let counts: Vec<_> = tally.entries.iter().map(counts).collect();
        assert_eq!(counts, [(3, 1, 1), (3, 2, 0), (3, 1, 1), (3, 1, 1), (4, 1, 1)]);
        assert!(tally.entries.iter().all(Entry::adds_up));
        let left: Vec<_> = tally.without_reason().map(|(file, _)| file).collect();
        assert_eq!(left, ["a", "c"]);
    }

    #[test]
    fn every_mutant_becomes_something() {
        let mut entry = entry("crates/a/src/b.rs", WHOLE, "");
        assert!(entry.adds_up());
        entry.caught += 1;
        assert!(!entry.adds_up());
        assert_eq!((entry.noticed(), entry.package()), (5, "a"));
    }
}
