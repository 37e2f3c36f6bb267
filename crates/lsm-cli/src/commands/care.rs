//! `flush` and `compact`.

use crate::args::{Compact, Place};
use crate::exit::Outcome;
use crate::progress::Progress;
use crate::source::{self, Access};
use crate::text::Bytes;

pub(super) fn flush(place: &Place) -> Outcome {
    let source = source::open(place, Access::Change)?;
    let progress = Progress::of_work("flushing");
    source.flush(&progress)?;
    progress.clear();
    source.finish()
}

pub(super) fn compact(place: &Place, compact: &Compact) -> Outcome {
    let source = source::open(place, Access::Change)?;
    let progress = Progress::of_work("compacting");
    source.compact(bytes(compact.start.as_ref()), bytes(compact.end.as_ref()), &progress)?;
    progress.clear();
    source.finish()
}

fn bytes(key: Option<&Bytes>) -> Option<&[u8]> {
    key.map(|key| &key.0[..])
}
