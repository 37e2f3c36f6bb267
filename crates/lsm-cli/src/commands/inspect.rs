//! `inspect`: what is in one file of a database, whole or damaged.
//!
//! No lock is taken and nothing is changed. A file is judged alone: what follows a crash looks like
//! damage here, while the engine, which knows what was synced, can tell. Damage is reported in its
//! place, and the rest is shown all the same; the exit code is 4 then.

mod manifest;
mod record_file;
mod table;
mod wal;

use std::path::PathBuf;

use lsm_engine::base::fs::{Fs as _, StdFs};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Inspect, InspectFile, Place};
use crate::exit::{Failure, Outcome, Status};
use crate::output::Output;
use crate::text;

pub(super) fn run(place: &Place, inspect: Inspect) -> Outcome {
    if place.url.is_some() || place.token_file.is_some() {
        return Err(Failure::usage("a server shows no files; give the path of one"));
    }
    let inspected = match inspect {
        Inspect::Wal(file) => wal::inspect(resolve(place, file)?)?,
        Inspect::Sst(file) => table::inspect(resolve(place, file)?)?,
        Inspect::Manifest(file) => manifest::inspect(resolve(place, file)?)?,
    };
    let Inspected { path, damage, printed } = inspected;
    match damage {
        0 => printed,
        // Damage is told by the exit code even if nobody reads what was printed.
        _ => {
            let places = text::count(damage, "damaged place", "damaged places");
            let message = format!("{}: {places}; the rest is shown", path.display());
            Err(Failure::new(Status::Corruption, message))
        }
    }
}

/// What an inspection needs, and leaves.
struct Inspected {
    path: PathBuf,
    /// How many damaged places there are.
    damage: u64,
    /// Whether all of it could be printed.
    printed: Outcome,
}

fn resolve(place: &Place, file: InspectFile) -> Outcome<InspectFile> {
    let file = match &place.db {
        Some(dir) => InspectFile { file: dir.join(file.file), ..file },
        None => file,
    };
    if !StdFs.exists(&file.file)? {
        return Err(Failure::error(format!("there is no file {}", file.file.display())));
    }
    Ok(file)
}

/// A key, or what fits a line of it.
fn shown(key: &[u8]) -> String {
    const LONGEST: usize = 64;
    match key.len() <= LONGEST {
        true => text::print(key),
        false => format!("{}... ({} bytes)", text::print(&key[..LONGEST]), key.len()),
    }
}

/// Prints a document where one was asked for, and lines where not.
///
/// What cannot be printed, because nobody reads it, does not end the inspection: damage may stand
/// behind it. So the first failure waits for [`finish`](Printer::finish), and silences the rest.
///
/// A document is one object: the fields of a head, a list whose items are printed as they come, and
/// the fields of a tail. Nothing of it is kept, since a file may have millions of items.
struct Printer {
    output: Output,
    outcome: Outcome,
    wants_json: bool,
    has_items: bool,
}

impl Printer {
    fn new(file: &InspectFile) -> Printer {
        let output = Output::new();
        Printer { output, outcome: Ok(()), wants_json: file.json, has_items: false }
    }

    /// Prints a line, or several, unless JSON was asked for.
    fn line(&mut self, text: impl std::fmt::Display) {
        self.text(format_args!("{text}\n"));
    }

    /// Prints text that has its line ends, unless JSON was asked for.
    fn text(&mut self, text: impl std::fmt::Display) {
        if !self.wants_json && self.outcome.is_ok() {
            self.outcome = self.output.text(text);
        }
    }

    /// Begins the document with the fields of `head`, and a list of this name.
    fn begin(&mut self, head: impl FnOnce() -> Value, list: &str) {
        self.json(|output| {
            output.bytes(b"{")?;
            fields(output, &head())?;
            output.text(format_args!(",\"{list}\":["))
        });
    }

    /// Prints an item of the list.
    fn item<T: Serialize>(&mut self, item: impl FnOnce() -> T) {
        let has_items = std::mem::replace(&mut self.has_items, true);
        self.json(|output| {
            if has_items {
                output.bytes(b",")?;
            }
            output.json(&item())
        });
    }

    /// Ends the document with the fields of `tail`. Returns whether all was printed.
    fn finish(mut self, tail: impl FnOnce() -> Value) -> Outcome {
        self.json(|output| {
            output.bytes(b"],")?;
            fields(output, &tail())?;
            output.bytes(b"}\n")
        });
        self.outcome?;
        self.output.finish()
    }

    /// Prints a part of the document, if that was asked for.
    fn json(&mut self, print: impl FnOnce(&mut Output) -> Outcome) {
        if self.wants_json && self.outcome.is_ok() {
            self.outcome = print(&mut self.output);
        }
    }
}

/// Prints the fields of an object without the braces around them.
fn fields(output: &mut Output, object: &Value) -> Outcome {
    let object = object.to_string();
    output.bytes(&object.as_bytes()[1..object.len() - 1])
}
