//! `inspect wal`: a segment of the log, record by record, with the operations of each.

use lsm_engine::base::batch::BatchReader;
use lsm_engine::base::fs::StdFs;
use lsm_engine::base::{Kind, Seq};
use lsm_server::wire::to_base64;
use lsm_wal::{FileKind, Finding, Inspector, RecordInfo, RecordKind};
use serde_json::{Value, json};

use super::{Inspected, Printer, shown};
use crate::args::InspectFile;
use crate::exit::{Failure, Outcome};

pub(super) fn inspect(file: InspectFile) -> Outcome<Inspected> {
    let inspector = Inspector::open(&StdFs, &file.file)?;
    let header = *inspector.header();
    if header.kind != FileKind::Segment {
        let path = file.file.display();
        return Err(Failure::error(format!(
            "{path} is a MANIFEST: `lsm inspect manifest` shows it"
        )));
    }
    let file_len = inspector.file_len();
    let mut printer = Printer::new(&file);
    printer.line(format_args!(
        "segment {}, epoch {:016x}, {} of {} bytes",
        header.number, header.epoch, file_len, header.capacity
    ));
    let mut damage = 0;
    for finding in inspector {
        let is_damaged = match &finding? {
            Finding::Record(record) => print_record(&mut printer, record),
            Finding::Gap { offset, len, content_len, detail } => {
                print_gap(&mut printer, *offset, *len, *content_len, detail)
            }
        };
        damage += u64::from(is_damaged);
    }
    let printed = printer.finish(|records| {
        json!({
            "file": file.file.to_string_lossy(),
            "number": header.number,
            "epoch": format!("{:016x}", header.epoch),
            "capacity": header.capacity,
            "bytes": file_len,
            "records": records,
            "damaged": damage,
        })
    });
    Ok(Inspected { path: file.file, damage, printed })
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
    printer.record(|| {
        let what = if is_damaged { "damaged" } else { "unused" };
        json!({ "offset": offset, "kind": what, "bytes": len, "detail": detail })
    });
    is_damaged
}

/// Prints a record. Returns whether it is damaged.
fn print_record(printer: &mut Printer, record: &RecordInfo) -> bool {
    let RecordInfo { offset, payload_len, .. } = record;
    let kind = kind_name(record.kind);
    let Some(payload) = &record.payload else {
        let detail = "the payload fails its checksum";
        printer.line(format_args!("{offset:>12}  DAMAGED  {kind}, {payload_len} bytes: {detail}"));
        printer.record(|| {
            json!({ "offset": offset, "kind": "damaged", "bytes": payload_len, "detail": detail })
        });
        return true;
    };
    let is_data = record.kind == RecordKind::Data;
    let (ops, flaw) = if is_data { read_ops(record.first_seq, payload) } else { (vec![], None) };
    let seq = if is_data { format!(", seq {}", record.first_seq) } else { String::new() };
    let synced = record.synced;
    printer
        .line(format_args!("{offset:>12}  {kind:<7}  {payload_len} bytes{seq}, synced {synced}"));
    for op in &ops {
        printer.line(op.line());
    }
    if let Some(flaw) = &flaw {
        printer.line(format_args!("{:>12}  DAMAGED  {flaw}", ""));
    }
    printer.record(|| {
        let mut value = json!({
            "offset": offset,
            "kind": kind,
            "bytes": payload_len,
            "synced": { "segment": synced.segment, "offset": synced.offset },
        });
        if is_data {
            value["first_seq"] = json!(record.first_seq.get());
            value["ops"] = ops.iter().map(OpInfo::json).collect();
        }
        if let Some(flaw) = &flaw {
            value["detail"] = json!(flaw);
        }
        value
    });
    flaw.is_some()
}

const fn kind_name(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Data => "data",
        RecordKind::Link => "link",
        RecordKind::End => "end",
        RecordKind::Edit => "edit",
    }
}

/// An operation of a record.
struct OpInfo<'a> {
    seq: u64,
    keyspace: u32,
    kind: Kind,
    key: &'a [u8],
    value_len: usize,
}

/// The operations up to the first that cannot be read, and what is wrong with that.
fn read_ops(first_seq: Seq, payload: &[u8]) -> (Vec<OpInfo<'_>>, Option<String>) {
    let mut ops = Vec::new();
    for (index, op) in BatchReader::new(payload).enumerate() {
        match op {
            Ok(op) => ops.push(OpInfo {
                seq: first_seq.get().saturating_add(index as u64),
                keyspace: op.keyspace.0,
                kind: op.kind,
                key: op.key,
                value_len: op.value.len(),
            }),
            Err(error) => {
                let flaw =
                    format!("operation {index}, {} bytes in: {}", error.offset, error.detail);
                return (ops, Some(flaw));
            }
        }
    }
    (ops, None)
}

impl OpInfo<'_> {
    fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Put => "put",
            Kind::Delete => "delete",
        }
    }

    fn line(&self) -> String {
        let OpInfo { seq, keyspace, key, value_len, .. } = self;
        let value = match self.kind {
            Kind::Put => format!(", {value_len} bytes"),
            Kind::Delete => String::new(),
        };
        let (kind, key) = (self.kind_name(), shown(key));
        format!("{:>14}{seq}: {kind} {key}{value}, keyspace {keyspace}", "")
    }

    fn json(&self) -> Value {
        json!({
            "seq": self.seq,
            "op": self.kind_name(),
            "keyspace": self.keyspace,
            "key_b64": to_base64(self.key),
            "value_bytes": self.value_len,
        })
    }
}
