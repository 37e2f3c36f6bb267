//! What a soak says: a line for each shard, and at its end a table of the harnesses.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use super::schedule::Shard;
use super::tally::{Outcome, Record};

/// How many characters the bar has.
const BAR: usize = 30;

/// The lines on standard output, and on a terminal a bar below them.
pub(super) struct Report {
    has_bar: bool,
    begun: Instant,
    time: Duration,
    shards: usize,
    bad: usize,
}

impl Report {
    /// The report of a soak of this length that begins now.
    pub(super) fn new(time: Duration) -> Report {
        let has_bar = io::stdout().is_terminal();
        let report = Report { has_bar, begun: Instant::now(), time, shards: 0, bad: 0 };
        report.say("");
        report
    }

    /// Tells of a shard that is over.
    pub(super) fn shard(&mut self, shard: &Shard, record: &Record, why: Option<&str>) {
        self.shards += 1;
        self.bad += usize::from(record.result != Outcome::Passed);
        self.say(&line(shard, record, why));
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) {
        self.say("");
        self.has_bar = false;
    }

    /// Prints at once, and where the bar was; what cannot be printed stands in the tally.
    fn say(&self, lines: &str) {
        let mut text = String::new();
        if self.has_bar {
            let bar = bar(self.begun.elapsed(), self.time);
            let Report { shards, bad, .. } = self;
            write!(text, "\r\x1b[2K{lines}{bar} {shards} shards, {bad} bad").expect(INFALLIBLE);
        } else {
            text.push_str(lines);
        }
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}

const INFALLIBLE: &str = "a string takes what is written to it";

/// What is said of a shard: of one that did not pass, how it is made again.
fn line(shard: &Shard, record: &Record, why: Option<&str>) -> String {
    let name = format!("{} {}", shard.harness.name, shard.seed);
    let word = match record.result {
        Outcome::Passed => "ok",
        Outcome::Failed => "FAILED",
        Outcome::TimedOut => "TIMED OUT",
    };
    let mut text = format!("{name:24} {word:9} {:7.1} s", record.seconds);
    if let Some(why) = why {
        write!(text, "  {why}").expect(INFALLIBLE);
    }
    text.push('\n');
    if let Some(output) = &record.output {
        writeln!(text, "    output  {}", output.display()).expect(INFALLIBLE);
    }
    if record.result != Outcome::Passed {
        writeln!(text, "    replay  {}", shard.harness.replay(shard.seed)).expect(INFALLIBLE);
    }
    text
}

fn bar(gone: Duration, time: Duration) -> String {
    let part = (gone.as_secs_f64() / time.as_secs_f64()).min(1.0);
    let full = (part * BAR as f64) as usize;
    format!("[{}{}] {:3.0} %", "#".repeat(full), ".".repeat(BAR - full), part * 100.0)
}

/// What some shards came to, harness by harness, and all together.
pub(super) fn table(records: &[Record]) -> String {
    let mut names: Vec<_> = records.iter().map(|record| record.harness.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut text = format!(
        "{:18} {:>7} {:>7} {:>7} {:>7} {:>8}\n",
        "", "shards", "passed", "failed", "timeout", "hours"
    );
    let mut row = |name: &str, is_in: &dyn Fn(&Record) -> bool| {
        let records = || records.iter().filter(|record| is_in(record));
        let count = |outcome| records().filter(|record| record.result == outcome).count();
        let hours = records().map(|record| record.seconds).sum::<f64>() / 3600.0;
        let [passed, failed, timed_out] =
            [Outcome::Passed, Outcome::Failed, Outcome::TimedOut].map(count);
        let shards = records().count();
        writeln!(text, "{name:18} {shards:7} {passed:7} {failed:7} {timed_out:7} {hours:8.2}")
            .expect(INFALLIBLE);
    };
    for name in names {
        row(name, &|record| record.harness == name);
    }
    row("all", &|_| true);
    text
}

#[cfg(test)]
mod tests {
    use super::super::harness::HARNESSES;
    use super::*;

    fn record(harness: &str, result: Outcome, seconds: f64) -> Record {
        Record {
            harness: harness.into(),
            seed: 7,
            commit: "0f0f".into(),
            begun_unix_s: 0,
            seconds,
            result,
            output: (result != Outcome::Passed).then(|| "output/kill-7.txt".into()),
        }
    }

    #[test]
    fn the_table_counts_by_harness() {
        let records = [
            record("kill", Outcome::Passed, 1800.0),
            record("faults", Outcome::Passed, 360.0),
            record("kill", Outcome::TimedOut, 900.0),
            record("kill", Outcome::Failed, 900.0),
        ];
        let expected = "                    \
             shards  passed  failed timeout    hours
faults                   1       1       0       0     0.10
kill                     3       1       1       1     1.00
all                      4       2       1       1     1.10
";
        assert_eq!(table(&records), expected);
    }

    #[test]
    fn a_shard_that_did_not_pass_says_how_it_is_made_again() {
        let harness = HARNESSES.iter().find(|harness| harness.name == "kill").unwrap();
        let shard = Shard { harness, seed: 7 };
        let told = line(&shard, &record("kill", Outcome::Failed, 1.5), Some("ran 0 tests of 1"));
        let replay = harness.replay(7);
        let expected = format!(
            "kill 7                   FAILED        1.5 s  ran 0 tests of 1\n    \
             output  output/kill-7.txt\n    replay  {replay}\n"
        );
        assert_eq!(told, expected);
        let told = line(&shard, &record("kill", Outcome::Passed, 1.5), None);
        assert_eq!(told, "kill 7                   ok            1.5 s\n");
    }

    #[test]
    fn the_bar_ends_full() {
        let second = Duration::from_secs(1);
        assert_eq!(
            bar(second, 3 * second),
            format!("[{}{}]  33 %", "#".repeat(10), ".".repeat(20))
        );
        assert_eq!(bar(9 * second, 3 * second), format!("[{}] 100 %", "#".repeat(30)));
    }
}
