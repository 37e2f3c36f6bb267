//! `levels`: the tree, drawn: a row for each memtable and each level, with a bar for its bytes.
//!
//! Levels that are empty and meant to be so have no row.

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use lsm_server::wire::tree::KeyspaceTree;

use crate::args::{Place, Report};
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::source::{self, Access};

/// Length of the longest bar, in characters.
const BAR_WIDTH: u64 = 32;

pub(super) fn run(place: &Place, report: &Report) -> Outcome {
    let source = source::open(place, Access::Read)?;
    let mut tree = source.tree()?;
    if let Some(name) = &place.keyspace {
        tree.keyspaces.retain(|keyspace| keyspace.name == *name);
        if tree.keyspaces.is_empty() {
            return Err(Failure::error(format!("there is no keyspace {name:?}")));
        }
    }
    let mut output = Output::new();
    if report.json {
        output.json_line(&tree)?;
    } else {
        for (index, keyspace) in tree.keyspaces.iter().enumerate() {
            if index != 0 {
                output.line("")?;
            }
            output.line(format_args!("keyspace {}", keyspace.name))?;
            output.line(draw(keyspace).trim_fmt())?;
            for compaction in &keyspace.compactions {
                let (from, to, inputs) = (compaction.from, compaction.to, compaction.inputs);
                output.line(format_args!("compacting L{from} into L{to}: {inputs} tables"))?;
            }
        }
    }
    output.finish()?;
    source.finish()
}

fn draw(keyspace: &KeyspaceTree) -> Table {
    let table_bytes: Vec<u64> = keyspace
        .levels
        .iter()
        .map(|level| level.tables.iter().map(|table| table.bytes).sum())
        .collect();
    let in_memory = keyspace.memtables.iter().map(|memtable| memtable.bytes);
    let most = table_bytes.iter().copied().chain(in_memory).max().unwrap_or(0);
    let mut drawn = Table::new();
    drawn.load_preset(presets::NOTHING);
    drawn.set_header(["level", "tables", "entries", "bytes", "target", "score", ""]);
    for memtable in &keyspace.memtables {
        drawn.add_row([
            memtable.state.clone(),
            String::new(),
            HumanCount(memtable.entries).to_string(),
            HumanBytes(memtable.bytes).to_string(),
            String::new(),
            String::new(),
            bar(memtable.bytes, most),
        ]);
    }
    for (level, bytes) in keyspace.levels.iter().zip(table_bytes) {
        let entries = level.tables.iter().map(|table| table.entries).sum();
        let has_target = level.target_bytes != 0;
        if level.level != 0 && level.tables.is_empty() && !has_target {
            continue;
        }
        drawn.add_row([
            format!("L{}", level.level),
            level.tables.len().to_string(),
            HumanCount(entries).to_string(),
            HumanBytes(bytes).to_string(),
            if has_target { HumanBytes(level.target_bytes).to_string() } else { "-".into() },
            format!("{:.2}", level.score),
            bar(bytes, most),
        ]);
    }
    for index in 1..6 {
        let column = drawn.column_mut(index).expect("the header has seven columns");
        column.set_cell_alignment(CellAlignment::Right);
    }
    drawn
}

/// A bar whose length is to the longest as `part` is to `most`, in eighths of a character.
fn bar(part: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if part == 0 {
        return String::new();
    }
    let share = part as f64 / most.max(part) as f64;
    // Whatever is not empty can be seen.
    let eighths = ((share * (BAR_WIDTH * 8) as f64) as usize).max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_nothing_vanishes() {
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(1, 1 << 40), "▏");
        assert_eq!(bar(100, 100).chars().count() as u64, BAR_WIDTH);
        assert_eq!(bar(50, 100).chars().count() as u64, BAR_WIDTH / 2);
        assert_eq!(bar(u64::MAX, 0).chars().count() as u64, BAR_WIDTH);
    }
}
