//! `verify`: every byte is read and checked; each damaged file is named with the place.

use crate::args::{Place, Report};
use crate::exit::{Failure, Outcome, Status};
use crate::output::Output;
use crate::progress::Progress;
use crate::source::{self, Verified};
use crate::text;

pub(super) fn run(place: &Place, report: &Report) -> Outcome {
    let progress = Progress::of_work("verifying");
    let verified = source::verify(place, &progress)?;
    progress.clear();
    let printed = print(&verified, report);
    if verified.is_clean {
        return printed;
    }
    // Damage is told by the exit code even if nobody reads what was printed.
    let files = text::count(verified.damaged_files, "file is", "files are");
    let hint = match verified.damage.is_empty() {
        true => "the server's log says more",
        false => "restore from a copy, or `lsm repair` what is whole",
    };
    Err(Failure::new(Status::Corruption, format!("{files} damaged; {hint}")))
}

fn print(verified: &Verified, report: &Report) -> Outcome {
    let mut output = Output::new();
    if report.json {
        output.json_line(verified)?;
        return output.finish();
    }
    for damage in &verified.damage {
        output.line(damage)?;
    }
    if verified.tables_only {
        output.line("the store cannot be opened: only tables were checked, not the log")?;
    }
    let what = if verified.is_clean { "clean" } else { "whole are" };
    let tables = text::count(verified.tables, "table", "tables");
    let entries = text::count(verified.entries, "entry", "entries");
    let bytes = text::count(verified.table_bytes, "byte", "bytes");
    let records = text::count(verified.log_records, "log record", "log records");
    output.line(format_args!("{what}: {tables} with {entries} in {bytes}, {records}"))?;
    output.finish()
}
