//! `get`, `put`, `del` and `scan`.

use std::path::Path;

use lsm_server::wire::ItemRef;

use crate::args::{Del, Get, Place, Put, Scan};
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::output::{Format, Output};
use crate::source::{self, Access, PutCondition, Wanted};

pub(super) fn get(place: &Place, get: Get) -> Outcome {
    let source = source::open(place, Access::Read)?;
    let key = get.key.0;
    let Some(found) = source.get(&key)? else { return Err(Failure::not_found(&key)) };
    let item = ItemRef { key: &key, value: Some(&found.value), seq: Some(found.seq) };
    let mut output = Output::new();
    output.value(item, Format::or_default(get.output))?;
    output.finish()?;
    source.finish()
}

pub(super) fn put(place: &Place, put: Put) -> Outcome {
    let value = match (put.value.value, put.value.stdin, put.value.file) {
        (Some(value), ..) => value.0,
        (None, true, _) => files::read_value(Path::new("-"))?,
        (None, false, Some(path)) => files::read_value(&path)?,
        (None, false, None) => return Err(Failure::usage("say which value")),
    };
    let condition = match (put.if_absent, put.if_seq) {
        (true, _) => PutCondition::Absent,
        (false, Some(seq)) => PutCondition::Seq(seq),
        (false, None) => PutCondition::Always,
    };
    let source = source::open(place, Access::Create)?;
    source.put(&put.key.0, &value, condition)?;
    source.finish()
}

pub(super) fn del(place: &Place, del: Del) -> Outcome {
    let keys: Vec<Vec<u8>> = del.keys.into_iter().map(|key| key.0).collect();
    if del.must_exist && keys.len() != 1 {
        return Err(Failure::usage("--must-exist is for one key"));
    }
    let source = source::open(place, Access::Change)?;
    if !del.must_exist {
        source.delete(&keys)?;
    } else if !source.delete_existing(&keys[0])? {
        return Err(Failure::not_found(&keys[0]));
    }
    source.finish()
}

pub(super) fn scan(place: &Place, scan: Scan) -> Outcome {
    let wanted = if scan.keys_only || scan.count { Wanted::Keys } else { Wanted::KeysAndValues };
    let format = Format::or_default(scan.output);
    let range = scan.range.into();
    let source = source::open(place, Access::Read)?;
    let mut output = Output::new();
    if scan.count {
        let mut count = 0_u64;
        source.scan(&range, wanted, &mut |_| {
            count += 1;
            Ok(())
        })?;
        output.line(count)?;
    } else {
        source
            .scan(&range, wanted, &mut |item| output.pair(ItemRef { seq: None, ..item }, format))?;
    }
    output.finish()?;
    source.finish()
}
