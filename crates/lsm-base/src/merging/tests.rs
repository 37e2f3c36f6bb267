//! The merging cursor against one sorted vector that holds the entries of all sources.

use proptest::prelude::*;

use super::*;
use crate::cursor::{Motion, VecCursor};
use crate::key::{InternalKey, Kind};

type Entry = (InternalKey, Vec<u8>);

fn entry(user_key: &[u8], seq: u64) -> Entry {
    let kind = if seq.is_multiple_of(3) { Kind::Delete } else { Kind::Put };
    let key = InternalKey { user_key: user_key.into(), seq: Seq::new(seq), kind };
    (key, seq.to_string().into_bytes())
}

fn standing(cursor: &impl Cursor) -> Option<Entry> {
    cursor.valid().then(|| (cursor.key().to_owned(), cursor.value().to_vec()))
}

/// Deals entries to sources: the i-th with sequence i + 1.
fn deal(keys: &[(Vec<u8>, usize)], source_count: usize) -> (Vec<Vec<Entry>>, Vec<Entry>) {
    let mut sources = vec![Vec::new(); source_count];
    let mut all = Vec::new();
    for (index, (key, source)) in keys.iter().enumerate() {
        let entry = entry(key, index as u64 + 1);
        all.push(entry.clone());
        sources[source % source_count].push(entry);
    }
    (sources, all)
}

fn merged(sources: Vec<Vec<Entry>>) -> MergingCursor<VecCursor> {
    MergingCursor::new(sources.into_iter().map(VecCursor::new).collect())
}

/// Keys that often agree, that often agree in their first eight bytes, and the extreme ones whose
/// prefixes are those of "beside all".
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ab]{1,3}".prop_map(String::into_bytes),
        "samestart[ab]{0,2}".prop_map(String::into_bytes),
        (1..10_usize).prop_map(|len| vec![0xff; len]),
        (1..10_usize).prop_map(|len| vec![0; len]),
    ]
}

fn any_motion() -> impl Strategy<Value = Motion> {
    prop_oneof![
        1 => Just(Motion::First),
        1 => Just(Motion::Last),
        2 => (any_key(), 0..70_u64).prop_map(|(key, seq)| Motion::Seek(key, seq)),
        2 => (any_key(), 0..70_u64).prop_map(|(key, seq)| Motion::SeekBefore(key, seq)),
        6 => Just(Motion::Next),
        6 => Just(Motion::Prev),
    ]
}

proptest! {
    #[test]
    fn every_walk_goes_as_over_one_sorted_vector(
        keys in prop::collection::vec((any_key(), 0..64_usize), 0..60),
        source_count in 1..12_usize,
        motions in prop::collection::vec(any_motion(), 0..60),
    ) {
        let (sources, all) = deal(&keys, source_count);
        let mut cursor = merged(sources);
        let mut model = VecCursor::new(all);
        for motion in &motions {
            if motion.is_step() && !model.valid() {
                continue;
            }
            motion.apply(&mut cursor).unwrap();
            motion.apply(&mut model).unwrap();
            prop_assert_eq!(standing(&cursor), standing(&model), "after {:?}", motion);
        }
    }

    #[test]
    fn after_an_error_it_stands_on_nothing_until_a_seek(
        keys in prop::collection::vec((any_key(), 0..64_usize), 1..40),
        source_count in 1..6_usize,
        broken in 0..6_usize,
        motions_left in 0..20_usize,
        motions in prop::collection::vec(any_motion(), 1..60),
    ) {
        let (sources, all) = deal(&keys, source_count);
        let mut cursor = merged(sources);
        cursor.sources[broken % source_count].fail_after(motions_left);
        let mut model = VecCursor::new(all);
        for motion in &motions {
            if motion.is_step() && !cursor.valid() {
                continue;
            }
            if motion.apply(&mut cursor).is_err() {
                prop_assert!(!cursor.valid());
                // Whatever the failed motion left behind, a seek makes the cursor whole again.
                cursor.seek_to_last().unwrap();
                model.seek_to_last().unwrap();
            } else {
                motion.apply(&mut model).unwrap();
            }
            prop_assert_eq!(standing(&cursor), standing(&model), "after {:?}", motion);
        }
    }
}

#[test]
fn versions_of_one_key_come_newest_first_from_whichever_source() {
    let mut cursor = merged(vec![
        vec![entry(b"k", 1), entry(b"k", 7)],
        vec![entry(b"k", 4)],
        vec![entry(b"j", 9), entry(b"k", 5)],
    ]);
    cursor.seek(b"k", Seq::MAX).unwrap();
    let mut seqs = Vec::new();
    while cursor.valid() {
        seqs.push(cursor.key().seq.get());
        cursor.next().unwrap();
    }
    assert_eq!(seqs, [7, 5, 4, 1]);
    cursor.seek(b"k", Seq::new(6)).unwrap();
    assert_eq!(cursor.key().seq, Seq::new(5));
    cursor.prev().unwrap();
    assert_eq!(cursor.key().seq, Seq::new(7));
    cursor.prev().unwrap();
    assert_eq!(cursor.key().user_key, b"j");
}

#[test]
fn nothing_merged_is_nothing() {
    let mut none = merged(Vec::new());
    let mut empty = merged(vec![Vec::new(), Vec::new()]);
    for motion in [Motion::First, Motion::Last, Motion::Seek(b"a".to_vec(), 1)] {
        motion.apply(&mut none).unwrap();
        motion.apply(&mut empty).unwrap();
        assert!(!none.valid() && !empty.valid());
    }
}

#[test]
#[should_panic(expected = "stands on nothing")]
fn a_step_from_nothing_is_refused() {
    let mut cursor = merged(vec![vec![entry(b"a", 1)]]);
    cursor.seek_to_first().unwrap();
    cursor.next().unwrap();
    let _ = cursor.next();
}
