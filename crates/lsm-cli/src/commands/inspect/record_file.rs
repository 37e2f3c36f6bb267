//! What the inspections of a segment and of a MANIFEST have in common: both files have the same
//! framing, and so the same head and the same gaps.

use lsm_engine::base::fs::StdFs;
use lsm_wal::{FileKind, Inspector};
use serde_json::json;

use super::Printer;
use crate::args::InspectFile;
use crate::exit::{Failure, Outcome};

/// Opens a file that must be of this kind, and prints its head.
pub(super) fn open(file: &InspectFile, kind: FileKind) -> Outcome<(Inspector, Printer)> {
    let inspector = Inspector::open(&StdFs, &file.file)?;
    let header = *inspector.header();
    if header.kind != kind {
        let path = file.file.display();
        return Err(Failure::error(match header.kind {
            FileKind::Segment => format!("{path} is a log segment: `lsm inspect wal` shows it"),
            FileKind::Journal => format!("{path} is a MANIFEST: `lsm inspect manifest` shows it"),
        }));
    }
    let (number, epoch) = (header.number, format!("{:016x}", header.epoch));
    let (owner, file_len) = (format!("{:032x}", header.owner), inspector.file_len());
    let (name, len) = match kind {
        FileKind::Segment => ("segment", format!("{file_len} of {}", header.capacity)),
        FileKind::Journal => ("MANIFEST", file_len.to_string()),
    };
    let mut printer = Printer::new(file);
    printer.line(format_args!("{name} {number} of store {owner}, epoch {epoch}, {len} bytes"));
    let head = || {
        let file = file.file.to_string_lossy();
        let mut head = json!({ "file": file, "number": number, "db_id": owner, "epoch": epoch });
        if kind == FileKind::Segment {
            head["capacity"] = header.capacity.into();
        }
        head["bytes"] = file_len.into();
        head
    };
    printer.begin(head, "records");
    Ok((inspector, printer))
}

/// Prints a gap. Returns whether anything is in it.
pub(super) fn print_gap(
    printer: &mut Printer,
    offset: u64,
    len: u64,
    content_len: u64,
    detail: &str,
) -> bool {
    let is_damaged = content_len != 0;
    printer.line(match is_damaged {
        true => {
            format!("{offset:>12}  DAMAGED  {len} bytes, of them {content_len} in use: {detail}")
        }
        false => format!("{offset:>12}  unused   {len} bytes"),
    });
    printer.item(|| {
        let what = if is_damaged { "damaged" } else { "unused" };
        json!({ "offset": offset, "kind": what, "bytes": len, "detail": detail })
    });
    is_damaged
}
