//! `inspect manifest`: edit by edit, and the tree that they add up to.

use std::path::Path;

use lsm_compaction::{Replay, State, TableMeta, VersionEdit};
use lsm_server::wire::to_base64;
use lsm_wal::{FileKind, Finding, RecordInfo};
use serde_json::{Value, json};

use super::record_file::{self, print_gap};
use super::{Inspected, Printer, shown};
use crate::args::InspectFile;
use crate::exit::Outcome;

pub(super) fn inspect(file: InspectFile) -> Outcome<Inspected> {
    let (inspector, mut printer) = record_file::open(&file, FileKind::Journal)?;
    let mut edits = Edits { replay: Some(Replay::new(&file.file)), damage: 0 };
    for finding in inspector {
        match &finding? {
            Finding::Record(record) => edits.print(&mut printer, &file.file, record),
            Finding::Gap { offset, len, content_len, detail } => {
                edits.damage +=
                    u64::from(print_gap(&mut printer, *offset, *len, *content_len, detail));
            }
        }
    }
    let Edits { replay, damage } = edits;
    let state = replay.and_then(|replay| replay.finish().ok());
    match &state {
        Some(state) => print_state(&mut printer, state),
        None => printer.line("\nwhat it adds up to cannot be told"),
    }
    let printed =
        printer.finish(|| json!({ "state": state.as_ref().map(state_json), "damaged": damage }));
    Ok(Inspected { path: file.file, damage, printed })
}

/// The edits so far.
struct Edits {
    /// Gone once an edit could not be applied: nothing behind it can be believed as a whole.
    replay: Option<Replay>,
    damage: u64,
}

impl Edits {
    fn print(&mut self, printer: &mut Printer, path: &Path, record: &RecordInfo) {
        let RecordInfo { offset, payload_len, .. } = record;
        let flaw = match self.apply(path, record) {
            Ok(edit) => {
                printer.line(format_args!("{offset:>12}  edit     {payload_len} bytes"));
                for line in edit_lines(&edit) {
                    printer.line(format_args!("{:>14}{line}", ""));
                }
                printer.item(|| {
                    json!({
                        "offset": offset,
                        "kind": "edit",
                        "bytes": payload_len,
                        "edit": edit_json(&edit),
                    })
                });
                return;
            }
            Err(flaw) => flaw,
        };
        self.damage += 1;
        self.replay = None;
        printer.line(format_args!("{offset:>12}  DAMAGED  {payload_len} bytes: {flaw}"));
        printer.item(
            || json!({ "offset": offset, "kind": "damaged", "bytes": payload_len, "detail": flaw }),
        );
    }

    /// The edit in a record, once it was applied to those before it.
    fn apply(&mut self, path: &Path, record: &RecordInfo) -> Result<VersionEdit, String> {
        let payload = record.payload.as_ref().ok_or("the payload fails its checksum")?;
        let edit = VersionEdit::decode(payload, path, record.payload_offset());
        let edit = edit.map_err(|error| error.to_string())?;
        if let Some(replay) = &mut self.replay {
            replay.record(record.payload_offset(), payload).map_err(|error| error.to_string())?;
        }
        Ok(edit)
    }
}

fn edit_lines(edit: &VersionEdit) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(header) = &edit.header {
        let (format, id) = (header.format_version, header.db_id);
        let (order, checksum) = (&header.key_order, &header.checksum);
        lines.push(format!("store {id:032x}, format {format}, keys {order}, checksum {checksum}"));
    }
    if let Some(floor) = &edit.log_floor {
        let (first, highest) = (floor.first_segment, floor.highest_segment);
        let (segment, offset) = (floor.synced.segment, floor.synced.offset);
        lines.push(match first <= highest {
            true => format!("log from segment {first} to {highest}, synced {segment}:{offset}"),
            false => format!("no log before segment {first}"),
        });
    }
    if let Some(seq) = edit.first_seq {
        lines.push(format!("this opening hands out sequences from {seq}"));
    }
    if let Some(seq) = edit.last_seq {
        lines.push(format!("no sequence up to {seq} is handed out again"));
    }
    for created in &edit.created_keyspaces {
        lines.push(format!("new keyspace {} `{}`", created.id.0, created.name));
    }
    for dropped in &edit.dropped_keyspaces {
        lines.push(format!("keyspace {} dropped at {}", dropped.id.0, dropped.seq));
    }
    for deleted in &edit.deleted_tables {
        let (keyspace, level, number) = (deleted.keyspace.0, deleted.level, deleted.number);
        lines.push(format!("- L{level} {number:06}.sst of keyspace {keyspace}"));
    }
    for added in &edit.added_tables {
        let keyspace = added.table.keyspace.0;
        lines.push(format!("+ {} of keyspace {keyspace}", table_line(added.level, &added.table)));
    }
    if let Some(place) = edit.clean_close {
        lines.push(match edit.log_floor {
            Some(floor) if floor.first_segment == place.segment => {
                format!("closed: the next log begins with segment {}", place.segment)
            }
            _ => format!("closed: the log ends at {}:{}", place.segment, place.offset),
        });
    }
    lines.extend(edit.unknown.iter().map(|item| format!("unknown item {}", item.tag)));
    lines
}

fn table_line(level: usize, table: &TableMeta) -> String {
    let (smallest, largest) = table.bounds();
    format!(
        "L{level} {:06}.sst {} to {}, {} bytes, {} entries, {} tombstones, sequences {} to {}",
        table.number,
        shown(smallest),
        shown(largest),
        table.len,
        table.entries,
        table.tombstones,
        table.min_seq,
        table.max_seq
    )
}

fn print_state(printer: &mut Printer, state: &State) {
    printer.line("\nthe tree that they add up to");
    for (id, tree) in state.version.trees() {
        printer.line(format_args!("  keyspace {} `{}`", id.0, tree.name()));
        for (level, table) in tree.tables() {
            printer.line(format_args!("    {}", table_line(level, table)));
        }
    }
}

fn edit_json(edit: &VersionEdit) -> Value {
    json!({
        "header": edit.header.as_ref().map(|header| json!({
            "db_id": format!("{:032x}", header.db_id),
            "format_version": header.format_version,
            "key_order": header.key_order,
            "checksum": header.checksum,
        })),
        "log_floor": edit.log_floor.map(|floor| json!({
            "first_segment": floor.first_segment,
            "highest_segment": floor.highest_segment,
            "synced": { "segment": floor.synced.segment, "offset": floor.synced.offset },
        })),
        "next_file_number": edit.next_file_number,
        "first_seq": edit.first_seq.map(|seq| seq.get()),
        "last_seq": edit.last_seq.map(|seq| seq.get()),
        "next_keyspace_id": edit.next_keyspace_id,
        "created_keyspaces": edit.created_keyspaces.iter()
            .map(|created| json!({ "id": created.id.0, "name": created.name }))
            .collect::<Value>(),
        "dropped_keyspaces": edit.dropped_keyspaces.iter()
            .map(|dropped| json!({ "id": dropped.id.0, "seq": dropped.seq.get() }))
            .collect::<Value>(),
        "deleted_tables": edit.deleted_tables.iter()
            .map(|table| json!({
                "keyspace": table.keyspace.0,
                "level": table.level,
                "id": table.number,
            }))
            .collect::<Value>(),
        "added_tables": edit.added_tables.iter()
            .map(|added| table_json(added.level, &added.table))
            .collect::<Value>(),
        "clean_close": edit.clean_close
            .map(|place| json!({ "segment": place.segment, "offset": place.offset })),
        "unknown_items": edit.unknown.iter().map(|item| item.tag).collect::<Value>(),
    })
}

fn table_json(level: usize, table: &TableMeta) -> Value {
    let (smallest, largest) = table.bounds();
    json!({
        "keyspace": table.keyspace.0,
        "level": level,
        "id": table.number,
        "bytes": table.len,
        "entries": table.entries,
        "tombstones": table.tombstones,
        "smallest_b64": to_base64(smallest),
        "largest_b64": to_base64(largest),
        "min_seq": table.min_seq.get(),
        "max_seq": table.max_seq.get(),
        "compression": table.compression.to_string(),
    })
}

fn state_json(state: &State) -> Value {
    let trees = state.version.trees().map(|(id, tree)| {
        let tables = tree.tables().map(|(level, table)| table_json(level, table));
        json!({ "id": id.0, "name": tree.name(), "tables": tables.collect::<Value>() })
    });
    json!({
        "db_id": format!("{:032x}", state.header.db_id),
        "next_file_number": state.next_file_number,
        "first_seq": state.first_seq.get(),
        "last_seq": state.last_seq.get(),
        "keyspaces": trees.collect::<Value>(),
    })
}
