//! The arguments, as `--help` documents them.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::output::Format;
use crate::text::Bytes;

/// Reads and writes a key-value store: a directory, or a server.
///
/// Keys and values are plain text, hex:00ff, b64:AP8= or b"\x00\xff"; text that begins like one of
/// these forms, or with a dash, is written in the last one.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 corruption, 5 locked, 130 interrupted.
#[derive(Parser, Debug)]
#[command(name = "lsm", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the data is: exactly one of a directory and a server.
#[derive(ClapArgs, Debug)]
pub(crate) struct Place {
    /// The directory of the database; LSM_DB if neither this nor --url is given
    #[arg(long, global = true, value_name = "DIR", help_heading = "Source")]
    pub(crate) db: Option<PathBuf>,
    /// A server, as http://host:port; LSM_URL if neither this nor --db is given
    #[arg(long, global = true, value_name = "URL", help_heading = "Source")]
    pub(crate) url: Option<String>,
    /// A file whose one line is the server's token; LSM_TOKEN holds the token itself
    #[arg(long, global = true, value_name = "FILE", help_heading = "Source")]
    pub(crate) token_file: Option<PathBuf>,
    /// The keyspace; the one called `default` if not given
    #[arg(long, global = true, value_name = "NAME", help_heading = "Source")]
    pub(crate) keyspace: Option<String>,
}

/// What is to be done.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Print the value of a key
    Get(Get),
    /// Store a value under a key
    Put(Put),
    /// Remove keys, all of them at once
    Del(Del),
    /// Print keys and values in key order, with a tab between
    Scan(Scan),
    /// Store what a file or stdin lists, as NDJSON or CSV
    Import(Import),
    /// Print keys and values as NDJSON or CSV, in key order
    Export(Export),
    /// Print figures about the store
    Stats(Report),
    /// Draw the tree: memtables, levels and their tables
    Levels(Report),
    /// Show what is in one file of a database, whole or damaged; needs no lock
    #[command(subcommand)]
    Inspect(Inspect),
    /// Read and check every byte; name each damaged file and the place
    Verify(Report),
    /// Bring what is left of a damaged database into a new one; name every range that may be lost
    Repair(Repair),
    /// Write memtables to tables
    Flush,
    /// Merge tables into the last level, in every keyspace
    Compact(Compact),
}

/// `lsm get`
#[derive(ClapArgs, Debug)]
pub(crate) struct Get {
    /// The key
    #[arg(value_parser = Bytes::parser(), allow_negative_numbers = true)]
    pub(crate) key: Bytes,
    /// How to print; raw if stdout is no terminal, else text
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// `lsm put`
#[derive(ClapArgs, Debug)]
// What clap makes of the three values has the key behind them.
#[command(override_usage = "lsm put [OPTIONS] <KEY> <VALUE|-x|--file <FILE>>")]
pub(crate) struct Put {
    /// The key
    #[arg(value_parser = Bytes::parser(), allow_negative_numbers = true)]
    pub(crate) key: Bytes,
    #[command(flatten)]
    pub(crate) value: PutValue,
    /// Only if the key has no value
    #[arg(long, conflicts_with = "if_seq")]
    pub(crate) if_absent: bool,
    /// Only if the key was last written at this sequence
    #[arg(long, value_name = "SEQ")]
    pub(crate) if_seq: Option<u64>,
}

/// Where the value of a put comes from.
#[derive(ClapArgs, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct PutValue {
    /// The value
    #[arg(value_parser = Bytes::parser(), allow_negative_numbers = true)]
    pub(crate) value: Option<Bytes>,
    /// Take the value from stdin
    #[arg(short = 'x')]
    pub(crate) stdin: bool,
    /// Take the value from a file
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
}

/// `lsm del`
#[derive(ClapArgs, Debug)]
pub(crate) struct Del {
    /// The keys
    #[arg(
        required = true,
        value_name = "KEY",
        value_parser = Bytes::parser(),
        allow_negative_numbers = true
    )]
    pub(crate) keys: Vec<Bytes>,
    /// Only if the key has a value; exit 3 if not. For one key
    #[arg(long)]
    pub(crate) must_exist: bool,
}

/// Which keys, and in which order.
#[derive(ClapArgs, Debug)]
pub(crate) struct Range {
    /// Keys that begin with this
    #[arg(long, value_parser = Bytes::parser(), conflicts_with_all = ["start", "end"])]
    pub(crate) prefix: Option<Bytes>,
    /// The first key, itself included
    #[arg(long, value_name = "KEY", value_parser = Bytes::parser())]
    pub(crate) start: Option<Bytes>,
    /// The key at which to end, itself not included
    #[arg(long, value_name = "KEY", value_parser = Bytes::parser())]
    pub(crate) end: Option<Bytes>,
    /// At most so many keys
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    /// From the last key to the first
    #[arg(long)]
    pub(crate) reverse: bool,
}

/// `lsm scan`
#[derive(ClapArgs, Debug)]
pub(crate) struct Scan {
    #[command(flatten)]
    pub(crate) range: Range,
    /// Print the keys alone
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Print how many keys there are, and nothing else
    #[arg(long, conflicts_with_all = ["keys_only", "output"])]
    pub(crate) count: bool,
    /// How to print; raw if stdout is no terminal, else text
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// How records are written in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum RecordFormat {
    /// A JSON object a line, as a server gives and takes it
    Ndjson,
    /// Comma-separated values with a header, by RFC 4180
    Csv,
}

/// `lsm import`
#[derive(ClapArgs, Debug)]
pub(crate) struct Import {
    /// The file; stdin if not given or `-`
    pub(crate) file: Option<PathBuf>,
    /// How the records are written; what the file's ending says, else ndjson
    #[arg(long)]
    pub(crate) format: Option<RecordFormat>,
}

/// `lsm export`
#[derive(ClapArgs, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) range: Range,
    /// How the records are written
    #[arg(long, default_value = "ndjson")]
    pub(crate) format: RecordFormat,
    /// End with a line that tells how many records there were; an import checks it
    #[arg(long)]
    pub(crate) done_line: bool,
}

/// `lsm stats`, `lsm levels` and `lsm verify`
#[derive(ClapArgs, Debug)]
pub(crate) struct Report {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// `lsm repair`
#[derive(ClapArgs, Debug)]
pub(crate) struct Repair {
    /// The directory of the damaged database; nothing in it is changed
    pub(crate) source: PathBuf,
    /// The directory of the new one: empty, or not there yet
    pub(crate) target: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// `lsm inspect`
#[derive(Subcommand, Debug)]
pub(crate) enum Inspect {
    /// A segment of the write-ahead log, record by record
    Wal(InspectFile),
    /// A table: sections, properties, blocks
    Sst(InspectFile),
    /// A MANIFEST, edit by edit, and the tree that they add up to
    Manifest(InspectFile),
}

/// `lsm inspect wal` and its like
#[derive(ClapArgs, Debug)]
pub(crate) struct InspectFile {
    /// The file; with --db, its name in that directory
    pub(crate) file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// `lsm compact`
#[derive(ClapArgs, Debug)]
pub(crate) struct Compact {
    /// Only tables with this key or keys behind it
    #[arg(long, value_name = "KEY", value_parser = Bytes::parser())]
    pub(crate) start: Option<Bytes>,
    /// Only tables with keys before this one
    #[arg(long, value_name = "KEY", value_parser = Bytes::parser())]
    pub(crate) end: Option<Bytes>,
}

#[cfg(test)]
mod tests;
