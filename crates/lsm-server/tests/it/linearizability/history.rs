//! A history: what clients asked and were answered, in the order in which it happened.
//!
//! It is linearizable if each operation can be given a moment between its call and its answer such
//! that the keys, one operation after another, answer just so. That holds of the whole if it holds
//! of each key. An operation without an answer may take its moment at any time after its call; one
//! that takes it behind everything else is one that never happened.

use std::collections::HashMap;
use std::fmt::Write as _;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as Actions};

use super::register::{Answer, Ask, Registers};

/// A call or an answer. An operation has a number of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Called { operation: usize, key: usize, ask: Ask },
    Answered { operation: usize, answer: Answer },
}

/// Events in the order of their time.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    events: Vec<Event>,
    operations: usize,
}

impl History {
    /// A call, before anything of it is sent. Returns the number of the operation.
    pub(super) fn call(&mut self, key: usize, ask: Ask) -> usize {
        let operation = self.operations;
        self.operations += 1;
        self.events.push(Event::Called { operation, key, ask });
        operation
    }

    /// An answer, after all of it was read.
    pub(super) fn answer(&mut self, operation: usize, answer: Answer) {
        // Without one an operation stays open for ever.
        if answer != Answer::Lost {
            self.events.push(Event::Answered { operation, answer });
        }
    }

    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// How many operations have no answer.
    pub(super) fn open(&self) -> usize {
        let answers = self.events.iter().filter(|event| matches!(event, Event::Answered { .. }));
        self.operations - answers.count()
    }

    /// # Errors
    ///
    /// The events of a key that cannot have happened, up to the first answer that no order explains.
    pub(super) fn check(&self) -> Result<(), String> {
        self.by_key().iter().try_for_each(|(key, events)| {
            if is_linearizable(events) {
                return Ok(());
            }
            // What begins wrong does not end well.
            let lens: Vec<usize> = (0..=events.len()).collect();
            let sound = lens.partition_point(|&len| is_linearizable(&events[..len]));
            let mut text = format!("key {key}: no order explains the last of these answers\n");
            events[..sound].iter().for_each(|event| writeln!(text, "{event:?}").unwrap());
            Err(text)
        })
    }

    /// The history as text, an event a line.
    pub(super) fn text(&self) -> String {
        self.events.iter().map(|event| format!("{event:?}\n")).collect()
    }

    fn by_key(&self) -> Vec<(usize, Vec<Event>)> {
        let mut keys = HashMap::new();
        let mut parts: Vec<(usize, Vec<Event>)> = Vec::new();
        for event in &self.events {
            let key = match *event {
                Event::Called { operation, key, .. } => *keys.entry(operation).or_insert(key),
                Event::Answered { operation, .. } => keys[&operation],
            };
            match parts.iter_mut().find(|(known, _)| *known == key) {
                Some((_, events)) => events.push(*event),
                None => parts.push((key, vec![*event])),
            }
        }
        parts
    }
}

/// Whether an order explains all answers to these calls of one key.
fn is_linearizable(events: &[Event]) -> bool {
    let mut calls = HashMap::new();
    let mut open = Vec::new();
    let mut actions = Vec::new();
    // For the checker each operation is a process of its own.
    for event in events {
        match *event {
            Event::Called { operation, ask, .. } => {
                let process = calls.len();
                calls.insert(operation, (process, ask));
                open.push(process);
                actions.push((process, Action::Call((ask, Answer::Lost))));
            }
            Event::Answered { operation, answer } => {
                let (process, ask) = calls[&operation];
                open.retain(|&other| other != process);
                actions.push((process, Action::Response((ask, answer))));
            }
        }
    }
    let asks: HashMap<usize, Ask> = calls.into_values().collect();
    let lost = |process| (process, Action::Response((asks[&process], Answer::Lost)));
    actions.extend(open.into_iter().map(lost));
    // The checker does not take an empty one.
    actions.is_empty() || WGLChecker::<Registers>::is_linearizable(Actions::from_actions(actions))
}

#[cfg(test)]
mod tests {
    use super::super::register::Demand;
    use super::*;

    fn put(value: u64) -> Ask {
        Ask::Put(value, Demand::Nothing)
    }

    fn found(value: u64, version: u64, as_of: u64) -> Answer {
        Answer::Found { value, version, as_of }
    }

    /// A history of one key in which each operation ends before the next begins.
    fn in_turn(operations: &[(Ask, Answer)]) -> History {
        let mut history = History::default();
        for &(ask, answer) in operations {
            let operation = history.call(0, ask);
            history.answer(operation, answer);
        }
        history
    }

    fn written(seq: u64) -> Answer {
        Answer::Written { seq }
    }

    #[test]
    fn a_history_that_may_have_happened_passes() {
        let right = in_turn(&[
            (Ask::Get, Answer::Missing { as_of: 0 }),
            (put(1), written(1)),
            (Ask::Put(2, Demand::Absent), Answer::Refused { version: Some(1) }),
            (Ask::Put(3, Demand::Version(1)), written(5)),
            (Ask::Get, found(3, 5, 9)),
            (Ask::Put(4, Demand::OtherThan(5)), Answer::Refused { version: Some(5) }),
            (Ask::Delete(Demand::Exists), written(10)),
            (Ask::Delete(Demand::Exists), Answer::Refused { version: None }),
        ]);
        assert_eq!(right.check(), Ok(()));
        assert_eq!(History::default().check(), Ok(()));
    }

    #[test]
    fn a_stale_read_is_refused() {
        let stale = [(put(1), written(1)), (put(2), written(2)), (Ask::Get, found(1, 1, 2))];
        let why = in_turn(&stale).check().unwrap_err();
        assert!(why.trim_end().ends_with("as_of: 2 } }"), "the read is named last: {why}");
        // While the second write has no answer yet, either may be read.
        let mut history = in_turn(&stale[..1]);
        let open = history.call(0, put(2));
        let read = history.call(0, Ask::Get);
        history.answer(read, found(1, 1, 1));
        history.answer(open, written(2));
        assert_eq!(history.check(), Ok(()));
        // Having been read, it does not go away again.
        let mut history = in_turn(&stale[..1]);
        let open = history.call(0, put(2));
        for answer in [found(2, 2, 2), found(1, 1, 2)] {
            let read = history.call(0, Ask::Get);
            history.answer(read, answer);
        }
        history.answer(open, written(2));
        assert!(history.check().is_err());
    }

    #[test]
    fn a_lost_update_is_refused() {
        let mut history = in_turn(&[(put(1), written(1))]);
        let updates = [2, 3].map(|value| history.call(0, Ask::Put(value, Demand::Version(1))));
        history.answer(updates[0], written(2));
        history.answer(updates[1], written(3));
        assert!(history.check().is_err(), "both found version 1 and replaced it");
        let created =
            [(Ask::Put(1, Demand::Absent), written(1)), (Ask::Put(2, Demand::Absent), written(2))];
        assert!(in_turn(&created).check().is_err());
        assert!(in_turn(&[(Ask::Delete(Demand::Exists), written(1))]).check().is_err());
    }

    #[test]
    fn a_lost_acknowledged_write_is_refused() {
        let missing = Answer::Missing { as_of: 9 };
        assert!(in_turn(&[(put(1), written(1)), (Ask::Get, missing)]).check().is_err());
        let deleted = [
            (put(1), written(1)),
            (Ask::Delete(Demand::Nothing), written(2)),
            (Ask::Get, found(1, 1, 9)),
        ];
        assert!(in_turn(&deleted).check().is_err());
    }

    #[test]
    fn a_write_without_an_answer_may_have_happened_or_not() {
        let begin = [(put(1), written(1)), (put(2), Answer::Lost)];
        for (answer, is_right) in [
            (found(1, 1, 9), true),
            (found(2, 4, 9), true),
            (found(2, 1, 9), false),
            (found(3, 3, 9), false),
            (Answer::Missing { as_of: 9 }, false),
        ] {
            let history = in_turn(&[&begin[..], &[(Ask::Get, answer)]].concat());
            assert_eq!(history.check().is_ok(), is_right, "{answer:?}");
            assert_eq!((history.operations(), history.open()), (3, 1));
        }
        // It may also happen late, but once.
        let late = [(Ask::Get, found(1, 1, 1)), (Ask::Get, found(2, 4, 9)), (put(5), written(10))];
        let history = in_turn(&[&begin[..], &late].concat());
        assert_eq!(history.check(), Ok(()));
        let twice = [&begin[..], &late, &[(Ask::Get, found(2, 4, 12))]].concat();
        assert!(in_turn(&twice).check().is_err());
    }

    #[test]
    fn a_sequence_that_was_handed_out_twice_is_refused() {
        assert!(in_turn(&[(put(1), written(3)), (put(2), written(3))]).check().is_err());
        assert!(in_turn(&[(put(1), written(3)), (Ask::Get, found(1, 3, 2))]).check().is_err());
    }
}
