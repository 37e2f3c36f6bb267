//! `export`: the items of a range, as of one moment, printed as they are read.

use lsm_server::wire::Line;

use crate::args::{Export, Place, RecordFormat};
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::progress::Progress;
use crate::records::RecordWriter;
use crate::source::{self, Access, Range, Source, Wanted};

/// How often the bar moves, in items.
const STEP: u64 = 256;

pub(super) fn run(place: &Place, export: Export) -> Outcome {
    if export.done_line && export.format == RecordFormat::Csv {
        return Err(Failure::usage("--done-line is for ndjson"));
    }
    let range = export.range.into();
    let source = source::open(place, Access::Read)?;
    let progress = Progress::of_items(estimate(&*source, place, &range));
    let mut output = Output::new();
    let mut writer = RecordWriter::new(export.format);
    let (mut record, mut count) = (Vec::new(), 0_u64);
    if let RecordWriter::Csv(writer) = &mut writer {
        writer.write_header(&mut record);
        output.bytes(&record)?;
    }
    source.scan(&range, Wanted::KeysAndValues, &mut |item| {
        record.clear();
        writer.write(&mut record, item);
        output.bytes(&record)?;
        count += 1;
        if count.is_multiple_of(STEP) {
            progress.set(count);
        }
        Ok(())
    })?;
    if export.done_line {
        record.clear();
        Line::write_done(&mut record, count, None);
        output.bytes(&record)?;
    }
    progress.clear();
    output.finish()?;
    source.finish()
}

/// About how many items there will be, if all of a keyspace is asked for.
fn estimate(source: &dyn Source, place: &Place, range: &Range) -> Option<u64> {
    if *range != Range::default() {
        return range.limit;
    }
    let name = place.keyspace.as_deref().unwrap_or("default");
    // An export does not fail for want of an estimate.
    let stats = source.stats().ok()?;
    stats.keyspaces.iter().find(|each| each.name == name).map(|each| each.entries_estimate)
}
