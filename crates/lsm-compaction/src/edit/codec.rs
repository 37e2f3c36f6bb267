//! The bytes of a version edit.
//!
//! ```text
//! edit := item*            (see item.rs; in this order, those of one tag together)
//!
//! tag  item                payload (bincode: fixed integers, u64 length before bytes)
//!   1  header              format version u32 | db id u128 | key order str | checksum str
//!   2  log floor           first segment u64 | synced (u64, u64) | highest segment u64
//!   3  next file number    u64
//!   4  first sequence      u64
//!   5  last sequence       u64
//!   6  next keyspace id    u32
//!   7  keyspace created    id u32 | name str | options: items as bytes
//!   8  keyspace dropped    id u32 | sequence u64
//!   9  table deleted       keyspace u32 | level u8 | number u64
//!  10  table added         see `TableRecord`; attributes: items as bytes
//!  11  clean close         segment u64 | offset u64
//!  12  blob files, 13 applied mark, 14 feature bits: reserved
//!
//! attribute of a table: 1 to 7 reserved (see `TableMeta::unknown`), 8 mark: recompress (empty)
//! ```
//!
//! Invariant: the header comes first, so that a newer format is told as such whatever follows.
//! Every item that this build writes is required, but for the mark; an item that may stand once
//! stands at most once. Decoding takes memory in proportion to the bytes and no more.

use std::path::Path;
use std::sync::Arc;

use lsm_base::codec::encode_record;
use lsm_base::key::{Kind, pack_trailer, unpack_trailer};
use lsm_base::plant::{self, Plant};
use lsm_base::{InternalKey, KeyspaceId, Result, Seq};
use lsm_sstable::Compression;
use serde::{Deserialize, Serialize};

use super::{
    AddedTable, CreatedKeyspace, DeletedTable, DroppedKeyspace, FORMAT_VERSION, Header, LogFloor,
    LogPosition, VersionEdit,
};
use crate::item::{Item, ItemRef, Need, Place, put_item, read_items};
use crate::table_meta::{Mark, TableMeta};
use crate::version::LEVELS;

const HEADER: u16 = 1;
const LOG_FLOOR: u16 = 2;
const NEXT_FILE_NUMBER: u16 = 3;
const FIRST_SEQ: u16 = 4;
const LAST_SEQ: u16 = 5;
const NEXT_KEYSPACE_ID: u16 = 6;
const KEYSPACE_CREATED: u16 = 7;
const KEYSPACE_DROPPED: u16 = 8;
const TABLE_DELETED: u16 = 9;
const TABLE_ADDED: u16 = 10;
const CLEAN_CLOSE: u16 = 11;

const MARK_RECOMPRESS: u16 = 8;

#[derive(Serialize, Deserialize)]
struct HeaderRecord<'a> {
    format_version: u32,
    db_id: u128,
    key_order: &'a str,
    checksum: &'a str,
}

#[derive(Serialize, Deserialize)]
struct CreatedRecord<'a> {
    id: u32,
    name: &'a str,
    options: &'a [u8],
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct KeyRecord<'a> {
    user_key: &'a [u8],
    trailer: u64,
}

#[derive(Serialize, Deserialize)]
struct TableRecord<'a> {
    level: u8,
    keyspace: u32,
    number: u64,
    id: u64,
    len: u64,
    entries: u64,
    tombstones: u64,
    #[serde(borrow)]
    smallest: KeyRecord<'a>,
    #[serde(borrow)]
    largest: KeyRecord<'a>,
    min_seq: u64,
    max_seq: u64,
    compression: u8,
    attributes: &'a [u8],
}

pub(super) fn encode(edit: &VersionEdit) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(header) = &edit.header {
        put(&mut out, HEADER, &header_record(header));
    }
    if let Some(floor) = edit.log_floor {
        put(&mut out, LOG_FLOOR, &floor_parts(floor));
    }
    if let Some(number) = edit.next_file_number {
        put(&mut out, NEXT_FILE_NUMBER, &number);
    }
    if let Some(seq) = edit.first_seq {
        put(&mut out, FIRST_SEQ, &seq.get());
    }
    if let Some(seq) = edit.last_seq {
        put(&mut out, LAST_SEQ, &seq.get());
    }
    if let Some(id) = edit.next_keyspace_id {
        put(&mut out, NEXT_KEYSPACE_ID, &id);
    }
    for created in &edit.created_keyspaces {
        put_created(&mut out, created);
    }
    for dropped in &edit.dropped_keyspaces {
        if plant::is_live(Plant::DropNotLogged) {
            continue;
        }
        put(&mut out, KEYSPACE_DROPPED, &(dropped.id.0, dropped.seq.get()));
    }
    for deleted in &edit.deleted_tables {
        let parts = (deleted.keyspace.0, level_code(deleted.level), deleted.number);
        put(&mut out, TABLE_DELETED, &parts);
    }
    for added in &edit.added_tables {
        put_table(&mut out, added);
    }
    if let Some(position) = edit.clean_close {
        put(&mut out, CLEAN_CLOSE, &(position.segment, position.offset));
    }
    put_unknown(&mut out, &edit.unknown);
    out
}

pub(super) fn decode(payload: &[u8], path: &Path, offset: u64) -> Result<VersionEdit> {
    let mut edit = VersionEdit::default();
    for item in read_items(payload, Place { path, offset }) {
        decode_item(&mut edit, item?)?;
    }
    Ok(edit)
}

fn decode_item(edit: &mut VersionEdit, item: ItemRef<'_>) -> Result<()> {
    match item.tag {
        HEADER => set(&mut edit.header, decode_header(item)?, item),
        LOG_FLOOR => set(&mut edit.log_floor, decode_floor(item)?, item),
        NEXT_FILE_NUMBER => set(&mut edit.next_file_number, item.decode()?, item),
        FIRST_SEQ => set(&mut edit.first_seq, seq(item.decode()?, item)?, item),
        LAST_SEQ => set(&mut edit.last_seq, seq(item.decode()?, item)?, item),
        NEXT_KEYSPACE_ID => set(&mut edit.next_keyspace_id, item.decode()?, item),
        CLEAN_CLOSE => {
            let (segment, offset) = item.decode()?;
            set(&mut edit.clean_close, LogPosition { segment, offset }, item)
        }
        KEYSPACE_CREATED => {
            edit.created_keyspaces.push(decode_created(item)?);
            Ok(())
        }
        KEYSPACE_DROPPED => {
            let (id, number) = item.decode()?;
            let dropped = DroppedKeyspace { id: KeyspaceId(id), seq: seq(number, item)? };
            edit.dropped_keyspaces.push(dropped);
            Ok(())
        }
        TABLE_DELETED => {
            let (keyspace, code, number) = item.decode()?;
            let (keyspace, level) = (KeyspaceId(keyspace), level(code, item)?);
            edit.deleted_tables.push(DeletedTable { keyspace, level, number });
            Ok(())
        }
        TABLE_ADDED => {
            edit.added_tables.push(decode_table(item)?);
            Ok(())
        }
        _ => {
            edit.unknown.push(item.keep()?);
            Ok(())
        }
    }
}

fn decode_header(item: ItemRef<'_>) -> Result<Header> {
    // The version stands in front, so that a later format may change what follows it.
    let version = item.payload.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
    match version {
        Some(version) if FORMAT_VERSION < version => {
            let detail = format!("format {version}; this build knows {FORMAT_VERSION}");
            return Err(item.place.unsupported(detail));
        }
        _ => {}
    }
    let HeaderRecord { format_version, db_id, key_order, checksum } = item.decode()?;
    Ok(Header { format_version, db_id, key_order: key_order.into(), checksum: checksum.into() })
}

fn header_record(header: &Header) -> HeaderRecord<'_> {
    let Header { format_version, db_id, key_order, checksum } = header;
    HeaderRecord { format_version: *format_version, db_id: *db_id, key_order, checksum }
}

type FloorParts = (u64, (u64, u64), u64);

fn floor_parts(floor: LogFloor) -> FloorParts {
    (floor.first_segment, (floor.synced.segment, floor.synced.offset), floor.highest_segment)
}

fn decode_floor(item: ItemRef<'_>) -> Result<LogFloor> {
    let (first_segment, (segment, offset), highest_segment): FloorParts = item.decode()?;
    Ok(LogFloor { first_segment, synced: LogPosition { segment, offset }, highest_segment })
}

fn put_created(out: &mut Vec<u8>, created: &CreatedKeyspace) {
    let mut options = Vec::new();
    put_unknown(&mut options, &created.unknown);
    let record = CreatedRecord { id: created.id.0, name: &created.name, options: &options };
    put(out, KEYSPACE_CREATED, &record);
}

fn decode_created(item: ItemRef<'_>) -> Result<CreatedKeyspace> {
    let CreatedRecord { id, name, options } = item.decode()?;
    let unknown = read_items(options, item.place_of_tail(options.len()))
        .map(|option| option.and_then(|option| option.keep()))
        .collect::<Result<_>>()?;
    Ok(CreatedKeyspace { id: KeyspaceId(id), name: name.into(), unknown })
}

fn put_table(out: &mut Vec<u8>, added: &AddedTable) {
    let table = &*added.table;
    let mut attributes = Vec::new();
    match table.mark {
        Mark::None => {}
        Mark::Recompress => put_item(&mut attributes, MARK_RECOMPRESS, Need::Optional, &[]),
    }
    put_unknown(&mut attributes, &table.unknown);
    let record = TableRecord {
        level: level_code(added.level),
        keyspace: table.keyspace.0,
        number: table.number,
        id: table.id,
        len: table.len,
        entries: table.entries,
        tombstones: table.tombstones,
        smallest: key_record(&table.smallest),
        largest: key_record(&table.largest),
        min_seq: table.min_seq.get(),
        max_seq: table.max_seq.get(),
        compression: table.compression.code(),
        attributes: &attributes,
    };
    put(out, TABLE_ADDED, &record);
}

fn decode_table(item: ItemRef<'_>) -> Result<AddedTable> {
    let record: TableRecord<'_> = item.decode()?;
    let mut mark = Mark::None;
    let mut unknown = Vec::new();
    for attribute in read_items(record.attributes, item.place_of_tail(record.attributes.len())) {
        let attribute = attribute?;
        match attribute.tag {
            MARK_RECOMPRESS => mark = Mark::Recompress,
            _ => unknown.push(attribute.keep()?),
        }
    }
    let table = TableMeta {
        number: record.number,
        id: record.id,
        keyspace: KeyspaceId(record.keyspace),
        len: record.len,
        entries: record.entries,
        tombstones: record.tombstones,
        smallest: key(record.smallest, item)?,
        largest: key(record.largest, item)?,
        min_seq: seq(record.min_seq, item)?,
        max_seq: seq(record.max_seq, item)?,
        compression: compression(record.compression, item)?,
        mark,
        unknown,
    };
    Ok(AddedTable { level: level(record.level, item)?, table: Arc::new(table) })
}

fn put<T: Serialize>(out: &mut Vec<u8>, tag: u16, record: &T) {
    put_item(out, tag, Need::Required, &encode_record(record));
}

fn put_unknown(out: &mut Vec<u8>, items: &[Item]) {
    for item in items {
        put_item(out, item.tag, item.need, &item.payload);
    }
}

fn set<T>(field: &mut Option<T>, value: T, item: ItemRef<'_>) -> Result<()> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(item.place.corrupt(format!("item {} stands twice", item.tag))),
    }
}

fn seq(number: u64, item: ItemRef<'_>) -> Result<Seq> {
    Seq::try_new(number).ok_or_else(|| item.place.corrupt(format!("sequence {number}")))
}

fn level_code(level: usize) -> u8 {
    u8::try_from(level).expect("a tree has few levels")
}

fn level(code: u8, item: ItemRef<'_>) -> Result<usize> {
    let level = usize::from(code);
    if level < LEVELS { Ok(level) } else { Err(item.place.corrupt(format!("level {code}"))) }
}

fn key_record(key: &InternalKey) -> KeyRecord<'_> {
    KeyRecord { user_key: &key.user_key, trailer: pack_trailer(key.seq, key.kind) }
}

fn key(record: KeyRecord<'_>, item: ItemRef<'_>) -> Result<InternalKey> {
    match unpack_trailer(record.trailer) {
        Some((seq, kind)) => Ok(InternalKey { user_key: record.user_key.into(), seq, kind }),
        None => {
            let code = record.trailer as u8;
            let detail = format!("a key of kind {code}");
            if Kind::is_reserved(code) {
                Err(item.place.unsupported(detail))
            } else {
                Err(item.place.corrupt(detail))
            }
        }
    }
}

fn compression(code: u8, item: ItemRef<'_>) -> Result<Compression> {
    Compression::from_code(code)
        .ok_or_else(|| item.place.unsupported(format!("compression {code}")))
}
