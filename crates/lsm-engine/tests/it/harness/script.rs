//! Scripts: what is written to a store, step by step, and what must be found of it afterwards.
//!
//! Every batch also stores the number of its step under [`MARKER`]. So a recovery says itself how
//! far it got, and the judge compares all of its content with the state at that step: one batch
//! torn, one hole, one value from another time, and it does not match.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lsm_base::testing::SplitMix64;
use lsm_engine::{Db, Durability, Read, Result, Seq, WriteBatch, WriteOptions};

use crate::support::wait;

/// Holds the number of the last step that wrote.
const MARKER: &str = "~";

/// The keyspace that comes and goes.
const SIDE: &str = "side";

/// What a test writes beside the script.
pub(crate) const PROBE: &str = "!probe";

/// The state is kept for every so many steps, so that none is computed from the beginning.
const KEPT_EVERY: usize = 64;

/// Something that is done to the store.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write { ops: Vec<WriteOp>, durability: Durability },
    Sync,
    Flush,
    Compact,
    Idle,
    CreateSide,
    DropSide,
    Close,
    Kill,
}

/// One operation of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteOp {
    is_side: bool,
    key: u16,
    is_put: bool,
}

/// The step that wrote the value of each key.
type Content = BTreeMap<(bool, u16), usize>;

/// What is to be done, in order.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    kept: Vec<Content>,
}

/// How far a script got; shared with whoever takes images meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Steps before this one were begun.
    begun: AtomicUsize,
    /// The writes of all steps before this one survive a power loss.
    durable: AtomicUsize,
    /// The highest sequence that was handed out.
    max_seq: AtomicU64,
}

/// What a recovery may give back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) durable: usize,
    pub(crate) begun: usize,
    pub(crate) max_seq: u64,
}

impl Script {
    /// A script of so many steps: synced and buffered batches over one or two keyspaces, flushes,
    /// compactions, barriers, a keyspace that is created, dropped and created again, a process
    /// that dies, and a clean close.
    pub(crate) fn new(seed: u64, len: usize) -> Script {
        let mut random = SplitMix64::new(seed);
        let mut has_side = false;
        let mut steps = Vec::with_capacity(len);
        for index in 0..len {
            let step = match index {
                _ if index == len / 40 || index == len * 11 / 20 => Step::CreateSide,
                _ if index == len / 2 => Step::DropSide,
                _ if index == len / 4 || index == len * 5 / 8 => Step::Kill,
                _ if index == len * 3 / 4 => Step::Close,
                _ if index % 41 == 40 => Step::Idle,
                _ if index % 97 == 96 => Step::Flush,
                _ if index % 151 == 150 => Step::Compact,
                _ if index % 31 == 30 => Step::Sync,
                _ => write(&mut random, has_side),
            };
            match step {
                Step::CreateSide => has_side = true,
                Step::DropSide => has_side = false,
                _ => {}
            }
            steps.push(step);
        }
        Script::of(steps)
    }

    /// A script of these steps.
    pub(crate) fn of(steps: Vec<Step>) -> Script {
        let mut content = Content::new();
        let mut kept = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            if index % KEPT_EVERY == 0 {
                kept.push(content.clone());
            }
            apply(&mut content, index, step);
        }
        kept.push(content);
        Script { steps, kept }
    }

    /// Does step `index`. `db` is replaced where the step closes or kills it.
    pub(crate) fn run_step(&self, index: usize, db: &Db, progress: &Progress) -> Result<()> {
        progress.begun.store(index + 1, Ordering::SeqCst);
        let is_durable = match &self.steps[index] {
            Step::Write { ops, durability } => {
                let batch = batch(index, ops, db)?;
                let options = WriteOptions::durability(*durability);
                let seq = match index % 3 {
                    0 => wait(db.write_async(batch, &options))?,
                    _ => db.write(batch, &options)?,
                };
                progress.max_seq.store(seq.get(), Ordering::SeqCst);
                *durability == Durability::Sync
            }
            Step::Sync => db.sync().map(|()| true)?,
            Step::Flush => db.flush().map(|()| true)?,
            Step::Compact => db.compact::<&str>(..).map(|()| true)?,
            Step::Idle => db.wait_idle().map(|()| false)?,
            Step::CreateSide => db.keyspace(SIDE).map(|_| false)?,
            Step::DropSide => db.drop_keyspace(SIDE).map(|()| true)?,
            Step::Close | Step::Kill => unreachable!("the caller has the handle"),
        };
        if is_durable {
            progress.set_durable(index + 1);
        }
        Ok(())
    }

    /// Compares a store with what its marker says that it should hold, and that with what it must
    /// hold. Returns how many steps it got.
    pub(crate) fn judge(&self, db: &Db, bounds: Bounds) -> Result<usize, String> {
        self.judge_without(db, bounds, &|_| false)
    }

    /// Like [`judge`](Self::judge), for a run in which the steps that `is_missing` names were not
    /// applied; such a step may be there all the same if it is the last one.
    pub(crate) fn judge_without(
        &self,
        db: &Db,
        bounds: Bounds,
        is_missing: &dyn Fn(usize) -> bool,
    ) -> Result<usize, String> {
        let found = read_all(db).map_err(|error| format!("a read failed: {error}"))?;
        let got = match found.marker {
            Some(step) => step + 1,
            None => 0,
        };
        let next_write = self.next_write(got, is_missing);
        if next_write < bounds.durable {
            return Err(format!("step {next_write} is lost: the last is {:?}", found.marker));
        }
        if bounds.begun < got {
            return Err(format!("step {:?} was never begun", found.marker));
        }
        let expected = self.content(got, is_missing);
        if found.content == expected {
            let dropped = self.drop_between(got, next_write.min(bounds.durable), is_missing);
            return match dropped {
                Some(step) if expected.keys().any(|(is_side, _)| *is_side) => {
                    Err(format!("the drop of step {step} came undone"))
                }
                _ => Ok(got),
            };
        }
        // A drop is durable for itself, before any write behind it.
        if let Some(step) = self.drop_between(got, next_write.min(bounds.begun), is_missing)
            && found.content == self.content(step + 1, is_missing)
        {
            return Ok(got);
        }
        Err(format!("after {got} steps: {}", difference(&found.content, &expected)))
    }

    fn next_write(&self, from: usize, is_missing: &dyn Fn(usize) -> bool) -> usize {
        let is_write =
            |index: &usize| matches!(self.steps[*index], Step::Write { .. }) && !is_missing(*index);
        (from..self.steps.len()).find(is_write).unwrap_or(self.steps.len())
    }

    fn drop_between(
        &self,
        from: usize,
        to: usize,
        is_missing: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let is_drop =
            |index: &usize| matches!(self.steps[*index], Step::DropSide) && !is_missing(*index);
        (from..to).find(is_drop)
    }

    /// What the store holds after the first `count` steps.
    fn content(&self, count: usize, is_missing: &dyn Fn(usize) -> bool) -> Content {
        let has_missing = (0..count).any(is_missing);
        let start = if has_missing { 0 } else { count / KEPT_EVERY };
        let mut content = self.kept[start].clone();
        for index in start * KEPT_EVERY..count {
            if !is_missing(index) || index + 1 == count {
                apply(&mut content, index, &self.steps[index]);
            }
        }
        content
    }
}

impl Progress {
    /// What a disk must and may hold whose image `take` makes.
    pub(crate) fn around<T>(&self, take: impl FnOnce() -> T) -> (T, Bounds) {
        // This order: what is durable now is in the image, what is in the image was begun before.
        let durable = self.durable.load(Ordering::SeqCst);
        let max_seq = self.max_seq.load(Ordering::SeqCst);
        let image = take();
        let begun = self.begun.load(Ordering::SeqCst);
        (image, Bounds { durable, begun, max_seq })
    }

    /// The same, without an image.
    pub(crate) fn bounds(&self) -> Bounds {
        self.around(|| ()).1
    }

    /// Notes that every step before this one survives a power loss.
    pub(crate) fn set_durable(&self, steps: usize) {
        self.durable.store(steps, Ordering::SeqCst);
    }

    /// Notes that every step before this one was begun.
    pub(crate) fn set_begun(&self, steps: usize) {
        self.begun.store(steps, Ordering::SeqCst);
    }
}

fn write(random: &mut SplitMix64, has_side: bool) -> Step {
    let durability = if random.below(2) == 0 { Durability::Sync } else { Durability::Buffered };
    let op = |random: &mut SplitMix64| WriteOp {
        is_side: has_side && random.below(3) == 0,
        key: random.below(200) as u16,
        is_put: random.below(4) != 0,
    };
    let ops = (0..1 + random.below(5)).map(|_| op(random)).collect();
    Step::Write { ops, durability }
}

fn batch(step: usize, ops: &[WriteOp], db: &Db) -> Result<WriteBatch> {
    let mut batch = WriteBatch::new();
    let side = match ops.iter().any(|op| op.is_side) {
        true => Some(db.keyspace(SIDE)?),
        false => None,
    };
    for op in ops {
        let (key, value) = (key(op.key), value(step, op.key));
        match (side.as_ref().filter(|_| op.is_side), op.is_put) {
            (None, true) => batch.put(key, value),
            (None, false) => batch.delete(key),
            (Some(side), true) => batch.put_in(side, key, value),
            (Some(side), false) => batch.delete_in(side, key),
        }
    }
    batch.put(MARKER, step.to_string());
    Ok(batch)
}

fn apply(content: &mut Content, index: usize, step: &Step) {
    match step {
        Step::Write { ops, .. } => {
            for op in ops {
                match op.is_put {
                    true => content.insert((op.is_side, op.key), index),
                    false => content.remove(&(op.is_side, op.key)),
                };
            }
        }
        Step::DropSide => content.retain(|(is_side, _), _| !is_side),
        _ => {}
    }
}

fn key(number: u16) -> String {
    format!("key{number:05}")
}

/// A value that tells which step wrote it, of up to 300 bytes.
fn value(step: usize, key: u16) -> Vec<u8> {
    let len = (step * 31 + usize::from(key) * 17) % 300;
    let mut value = format!("{step}:").into_bytes();
    value.resize(value.len().max(len), key as u8);
    value
}

/// What a store holds.
struct Found {
    marker: Option<usize>,
    content: Content,
}

fn read_all(db: &Db) -> Result<Found> {
    let mut found = Found { marker: None, content: Content::new() };
    for keyspace in db.keyspaces()? {
        let is_side = keyspace.name() == SIDE;
        for entry in keyspace.prefix("") {
            let (key, value) = entry?;
            match std::str::from_utf8(&key).expect("every key of a script is text") {
                MARKER => found.marker = std::str::from_utf8(&value).ok().map(parse),
                PROBE => {}
                name => {
                    let number = name.strip_prefix("key").expect("a key of the script").parse();
                    let number: u16 = number.expect("a number in the key");
                    let step = value.split(|byte| *byte == b':').next().expect("a first part");
                    let step = parse(std::str::from_utf8(step).unwrap_or("no step"));
                    let is_whole = *self::value(step, number) == value[..];
                    assert!(is_whole, "{name} has bytes that nobody wrote");
                    found.content.insert((is_side, number), step);
                }
            }
        }
    }
    Ok(found)
}

fn parse(text: &str) -> usize {
    text.parse().expect("the number of a step")
}

fn difference(found: &Content, expected: &Content) -> String {
    let wrong = expected.iter().find(|(key, step)| found.get(key) != Some(step));
    let extra = found.iter().find(|(key, _)| !expected.contains_key(key));
    match (wrong, extra) {
        (Some((key, step)), _) => {
            format!("{key:?} is of step {:?} instead of {step}", found.get(key))
        }
        (None, Some((key, step))) => format!("{key:?} of step {step} should be gone"),
        (None, None) => "nothing differs".into(),
    }
}

/// Writes the probe, synced, and returns its sequence.
pub(crate) fn probe(db: &Db, text: &str) -> Result<Seq> {
    db.put_with(PROBE, text, &WriteOptions::durability(Durability::Sync))
}
