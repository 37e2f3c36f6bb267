//! The counters that an open goes on with: file numbers, segments, sequences.
//!
//! Invariant: an open that may write finds enough of each for as long as it lasts. A store does not
//! come near their end by itself, so what says that it did is refused, by its name.

use std::path::Path;

use lsm_base::file_name::FILE_NUMBER_END;
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, FileName, Result, Seq};
use lsm_compaction::State;

use super::files::Files;
use super::{Recovery, file_number};
use crate::file_numbers::KEPT_FREE;

/// How far sequences jump after an open that was not preceded by a close: further than any writes
/// that were handed out and lost.
const UNCLEAN_JUMP: u64 = 1 << 32;

/// The last sequence that an open may begin at; a million writes a second take nine years from here
/// to the end.
const LAST_FIRST_SEQ: u64 = Seq::MAX.get() - (1 << 48);

/// The last number of a file behind which there are enough.
const LAST_NUMBER: u64 = FILE_NUMBER_END - KEPT_FREE;

impl Recovery<'_> {
    /// Refuses a directory whose files, or a MANIFEST whose records, leave too little.
    pub(super) fn check_counters(&self, files: &Files, manifest: u64, state: &State) -> Result<()> {
        let too_far = |name: FileName, what: &str| {
            Err(Error::corruption(&name.path(self.dir), 0, format!("{what}: too few are left")))
        };
        let (floor, close) = (state.log_floor, state.clean_close.unwrap_or_default());
        let segments = [floor.first_segment, floor.highest_segment, close.segment];
        if LAST_NUMBER < state.next_file_number {
            return too_far(FileName::Manifest(manifest), "file numbers come near their end");
        }
        if segments.iter().any(|segment| LAST_NUMBER < *segment) {
            return too_far(FileName::Manifest(manifest), "log segments come near their end");
        }
        next_seq(state, state.last_seq, &FileName::Manifest(manifest).path(self.dir))?;
        let stray = files.names().find(|file| {
            let number = match file {
                FileName::Log(number) => Some(*number),
                _ => file_number(*file),
            };
            number.is_some_and(|number| LAST_NUMBER < number)
        });
        match stray {
            Some(file) => too_far(file, "a number near the end"),
            None => Ok(()),
        }
    }
}

/// The first sequence that this open may hand out, after `last_seq`, of which `path` tells.
pub(super) fn next_seq(state: &State, last_seq: Seq, path: &Path) -> Result<Seq> {
    let behind_all = (last_seq.get() + 1).max(state.first_seq.get());
    let first = match state.clean_close {
        Some(_) => behind_all,
        None if plant::is_live(Plant::SequenceHandedOutTwice) => last_seq.get() + 1,
        None => behind_all + UNCLEAN_JUMP,
    };
    if LAST_FIRST_SEQ < first {
        let detail = format!("the next sequence is {first}: too few are left");
        return Err(Error::corruption(path, 0, detail));
    }
    Ok(Seq::new(first))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use lsm_base::Fs;
    use lsm_base::fs::MemFs;
    use lsm_compaction::edit::LogPosition;

    use super::*;
    use crate::Options;

    const LAST: u64 = (1 << 56) - (1 << 32);

    #[test]
    fn an_open_begins_behind_all_that_may_have_been_handed_out() {
        let closed = Some(LogPosition { segment: 1, offset: 0 });
        for (first_seq, last_seq, clean_close, expected) in [
            (1, 7, closed, 8),
            (20, 7, closed, 20),
            (1, 7, None, 8 + (1 << 32)),
            (20, 7, None, 20 + (1 << 32)),
        ] {
            let state = State { first_seq: Seq::new(first_seq), clean_close, ..State::new(1) };
            let next = next_seq(&state, Seq::new(last_seq), Path::new("MANIFEST-000001"));
            assert_eq!(next.unwrap(), Seq::new(expected));
        }
        let state = State { clean_close: closed, ..State::new(1) };
        let last_first = Seq::MAX.get() - (1 << 48);
        for (last_seq, is_sound) in
            [(last_first - 1, true), (last_first, false), (Seq::MAX.get() - 1, false)]
        {
            let next = next_seq(&state, Seq::new(last_seq), Path::new("MANIFEST-000001"));
            assert_eq!(next.is_ok(), is_sound, "{last_seq}");
        }
    }

    /// What an open says to this state, and to this file beside it.
    fn check(state: &State, beside: Option<FileName>) -> Result<()> {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let dir = Path::new("/");
        if let Some(name) = beside {
            fs.create(&name.path(dir)).unwrap();
        }
        let options = Options::default().resolve(1 << 30).unwrap();
        let recovery = Recovery { fs: &fs, dir, options: &options };
        recovery.check_counters(&Files::list(&*fs, dir)?, 1, state)
    }

    #[test]
    fn numbers_near_their_end_are_refused_wherever_they_stand() {
        let good = State::new(1);
        for number in [1, LAST, LAST + 1, (1 << 56) - 1] {
            let mut states = [(); 4].map(|()| good.clone());
            states[0].next_file_number = number;
            states[1].log_floor.first_segment = number;
            states[2].log_floor.highest_segment = number;
            states[3].clean_close = Some(LogPosition { segment: number, offset: 0 });
            for (index, state) in states.iter().enumerate() {
                assert_eq!(check(state, None).is_ok(), number <= LAST, "{number} in {index}");
            }
            for name in [FileName::Log, FileName::Table, FileName::TableTemp, FileName::Manifest] {
                let found = check(&good, Some(name(number)));
                assert_eq!(found.is_ok(), number <= LAST, "{:?}", name(number));
            }
        }
        check(&good, Some(FileName::Current)).unwrap();
        let late = State { last_seq: Seq::new(Seq::MAX.get() - 1), ..good };
        check(&late, None).unwrap_err();
    }
}
