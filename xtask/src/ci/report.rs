//! What came of the steps, as a table, and loudly what could not run.

use std::fmt::Write;
use std::time::Duration;

/// How long all steps may take together; `docs/testing.md` says so too.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// What came of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// The machine lacks what it needs.
    CouldNotRun,
    /// A step before it failed, and `--fail-fast` was given.
    NotReached,
}

/// A step that is over.
pub(super) struct Result {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    pub(super) time: Duration,
    /// Why it did not run, or what was less than it should be.
    pub(super) note: Option<String>,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::CouldNotRun => "DID NOT RUN",
            Outcome::NotReached => "not reached",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Outcome::Passed => "\x1b[32m",
            Outcome::Failed => "\x1b[1;31m",
            Outcome::CouldNotRun => "\x1b[1;33m",
            Outcome::NotReached => "\x1b[2m",
        }
    }
}

impl Result {
    /// Whether this run held less than it promises to hold.
    fn is_short(&self) -> bool {
        self.outcome == Outcome::CouldNotRun
            || (self.note.is_some() && self.outcome == Outcome::Passed)
    }
}

/// Whether nothing failed.
pub(super) fn has_passed(results: &[Result]) -> bool {
    results.iter().all(|result| result.outcome != Outcome::Failed)
}

/// The summary of a run.
pub(super) fn summary(results: &[Result], is_coloured: bool) -> String {
    let mut text = String::new();
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(0);
    for result in results {
        let word = format!("{:11}", result.outcome.word());
        let word =
            if is_coloured { format!("{}{word}\x1b[0m", result.outcome.colour()) } else { word };
        let time = format!("{:6.1} s", result.time.as_secs_f64());
        let note = result.note.as_deref().unwrap_or_default();
        let line = format!("{:width$}  {word}  {time}  {note}", result.name);
        writeln!(text, "{}", line.trim_end()).expect("a string takes what is written to it");
    }
    for result in results.iter().filter(|result| result.is_short()) {
        let note = result.note.as_deref().unwrap_or_default();
        writeln!(text, "!!! NOT CHECKED IN FULL: {}: {note}", result.name)
            .expect("a string takes what is written to it");
    }
    let total = total(results);
    if LIMIT < total {
        let [total, limit] = [total, LIMIT].map(|time| time.as_secs_f64() / 60.0);
        writeln!(text, "!!! TOOK TOO LONG: {total:.1} minutes, and {limit:.0} are the limit")
            .expect("a string takes what is written to it");
    }
    text + &verdict(results)
}

fn total(results: &[Result]) -> Duration {
    results.iter().map(|result| result.time).sum()
}

fn verdict(results: &[Result]) -> String {
    let named = |wanted: Outcome| -> Vec<&str> {
        results.iter().filter(|r| r.outcome == wanted).map(|r| r.name).collect()
    };
    let mut text = format!("ci: {} passed", named(Outcome::Passed).len());
    let missing = named(Outcome::CouldNotRun);
    if !missing.is_empty() {
        write!(text, ", {} DID NOT RUN: {}", missing.len(), missing.join(", "))
            .expect("a string takes what is written to it");
    }
    let failed = named(Outcome::Failed);
    if !failed.is_empty() {
        write!(text, ", {} FAILED: {}", failed.len(), failed.join(", "))
            .expect("a string takes what is written to it");
    }
    format!("{text} ({:.0} s)\n", total(results).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &'static str, outcome: Outcome, note: Option<&str>) -> Result {
        let note = note.map(str::to_string);
        Result { name, outcome, time: Duration::from_millis(1500), note }
    }

    #[test]
    fn the_table_names_what_failed_and_what_did_not_run() {
        let results = [
            result("fmt", Outcome::Passed, None),
            result("deny", Outcome::CouldNotRun, Some("cargo-deny is not installed")),
            result("test", Outcome::Failed, None),
        ];
        let expected = "\
fmt   ok              1.5 s
deny  DID NOT RUN     1.5 s  cargo-deny is not installed
test  FAILED          1.5 s
!!! NOT CHECKED IN FULL: deny: cargo-deny is not installed
ci: 1 passed, 1 DID NOT RUN: deny, 1 FAILED: test (4 s)
";
        assert_eq!(summary(&results, false), expected);
        assert!(summary(&results, true).contains("\x1b[1;31mFAILED"));
        assert!(!has_passed(&results));
    }

    #[test]
    fn a_run_that_took_too_long_says_so_and_is_no_failure() {
        let took = |seconds: u64| {
            ["test", "loom"].map(|name| Result {
                time: Duration::from_secs(seconds),
                ..result(name, Outcome::Passed, None)
            })
        };
        assert!(!summary(&took(600), false).contains("!!!"));
        let text = summary(&took(615), false);
        assert!(text.contains("!!! TOOK TOO LONG: 20.5 minutes, and 20 are the limit\n"), "{text}");
        assert!(has_passed(&took(615)));
    }

    #[test]
    fn what_could_not_run_is_no_failure_but_is_loud() {
        let results = [
            result("test", Outcome::Passed, Some("nextest is not installed")),
            result("loom", Outcome::Passed, None),
        ];
        assert!(has_passed(&results));
        let text = summary(&results, false);
        assert!(text.contains("!!! NOT CHECKED IN FULL: test: nextest"));
        assert!(!text.contains("!!! NOT CHECKED IN FULL: loom"));
    }
}
