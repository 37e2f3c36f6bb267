//! `cargo xtask ci`: every check and test, with a summary of what passed.
//!
//! Needs nothing but cargo. Steps that want a tool which is not installed are named at the end,
//! loudly, and do not fail the run: who reads the summary knows what was not checked. All steps run
//! even if one fails, so that one run tells everything; `--fail-fast` stops at the first.

mod command;
mod machine;
mod report;
mod steps;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use machine::Machine;
use report::{Outcome, Result};
use steps::{Plan, STEPS, Step};

/// The flags of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Runs this step alone; may be given more than once
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    only: Vec<String>,
    /// Lists the steps and their commands, and runs none
    #[arg(long)]
    list: bool,
    /// Stops at the first step that fails
    #[arg(long)]
    fail_fast: bool,
}

fn step_names() -> clap::builder::PossibleValuesParser {
    STEPS.iter().map(|step| step.name).into()
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> ExitCode {
    let machine = Machine::of_environment(crate::workspace_root());
    let is_chosen = |step: &&Step| args.only.is_empty() || args.only.iter().any(|n| n == step.name);
    let chosen: Vec<_> = STEPS.iter().filter(is_chosen).collect();
    if args.list {
        list(&chosen, &machine);
        return ExitCode::SUCCESS;
    }
    let mut results = Vec::new();
    for step in chosen {
        let result = if args.fail_fast && !report::has_passed(&results) {
            let outcome = Outcome::NotReached;
            Result { name: step.name, outcome, time: Duration::ZERO, note: None }
        } else {
            run_step(step, &machine)
        };
        results.push(result);
    }
    let is_coloured = is_coloured(&machine);
    print(&format!("\n{}", report::summary(&results, is_coloured)));
    if report::has_passed(&results) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_coloured(machine: &Machine) -> bool {
    !machine.is_ci && std::env::var_os("NO_COLOR").is_none() && io::stdout().is_terminal()
}

fn list(steps: &[&Step], machine: &Machine) {
    for step in steps {
        let what = match (step.plan)(machine) {
            Plan::Tidy => "cargo xtask tidy".to_string(),
            Plan::Plants => "cargo xtask plants".to_string(),
            Plan::Instructions => "cargo xtask instructions".to_string(),
            Plan::Cargo(cargo) => cargo.line(),
            Plan::CannotRun(why) => format!("cannot run here: {why}"),
        };
        print(&format!("{}: {}\n    {what}\n", step.name, step.about));
    }
}

fn run_step(step: &Step, machine: &Machine) -> Result {
    let start = Instant::now();
    let (outcome, note) = match (step.plan)(machine) {
        Plan::CannotRun(why) => (Outcome::CouldNotRun, Some(why.to_string())),
        Plan::Tidy => {
            print(&format!("\n=== {}: cargo xtask tidy\n", step.name));
            (passed_if(crate::tidy::is_tidy(&machine.root)), None)
        }
        Plan::Plants => {
            print(&format!("\n=== {}: cargo xtask plants\n", step.name));
            (passed_if(crate::plants::all_are_noticed()), None)
        }
        Plan::Instructions => {
            print(&format!("\n=== {}: cargo xtask instructions\n", step.name));
            match crate::instructions::check(false, &machine.root) {
                Ok(is_kept) => (passed_if(is_kept), None),
                Err(why) => (Outcome::Failed, Some(why)),
            }
        }
        Plan::Cargo(cargo) => {
            print(&format!("\n=== {}: {}\n", step.name, cargo.line()));
            match cargo.command(machine).status() {
                Ok(status) if !status.success() => (Outcome::Failed, None),
                Ok(_) if cargo.must_find_tests && !cargo.finds_tests(machine) => {
                    (Outcome::Failed, Some("it found no test to run".to_string()))
                }
                Ok(_) => (Outcome::Passed, cargo.shortfall()),
                Err(error) => {
                    eprintln!("{}: cargo could not be started: {error}", step.name);
                    (Outcome::Failed, Some("cargo could not be started".to_string()))
                }
            }
        }
    };
    Result { name: step.name, outcome, time: start.elapsed(), note }
}

fn passed_if(is_good: bool) -> Outcome {
    if is_good { Outcome::Passed } else { Outcome::Failed }
}

/// Prints at once: a step's own output must not overtake the line that announces it.
fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    // Who closed our standard output does not want to read on; the exit code still tells.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
