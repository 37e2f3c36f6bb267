//! `get`, `put`, `del` and `scan`.

use std::path::Path;

use lsm_engine::Seq;
use lsm_engine::base::batch::check_key;
use lsm_server::wire::ItemRef;

use crate::args::{Del, Get, Place, Put, Scan};
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::output::{Format, Output};
use crate::source::{self, Access, PutCondition, Wanted};
use crate::text::Bytes;

/// A key, if a store can have it. Else it is refused here, before a store is asked or begun.
fn valid(key: Bytes) -> Outcome<Vec<u8>> {
    match check_key(&key.0) {
        Ok(()) => Ok(key.0),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}

pub(super) fn get(place: &Place, get: Get) -> Outcome {
    let key = valid(get.key)?;
    let source = source::open(place, Access::Read)?;
    let Some(found) = source.get(&key)? else { return Err(Failure::not_found(&key)) };
    let item = ItemRef { key: &key, value: Some(&found.value), seq: Some(found.seq) };
    let mut output = Output::new();
    output.value(item, Format::or_default(get.output))?;
    output.finish()?;
    source.finish()
}

pub(super) fn put(place: &Place, put: Put) -> Outcome {
    let key = valid(put.key)?;
    let value = match (put.value.value, put.value.stdin, put.value.file) {
        (Some(value), ..) => value.0,
        (None, true, _) => files::read_value(Path::new("-"))?,
        (None, false, Some(path)) => files::read_value(&path)?,
        (None, false, None) => return Err(Failure::usage("say which value")),
    };
    let condition = match (put.if_absent, put.if_seq) {
        (true, _) => PutCondition::Absent,
        (false, Some(seq)) => {
            let seq = Seq::try_new(seq);
            PutCondition::Seq(
                seq.ok_or_else(|| Failure::usage("--if-seq is above every sequence"))?,
            )
        }
        (false, None) => PutCondition::Always,
    };
    let source = source::open(place, Access::Create)?;
    source.put(&key, &value, condition)?;
    source.finish_write()
}

pub(super) fn del(place: &Place, del: Del) -> Outcome {
    let keys: Vec<Vec<u8>> = del.keys.into_iter().map(valid).collect::<Outcome<_>>()?;
    if del.must_exist && keys.len() != 1 {
        return Err(Failure::usage("--must-exist is for one key"));
    }
    let source = source::open(place, Access::Change)?;
    if !del.must_exist {
        source.delete(&keys)?;
    } else if !source.delete_existing(&keys[0])? {
        return Err(Failure::not_found(&keys[0]));
    }
    source.finish_write()
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
