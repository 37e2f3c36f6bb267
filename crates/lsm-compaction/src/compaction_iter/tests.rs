//! Tests of the compaction iterator against a naive model of readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::expect;
use lsm_base::InternalKey;
use lsm_base::cursor::VecCursor;
use proptest::prelude::*;

use super::*;
use crate::testing::table;
use crate::tree::Tree;

type Entry = (InternalKey, Vec<u8>);

fn entry(user_key: &str, seq: u64, kind: Kind) -> Entry {
    let key = InternalKeyRef::new(user_key.as_bytes(), Seq::new(seq), kind).to_owned();
    (key, format!("v{seq}").into_bytes())
}

/// A history in text: `k` is the key, the rest are sequences, `-` marks a tombstone.
fn history(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let key = words.next().unwrap();
        for word in words {
            let (number, kind) = match word.strip_prefix('-') {
                Some(number) => (number, Kind::Delete),
                None => (word, Kind::Put),
            };
            entries.push(entry(key, number.parse().unwrap(), kind));
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries
}

fn nothing_below() -> Elision {
    Elision::whole(&Tree::new("t"))
}

/// An elision with data deeper from `smallest` to `largest`.
fn data_below(smallest: &str, largest: &str) -> Elision {
    let below = table(1, smallest, largest, 1, 2);
    Elision::whole(&Tree::new("t").change(&[], &[(6, Arc::new(below))]).unwrap())
}

fn seqs(numbers: &[u64]) -> Vec<Seq> {
    numbers.iter().map(|number| Seq::new(*number)).collect()
}

fn run(entries: &[Entry], snapshots: &[Seq], elision: Elision) -> (Vec<Entry>, Counts) {
    let mut iter = CompactionIter::new(VecCursor::new(entries.to_vec()), snapshots, elision);
    let mut kept = Vec::new();
    while let Some((key, value)) = iter.next().unwrap() {
        kept.push((key.to_owned(), value.to_vec()));
    }
    (kept, iter.counts())
}

fn kept(text: &str, snapshots: &[u64], elision: Elision) -> String {
    let (kept, _) = run(&history(text), &seqs(snapshots), elision);
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    for (key, _) in kept {
        let sign = if key.kind == Kind::Delete { "-" } else { "" };
        let line = lines.entry(key.user_key.escape_ascii().to_string()).or_default();
        line.push_str(&format!(" {sign}{}", key.seq));
    }
    lines.into_iter().map(|(key, line)| format!("{key}{line}\n")).collect()
}

#[test]
fn the_drawing_above() {
    let text = "k 95 -80 -70 55 -41 40 22 -9";
    expect![[r#"
        k 95 -80 -70 40
    "#]]
    .assert_eq(&kept(text, &[40, 70], nothing_below()));
}

#[test]
fn without_snapshots_one_version_stays() {
    let text = "a 9 5 1\nb -8 4\nc 7 -6 3";
    expect![[r#"
        a 9
        c 7
    "#]]
    .assert_eq(&kept(text, &[9], nothing_below()));
}

#[test]
fn a_tombstone_stays_where_deeper_data_may_be() {
    let text = "a -9\nb -8 4\nc -7\nd -6";
    expect![[r#"
        b -8
        c -7
    "#]]
    .assert_eq(&kept(text, &[9], data_below("b", "c")));
}

#[test]
fn a_tombstone_stays_while_an_older_reader_needs_what_it_hides() {
    expect![[r#"
        k -8 4
    "#]]
    .assert_eq(&kept("k -8 4", &[5, 9], nothing_below()));
    expect![""].assert_eq(&kept("k -8 4", &[8, 9], nothing_below()));
}

#[test]
fn what_is_newer_than_every_reader_stays_whole() {
    expect![[r#"
        k 9 -8 7 5
    "#]]
    .assert_eq(&kept("k 9 -8 7 5 4", &[5], nothing_below()));
    expect![[r#"
        k 9 -8
    "#]]
    .assert_eq(&kept("k 9 -8", &[], nothing_below()));
}

#[test]
fn keys_that_do_not_ascend_are_corrupt() {
    for pair in [
        [entry("b", 5, Kind::Put), entry("a", 6, Kind::Put)],
        [entry("a", 5, Kind::Put), entry("a", 6, Kind::Put)],
        [entry("a", 5, Kind::Put), entry("a", 5, Kind::Delete)],
    ] {
        let snapshots = seqs(&[9]);
        let cursor = VecCursor::unsorted(pair.to_vec());
        let mut iter = CompactionIter::new(cursor, &snapshots, nothing_below());
        assert!(iter.next().unwrap().is_some());
        assert!(matches!(iter.next(), Err(Error::Corruption { .. })));
        assert!(iter.next().unwrap().is_none());
    }
}

#[test]
fn a_read_error_ends_the_iterator() {
    let entries = history("a 1\nb 2\nc 3");
    for fails_at in 0..3 {
        let snapshots = seqs(&[9]);
        let mut cursor = VecCursor::new(entries.clone());
        cursor.fail_after(fails_at);
        let mut iter = CompactionIter::new(cursor, &snapshots, nothing_below());
        for _ in 0..fails_at {
            assert!(iter.next().unwrap().is_some());
        }
        assert!(matches!(iter.next(), Err(Error::Io { .. })));
        assert!(iter.next().unwrap().is_none());
    }
}

/// What a reader at `seq` finds: the newest version that it sees, unless that is a tombstone.
fn read<'a>(entries: &'a [Entry], user_key: &[u8], seq: Seq) -> Option<&'a [u8]> {
    let versions = entries.iter().filter(|(key, _)| *key.user_key == *user_key && key.seq <= seq);
    let (key, value) = versions.max_by_key(|(key, _)| key.seq)?;
    (key.kind == Kind::Put).then_some(value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_reader_reads_the_same_before_and_after(
        writes in prop::collection::vec((0..6_u8, any::<bool>()), 1..60),
        deeper_writes in prop::collection::vec((0..6_u8, any::<bool>()), 0..8),
        mut snapshots in prop::collection::vec(0..70_u64, 0..5),
        visible in 0..70_u64,
    ) {
        // Older versions lie deeper, newer ones are merged; the tree tells where the deeper are.
        let all: Vec<_> = deeper_writes.iter().chain(&writes).enumerate().map(|(index, write)| {
            let key = char::from(b'a' + write.0).to_string();
            entry(&key, index as u64 + 1, if write.1 { Kind::Put } else { Kind::Delete })
        }).collect();
        let (deeper, merged) = all.split_at(deeper_writes.len());
        let mut merged = merged.to_vec();
        merged.sort_by(|a, b| a.0.cmp(&b.0));
        let bounds = |entries: &[Entry]| {
            let keys = || entries.iter().map(|(key, _)| String::from_utf8(key.user_key.to_vec()).unwrap());
            Some((keys().min()?, keys().max()?))
        };
        let elision = match bounds(deeper) {
            Some((smallest, largest)) => data_below(&smallest, &largest),
            None => nothing_below(),
        };
        snapshots.retain(|snapshot| *snapshot <= visible);
        snapshots.push(visible);
        snapshots.sort_unstable();
        let snapshots = seqs(&snapshots);

        let (kept, counts) = run(&merged, &snapshots, elision);
        prop_assert_eq!(counts.input, merged.len() as u64);
        prop_assert_eq!(counts.output, kept.len() as u64);
        prop_assert_eq!(counts.input, counts.output + counts.shadowed + counts.elided);
        let before = [deeper, &merged].concat();
        let after = [deeper, &kept].concat();
        let readers = snapshots.iter().copied();
        for seq in readers.chain((visible..80).map(Seq::new)) {
            for key in b'a'..=b'f' {
                prop_assert_eq!(read(&before, &[key], seq), read(&after, &[key], seq), "at {:?}", seq);
            }
        }
        // And no more is kept than one version for each reader, and what is still invisible.
        for key in b'a'..=b'f' {
            let versions = kept.iter().filter(|(k, _)| *k.user_key == [key]);
            let visible_versions = versions.filter(|(k, _)| k.seq.get() <= visible).count();
            prop_assert!(visible_versions <= snapshots.len());
        }
    }
}
