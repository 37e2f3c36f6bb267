//! What cargo-mutants writes: the mutants that it was to test, and what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::tally::{Entry, Name, Noticed, Survivor};

/// What became of a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(super) enum Summary {
    Success,
    CaughtMutant,
    MissedMutant,
    Timeout,
    Unviable,
    Failure,
}

/// A mutant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
pub(super) struct Mutant {
    pub(super) file: String,
    /// Its place and what it changes: `path:line:column: what`.
    pub(super) name: String,
}

#[derive(Deserialize)]
struct Report {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    scenario: Scenario,
    summary: Summary,
}

#[derive(Deserialize)]
enum Scenario {
    /// The tests without a mutant.
    Baseline,
    Mutant(Mutant),
}

/// What became of each mutant; `None` of one that was not reached.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Outcomes(BTreeMap<Mutant, Option<Summary>>);

impl Outcomes {
    /// Reads what a run has left in its folder; nothing, if there was no mutant to test.
    pub(super) fn read(folder: &Path) -> Result<Outcomes, String> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        if !folder.join("mutants.json").is_file() {
            return Ok(Outcomes::default());
        }
        Outcomes::parse(&read("mutants.json")?, &read("outcomes.json")?)
    }

    fn parse(mutants: &str, report: &str) -> Result<Outcomes, String> {
        let mutants = self::mutants(mutants)?;
        let report: Report =
            serde_json::from_str(report).map_err(|error| not_understood(&error))?;
        let mut outcomes: BTreeMap<_, _> =
            mutants.into_iter().map(|mutant| (mutant, None)).collect();
        for Outcome { scenario, summary } in report.outcomes {
            match scenario {
                Scenario::Mutant(mutant) => drop(outcomes.insert(mutant, Some(summary))),
                Scenario::Baseline if summary == Summary::Success => {}
                Scenario::Baseline => return Err("the tests fail without a mutant".into()),
            }
        }
        Ok(Outcomes(outcomes))
    }

    /// The files of the mutants.
    pub(super) fn files(&self) -> BTreeSet<&str> {
        self.0.keys().map(|mutant| &*mutant.file).collect()
    }

    /// Those of the files of whose mutants, which are among `all`, every one was tested.
    pub(super) fn of_whole_files(&self, all: &BTreeSet<Mutant>) -> Outcomes {
        let is_tested = |mutant: &Mutant| matches!(self.0.get(mutant), Some(Some(_)));
        let in_part: BTreeSet<_> =
            all.iter().filter(|mutant| !is_tested(mutant)).map(|mutant| &mutant.file).collect();
        let mut whole = self.clone();
        whole.0.retain(|mutant, _| all.contains(mutant) && !in_part.contains(&mutant.file));
        whole
    }

    /// The mutants that no test has noticed so far.
    pub(super) fn survivors(&self) -> impl Iterator<Item = &Mutant> {
        let is_missed = |summary: &Option<Summary>| *summary == Some(Summary::MissedMutant);
        self.0.iter().filter(move |(_, summary)| is_missed(summary)).map(|(mutant, _)| mutant)
    }

    /// Takes over what became of the survivors under further tests. Others may have met them too,
    /// and have been noticed already.
    pub(super) fn judge_again(&mut self, again: &Outcomes) {
        for (mutant, summary) in &mut self.0 {
            if *summary == Some(Summary::MissedMutant)
                && let Some(Some(further)) = again.0.get(mutant)
            {
                *summary = Some(*further);
            }
        }
    }

    /// What became of the mutants of each name, those that survived at the end. An error if not every
    /// mutant was tested.
    pub(super) fn by_name(&self) -> Result<BTreeMap<Name, Vec<Noticed>>, String> {
        let mut names: BTreeMap<Name, Vec<Noticed>> = BTreeMap::new();
        for (mutant, summary) in &self.0 {
            let noticed = match summary {
                Some(Summary::CaughtMutant | Summary::Unviable) => Noticed::ByFailure,
                Some(Summary::Timeout) => Noticed::ByTimeout,
                Some(Summary::MissedMutant) => Noticed::No,
                Some(Summary::Success | Summary::Failure) | None => return Err(untested(mutant)),
            };
            let Survivor { line, mutant: what, .. } = survivor(mutant)?;
            names.entry((mutant.file.clone(), line, what)).or_default().push(noticed);
        }
        names.values_mut().for_each(|noticed| noticed.sort());
        Ok(names)
    }

    /// The entries of the tally, one for each file. An error if not every mutant was tested.
    pub(super) fn entries(&self, commit: &str, part: &str) -> Result<Vec<Entry>, String> {
        let mut files: BTreeMap<&str, Entry> = BTreeMap::new();
        for (mutant, summary) in &self.0 {
            let entry = files.entry(&mutant.file).or_insert_with(|| Entry {
                file: mutant.file.clone(),
                commit: commit.to_string(),
                part: part.to_string(),
                mutants: 0,
                caught: 0,
                timeouts: 0,
                unviable: 0,
                survived: Vec::new(),
            });
            entry.mutants += 1;
            match summary {
                Some(Summary::CaughtMutant) => entry.caught += 1,
                Some(Summary::Timeout) => entry.timeouts += 1,
                Some(Summary::Unviable) => entry.unviable += 1,
                Some(Summary::MissedMutant) => entry.survived.push(survivor(mutant)?),
                Some(Summary::Success | Summary::Failure) | None => {
                    return Err(untested(mutant));
                }
            }
        }
        let mut entries: Vec<_> = files.into_values().collect();
        entries.iter_mut().for_each(|entry| entry.survived.sort_by_key(|mutant| mutant.line));
        Ok(entries)
    }
}

/// Mutants as cargo-mutants lists them.
pub(super) fn mutants(text: &str) -> Result<BTreeSet<Mutant>, String> {
    serde_json::from_str(text).map_err(|error| not_understood(&error))
}

fn not_understood(error: &serde_json::Error) -> String {
    format!("cargo-mutants wrote what is not understood: {error}")
}

fn untested(mutant: &Mutant) -> String {
    format!("was not tested: {}", mutant.name)
}

/// A survivor, without the column in its name: a reason is to outlive another line above it.
fn survivor(mutant: &Mutant) -> Result<Survivor, String> {
    let parts = || {
        let rest = mutant.name.strip_prefix(&mutant.file)?.strip_prefix(':')?;
        let (place, what) = rest.split_once(": ")?;
        let (line, _) = place.split_once(':')?;
        Some((line.parse().ok()?, what.to_string()))
    };
    let parts = parts().ok_or_else(|| format!("a mutant without a line: {}", mutant.name));
    parts.map(|(line, mutant)| Survivor { line, mutant, reason: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "crates/a/src/b.rs";

    fn mutant(line: usize) -> String {
        let name = format!("{FILE}:{line}:33: replace < with <= in C::picked -> bool");
        format!(r#"{{"file":"{FILE}","name":"{name}","genre":"BinaryOperator"}}"#)
    }

    /// The outcomes of a run that was to test as many mutants as these, and ended so.
    fn outcomes(count: usize, baseline: &str, ended: &[(usize, &str)]) -> Result<Outcomes, String> {
        let mutants: Vec<_> = (1..=count).map(mutant).collect();
        let mut report = vec![format!(r#"{{"scenario":"Baseline","summary":"{baseline}"}}"#)];
        report.extend(ended.iter().map(|(line, summary)| {
            format!(r#"{{"scenario":{{"Mutant":{}}},"summary":"{summary}"}}"#, mutant(*line))
        }));
        let report = format!(r#"{{"outcomes":[{}],"missed":1}}"#, report.join(","));
        Outcomes::parse(&format!("[{}]", mutants.join(",")), &report)
    }

    const ALL: [(usize, &str); 5] = [
        (1, "CaughtMutant"),
        (2, "MissedMutant"),
        (3, "Timeout"),
        (4, "Unviable"),
        (5, "MissedMutant"),
    ];

    #[test]
    fn every_outcome_is_counted_for_its_file() {
        let entries = outcomes(5, "Success", &ALL).unwrap().entries("0f0f", "all").unwrap();
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        assert!(entry.adds_up());
        assert_eq!((entry.mutants, entry.caught, entry.timeouts, entry.unviable), (5, 1, 1, 1));
        let survived: Vec<_> = entry.survived.iter().map(|mutant| mutant.line).collect();
        assert_eq!(survived, [2, 5]);
        assert_eq!(entry.survived[0].mutant, "replace < with <= in C::picked -> bool");
        assert_eq!((&*entry.file, &*entry.survived[0].reason), (FILE, ""));
    }

    #[test]
    fn further_tests_may_notice_what_survived() {
        let mut all = outcomes(5, "Success", &ALL).unwrap();
        assert_eq!(all.survivors().count(), 2);
        let again = [(1, "MissedMutant"), (2, "CaughtMutant"), (5, "CaughtMutant")];
        all.judge_again(&outcomes(6, "Success", &again).unwrap());
        assert_eq!(all.survivors().count(), 0);
        let entries = all.entries("0f0f", "all").unwrap();
        assert_eq!((entries[0].caught, entries[0].survived.len()), (3, 0));
    }

    #[test]
    fn mutants_of_one_name_stand_together_and_survivors_last() {
        let names = outcomes(5, "Success", &ALL).unwrap().by_name().unwrap();
        let what = "replace < with <= in C::picked -> bool".to_string();
        let noticed: Vec<_> =
            (1..=5).map(|line| names[&(FILE.to_string(), line, what.clone())].clone()).collect();
        use Noticed::{ByFailure, ByTimeout, No};
        assert_eq!(noticed, [[ByFailure], [No], [ByTimeout], [ByFailure], [No]]);
        let again = |line: &str, column: &str, summary: &str| {
            let name = format!("{FILE}:{line}:{column}: gone");
            let mutant = format!(r#"{{"file":"{FILE}","name":"{name}"}}"#);
            let outcome = format!(r#"{{"scenario":{{"Mutant":{mutant}}},"summary":"{summary}"}}"#);
            (mutant, outcome)
        };
        let both = [again("7", "1", "MissedMutant"), again("7", "9", "CaughtMutant")];
        let (mutants, ended): (Vec<_>, Vec<_>) = both.into_iter().unzip();
        let report = format!(r#"{{"outcomes":[{}]}}"#, ended.join(","));
        let both = Outcomes::parse(&format!("[{}]", mutants.join(",")), &report).unwrap();
        let names = both.by_name().unwrap();
        assert_eq!(names[&(FILE.to_string(), 7, "gone".to_string())], [ByFailure, No]);
        let cut_short = outcomes(6, "Success", &ALL).unwrap();
        assert!(cut_short.by_name().unwrap_err().contains("was not tested"));
    }

    #[test]
    fn a_run_that_was_cut_short_is_no_entry() {
        let why = outcomes(6, "Success", &ALL).unwrap().entries("0f0f", "all").unwrap_err();
        assert!(why.contains("crates/a/src/b.rs:6:33"), "{why}");
    }

    #[test]
    fn of_a_run_that_was_cut_short_the_files_that_were_done_are_left() {
        let of = |file: &str| format!(r#"{{"file":"{file}","name":"{file}:1:2: gone"}}"#);
        let list = |files: &[&str]| {
            format!("[{}]", files.iter().map(|file| of(file)).collect::<Vec<_>>().join(","))
        };
        let caught = |file: &str| {
            format!(r#"{{"scenario":{{"Mutant":{}}},"summary":"CaughtMutant"}}"#, of(file))
        };
        let report = format!(r#"{{"outcomes":[{},{}]}}"#, caught("a.rs"), caught("c.rs"));
        let outcomes = Outcomes::parse(&list(&["a.rs", "b.rs", "c.rs"]), &report).unwrap();
        assert!(outcomes.entries("0f0f", "all").is_err());
        // Of the last file another shard had a mutant too.
        let more = r#"{"file":"c.rs","name":"c.rs:8:9: gone"}"#;
        let all = list(&["a.rs", "b.rs", "c.rs"]).replace(']', &format!(",{more}]"));
        let whole = outcomes.of_whole_files(&mutants(&all).unwrap());
        let entries = whole.entries("0f0f", "all").unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((&*entries[0].file, entries[0].caught), ("a.rs", 1));
    }

    #[test]
    fn tests_that_fail_anyway_notice_nothing() {
        assert!(outcomes(5, "Failure", &[]).unwrap_err().contains("without a mutant"));
    }
}
