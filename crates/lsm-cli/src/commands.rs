//! The verbs: each takes its arguments, opens the store as gently as it can, and does one thing.

mod care;
mod data;
mod export;
mod import;
mod inspect;
mod levels;
mod repair;
mod stats;
mod verify;

use crate::args::{Args, Command, Place};
use crate::exit::{Failure, Outcome};

/// Does what the arguments say.
pub(crate) fn run(args: Args) -> Outcome {
    let place = args.place;
    match args.command {
        Command::Get(get) => data::get(&place, get),
        Command::Put(put) => data::put(&place, put),
        Command::Del(del) => data::del(&place, del),
        Command::Scan(scan) => data::scan(&place, scan),
        Command::Import(import) => import::run(&place, &import),
        Command::Export(export) => export::run(&place, export),
        Command::Stats(report) => {
            refuse_keyspace(&place, "stats")?;
            stats::run(&place, &report)
        }
        Command::Levels(report) => levels::run(&place, &report),
        Command::Inspect(inspect) => {
            refuse_keyspace(&place, "inspect")?;
            inspect::run(&place, inspect)
        }
        Command::Verify(report) => {
            refuse_keyspace(&place, "verify")?;
            verify::run(&place, &report)
        }
        Command::Repair(repair) => {
            refuse_keyspace(&place, "repair")?;
            repair::run(&place, &repair)
        }
        Command::Flush => {
            refuse_keyspace(&place, "flush")?;
            care::flush(&place)
        }
        Command::Compact(compact) => {
            refuse_keyspace(&place, "compact")?;
            care::compact(&place, &compact)
        }
    }
}

/// Refuses a keyspace where it would be ignored.
fn refuse_keyspace(place: &Place, verb: &str) -> Outcome {
    match place.keyspace {
        None => Ok(()),
        Some(_) => {
            let message = format!("`lsm {verb}` works on the whole store; leave --keyspace out");
            Err(Failure::usage(message))
        }
    }
}
