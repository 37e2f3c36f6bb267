//! The store that is imported to: what it has of the input, and how its use ends.
//!
//! Invariant: whoever takes the source out of the target ends the program, be it the import or Ctrl-C;
//! who finds it gone waits for that. However it ends, it says how many items are stored, which are
//! always the first ones, so that the user knows where to go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::exit::{Failure, Outcome, Status};
use crate::interrupt;
use crate::source::{Pair, Source, Unfinished};

/// A store, which Ctrl-C may close between two batches.
#[derive(Clone)]
pub(super) struct Target {
    state: Arc<Mutex<State>>,
}

struct State {
    /// Gone once it was closed.
    source: Option<Box<dyn Source>>,
    written: Written,
}

/// What of the input was written.
#[derive(Clone, Copy, Default)]
struct Written {
    items: u64,
    /// Whether the batch behind them may be there too.
    may_be_more: bool,
}

impl Target {
    pub(super) fn new(source: Box<dyn Source>) -> Target {
        let state = State { source: Some(source), written: Written::default() };
        Target { state: Arc::new(Mutex::new(state)) }
    }

    /// Writes a batch. Returns how many items were written by now.
    pub(super) fn write(&self, batch: &[Pair]) -> Outcome<u64> {
        let mut state = self.lock();
        let Some(source) = &state.source else {
            drop(state);
            interrupt::leave_the_end_to_the_other()
        };
        if let Err(failure) = source.write(batch) {
            state.written.may_be_more = failure.is_undecided();
            return Err(failure);
        }
        state.written.items += batch.len() as u64;
        Ok(state.written.items)
    }

    /// Ends the use of the store, behind an import that ended so.
    pub(super) fn finish(&self, copied: Outcome) -> Outcome {
        let (closed, written) = self.close();
        let told = written.tell(&closed);
        match (copied, closed) {
            (Ok(()), Ok(())) => Ok(()),
            // What went wrong first is the cause.
            (Err(failure), _) | (Ok(()), Err(Unfinished { failure, .. })) => {
                Err(failure.and(&told))
            }
        }
    }

    /// Ends it from the thread that watches for Ctrl-C. Returns how the program ends then.
    pub(super) fn interrupt(&self) -> Failure {
        let (closed, written) = self.close();
        let told = format!("interrupted; {}", written.tell(&closed));
        match closed {
            Ok(()) => {
                Failure::new(Status::Interrupted, format!("{told}, begin again for the rest"))
            }
            // Worse than an interruption.
            Err(unfinished) => unfinished.failure.and(&told),
        }
    }

    /// Closes the store. Returns how that went, and what was written to it.
    fn close(&self) -> (Result<(), Unfinished>, Written) {
        let mut state = self.lock();
        let Some(source) = state.source.take() else {
            drop(state);
            interrupt::leave_the_end_to_the_other()
        };
        (source.close(), state.written)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    /// How many items are stored, now that the store was closed in this way.
    fn tell(self, closed: &Result<(), Unfinished>) -> String {
        let (items, are) = match self.items {
            0 if self.may_be_more => return "perhaps nothing is stored".into(),
            0 => return "nothing is stored".into(),
            1 => ("the first item".into(), "is"),
            count => (format!("the first {count} items"), "are"),
        };
        let is_safe = closed.as_ref().err().is_none_or(|unfinished| unfinished.is_safe);
        match self.may_be_more {
            _ if !is_safe => format!("perhaps not all of {items} {are} stored"),
            true => format!("at least {items} {are} stored"),
            false => format!("{items} {are} stored"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::directories;

    fn said(failure: &Failure) -> &str {
        let Failure::Said { status: Status::Error, message, .. } = failure else {
            panic!("{failure:?}");
        };
        message
    }

    #[test]
    fn an_interruption_tells_of_a_store_that_could_not_be_closed() {
        for (stopped, words) in [
            (directories::on_a_full_disk(), "free some space"),
            (directories::poisoned(), "MANIFEST"),
        ] {
            let failure = Target::new(Box::new(stopped)).interrupt();
            let message = said(&failure);
            assert!(message.contains(words), "{message}");
            assert!(message.ends_with("; interrupted; nothing is stored"), "{message}");
        }
    }

    #[test]
    fn what_is_stored_is_told_in_each_case() {
        let unfinished =
            |is_safe| Err(Unfinished { failure: Failure::error("the disk failed"), is_safe });
        for (items, may_be_more, closed, told) in [
            (0, false, Ok(()), "nothing is stored"),
            (0, true, Ok(()), "perhaps nothing is stored"),
            (1, false, Ok(()), "the first item is stored"),
            (2, false, unfinished(true), "the first 2 items are stored"),
            (2, true, Ok(()), "at least the first 2 items are stored"),
            (2, true, unfinished(false), "perhaps not all of the first 2 items are stored"),
        ] {
            assert_eq!(Written { items, may_be_more }.tell(&closed), told);
        }
    }
}
