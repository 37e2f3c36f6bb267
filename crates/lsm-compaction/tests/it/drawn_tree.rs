//! Trees drawn in text, for tests that read as a specification.
//!
//! ```text
//! L0  9:[c-f] 8:[a-k]                 newest first
//! L5  1:[a-c]/20M 2:[d-f]/t60         20 MiB (or /64K) instead of 10; 60 tombstones in 100
//! L6  3:[a-b]/@5-9 4:[c-e]/mark       sequences 5 to 9; waits for recompression
//! running L5->L6 1 3                  a compaction that reads tables 1 and 3
//! ```
//!
//! Without `@`, each level is newer than the one below, and each table of L0 than the next.

use std::ops::RangeInclusive;
use std::sync::Arc;

use lsm_base::{InternalKey, KeyspaceId, Kind, Seq};
use lsm_compaction::compaction::{Compaction, Reason};
use lsm_compaction::edit::{CreatedKeyspace, VersionEdit};
use lsm_compaction::table_meta::{Mark, TableMeta};
use lsm_compaction::{InProgress, KeyRange, LEVELS, Picker, PickerOptions, Tree, Version};
use lsm_sstable::Compression;

const MIB: u64 = 1 << 20;

/// What a drawing shows.
pub(crate) struct DrawnTree {
    pub(crate) tree: Arc<Tree>,
    pub(crate) running: InProgress,
    pub(crate) options: PickerOptions,
    pub(crate) oldest_snapshot: Seq,
}

impl DrawnTree {
    /// Reads a drawing.
    pub(crate) fn new(text: &str) -> DrawnTree {
        let default =
            CreatedKeyspace { id: KeyspaceId(0), name: "default".into(), unknown: Vec::new() };
        let mut edit = VersionEdit { created_keyspaces: vec![default], ..VersionEdit::default() };
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        for line in lines().filter(|line| line.starts_with('L')) {
            let mut words = line.split_whitespace();
            let level = level(words.next().unwrap());
            let tables: Vec<_> = words.collect();
            for (index, table) in tables.iter().enumerate() {
                let newer = tables.len() - 1 - index;
                edit.add_table(level, Arc::new(parse_table(table, seqs(level, newer))));
            }
        }
        let version = Version::new().apply(&edit).unwrap();
        let tree = Arc::clone(version.tree(KeyspaceId(0)).unwrap());
        let mut running = InProgress::new();
        for line in lines().filter_map(|line| line.strip_prefix("running ")) {
            running.begin(Arc::new(parse_running(line, &tree)));
        }
        DrawnTree { tree, running, options: options(), oldest_snapshot: Seq::MAX }
    }

    pub(crate) fn picker(&self) -> Picker<'_> {
        Picker {
            keyspace: KeyspaceId(0),
            tree: &self.tree,
            running: &self.running,
            options: &self.options,
            oldest_snapshot: self.oldest_snapshot,
        }
    }

    /// What is picked, and after it is begun what is picked next, and so on.
    pub(crate) fn picks(mut self) -> String {
        let mut text = String::new();
        while let Some(compaction) = self.picker().pick() {
            text.push_str(&format!("{compaction:?}\n"));
            self.running.begin(Arc::new(compaction));
        }
        text
    }

    /// The levels in use: bytes of target, fill and score.
    pub(crate) fn scores(&self) -> String {
        let base = self.picker().targets().base;
        let mut text = format!("base L{base}\n");
        for score in self.picker().scores() {
            if score.bytes != 0 || score.level == 0 || base <= score.level {
                text.push_str(&format!(
                    "L{} {} of {} MiB, fill {:.2}, score {:.2}\n",
                    score.level,
                    score.bytes / MIB,
                    score.target_bytes / MIB,
                    score.fill,
                    score.score
                ));
            }
        }
        text
    }
}

/// Tables of 10 MiB, a base level of 40 MiB.
fn options() -> PickerOptions {
    PickerOptions {
        l0_trigger: 4,
        base_bytes: 40 * MIB,
        multiplier: 10,
        table_bytes: 10 * MIB,
        ..PickerOptions::default()
    }
}

pub(crate) fn range(text: &str) -> KeyRange {
    let (smallest, largest) = text.split_once('-').unwrap();
    KeyRange::new(smallest.as_bytes(), largest.as_bytes())
}

fn level(text: &str) -> usize {
    text.strip_prefix('L').unwrap().parse().unwrap()
}

fn seqs(level: usize, newer: usize) -> RangeInclusive<u64> {
    let first = (LEVELS - level) as u64 * 1000 + newer as u64 * 10 * u64::from(level == 0);
    first..=first + 9
}

fn parse_table(text: &str, seqs: RangeInclusive<u64>) -> TableMeta {
    let mut parts = text.split('/');
    let (number, bounds) = parts.next().unwrap().split_once(":[").unwrap();
    let (smallest, largest) = bounds.strip_suffix(']').unwrap().split_once('-').unwrap();
    let mut table = TableMeta {
        number: number.parse().unwrap(),
        id: 0,
        keyspace: KeyspaceId(0),
        len: 10 * MIB,
        entries: 100,
        tombstones: 0,
        smallest: key(smallest),
        largest: key(largest),
        min_seq: Seq::new(*seqs.start()),
        max_seq: Seq::new(*seqs.end()),
        compression: Compression::None,
        mark: Mark::None,
        unknown: Vec::new(),
    };
    for attribute in parts {
        if attribute == "mark" {
            table.mark = Mark::Recompress;
        } else if let Some(tombstones) = attribute.strip_prefix('t') {
            table.tombstones = tombstones.parse().unwrap();
        } else if let Some(seqs) = attribute.strip_prefix('@') {
            let (min, max) = seqs.split_once('-').unwrap();
            table.min_seq = Seq::new(min.parse().unwrap());
            table.max_seq = Seq::new(max.parse().unwrap());
        } else {
            let unit = if attribute.ends_with('K') { 1 << 10 } else { MIB };
            let count = attribute.strip_suffix(['K', 'M']).unwrap();
            table.len = count.parse::<u64>().unwrap() * unit;
        }
    }
    table.smallest.seq = table.max_seq;
    table.largest.seq = table.min_seq;
    table
}

fn key(user_key: &str) -> InternalKey {
    InternalKey { user_key: user_key.as_bytes().into(), seq: Seq::ZERO, kind: Kind::Put }
}

fn parse_running(text: &str, tree: &Tree) -> Compaction {
    let mut words = text.split_whitespace();
    let (from, to) = words.next().unwrap().split_once("->").unwrap();
    let (from, to) = (level(from), level(to));
    let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
    let chosen = |level: usize| {
        let tables = tree.level(level).iter();
        tables.filter(|table| numbers.contains(&table.number)).cloned().collect()
    };
    Compaction {
        reason: Reason::LevelSize,
        keyspace: KeyspaceId(0),
        level: from,
        output_level: to,
        inputs: chosen(from),
        overlapped: if from == to { Vec::new() } else { chosen(to) },
        grandparents: Vec::new(),
        is_trivial_move: false,
    }
}
