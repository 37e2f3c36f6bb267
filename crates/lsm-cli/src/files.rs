//! The files of the user: values, tokens, imports.
//!
//! They are no part of a database and may be pipes or devices, so they do not go through the
//! engine's file system: this is the one file of the command line that calls the operating
//! system's.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lsm_engine::base::batch::MAX_VALUE_LEN;

use crate::exit::{Failure, Outcome};

/// Longest token in bytes.
const MAX_TOKEN_LEN: u64 = 4096;

/// Input that is read from beginning to end.
pub(crate) struct Input {
    /// What it is called in messages.
    pub(crate) name: String,
    /// Its length in bytes, if it is a file of a known length.
    pub(crate) len: Option<u64>,
    /// The bytes.
    pub(crate) reader: Box<dyn Read>,
}

impl Input {
    /// Opens a file; `-` is stdin.
    pub(crate) fn open(path: &Path) -> Outcome<Input> {
        if path == Path::new("-") {
            return Ok(Input { name: "stdin".into(), len: None, reader: Box::new(io::stdin()) });
        }
        let failed = |error| Failure::file("open", path, &error);
        let file = File::open(path).map_err(failed)?;
        let attributes = file.metadata().map_err(failed)?;
        if attributes.is_dir() {
            return Err(Failure::error(format!("{} is a directory", path.display())));
        }
        let len = attributes.is_file().then_some(attributes.len());
        Ok(Input { name: path.display().to_string(), len, reader: Box::new(file) })
    }
}

/// The whole of a value; `-` is stdin.
pub(crate) fn read_value(path: &Path) -> Outcome<Vec<u8>> {
    let input = Input::open(path)?;
    let mut value = Vec::new();
    let longest = MAX_VALUE_LEN as u64;
    let read = input.reader.take(longest + 1).read_to_end(&mut value);
    read.map_err(|error| Failure::file("read", Path::new(&input.name), &error))?;
    if MAX_VALUE_LEN < value.len() {
        let message = format!("{} has more than {longest} bytes, the longest value", input.name);
        return Err(Failure::error(message));
    }
    Ok(value)
}

/// The token in a file: its only line.
pub(crate) fn read_token(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| Failure::file("open", path, &error))?;
    let read = file.take(MAX_TOKEN_LEN + 2).read_to_string(&mut text);
    read.map_err(|error| Failure::file("read", path, &error))?;
    check_token(text.trim_end_matches(['\r', '\n']), &path.display().to_string())
}

/// The text, if a header can carry it as a token; `source` is where it came from.
pub(crate) fn check_token(token: &str, source: &str) -> Outcome<String> {
    let is_short = (1..=MAX_TOKEN_LEN as usize).contains(&token.len());
    if is_short && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token.to_owned());
    }
    let rule = "one line of at most 4096 printable characters without blanks";
    Err(Failure::usage(format!("{source} holds no token: {rule}")))
}
