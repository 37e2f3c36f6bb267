//! The command line: engines in turn, round by round, each in a process of its own.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;

use crate::header::{Header, Run};
use crate::machine::Machine;
use crate::report::{self, Outcome};
use crate::runner::{self, Plan};
use crate::store::{EngineFactory, Result, StoreOptions, Tuning};
use crate::turn::Turn;
use crate::workload::{Effort, Workload};

/// Measures stores.
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Engines to run, in this order and in every second round backwards; the first is compared with
    /// the others. All, if none is named.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,

    /// Workloads to run, in this order. Those that read, read what the last fill left.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "fillseq,readseq,queue,fillrandom,readrandom,readmissing,seekrandom,overwrite,\
                         readwhilewriting,ycsba,ycsbb,ycsbc,ycsbf,ycsbd,fillbatch,ycsbe,fillsync"
    )]
    workloads: Vec<Workload>,

    /// Keys in the data set.
    #[arg(long, default_value_t = 3_000_000)]
    keys: u64,

    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,

    /// Threads of each workload; the writer beside readers is one more.
    #[arg(long, default_value_t = 1)]
    threads: u32,

    /// Seconds that each workload lasts that reads, or reads and writes.
    #[arg(long, default_value_t = 3.0)]
    read_seconds: f64,

    /// Puts of the synced workload.
    #[arg(long, default_value_t = 20_000)]
    synced_writes: u64,

    /// Puts a second of the writer beside readers.
    #[arg(long, default_value_t = 100_000)]
    write_rate: u64,

    /// Bytes of a memtable.
    #[arg(long, default_value_t = 64 << 20)]
    memtable_bytes: usize,

    /// Bytes of the block cache.
    #[arg(long, default_value_t = 128 << 20)]
    cache_bytes: usize,

    /// Bits of Bloom filter per key.
    #[arg(long, default_value_t = 10)]
    bloom_bits: u32,

    /// Without compression.
    #[arg(long)]
    uncompressed: bool,

    /// Gives every engine a second turn in a round, in its own best tuning.
    #[arg(long)]
    tuned: bool,

    /// How often every engine gets its turn. By default once, and four times if there are turns to
    /// be compared.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Where the stores go.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,

    /// Writes the lines and a page with tables and charts into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,

    /// JSON lines only, no table.
    #[arg(long)]
    json: bool,

    /// Runs this engine in this process and prints JSON lines: one turn of a round.
    #[arg(long, hide = true)]
    turn: Option<String>,

    /// The tuning of that turn.
    #[arg(long, hide = true, value_enum, default_value_t)]
    tuning: Tuning,
}

/// Runs the command line with these engines.
#[must_use]
pub fn main(engines: &[EngineFactory]) -> ExitCode {
    match run(engines, &Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(engines: &[EngineFactory], arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.turn {
        return run_turn(find(engines, name)?, arguments);
    }
    let chosen = choose(engines, &arguments.engines)?;
    let turns = turns(&chosen, arguments.tuned);
    let plan = plan(arguments);
    plan.check()?;
    let count = rounds(arguments.rounds, turns.len());
    for dir in [Some(&plan.dir), arguments.report.as_ref()].into_iter().flatten() {
        // The report's too: hours later it would be too late to refuse it.
        fs::create_dir_all(dir)?;
    }
    let machine = Machine::this(&plan.dir)?;
    let header = Header { run: Run::of(&plan, &chosen, (count, arguments.tuned), machine) };
    let mut out = Printed::default();
    writeln!(out, "{}", serde_json::to_string(&header)?)?;
    let mut rounds = Vec::new();
    for round in 0..count {
        let mut outcomes = Vec::new();
        for (engine, tuning) in order(&turns, round) {
            let name = engine.name;
            say(format_args!("round {} of {}: {name}, {tuning}", round + 1, count));
            outcomes.extend(run_child(engine, tuning, &mut out)?);
        }
        rounds.push(outcomes);
    }
    if let Some(dir) = &arguments.report {
        fs::write(dir.join("results.jsonl"), &out.lines)?;
        fs::write(dir.join("report.html"), report::page(&header.run, &rounds)?)?;
    }
    if !arguments.json {
        writeln!(io::stdout(), "{}", report::table(&rounds))?;
    }
    Ok(())
}

/// What goes to stdout, and is kept for the report.
#[derive(Default)]
struct Printed {
    lines: Vec<u8>,
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = io::stdout().write(bytes)?;
        self.lines.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// How many rounds there are. Fewer than three say nothing about how much a machine differs from
/// itself.
fn rounds(asked: Option<u32>, turns: usize) -> u32 {
    let count = asked.unwrap_or(if turns == 1 { 1 } else { 4 });
    if turns != 1 && count < 3 {
        say("warning: a comparison wants three rounds or more, better four");
    }
    count
}

/// The turns of a round: each engine has one, or one with each tuning.
fn turns<'a>(engines: &[&'a EngineFactory], is_tuned: bool) -> Vec<(&'a EngineFactory, Tuning)> {
    let tunings = if is_tuned { &[Tuning::Equal, Tuning::Own][..] } else { &[Tuning::Equal] };
    let of_engine = |&engine| tunings.iter().map(move |&tuning| (engine, tuning));
    engines.iter().flat_map(of_engine).collect()
}

/// The turns in the order of a round: every second one goes backwards, so that no engine always
/// finds the machine as another has left it.
fn order<T: Copy>(turns: &[T], round: u32) -> Vec<T> {
    match round % 2 {
        0 => turns.to_vec(),
        _ => turns.iter().rev().copied().collect(),
    }
}

fn choose<'a>(engines: &'a [EngineFactory], names: &[String]) -> Result<Vec<&'a EngineFactory>> {
    if names.is_empty() {
        return Ok(engines.iter().collect());
    }
    if let Some(twice) = (1..names.len()).find(|&index| names[..index].contains(&names[index])) {
        return Err(format!("engine {:?} is named twice", names[twice]).into());
    }
    names.iter().map(|name| find(engines, name)).collect()
}

fn find<'a>(engines: &'a [EngineFactory], name: &str) -> Result<&'a EngineFactory> {
    let known = || engines.iter().map(|engine| engine.name).collect::<Vec<_>>().join(", ");
    let found = engines.iter().find(|engine| engine.name == name);
    found.ok_or_else(|| format!("no engine {name:?}; there are {}", known()).into())
}

fn plan(arguments: &Arguments) -> Plan {
    Plan {
        workloads: arguments.workloads.clone(),
        keys: arguments.keys,
        value_bytes: arguments.value_bytes,
        effort: Effort {
            threads: arguments.threads,
            read_seconds: arguments.read_seconds,
            synced_writes: arguments.synced_writes,
            write_rate: arguments.write_rate,
        },
        store: StoreOptions {
            memtable_bytes: arguments.memtable_bytes,
            cache_bytes: arguments.cache_bytes,
            bloom_bits: arguments.bloom_bits,
            is_compressed: !arguments.uncompressed,
            tuning: arguments.tuning,
        },
        dir: arguments.dir.clone(),
    }
}

fn run_turn(engine: &EngineFactory, arguments: &Arguments) -> Result<()> {
    runner::run(engine, &plan(arguments), &mut |outcome| {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(outcome)?)?;
        Ok(stdout.flush()?)
    })
}

/// Runs one engine in a process of its own. Its JSON lines are passed on.
fn run_child(engine: &EngineFactory, tuning: Tuning, out: &mut dyn Write) -> Result<Vec<Outcome>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).args(["--turn", engine.name]);
    command.args(["--tuning", &tuning.to_string()]);
    let followed = Turn::start(&mut command)?.follow(out);
    followed.map_err(|error| format!("the run of {}: {error}", engine.name).into())
}

/// One line on stderr. A run goes on where nobody reads it.
fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_engine_is_always_first() {
        let rounds: Vec<_> = (0..3).map(|round| order(&["a", "b", "c"], round)).collect();
        assert_eq!(rounds, [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]);
    }
}
