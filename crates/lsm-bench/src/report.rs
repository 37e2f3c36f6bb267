//! Results: a JSON line for each workload of a run, and what people read of them.
//!
//! - `summary`: medians over the rounds, and ratios within them;
//! - `table`: a table for the terminal;
//! - `page`: a page with tables and the charts of `chart`.

mod chart;
mod page;
mod summary;
mod table;

use serde::{Deserialize, Serialize};

pub use page::page;
pub use table::table;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten operations at this rate.
    pub(super) fn outcome(engine: &str, rate: f64) -> Outcome {
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
    fn a_line_of_json_comes_back() {
        let line = serde_json::to_string(&outcome("lsm", 7.0)).unwrap();
        assert!(line.starts_with(r#"{"workload":"fillrandom","engine":"lsm","tuning":"equal""#));
        assert_eq!(serde_json::from_str::<Outcome>(&line).unwrap(), outcome("lsm", 7.0));
    }
}
