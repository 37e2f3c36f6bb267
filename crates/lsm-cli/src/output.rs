//! Stdout, where a reader may go away at any time, and the ways to print a key and a value.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};

use clap::ValueEnum;
use lsm_server::wire::{ItemRef, KeyForm};

use crate::exit::{Failure, Outcome};
use crate::text;

/// How keys and values are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// The bytes themselves
    Raw,
    /// Readable text; what is not readable as b"\x00"
    Text,
    /// Hexadecimal digits
    Hex,
    /// An item of JSON
    Json,
}

impl Format {
    /// What was asked for, or else what suits whoever reads stdout.
    pub(crate) fn or_default(format: Option<Format>) -> Format {
        format.unwrap_or(if io::stdout().is_terminal() { Format::Text } else { Format::Raw })
    }
}

/// Buffered stdout. What is left in the buffer is written by [`finish`](Output::finish).
pub(crate) struct Output {
    writer: BufWriter<StdoutLock<'static>>,
    line: Vec<u8>,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output { writer: BufWriter::with_capacity(64 << 10, io::stdout().lock()), line: Vec::new() }
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.writer.write_all(bytes).map_err(|error| failed(&error))
    }

    /// Prints a line of text.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> Outcome {
        writeln!(self.writer, "{text}").map_err(|error| failed(&error))
    }

    /// Prints text as it is.
    pub(crate) fn text(&mut self, text: impl std::fmt::Display) -> Outcome {
        write!(self.writer, "{text}").map_err(|error| failed(&error))
    }

    /// Prints a value of JSON, as it is serialised: none of it is kept.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> Outcome {
        // Plain data has a JSON form, so what can fail is the writing.
        serde_json::to_writer(&mut self.writer, value).map_err(|error| failed(&error.into()))
    }

    /// Prints a value of JSON on a line of its own.
    pub(crate) fn json_line(&mut self, value: &impl serde::Serialize) -> Outcome {
        self.json(value)?;
        self.bytes(b"\n")
    }

    /// Prints the value of a key: raw without a line end, every other form with one.
    pub(crate) fn value(&mut self, item: ItemRef<'_>, format: Format) -> Outcome {
        let value = item.value.unwrap_or_default();
        match format {
            Format::Raw => self.bytes(value),
            Format::Text => self.line(text::print(value)),
            Format::Hex => self.line(text::hex(value)),
            Format::Json => self.item(item),
        }
    }

    /// Prints a key and its value, if it is to be printed, on one line with a tab between.
    pub(crate) fn pair(&mut self, item: ItemRef<'_>, format: Format) -> Outcome {
        let print = match format {
            Format::Raw => {
                self.bytes(item.key)?;
                if let Some(value) = item.value {
                    self.bytes(b"\t")?;
                    self.bytes(value)?;
                }
                return self.bytes(b"\n");
            }
            Format::Json => return self.item(item),
            Format::Text => text::print,
            Format::Hex => text::hex,
        };
        match item.value {
            Some(value) => self.line(format_args!("{}\t{}", print(item.key), print(value))),
            None => self.line(print(item.key)),
        }
    }

    /// Prints an item as a line of JSON.
    pub(crate) fn item(&mut self, item: ItemRef<'_>) -> Outcome {
        self.line.clear();
        item.write(&mut self.line, KeyForm::Utf8);
        self.line.push(b'\n');
        self.writer.write_all(&self.line).map_err(|error| failed(&error))
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> Outcome {
        self.writer.flush().map_err(|error| failed(&error))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After a failure elsewhere, what was printed before it is still worth having.
        let _ = self.writer.flush();
    }
}

fn failed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::error(format!("cannot write to stdout: {error}")),
    }
}
