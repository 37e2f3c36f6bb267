//! Results: a JSON line for each workload of a run, and a table for people.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

/// One workload of one engine in one round; a line of JSON.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The workload.
    pub workload: String,
    /// The engine.
    pub engine: String,
    /// `equal` or `own`.
    pub tuning: String,
    /// Threads.
    pub threads: u32,
    /// Keys in the data set.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: u64,
    /// `sync` or `buffered`.
    pub durability: String,
    /// `lz4` or `none`.
    pub compression: String,
    /// Operations done; entries, for scans.
    pub ops: u64,
    /// How long they took.
    pub seconds: f64,
    /// `ops / seconds`.
    pub ops_per_second: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 90 % were faster.
    pub p90_us: f64,
    /// 99 % were faster.
    pub p99_us: f64,
    /// 99.9 % were faster.
    pub p999_us: f64,
    /// 99.99 % were faster.
    pub p9999_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// Bytes written to storage up to idleness, log included.
    pub bytes_written: u64,
    /// Bytes of the keys and values that were put, and of the keys that were deleted.
    pub bytes_put: u64,
    /// `bytes_written / bytes_put`, where anything was put.
    pub bytes_written_per_byte_put: Option<f64>,
    /// Bytes of the store's files when idle.
    pub bytes_on_disk: u64,
    /// Peak of anonymous and shared memory.
    pub rss_anon_peak: u64,
    /// Peak of mapped file pages.
    pub rss_file_peak: u64,
    /// Processor time up to idleness.
    pub cpu_seconds: f64,
    /// From the last operation to idleness.
    pub idle_after_seconds: f64,
    /// What the writer beside readers reached.
    pub writer_ops_per_second: Option<f64>,
    /// The longest that the engine itself held a write back since it was opened, if it can tell.
    pub longest_stall_ms: Option<f64>,
}

impl Outcome {
    /// What it is called beside others: an engine in its own tuning is another one.
    #[must_use]
    pub fn label(&self) -> String {
        let engine = &self.engine;
        if self.tuning == "own" { format!("{engine} (own)") } else { engine.clone() }
    }

    /// Operations in a second of all the time until the store was idle: what is put off is paid for.
    #[must_use]
    pub fn ops_per_second_to_idle(&self) -> f64 {
        self.ops as f64 / (self.seconds + self.idle_after_seconds)
    }
}

/// The results of several rounds as a table: the median rates of each engine, to the last operation
/// and to idleness, and what the first engine does for each operation of the others, as the median
/// of the ratios within a round.
#[must_use]
pub fn table(rounds: &[Vec<Outcome>]) -> Table {
    let engines = engines(rounds);
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let mut header = vec!["workload".to_owned()];
    for engine in &engines {
        header.push(format!("{engine} ops/s"));
        header.push("to idle".into());
        header.push("p99 µs".into());
        header.push("max ms".into());
        header.push("idle s".into());
    }
    for other in engines.iter().skip(1) {
        header.push(format!("{} / {other}", engines[0]));
        header.push("to idle".into());
    }
    table.set_header(header);
    for (position, workload) in workloads(rounds).into_iter().enumerate() {
        let mut row = vec![Cell::new(workload)];
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for engine in &engines {
            let of = |figure: fn(&Outcome) -> f64| {
                median(rounds.iter().filter_map(|round| find(round, engine, position)).map(figure))
            };
            row.push(number(format!("{:.0}", of(|outcome| outcome.ops_per_second))));
            row.push(number(format!("{:.0}", of(Outcome::ops_per_second_to_idle))));
            row.push(number(format!("{:.1}", of(|outcome| outcome.p99_us))));
            row.push(number(format!("{:.1}", of(|outcome| outcome.max_us / 1e3))));
            row.push(number(format!("{:.2}", of(|outcome| outcome.idle_after_seconds))));
        }
        for other in engines.iter().skip(1) {
            let of = |rate| number(ratios(rounds, (&engines[0], other), position, rate));
            row.push(of(|outcome| outcome.ops_per_second));
            row.push(of(Outcome::ops_per_second_to_idle));
        }
        table.add_row(row);
    }
    table
}

/// The median of the ratios of a rate within a round, and their range.
fn ratios(
    rounds: &[Vec<Outcome>],
    (engine, other): (&str, &str),
    position: usize,
    rate: fn(&Outcome) -> f64,
) -> String {
    let ratios: Vec<f64> = rounds
        .iter()
        .filter_map(|round| {
            let (ours, theirs) = (find(round, engine, position)?, find(round, other, position)?);
            Some(rate(ours) / rate(theirs))
        })
        .collect();
    if ratios.is_empty() {
        return String::new();
    }
    let low = ratios.iter().copied().fold(f64::MAX, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({low:.2}-{high:.2})", median(ratios.into_iter()))
}

/// The outcome of an engine's workload at a position: a workload may occur more than once.
fn find<'a>(round: &'a [Outcome], engine: &str, position: usize) -> Option<&'a Outcome> {
    round.iter().filter(|outcome| outcome.label() == engine).nth(position)
}

/// The labels of the engines, in the order of the first round.
fn engines(rounds: &[Vec<Outcome>]) -> Vec<String> {
    let mut seen = Vec::new();
    for label in rounds.iter().flatten().map(Outcome::label) {
        if !seen.contains(&label) {
            seen.push(label);
        }
    }
    seen
}

/// The workloads, in the order in which every engine ran them.
fn workloads(rounds: &[Vec<Outcome>]) -> Vec<&str> {
    let Some(first) = rounds.iter().flatten().next() else { return Vec::new() };
    let of_first = rounds[0].iter().filter(|outcome| outcome.label() == first.label());
    of_first.map(|outcome| outcome.workload.as_str()).collect()
}

/// The middle of the figures, or the mean of the two in the middle; 0 for none.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        len => f64::midpoint(figures[(len - 1) / 2], figures[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(engine: &str, rate: f64) -> Outcome {
        Outcome {
            workload: "fillrandom".into(),
            engine: engine.into(),
            tuning: "equal".into(),
            threads: 1,
            keys: 10,
            value_bytes: 100,
            durability: "buffered".into(),
            compression: "lz4".into(),
            ops: 10,
            seconds: 10.0 / rate,
            ops_per_second: rate,
            p50_us: 1.0,
            p90_us: 1.5,
            p99_us: 2.0,
            p999_us: 3.0,
            p9999_us: 4.0,
            max_us: 4000.0,
            bytes_written: 1,
            bytes_put: 1,
            bytes_written_per_byte_put: Some(1.0),
            bytes_on_disk: 1,
            rss_anon_peak: 1,
            rss_file_peak: 1,
            cpu_seconds: 0.1,
            idle_after_seconds: 0.5,
            writer_ops_per_second: None,
            longest_stall_ms: None,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rounds = [
            vec![outcome("lsm", 100.0), outcome("peer", 50.0)],
            vec![outcome("lsm", 10.0), outcome("peer", 20.0)],
            vec![outcome("lsm", 30.0), outcome("peer", 20.0)],
        ];
        let text = table(&rounds).to_string();
        assert!(text.contains("1.50 (0.50-2.00)"), "{text}");
        assert!(text.contains("lsm / peer"), "{text}");
    }

    #[test]
    fn an_engine_in_its_own_tuning_is_another_one() {
        let own = Outcome { tuning: "own".into(), ..outcome("peer", 25.0) };
        let rounds = [vec![outcome("lsm", 100.0), outcome("peer", 50.0), own]];
        let text = table(&rounds).to_string();
        assert!(text.contains("lsm / peer (own)"), "{text}");
        assert!(text.contains("2.00 (2.00-2.00)") && text.contains("4.00 (4.00-4.00)"), "{text}");
    }

    #[test]
    fn what_is_put_off_is_paid_for() {
        // Twice as fast to the last operation, and then idle after three times as long.
        let ours = Outcome { idle_after_seconds: 2.5, ..outcome("lsm", 20.0) };
        let theirs = Outcome { idle_after_seconds: 0.0, ..outcome("peer", 10.0) };
        assert!((ours.ops_per_second_to_idle() - 10.0 / 3.0).abs() < 1e-9);
        let text = table(&[vec![ours, theirs]]).to_string();
        let row: Vec<_> = text.lines().nth(2).unwrap().split('|').map(str::trim).collect();
        assert_eq!(row[2..4], ["20", "3"]);
        assert_eq!(row[7..9], ["10", "10"]);
        assert_eq!(row[12..14], ["2.00 (2.00-2.00)", "0.33 (0.33-0.33)"]);
    }

    #[test]
    fn a_workload_that_occurs_twice_has_two_rows() {
        let named =
            |workload: &str, rate| Outcome { workload: workload.into(), ..outcome("lsm", rate) };
        let round = vec![
            named("fillrandom", 1.0),
            named("readrandom", 20.0),
            named("overwrite", 3.0),
            named("readrandom", 40.0),
        ];
        let text = table(&[round]).to_string();
        let rows: Vec<_> = text.lines().skip(2).map(|row| row.split_whitespace()).collect();
        let cells: Vec<_> = rows.into_iter().map(|mut row| (row.nth(1), row.nth(1))).collect();
        assert_eq!(
            cells,
            [
                (Some("fillrandom"), Some("1")),
                (Some("readrandom"), Some("20")),
                (Some("overwrite"), Some("3")),
                (Some("readrandom"), Some("40")),
            ]
        );
    }

    #[test]
    fn a_line_of_json_comes_back() {
        let line = serde_json::to_string(&outcome("lsm", 7.0)).unwrap();
        assert!(line.starts_with(r#"{"workload":"fillrandom","engine":"lsm","tuning":"equal""#));
        assert_eq!(serde_json::from_str::<Outcome>(&line).unwrap(), outcome("lsm", 7.0));
    }
}
