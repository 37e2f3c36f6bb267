//! `import`: what a file or stdin lists is stored, in whole batches.
//!
//! Batches are bounded in bytes and in count, so that an input of any length takes little memory.
//! To a directory they are written ahead of the disk, which is waited for once, at the end; a server
//! has each on disk before it answers. So exit code 0 means on disk. Whatever ends an import early, a
//! bad line, a full disk, a lost connection or Ctrl-C, it says how many items are stored, and to
//! import the same input again does no harm.

mod target;

use std::io::{BufRead, BufReader};
use std::path::Path;

use self::target::Target;
use crate::args::{Import, Place, RecordFormat};
use crate::exit::{Failure, Outcome};
use crate::files::Input;
use crate::interrupt;
use crate::progress::Progress;
use crate::records::PairReader;
use crate::source::{self, Access};

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
    let copied = copy(&mut pairs, &target, &progress);
    progress.clear();
    target.finish(copied.map_err(|failure| in_input(failure, &input.name)))
}

fn format_of(path: &Path) -> RecordFormat {
    match path.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("csv") => RecordFormat::Csv,
        _ => RecordFormat::Ndjson,
    }
}

/// A failure that names a line gets the name of the input before it.
fn in_input(failure: Failure, name: &str) -> Failure {
    failure.reworded(|message| match message.starts_with("line ") {
        true => format!("{name}, {message}"),
        false => message,
    })
}

fn copy(pairs: &mut PairReader<impl BufRead>, target: &Target, progress: &Progress) -> Outcome {
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    loop {
        let next = pairs.next_pair();
        let is_full = match &next {
            Ok(Some(pair)) => batch.len() == BATCH_PAIRS || BATCH_BYTES < batch_bytes + pair.len(),
            // The end, good or bad: what came before it is stored.
            _ => true,
        };
        if is_full && !batch.is_empty() {
            let written = target.write(&batch)?;
            progress.set_with_items(pairs.bytes(), written);
            batch.clear();
            batch_bytes = 0;
        }
        let Some(pair) = next? else { return Ok(()) };
        batch_bytes += pair.len();
        batch.push(pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Status;
    use crate::source::directories;

    /// So many items, which come to about a kilobyte each.
    fn items(count: usize) -> String {
        (0..count)
            .map(|index| format!("{{\"key\":\"{index:06}\",\"value\":\"{:01000}\"}}\n", 0))
            .collect()
    }

    #[test]
    fn a_disk_that_becomes_full_has_what_is_told_to_be_stored() {
        let (memory, target) = directories::in_memory(5 << 20);
        let target = Target::new(Box::new(target));
        let input = items(20_000);
        let mut pairs = PairReader::new(input.as_bytes(), RecordFormat::Ndjson);
        let copied = copy(&mut pairs, &target, &Progress::of_bytes(None));
        let failure = target.finish(copied).unwrap_err();
        let Failure::Said { status: Status::Error, message, .. } = failure else {
            panic!("{failure:?}");
        };
        let (_, told) = message.split_once("the first ").expect(&message);
        let told = told.strip_suffix(" items are stored").expect(&message);
        let told: usize = told.parse().unwrap();
        // Where the append of the last batch had begun, it is there or not.
        let most = if message.contains("; at least ") { told + 1_000 } else { told };
        assert!((1_000..20_000).contains(&told) && told.is_multiple_of(1_000), "{message}");
        // The power fails, and there is another disk.
        let found = directories::count_after_power_loss(&memory);
        assert!((told..=most).contains(&found), "{found}: {message}");
    }
}
