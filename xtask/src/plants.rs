//! `cargo xtask plants`: every planted mistake, and the test that must notice it.
//!
//! 1. All test programs are compiled once, with the mistakes in them and none of them live.
//! 2. Each test of the [catalogue] must pass: what fails anyway notices nothing.
//! 3. Each mistake is made by a process of its own, in which its test must fail.
//!
//! A test that hangs has noticed too: every runner of tests ends it.

mod catalogue;
mod programs;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use self::catalogue::{CATALOGUE, Entry, Test};
use self::programs::{Ended, Programs};

/// How many tests run at once.
const AT_ONCE: usize = 2;

/// The flags of `cargo xtask plants`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Plants this mistake alone; may be given more than once
    #[arg(long, value_name = "NUMBER")]
    only: Vec<u16>,
}

/// What a mistake came to.
struct Harvest {
    number: u16,
    line: String,
    is_noticed: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> ExitCode {
    let is_chosen = |entry: &&Entry| args.only.is_empty() || args.only.contains(&entry.number);
    let chosen: Vec<_> = CATALOGUE.iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        eprintln!("plants: no mistake has one of these numbers");
        return ExitCode::from(2);
    }
    if is_noticed(&chosen) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether every mistake of the catalogue is noticed.
pub(crate) fn all_are_noticed() -> bool {
    is_noticed(&CATALOGUE.iter().collect::<Vec<_>>())
}

fn is_noticed(chosen: &[&Entry]) -> bool {
    let started = Instant::now();
    let tests: BTreeSet<Test> = chosen.iter().map(|entry| entry.test).collect();
    let programs = match Programs::build(&tests) {
        Ok(programs) => programs,
        Err(why) => {
            eprintln!("plants: {why}");
            return false;
        }
    };
    let tests: Vec<_> = tests.into_iter().collect();
    let sound = each(&tests, |test| passes(&programs, *test));
    if sound.contains(&false) {
        return false;
    }
    let harvest = each(chosen, |entry| reap(&programs, entry));
    let missed: Vec<_> = harvest.iter().filter(|one| !one.is_noticed).collect();
    for one in &missed {
        println!("!!! NOT NOTICED: {} {}", one.number, one.line);
    }
    let noticed = harvest.len() - missed.len();
    println!(
        "plants: {noticed} of {} noticed in {:.0} s",
        harvest.len(),
        started.elapsed().as_secs_f64()
    );
    missed.is_empty()
}

/// Whether a test passes while no mistake is live.
fn passes(programs: &Programs, test: Test) -> bool {
    let run = programs.run(test, None, Duration::from_secs(300));
    let has_passed = run.ended == Ended::Passed;
    if !has_passed {
        eprintln!("plants: {} does not pass without a mistake\n{}", test.name, run.output);
    }
    has_passed
}

fn reap(programs: &Programs, entry: &Entry) -> Harvest {
    let started = Instant::now();
    let run = programs.run(entry.test, Some(entry.number), Duration::from_secs(120));
    let how = match run.ended {
        Ended::Passed => "PASSED",
        Ended::Failed => "fails",
        Ended::Hung => "hangs",
        Ended::NotRun => "CANNOT RUN, and ends",
    };
    let line = format!(
        "{}: {} {how} after {:.1} s",
        entry.name,
        entry.test.name,
        started.elapsed().as_secs_f64()
    );
    println!("{:>4} {line}", entry.number);
    Harvest {
        number: entry.number,
        line,
        is_noticed: matches!(run.ended, Ended::Failed | Ended::Hung),
    }
}

/// Does `work` for each item, a few at once, and returns what came of each, in no order.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (left, done) = (Mutex::new(items.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no worker panics").next();
                    let Some(item) = next else { return };
                    let result = work(item);
                    done.lock().expect("no worker panics").push(result);
                }
            });
        }
    });
    done.into_inner().expect("no worker panics")
}
