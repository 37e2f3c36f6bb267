//! `inspect sst`: the sections, properties and blocks of a table.

use std::sync::Arc;

use lsm_engine::base::fs::StdFs;
use lsm_server::wire::to_base64;
use lsm_sstable::{BlockCache, BlockInfo, Inspection, ReadMode, Table};
use serde_json::{Value, json};

use super::{Inspected, Printer};
use crate::args::InspectFile;
use crate::exit::Outcome;

pub(super) fn inspect(file: InspectFile) -> Outcome<Inspected> {
    // Whatever happens to the file meanwhile, a read gives an error where a map gives a signal.
    let mode = ReadMode::Pread;
    let table = Table::open_standalone(Arc::new(StdFs), &file.file, mode, BlockCache::new(0))?;
    let inspection = table.inspect()?;
    let damage = inspection.blocks.iter().filter(|block| block.detail.is_err()).count() as u64;
    let mut printer = Printer::new(&file);
    printer.text(&inspection);
    printer.begin(|| head(&file, &inspection), "blocks");
    for info in &inspection.blocks {
        printer.item(|| block(info));
    }
    let printed = printer.finish(|| json!({ "damaged": damage }));
    Ok(Inspected { path: file.file, damage, printed })
}

fn head(file: &InspectFile, inspection: &Inspection) -> Value {
    let properties = &inspection.properties;
    json!({
        "file": file.file.to_string_lossy(),
        "format_version": inspection.format_version,
        "id": format!("{:016x}", inspection.id),
        "bytes": inspection.len,
        "sections": inspection.sections.iter()
            .map(|section| json!({
                "kind": section.kind,
                "name": section.name,
                "is_required": section.is_required,
                "offset": section.offset,
                "bytes": section.len,
            }))
            .collect::<Value>(),
        "properties": {
            "keyspace": properties.keyspace.0,
            "keyspace_name": properties.keyspace_name,
            "entries": properties.entries,
            "tombstones": properties.tombstones,
            "raw_key_bytes": properties.raw_key_bytes,
            "raw_value_bytes": properties.raw_value_bytes,
            "min_seq": properties.min_seq.get(),
            "max_seq": properties.max_seq.get(),
            "smallest_b64": to_base64(&properties.smallest.user_key),
            "largest_b64": to_base64(&properties.largest.user_key),
            "block_size": properties.options.block_size,
            "compression": properties.options.compression.to_string(),
            "bloom_bits_per_key": properties.options.bloom_bits_per_key,
        },
        "filter": inspection.filter
            .map(|filter| json!({ "lines": filter.lines, "probes": filter.probes })),
    })
}

fn block(block: &BlockInfo) -> Value {
    let mut value = json!({
        "offset": block.offset,
        "bytes": block.len,
        "separator_b64": to_base64(&block.separator),
    });
    match &block.detail {
        Ok(detail) => {
            value["entries"] = json!(detail.entries);
            value["codec"] = json!(detail.codec.to_string());
            value["payload_bytes"] = json!(detail.payload_len);
            value["stored_bytes"] = json!(detail.stored_len);
        }
        Err(error) => value["error"] = json!(error.to_string()),
    }
    value
}
