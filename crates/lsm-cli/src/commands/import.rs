//! `import`: what a file or stdin lists is stored, in whole batches.
//!
//! Batches are bounded in bytes and in count, so that an input of any length takes little memory.
//! They are written ahead of the disk, which is waited for once, at the end: exit code 0 means on
//! disk. Whatever ends an import early, a bad line or Ctrl-C, what came before it is stored,
//! and to import the same input again does no harm.

use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::args::{Import, Place, RecordFormat};
use crate::exit::{Failure, Outcome, Status};
use crate::files::Input;
use crate::interrupt;
use crate::progress::Progress;
use crate::records::PairReader;
use crate::source::{self, Access, Pair, Source};
use crate::text;

/// A batch has at most so many pairs, and so many bytes of keys and values unless one pair alone has
/// more. Then it stands alone, and a source can send it in a form of its own.
const BATCH_PAIRS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

pub(super) fn run(place: &Place, import: &Import) -> Outcome {
    let path = import.file.as_deref().unwrap_or(Path::new("-"));
    let format = import.format.unwrap_or_else(|| format_of(path));
    let input = Input::open(path)?;
    let target = Target::new(source::open(place, Access::Create)?);
    let last_act = target.clone();
    interrupt::set_last_act(move || last_act.interrupt());
    let progress = Progress::of_bytes(input.len);
    let mut pairs = PairReader::new(BufReader::with_capacity(256 << 10, input.reader), format);
    let outcome = copy(&mut pairs, &target, &progress);
    progress.clear();
    let finished = target.finish();
    match (outcome, finished) {
        (Ok(()), finished) => finished.map(drop),
        (Err(failure), Ok(stored)) => {
            let items = text::count(stored, "item before it is", "items before it are");
            Err(in_input(failure, &input.name).and(&format!("{items} stored")))
        }
        // What went wrong first is the cause.
        (Err(failure), Err(_)) => Err(in_input(failure, &input.name)),
    }
}

fn format_of(path: &Path) -> RecordFormat {
    match path.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("csv") => RecordFormat::Csv,
        _ => RecordFormat::Ndjson,
    }
}

/// A failure that names a line gets the name of the input before it.
fn in_input(failure: Failure, name: &str) -> Failure {
    match failure {
        Failure::Said { status, message } if message.starts_with("line ") => {
            Failure::new(status, format!("{name}, {message}"))
        }
        other => other,
    }
}

fn copy(
    pairs: &mut PairReader<BufReader<Box<dyn std::io::Read>>>,
    target: &Target,
    progress: &Progress,
) -> Outcome {
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    loop {
        let next = pairs.next_pair();
        let is_full = match &next {
            Ok(Some(pair)) => batch.len() == BATCH_PAIRS || BATCH_BYTES < batch_bytes + pair.len(),
            // The end, good or bad: what came before it is stored.
            _ => true,
        };
        if is_full && !batch.is_empty() {
            let stored = target.write(&batch)?;
            progress.set_with_items(pairs.bytes(), stored);
            batch.clear();
            batch_bytes = 0;
        }
        let Some(pair) = next? else { return Ok(()) };
        batch_bytes += pair.len();
        batch.push(pair);
    }
}

/// The store that is imported to, which Ctrl-C may end between two batches.
///
/// Who takes the source out of it ends the program; who finds it gone waits for that.
#[derive(Clone)]
struct Target {
    state: Arc<Mutex<State>>,
}

struct State {
    /// Gone once it was finished.
    source: Option<Box<dyn Source>>,
    stored: u64,
}

impl Target {
    fn new(source: Box<dyn Source>) -> Target {
        Target { state: Arc::new(Mutex::new(State { source: Some(source), stored: 0 })) }
    }

    /// Writes a batch. Returns how many pairs are stored by now.
    fn write(&self, batch: &[Pair]) -> Outcome<u64> {
        let mut state = self.lock();
        let Some(source) = &state.source else {
            drop(state);
            interrupt::leave_the_end_to_the_other()
        };
        source.write(batch)?;
        state.stored += batch.len() as u64;
        Ok(state.stored)
    }

    /// Ends the use of the store. Returns how many pairs are stored.
    fn finish(&self) -> Outcome<u64> {
        let (finished, stored) = self.close();
        finished.map(|()| stored)
    }

    /// Ends it from the thread that watches for Ctrl-C. Returns how the program ends then.
    fn interrupt(&self) -> Failure {
        let (finished, stored) = self.close();
        match finished {
            Ok(()) => {
                let items = text::count(stored, "item is", "items are");
                let hint = "begin again for the rest";
                let message = format!("interrupted; the first {items} stored, {hint}");
                Failure::new(Status::Interrupted, message)
            }
            // Worse than an interruption: nobody knows what of it is on disk.
            Err(failure) => {
                let items = text::count(stored, "item", "items");
                failure.and(&format!("interrupted behind {items}, which may not all be stored"))
            }
        }
    }

    /// Closes the store. Returns how that went, and how many pairs were written to it.
    fn close(&self) -> (Outcome, u64) {
        let mut state = self.lock();
        let Some(source) = state.source.take() else {
            drop(state);
            interrupt::leave_the_end_to_the_other()
        };
        (source.finish(), state.stored)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::stopped_directory;

    #[test]
    fn an_interruption_tells_of_a_store_that_could_not_be_closed() {
        let failure = Target::new(Box::new(stopped_directory())).interrupt();
        let Failure::Said { status: Status::Error, message } = &failure else {
            panic!("{failure:?}");
        };
        assert!(message.contains("free some space"), "{message}");
        assert!(message.contains("interrupted behind 0 items"), "{message}");
    }
}
