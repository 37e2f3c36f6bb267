//! `/metrics`: the engine's counters and the server's own, for Prometheus.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use lsm_engine::base::metrics::HistogramSnapshot;
use lsm_engine::{Db, Health, Metrics};

use crate::answer::{self, Answer};
use crate::prometheus::Text;
use crate::service::Call;
use crate::wire::Problem;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Upper bounds of the buckets of a sync's seconds, with the same in nanoseconds.
const SYNC_BOUNDS: [(f64, u64); 10] = [
    (0.0001, 100_000),
    (0.00025, 250_000),
    (0.0005, 500_000),
    (0.001, 1_000_000),
    (0.0025, 2_500_000),
    (0.005, 5_000_000),
    (0.01, 10_000_000),
    (0.05, 50_000_000),
    (0.1, 100_000_000),
    (1.0, 1_000_000_000),
];

/// Upper bounds of the buckets of how many writes shared one append.
const GROUP_BOUNDS: [(f64, u64); 8] =
    [(1.0, 1), (2.0, 2), (4.0, 4), (8.0, 8), (16.0, 16), (32.0, 32), (64.0, 64), (128.0, 128)];

/// Answers the page.
pub(super) fn answer(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let db = call.db()?;
    let mut text = Text::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.family("lsm_build_info", "gauge", "What is running; always 1.");
    text.sample("lsm_build_info", &version, 1.0);
    one(
        &mut text,
        "lsm_uptime_seconds",
        "gauge",
        "Age of the process.",
        call.app.started.elapsed().as_secs_f64(),
    );
    let metrics = db.metrics();
    writes(&mut text, db, &metrics);
    background(&mut text, &metrics);
    levels(&mut text, db);
    caches(&mut text, &metrics);
    resources(&mut text, db, &metrics);
    call.app.metrics.print(&mut text);
    Ok(answer::answer(StatusCode::OK, TEXT, call.held(text.finish().into())?))
}

fn one(text: &mut Text, name: &str, kind: &str, help: &str, value: f64) {
    text.family(name, kind, help);
    text.sample(name, &[], value);
}

fn many(text: &mut Text, name: &str, kind: &str, help: &str, label: &str, values: &[(&str, u64)]) {
    text.family(name, kind, help);
    for (word, value) in values {
        text.sample(name, &[(label, word)], *value as f64);
    }
}

/// A histogram of the engine; `unit` is what one is in the unit of the metric.
fn distribution(
    text: &mut Text,
    name: &str,
    help: &str,
    bounds: &[(f64, u64)],
    unit: f64,
    values: &HistogramSnapshot,
) {
    text.family(name, "histogram", help);
    let buckets = bounds.iter().map(|&(bound, value)| (bound, values.count_up_to(value)));
    text.histogram(name, &[], buckets, values.count(), values.sum() as f64 * unit);
}

fn writes(text: &mut Text, db: &Db, metrics: &Metrics) {
    one(
        text,
        "lsm_sequence",
        "gauge",
        "Sequence of the last visible write.",
        db.seq().get() as f64,
    );
    many(
        text,
        "lsm_operations_total",
        "counter",
        "Operations of the engine.",
        "op",
        &[
            ("get", metrics.gets),
            ("scan", metrics.cursors),
            ("put", metrics.puts),
            ("delete", metrics.deletes),
        ],
    );
    one(
        text,
        "lsm_wal_appended_bytes_total",
        "counter",
        "Bytes appended to the log.",
        metrics.wal_appended_bytes as f64,
    );
    one(
        text,
        "lsm_wal_syncs_total",
        "counter",
        "Syncs of the log.",
        metrics.wal_sync_nanos.count() as f64,
    );
    distribution(
        text,
        "lsm_wal_sync_seconds",
        "Time of a sync of the log.",
        &SYNC_BOUNDS,
        1e-9,
        &metrics.wal_sync_nanos,
    );
    distribution(
        text,
        "lsm_write_group_size",
        "Writes that shared one append to the log.",
        &GROUP_BOUNDS,
        1.0,
        &metrics.write_group_size,
    );
    one(
        text,
        "lsm_write_pressure",
        "gauge",
        "How far background work is behind; 1 is the limit.",
        metrics.write_pressure,
    );
    one(
        text,
        "lsm_write_stall_seconds_total",
        "counter",
        "Time that writes waited for background work.",
        metrics.stall_nanos.sum() as f64 * 1e-9,
    );
}

fn background(text: &mut Text, metrics: &Metrics) {
    one(
        text,
        "lsm_flushes_total",
        "counter",
        "Generations of memtables that became tables.",
        metrics.flushes as f64,
    );
    one(
        text,
        "lsm_flush_bytes_total",
        "counter",
        "Bytes of tables that flushes wrote.",
        metrics.flush_bytes as f64,
    );
    one(
        text,
        "lsm_compactions_total",
        "counter",
        "Compactions installed, moves included.",
        metrics.compactions as f64,
    );
    one(
        text,
        "lsm_compaction_read_bytes_total",
        "counter",
        "Bytes of tables that compactions read.",
        metrics.compaction_read_bytes as f64,
    );
    one(
        text,
        "lsm_compaction_written_bytes_total",
        "counter",
        "Bytes of tables that compactions wrote.",
        metrics.compaction_written_bytes as f64,
    );
}

/// Files and bytes of each level, over all keyspaces.
fn levels(text: &mut Text, db: &Db) {
    let mut files: Vec<(String, u64)> = Vec::new();
    let mut bytes: Vec<(String, u64)> = Vec::new();
    for keyspace in db.levels() {
        for (index, level) in keyspace.levels.iter().enumerate() {
            if files.len() == index {
                files.push((level.level.to_string(), 0));
                bytes.push((level.level.to_string(), 0));
            }
            files[index].1 += level.tables.len() as u64;
            bytes[index].1 += level.tables.iter().map(|table| table.bytes).sum::<u64>();
        }
    }
    for (name, help, values) in [
        ("lsm_level_files", "Tables of a level.", &files),
        ("lsm_level_bytes", "Bytes of the tables of a level.", &bytes),
    ] {
        let values: Vec<(&str, u64)> =
            values.iter().map(|(level, value)| (level.as_str(), *value)).collect();
        many(text, name, "gauge", help, "level", &values);
    }
}

fn caches(text: &mut Text, metrics: &Metrics) {
    one(
        text,
        "lsm_cache_hits_total",
        "counter",
        "Blocks found in the cache.",
        metrics.cache_hits as f64,
    );
    one(
        text,
        "lsm_cache_misses_total",
        "counter",
        "Blocks not found in the cache.",
        metrics.cache_misses as f64,
    );
    many(
        text,
        "lsm_filter_checks_total",
        "counter",
        "What filters of tables said to point reads.",
        "result",
        &[
            ("negative", metrics.filter_negatives),
            ("true_positive", metrics.filter_true_positives),
            ("false_positive", metrics.filter_false_positives),
        ],
    );
}

fn resources(text: &mut Text, db: &Db, metrics: &Metrics) {
    let memory = metrics.memory;
    many(
        text,
        "lsm_memtable_bytes",
        "gauge",
        "Bytes of memtables.",
        "state",
        &[("active", memory.memtable_active), ("sealed", memory.memtable_sealed)],
    );
    many(
        text,
        "lsm_memory_bytes",
        "gauge",
        "Memory in use.",
        "part",
        &[
            ("memtables", memory.memtable_active + memory.memtable_sealed),
            ("block_cache", memory.block_cache),
            ("pinned", memory.pinned),
        ],
    );
    one(
        text,
        "lsm_memory_budget_bytes",
        "gauge",
        "Memory that the engine may use.",
        memory.budget as f64,
    );
    many(
        text,
        "lsm_disk_bytes",
        "gauge",
        "Disk in use.",
        "kind",
        &[
            ("wal", metrics.disk.wal),
            ("tables", metrics.disk.tables),
            ("manifest", metrics.disk.manifest),
        ],
    );
    one(text, "lsm_snapshots", "gauge", "Snapshots that are held.", metrics.snapshots as f64);
    one(
        text,
        "lsm_corruptions_total",
        "counter",
        "Reads that met damage on disk.",
        metrics.corruptions as f64,
    );
    let has_space = !matches!(db.health(), Health::LowSpace | Health::NoSpace);
    one(
        text,
        "lsm_no_space",
        "gauge",
        "1 if the disk is full, or up to its reserve, so that puts are refused.",
        f64::from(u8::from(!has_space)),
    );
    let is_poisoned = matches!(db.health(), Health::Poisoned(_));
    one(
        text,
        "lsm_poisoned",
        "gauge",
        "1 if the store takes no more writes.",
        f64::from(u8::from(is_poisoned)),
    );
}
