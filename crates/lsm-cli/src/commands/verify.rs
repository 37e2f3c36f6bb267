//! `verify`: every byte is read and checked; each damaged file is named with the place.

use crate::args::{Place, Report};
use crate::exit::{Failure, Outcome, Status};
use crate::output::Output;
use crate::progress::Progress;
use crate::source::{self, Verified};

pub(super) fn run(place: &Place, report: &Report) -> Outcome {
    let progress = Progress::of_work("verifying");
    let verified = source::verify(place)?;
    progress.clear();
    let mut output = Output::new();
    if report.json {
        output.json(&verified)?;
    } else {
        print(&mut output, &verified)?;
    }
    output.finish()?;
    if verified.is_clean {
        return Ok(());
    }
    let (files, are) = match verified.damaged_files {
        1 => ("1 file".to_owned(), "is"),
        count => (format!("{count} files"), "are"),
    };
    let hint = match verified.damage.is_empty() {
        true => "the server's log names them",
        false => "restore them from a copy; what else is there can still be read",
    };
    Err(Failure::new(Status::Corruption, format!("{files} {are} damaged; {hint}")))
}

fn print(output: &mut Output, verified: &Verified) -> Outcome {
    for damage in &verified.damage {
        output.line(damage)?;
    }
    let Verified { tables, table_bytes, entries, log_records, .. } = verified;
    let what = if verified.is_clean { "clean" } else { "whole are" };
    output.line(format_args!(
        "{what}: {tables} tables with {entries} entries in {table_bytes} bytes, \
         {log_records} log records"
    ))
}
