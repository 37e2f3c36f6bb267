//! `repair`: what is left of a damaged directory, in a new one; every range that may be lost is named.

use lsm_engine::{LostRange, Progress as Told, RepairReport};
use lsm_server::wire::to_base64;
use serde_json::{Value, json};

use crate::args::{Place, Repair};
use crate::exit::{Failure, Outcome, Status};
use crate::output::Output;
use crate::progress::Progress;
use crate::{source, text};

pub(super) fn run(place: &Place, repair: &Repair) -> Outcome {
    let Place { db, url, token_file, keyspace: _ } = place;
    if db.is_some() || url.is_some() || token_file.is_some() {
        let message = "`lsm repair` works on directories alone: the damaged one and the new one";
        return Err(Failure::usage(message));
    }
    source::must_exist(&repair.source)?;
    let (progress, told) = (Progress::of_work("repairing"), Told::new());
    let engine = lsm_engine::Repair::new(&repair.source, &repair.target).progress(&told);
    let report = progress.follow(&told, || engine.run())?;
    progress.clear();
    let printed = print(&report, repair);
    if report.is_lossless() {
        return printed;
    }
    // A loss is told by the exit code even if nobody reads what was printed.
    let ranges = text::count(report.lost.len() as u64, "range", "ranges");
    let target = repair.target.display();
    let message =
        format!("something may be lost in {ranges}; all other keys are in {target} as they were");
    Err(Failure::new(Status::Corruption, message))
}

fn print(report: &RepairReport, repair: &Repair) -> Outcome {
    let mut output = Output::new();
    if repair.json {
        output.json_line(&document(report))?;
        return output.finish();
    }
    for damage in &report.damage {
        output.line(damage)?;
    }
    for lost in &report.lost {
        output.line(lost)?;
    }
    if report.manifest_bytes_dropped != 0 {
        let bytes = text::count(report.manifest_bytes_dropped, "byte", "bytes");
        output.line(format_args!("the end of the MANIFEST, {bytes}, is no whole edit: dropped"))?;
    }
    for name in &report.guessed_names {
        output.line(format_args!("nothing says what a keyspace was called: it is {name} now"))?;
    }
    let keys = text::count(report.entries, "key", "keys");
    let tables = text::count(report.tables_read, "table", "tables");
    let records = text::count(report.log_records, "log record", "log records");
    output.line(format_args!("repaired: {keys}, from {tables} and {records}"))?;
    output.finish()
}

fn document(report: &RepairReport) -> Value {
    json!({
        "is_lossless": report.is_lossless(),
        "entries": report.entries,
        "tables_read": report.tables_read,
        "tables_damaged": report.tables_damaged,
        "tables_skipped": report.tables_skipped,
        "log_records": report.log_records,
        "log_bytes_lost": report.log_bytes_lost,
        "log_bytes_dropped": report.log_bytes_dropped,
        "manifest_bytes_dropped": report.manifest_bytes_dropped,
        "guessed_names": report.guessed_names,
        "damage": report.damage,
        "lost": report.lost.iter().map(range).collect::<Value>(),
    })
}

fn range(lost: &LostRange) -> Value {
    json!({
        "file": lost.file.to_string_lossy(),
        "offset": lost.offset,
        "bytes": lost.len,
        "keyspace": lost.keyspace,
        "first_key_b64": lost.first_key.as_deref().map(to_base64),
        "last_key_b64": lost.last_key.as_deref().map(to_base64),
        "after_seq": lost.after_seq.map(lsm_engine::Seq::get),
        "before_seq": lost.before_seq.map(lsm_engine::Seq::get),
        "detail": lost.detail,
    })
}
