//! `cargo xtask soak`: the randomised tests with ever new seeds, for as many hours as a night has.
//!
//! 1. The programs of the [harnesses](harness) are compiled once.
//! 2. Shards, each a harness with a seed, run one after the other, a few at once, each as a
//!    [process](child) with a time limit. The [schedule] says which is next.
//! 3. Each that is over gets a line in the [tally], from which the next soak goes on.
//!
//! After the time no shard is begun; those that run come to their end. Ctrl-C ends them, and they
//! count for nothing. The exit code is 1 if a shard of this soak did not pass.

mod child;
mod harness;
mod programs;
mod report;
mod schedule;
mod tally;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use signal_hook::consts::{SIGINT, SIGTERM};

use self::child::{Ended, Limits};
use self::harness::{HARNESSES, Harness};
use self::programs::Programs;
use self::report::Report;
use self::schedule::{Schedule, Shard};
use self::tally::{Outcome, Record, Tally};

/// How long a shard may take: many times what it does take.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Some harnesses have threads of their own, and all write to one disk.
const MOST_JOBS: usize = 4;

/// The flags of `cargo xtask soak`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// After so many hours no shard is begun
    #[arg(long, value_name = "N", value_parser = hours)]
    hours: Duration,
    /// Where the tally is, and what failed shards printed [default: soak in the target folder]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Runs this harness alone; may be given more than once
    #[arg(long, value_name = "HARNESS", value_parser = names())]
    only: Vec<String>,
    /// How many shards run at once [default: the number of processors, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
}

fn names() -> clap::builder::PossibleValuesParser {
    HARNESSES.iter().map(|harness| harness.name).into()
}

fn hours(text: &str) -> Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    let time = Duration::try_from_secs_f64(hours * 3600.0).map_err(|error| error.to_string())?;
    if time.is_zero() { Err("more than none".into()) } else { Ok(time) }
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> ExitCode {
    match soak(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("soak: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether every shard passed; or why there can be no soak.
fn soak(args: &Args) -> Result<bool, String> {
    let root = crate::workspace_root();
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let folder = args.dir.clone().unwrap_or_else(|| root.join(target).join("soak"));
    let tally = Tally::open(&folder)?;
    let is_chosen = |harness: &&Harness| {
        args.only.is_empty() || args.only.iter().any(|name| name == harness.name)
    };
    let chosen: Vec<_> = HARNESSES.iter().filter(is_chosen).collect();
    let commit = crate::git::commit(&root)?;
    let programs = programs::build(&chosen, &root)?;
    let is_interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let registered = signal_hook::flag::register(signal, Arc::clone(&is_interrupted));
        registered.map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let had = tally.records.len();
    let soak = Soak {
        root,
        folder,
        commit,
        programs,
        is_interrupted,
        deadline: Instant::now() + args.hours,
        state: Mutex::new(State {
            schedule: Schedule::new(&chosen, &tally),
            tally,
            report: Report::new(args.hours),
            failure: None,
        }),
    };
    let jobs = args.jobs.map_or_else(usual_jobs, usize::from);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| soak.work());
        }
    });
    let Soak { state, folder, .. } = soak;
    conclude(state.into_inner().expect(NO_PANIC), had, &folder)
}

/// Prints what the shards of this soak came to. Whether all of them passed.
fn conclude(mut state: State, had: usize, folder: &Path) -> Result<bool, String> {
    state.report.end();
    let records = &state.tally.records;
    print!("\n{}", report::table(&records[had..]));
    let seconds: f64 = records.iter().map(|record| record.seconds).sum();
    let (count, hours) = (records.len(), seconds / 3600.0);
    println!("soak: {count} shards in {hours:.2} hours stand in {}", folder.display());
    match state.failure {
        Some(why) => Err(why),
        None => Ok(records[had..].iter().all(|record| record.result == Outcome::Passed)),
    }
}

fn usual_jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MOST_JOBS)
}

/// A soak that runs.
struct Soak {
    root: PathBuf,
    folder: PathBuf,
    commit: String,
    programs: Programs,
    is_interrupted: Arc<AtomicBool>,
    deadline: Instant,
    state: Mutex<State>,
}

/// What the jobs share.
struct State {
    schedule: Schedule,
    tally: Tally,
    report: Report,
    /// Why the soak cannot go on.
    failure: Option<String>,
}

const NO_PANIC: &str = "no job panics";

impl Soak {
    /// Runs one shard after the other, until the time is over.
    fn work(&self) {
        while let Some(shard) = self.next() {
            if let Err(why) = self.run(&shard) {
                self.state.lock().expect(NO_PANIC).failure = Some(why);
            }
        }
    }

    fn next(&self) -> Option<Shard> {
        let mut state = self.state.lock().expect(NO_PANIC);
        let is_over = self.deadline <= Instant::now()
            || self.is_interrupted.load(Ordering::Relaxed)
            || state.failure.is_some();
        (!is_over).then(|| state.schedule.take())
    }

    fn run(&self, shard: &Shard) -> Result<(), String> {
        let (begun, begun_unix_s) = (Instant::now(), unix_time());
        let output =
            PathBuf::from("output").join(format!("{}-{}.txt", shard.harness.name, shard.seed));
        let path = self.folder.join(&output);
        let failed = |error| format!("{}: {error}", path.display());
        fs::create_dir_all(self.folder.join("output")).map_err(failed)?;
        let limits = Limits { time: LIMIT, is_interrupted: &self.is_interrupted };
        let tests = shard.harness.tests.len();
        let ended = child::run(&mut self.command(shard), tests, &path, &limits).map_err(failed)?;
        let kept = matches!(ended, Ended::Over(Outcome::Failed | Outcome::TimedOut, _));
        if !kept {
            fs::remove_file(&path).map_err(failed)?;
        }
        let Ended::Over(result, why) = ended else { return Ok(()) };
        let record = Record {
            harness: shard.harness.name.to_string(),
            seed: shard.seed,
            commit: self.commit.clone(),
            begun_unix_s,
            seconds: begun.elapsed().as_secs_f64(),
            result,
            output: kept.then_some(output),
        };
        let mut state = self.state.lock().expect(NO_PANIC);
        state.report.shard(shard, &record, why.as_deref());
        state.tally.add(record)
    }

    /// The shard's test program, as cargo would run it but for what the environment says of tests.
    fn command(&self, shard: &Shard) -> Command {
        let program = shard.harness.program;
        let mut command = Command::new(&self.programs[&program]);
        command.current_dir(self.root.join("crates").join(program.package)).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let is_ours = |name: &str| name.starts_with("LSM_") || name.starts_with("PROPTEST_");
            if name.to_str().is_some_and(is_ours) {
                command.env_remove(name);
            }
        }
        command.args(shard.harness.tests).args(harness::ARGUMENTS);
        command.envs(shard.harness.variables(shard.seed));
        command
    }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_a_positive_number() {
        assert_eq!(hours("0.1"), Ok(Duration::from_secs(360)));
        for text in ["0", "-1", "nan", "inf", "1e300", "eight"] {
            assert!(hours(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_job_is_worth_a_processor() {
        assert!((1..=MOST_JOBS).contains(&usual_jobs()));
    }
}
