//! `stats`: figures about the store.

use indicatif::{HumanBytes, HumanCount};
use lsm_server::wire::Stats;

use crate::args::{Place, Report};
use crate::exit::Outcome;
use crate::output::Output;
use crate::source::{self, Access};

pub(super) fn run(place: &Place, report: &Report) -> Outcome {
    let source = source::open(place, Access::Read)?;
    let stats = source.stats()?;
    let mut output = Output::new();
    if report.json {
        output.json_line(&stats)?;
    } else {
        print(&mut output, &stats)?;
    }
    output.finish()?;
    source.finish()
}

fn print(output: &mut Output, stats: &Stats) -> Outcome {
    let Stats { memory, disk, amplification, recovery, .. } = stats;
    let bytes = |count: u64| HumanBytes(count).to_string();
    let times = |factor: Option<f64>| factor.map_or("-".into(), |factor| format!("{factor:.2}"));
    let opened = format!(
        "{} log records replayed, {} dropped, {} orphans removed, {} ms",
        HumanCount(recovery.replayed_records),
        bytes(recovery.dropped_bytes),
        recovery.orphans_removed,
        recovery.duration_ms
    );
    let figures = [
        ("state", stats.state.clone()),
        ("sequence", HumanCount(stats.seq).to_string()),
        ("durability", stats.durability.clone()),
        ("write pressure", format!("{:.2}", stats.write_pressure)),
        ("memory budget", bytes(memory.budget)),
        ("  memtables", bytes(memory.memtables)),
        ("  block cache", bytes(memory.block_cache)),
        ("  pinned", bytes(memory.pinned)),
        ("disk", bytes(disk.wal + disk.tables + disk.manifest)),
        ("  log", bytes(disk.wal)),
        ("  tables", bytes(disk.tables)),
        ("  manifest", bytes(disk.manifest)),
        ("write amplification", times(amplification.write)),
        ("space amplification", times(amplification.space)),
        ("last open", opened),
    ];
    for (name, figure) in figures {
        output.line(format_args!("{name:<20} {figure}"))?;
    }
    for keyspace in &stats.keyspaces {
        let (entries, bytes) = (HumanCount(keyspace.entries_estimate), bytes(keyspace.bytes));
        let name = format!("keyspace {}", keyspace.name);
        output.line(format_args!("{name:<20} about {entries} entries, {bytes}"))?;
    }
    Ok(())
}
