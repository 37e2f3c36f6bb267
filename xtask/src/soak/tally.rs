//! The tally: a line of JSON for each shard that is over, which is how a soak resumes.
//!
//! Lines are only appended, each by one write of a whole line. The end of a file that has no line end
//! is a shard whose end nobody saw to be written: it is cut off, and the shard runs again. Any other
//! line that cannot be read is refused, since its seed would be run twice or never.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A shard that is over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) harness: String,
    pub(super) seed: u64,
    /// What was compiled; `-dirty` stands behind it if files had been changed.
    pub(super) commit: String,
    /// When the shard began, in seconds since 1970.
    pub(super) begun_unix_s: u64,
    pub(super) seconds: f64,
    pub(super) result: Outcome,
    /// What it printed, kept if it did not pass; relative to the folder of the tally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<PathBuf>,
}

/// How a shard ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Passed,
    Failed,
    TimedOut,
}

/// The records of all soaks in a folder, and the file that they are in.
pub(super) struct Tally {
    pub(super) records: Vec<Record>,
    file: File,
    path: PathBuf,
}

impl Tally {
    /// Opens the tally of a folder, or begins one. Nobody else may have it open.
    pub(super) fn open(folder: &Path) -> Result<Tally, String> {
        let path = folder.join("tally.jsonl");
        let failed = |error| format!("{}: {error}", path.display());
        fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("{}: another soak has it", path.display()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        let whole = text.rfind('\n').map_or(0, |place| place + 1);
        let records = parse(&text[..whole]).map_err(|why| format!("{}:{why}", path.display()))?;
        file.set_len(whole as u64).map_err(failed)?;
        Ok(Tally { records, file, path })
    }

    /// Adds a shard that is over.
    pub(super) fn add(&mut self, record: Record) -> Result<(), String> {
        let mut line = serde_json::to_string(&record).expect("a record has only plain fields");
        line.push('\n');
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.records.push(record);
        Ok(())
    }

    /// The seeds that a harness has had.
    pub(super) fn seeds(&self, harness: &str) -> BTreeSet<u64> {
        let of_harness = self.records.iter().filter(|record| record.harness == harness);
        of_harness.map(|record| record.seed).collect()
    }
}

/// The records on these lines; or the number of the first bad line, counted from one, and what is
/// wrong with it.
fn parse(text: &str) -> Result<Vec<Record>, String> {
    let lines = text.lines().enumerate();
    let records = lines.map(|(index, line)| {
        serde_json::from_str(line).map_err(|error| format!("{}: {error}", index + 1))
    });
    records.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn record(harness: &str, seed: u64, result: Outcome) -> Record {
        Record {
            harness: harness.into(),
            seed,
            commit: "0f0f".into(),
            begun_unix_s: 1_700_000_000,
            seconds: 1.5,
            result,
            output: (result != Outcome::Passed).then(|| "output/a-1.txt".into()),
        }
    }

    #[test]
    fn what_was_added_is_there_when_it_is_opened_again() {
        let scratch = Scratch::new("tally-again");
        let added = [record("a", 1, Outcome::Passed), record("b", 9, Outcome::TimedOut)];
        let mut tally = Tally::open(scratch.path()).unwrap();
        added.iter().for_each(|record| tally.add(record.clone()).unwrap());
        drop(tally);
        let tally = Tally::open(scratch.path()).unwrap();
        assert_eq!(tally.records, added);
        assert_eq!(tally.seeds("a"), BTreeSet::from([1]));
        assert_eq!(tally.seeds("c"), BTreeSet::new());
    }

    #[test]
    fn the_lines_are_as_the_page_says() {
        let text = r#"{"harness":"a","seed":1,"commit":"0f0f","begun_unix_s":1700000000,"seconds":1.5,"result":"timed_out","output":"output/a-1.txt"}"#;
        let expected = record("a", 1, Outcome::TimedOut);
        assert_eq!(parse(text), Ok(vec![expected.clone()]));
        assert_eq!(serde_json::to_string(&expected).unwrap(), text);
    }

    #[test]
    fn a_bad_line_is_refused_with_its_number() {
        let good = serde_json::to_string(&record("a", 1, Outcome::Passed)).unwrap();
        for bad in ["", "{", &good.replace("\"seed\"", "\"sead\""), &good.replace("passed", "ok")] {
            let scratch = Scratch::new("tally-bad");
            let text = format!("{good}\n{bad}\n{good}\n");
            fs::write(scratch.path().join("tally.jsonl"), &text).unwrap();
            let why = Tally::open(scratch.path()).err().expect("it is refused");
            assert!(why.contains("tally.jsonl:2: "), "{why}");
            let left = fs::read_to_string(scratch.path().join("tally.jsonl")).unwrap();
            assert_eq!(left, text, "what is refused is not touched");
        }
    }

    #[test]
    fn a_line_without_an_end_is_cut_off() {
        let good = serde_json::to_string(&record("a", 1, Outcome::Passed)).unwrap();
        let scratch = Scratch::new("tally-torn");
        let path = scratch.path().join("tally.jsonl");
        fs::write(&path, format!("{good}\n{}", &good[..good.len() / 2])).unwrap();
        let mut tally = Tally::open(scratch.path()).unwrap();
        tally.add(record("a", 2, Outcome::Passed)).unwrap();
        drop(tally);
        assert_eq!(Tally::open(scratch.path()).unwrap().seeds("a"), BTreeSet::from([1, 2]));
    }

    #[test]
    fn two_soaks_do_not_share_a_tally() {
        let scratch = Scratch::new("tally-shared");
        let first = Tally::open(scratch.path()).unwrap();
        assert!(Tally::open(scratch.path()).is_err_and(|why| why.contains("another soak")));
        drop(first);
        assert!(Tally::open(scratch.path()).is_ok());
    }
}
