//! `inspect wal`: a segment of the log, record by record, with the operations of each.

use lsm_engine::base::batch::BatchReader;
use lsm_engine::base::{Kind, Seq};
use lsm_server::wire::to_base64;
use lsm_wal::{FileKind, Finding, RecordInfo, RecordKind};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::record_file::{self, print_gap};
use super::{Inspected, Printer, shown};
use crate::args::InspectFile;
use crate::exit::Outcome;

pub(super) fn inspect(file: InspectFile) -> Outcome<Inspected> {
    let (inspector, mut printer) = record_file::open(&file, FileKind::Segment)?;
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
    let printed = printer.finish(|| json!({ "damaged": damage }));
    Ok(Inspected { path: file.file, damage, printed })
}

/// Prints a record. Returns whether it is damaged.
fn print_record(printer: &mut Printer, record: &RecordInfo) -> bool {
    let RecordInfo { offset, payload_len, .. } = record;
    let kind = kind_name(record.kind);
    let Some(payload) = &record.payload else {
        let detail = "the payload fails its checksum";
        printer.line(format_args!("{offset:>12}  DAMAGED  {kind}, {payload_len} bytes: {detail}"));
        printer.item(|| {
            json!({ "offset": offset, "kind": "damaged", "bytes": payload_len, "detail": detail })
        });
        return true;
    };
    let synced = record.synced;
    let ops = (record.kind == RecordKind::Data)
        .then_some(Operations { first_seq: record.first_seq, payload });
    let seq = ops.map_or(String::new(), |ops| format!(", seq {}", ops.first_seq));
    printer
        .line(format_args!("{offset:>12}  {kind:<7}  {payload_len} bytes{seq}, synced {synced}"));
    for op in ops.iter().flat_map(Operations::whole) {
        printer.line(op.line());
    }
    let flaw = ops.and_then(|ops| ops.flaw());
    if let Some(flaw) = &flaw {
        printer.line(format_args!("{:>12}  DAMAGED  {flaw}", ""));
    }
    printer.item(|| ShownRecord {
        offset: *offset,
        kind,
        bytes: *payload_len,
        synced: json!({ "segment": synced.segment, "offset": synced.offset }),
        first_seq: ops.map(|ops| ops.first_seq.get()),
        ops,
        detail: flaw.as_deref(),
    });
    flaw.is_some()
}

/// A record of the document.
#[derive(Serialize)]
struct ShownRecord<'a> {
    offset: u64,
    kind: &'static str,
    bytes: u64,
    synced: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ops: Option<Operations<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

const fn kind_name(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Data => "data",
        RecordKind::Link => "link",
        RecordKind::End => "end",
        RecordKind::Edit => "edit",
    }
}

/// The operations of a record. They are decoded anew each time, and none is kept: a record may have
/// millions of them.
#[derive(Clone, Copy)]
struct Operations<'a> {
    first_seq: Seq,
    payload: &'a [u8],
}

impl<'a> Operations<'a> {
    /// Those before the first that cannot be read.
    fn whole(&self) -> impl Iterator<Item = OpInfo<'a>> + use<'a> {
        let first_seq = self.first_seq.get();
        BatchReader::new(self.payload).map_while(Result::ok).zip(0..).map(move |(op, index)| {
            OpInfo {
                seq: first_seq.saturating_add(index),
                keyspace: op.keyspace.0,
                kind: op.kind,
                key: op.key,
                value_len: op.value.len(),
            }
        })
    }

    /// What is wrong with the first that cannot be read.
    fn flaw(&self) -> Option<String> {
        let (index, error) = BatchReader::new(self.payload)
            .enumerate()
            .find_map(|(index, op)| op.err().map(|error| (index, error)))?;
        Some(format!("operation {index}, {} bytes in: {}", error.offset, error.detail))
    }
}

impl Serialize for Operations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.whole().map(|op| op.json()))
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
