//! What a damaged log still gives, and what it says is lost.

use super::*;

/// What is lost: in which segment, from where on and how many bytes, and between which sequences.
type Lost = (u64, u64, u64, u64, Option<u64>);

/// What a damaged log still gives: sequences of records, and what is lost.
fn salvaged(fs: &MemFs, from: ReplayFrom) -> (Vec<u64>, Vec<Lost>) {
    let (found, lost) = salvaged_with_details(fs, from);
    let place = |lost: LostRecords| {
        let LostRecords { segment, offset, len, after, before, .. } = lost;
        (segment, offset, len, after.get(), before.map(Seq::get))
    };
    (found, lost.into_iter().map(place).collect())
}

fn salvaged_with_details(fs: &MemFs, from: ReplayFrom) -> (Vec<u64>, Vec<LostRecords>) {
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    salvage(fs, Path::new(DIR), from, &mut |item| {
        match item {
            Salvaged::Record(record) => found.push(record.first_seq.get()),
            Salvaged::Lost(stretch) => lost.push(stretch),
        }
        Ok(())
    })
    .unwrap();
    (found, lost)
}

#[test]
fn salvage_goes_on_behind_damage_and_says_what_is_lost_between() {
    let one = Draft::first(1).data(1).data(2).data(3);
    let two = Draft::after(&one).data(4);
    let whole = directory(&[&one, &two]);
    assert_eq!(salvaged(&whole, FROM), (vec![1, 2, 3, 4], vec![]));
    // The record of sequence 2: its header, then its payload.
    for at in [THIRD, THIRD + 32] {
        let two = Draft::after(&one).data(4);
        let one = Draft::first(1).data(1).data(2).data(3).damaged_at(at);
        let found = salvaged(&directory(&[&one, &two]), FROM);
        let lost = (1, THIRD, record_len(7), 1, Some(3));
        assert_eq!(found, (vec![1, 3, 4], vec![lost]), "at {at}");
    }
    // A segment whose header is gone, and one that is gone.
    let headless = Draft::first(1).data(1).data(2).data(3).damaged_at(30);
    let found = salvaged(&directory(&[&headless, &two]), FROM);
    assert_eq!(found, (vec![4], vec![(1, 0, CAPACITY, 0, Some(4))]));
    let found = salvaged(&directory(&[&two]), FROM);
    assert_eq!(found, (vec![4], vec![(1, 0, 0, 0, Some(4))]));
    let found = salvaged(&directory(&[&one]), ReplayFrom { highest_used: 2, ..FROM });
    assert_eq!(found, (vec![1, 2, 3], vec![(2, 0, 0, 3, None)]));
    // That it had records may be all that is known of it; that it was begun says nothing.
    for (offset, lost) in [(FIRST, vec![]), (SECOND, vec![(2, 0, 0, 3, None)])] {
        let (synced, clean_end) = (Lsn::new(2, offset), Some(Lsn::new(2, offset)));
        for from in [ReplayFrom { synced, ..FROM }, ReplayFrom { clean_end, ..FROM }] {
            assert_eq!(salvaged(&directory(&[&one]), from), (vec![1, 2, 3], lost.clone()));
        }
    }
}

#[test]
fn salvage_names_all_segments_that_are_missing() {
    let one = Draft::first(1).data(1);
    let four = Draft::linked(4, Link { segment: 3, length: 500, ..one.link() }).data(9);
    let (found, lost) = salvaged_with_details(&directory(&[&one, &four]), FROM);
    assert_eq!((found, lost.len(), lost[0].segment), (vec![1, 9], 1, 2));
    assert_eq!(lost[0].detail, "the segments up to 000003.log are missing");
    let (_, lost) = salvaged_with_details(&directory(&[]), FROM);
    assert_eq!(lost, []);
    let (_, lost) = salvaged_with_details(&directory(&[&Draft::linked(2, one.link())]), FROM);
    assert_eq!(lost[0].detail, "the segment is missing");
}

#[test]
fn salvage_takes_nothing_that_a_link_has_cut_off() {
    let one = Draft::first(1).data(1);
    let two = Draft::after(&one).data(4);
    // An append that failed, and was given up.
    let one = one.data(2);
    assert_eq!(salvaged(&directory(&[&one, &two]), FROM), (vec![1, 4], vec![]));
    // Nor do its remains count as lost.
    let one = one.damaged_at(THIRD);
    assert_eq!(salvaged(&directory(&[&one, &two]), FROM), (vec![1, 4], vec![]));
    // What is lost before them ends where they begin.
    let one = Draft::first(1).data(1).data(2);
    let two = Draft::after(&one).data(4);
    let one = one.data(3).damaged_at(THIRD).damaged_at(FOURTH);
    let lost = (1, THIRD, record_len(7), 1, Some(4));
    assert_eq!(salvaged(&directory(&[&one, &two]), FROM), (vec![1, 4], vec![lost]));
}

#[test]
fn salvage_believes_no_link_of_another_life() {
    let one = Draft::first(1).data(1);
    let foreign = Link { epoch: epoch(1) + 1, ..one.link() };
    let one = one.data(2);
    let two = Draft::linked(2, foreign).data(4);
    assert_eq!(salvaged(&directory(&[&one, &two]), FROM), (vec![1, 2, 4], vec![]));
    let beginning = Draft::linked(2, Link::BEGIN).data(4);
    assert_eq!(salvaged(&directory(&[&one, &beginning]), FROM), (vec![1, 2, 4], vec![]));
}

#[test]
fn salvage_misses_what_a_link_promises_and_reads_as_zeros() {
    let one = Draft::first(1).data(1).data(2);
    let two = Draft::after(&one).data(4);
    let one = Draft::first(1).data(1);
    let lost = (1, THIRD, record_len(7), 1, Some(4));
    assert_eq!(salvaged(&directory(&[&one, &two]), FROM), (vec![1, 4], vec![lost]));
}

#[test]
fn salvage_takes_records_in_ascending_order_alone() {
    let one = Draft::first(1).data(2).data(2).data(3);
    let lost = (1, THIRD, record_len(7), 2, Some(3));
    assert_eq!(salvaged(&directory(&[&one]), FROM), (vec![2, 3], vec![lost]));
}

#[test]
fn salvage_misses_what_was_synced_and_reads_as_zeros() {
    let one = Draft::first(1).data(1);
    let end = one.bytes.len() as u64;
    let lost = |len| (vec![1], vec![(1, end, len, 1, None)]);
    let from = ReplayFrom { synced: Lsn::new(1, end + 48), ..FROM };
    assert_eq!(salvaged(&directory(&[&one]), from), lost(48));
    let from = ReplayFrom { clean_end: Some(Lsn::new(1, end + 40)), ..FROM };
    assert_eq!(salvaged(&directory(&[&one]), from), lost(40));
    let from = ReplayFrom { synced: Lsn::new(1, end), ..FROM };
    assert_eq!(salvaged(&directory(&[&one]), from), (vec![1], vec![]));
    // In an earlier segment, whose end the link of the next does not tell.
    let two = Draft::linked(2, Link { epoch: epoch(1) + 1, ..one.link() }).data(4).data(5);
    let from = ReplayFrom { synced: Lsn::new(1, end + 48), ..FROM };
    let lost_between = vec![(1, end, 48, 1, Some(4))];
    assert_eq!(salvaged(&directory(&[&one, &two]), from), (vec![1, 4, 5], lost_between));
    // A damaged record is what is lost, and no more.
    let one = one.data(2).damaged_at(end + 32);
    let from = ReplayFrom { synced: Lsn::new(1, end + 48), ..FROM };
    assert_eq!(salvaged(&directory(&[&one]), from), lost(48));
}
