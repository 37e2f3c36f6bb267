//! Torn tail or damage: the rule that decides.

use std::collections::BTreeMap;
use std::path::Path;

use lsm_base::{Error, FileName, Fs, Result};

use super::segments::{self, Beyond, Survey, Surveyed, Walk};
use super::{ReplayFrom, corruption_at};
use crate::format::{FILE_HEADER_LEN, FileHeader};
use crate::lsn::Lsn;

/// A log that may be recovered, and up to where.
pub(super) struct Verdict {
    pub(super) end: Lsn,
    pub(super) dropped_records: u64,
    pub(super) dropped_bytes: u64,
    pub(super) reason: Option<String>,
}

/// All that was read of the log.
struct Evidence<'a> {
    dir: &'a Path,
    survey: &'a Survey,
    examined: BTreeMap<u64, Examined>,
}

/// What was read of one segment.
struct Examined {
    walk: Walk,
    beyond: Beyond,
}

/// Where the log stops being whole, and why.
struct Whole {
    end: Lsn,
    is_closed: bool,
    /// What is wrong, and where; `None` if nothing but zeros follows.
    damage: Option<(Lsn, &'static str)>,
}

impl Verdict {
    /// Reads every segment, and decides.
    pub(super) fn pass(
        fs: &dyn Fs,
        dir: &Path,
        survey: &Survey,
        from: &ReplayFrom,
    ) -> Result<Verdict> {
        let mut examined = BTreeMap::new();
        for (&number, segment) in &survey.segments {
            let bound = survey.bound(number);
            let mut examined_segment = examine(fs, dir, number, segment, bound)?;
            // Where a closed log ends is known, so nothing needs to be searched for.
            if from.clean_end.is_none() {
                examined_segment.search_beyond(fs, dir, &segment.header)?;
            }
            examined.insert(number, examined_segment);
        }
        let evidence = Evidence { dir, survey, examined };
        let whole = evidence.follow_links()?;
        match from.clean_end {
            Some(clean_end) => evidence.judge_closed(&whole, clean_end),
            None => evidence.judge_crashed(&whole, from.synced),
        }
    }

    /// The segments to deliver, and where each one ends.
    pub(super) fn extents<'a>(&self, survey: &'a Survey) -> impl Iterator<Item = (u64, u64)> + 'a {
        let end = self.end;
        let numbers = survey.segments.range(..=end.segment).map(|(&number, _)| number);
        numbers.map(move |number| {
            let bound = if number == end.segment { None } else { survey.bound(number) };
            (number, bound.unwrap_or(end.offset))
        })
    }
}

impl Evidence<'_> {
    /// Goes from segment to segment while each is whole and the next one's link matches it.
    fn follow_links(&self) -> Result<Whole> {
        let mut number = self.survey.floor;
        let mut end = Lsn::new(number, FILE_HEADER_LEN);
        loop {
            let Some(Examined { walk, beyond }) = self.examined.get(&number) else {
                return Ok(Whole { end, is_closed: false, damage: None });
            };
            end = Lsn::new(number, walk.end);
            match self.survey.bound(number) {
                None => return self.stop(end, walk, beyond),
                Some(bound) if walk.end < bound => {
                    let why = walk.stop.unwrap_or("the segment ends before its length");
                    return Ok(Whole { end, is_closed: false, damage: Some((end, why)) });
                }
                Some(_) => self.check_link(number, walk)?,
            }
            number += 1;
        }
    }

    /// The log ends in this segment, as no link of a next one says otherwise.
    fn stop(&self, end: Lsn, walk: &Walk, beyond: &Beyond) -> Result<Whole> {
        let next = Lsn::new(end.segment + 1, FILE_HEADER_LEN);
        if self.survey.segments.get(&next.segment).is_some_and(|segment| segment.link.is_some()) {
            let detail = "the link names no predecessor, but there is one";
            return Err(corruption_at(self.dir, next, detail));
        }
        let damage = if end.offset < beyond.content_end {
            Some((end, walk.stop.unwrap_or("no record header")))
        } else if self.is_used(next.segment) {
            let why = self.examined[&next.segment].walk.stop;
            Some((next, why.unwrap_or("no record header")))
        } else {
            None
        };
        Ok(Whole { end, is_closed: walk.is_closed, damage })
    }

    /// Checks what the link behind `number` says against what was read. Both are whole: that they
    /// differ no crash can cause.
    fn check_link(&self, number: u64, walk: &Walk) -> Result<()> {
        let next = &self.survey.segments[&(number + 1)];
        let link = next.link.expect("a bound comes from a link");
        let detail = if link.epoch != self.survey.segments[&number].header.epoch {
            "the link names another life of its predecessor"
        } else if link.length != walk.end {
            "the link names a length that is no end of a record"
        } else if link.last_seq != walk.last_seq {
            "the link names another last sequence"
        } else {
            return Ok(());
        };
        Err(corruption_at(self.dir, Lsn::new(number + 1, FILE_HEADER_LEN), detail))
    }

    fn is_used(&self, number: u64) -> bool {
        let has_link =
            self.survey.segments.get(&number).is_some_and(|segment| segment.link.is_some());
        has_link || self.examined.get(&number).is_some_and(|examined| examined.beyond.has_header)
    }

    /// A log that was closed is whole, and ends where it was said to.
    fn judge_closed(&self, whole: &Whole, clean_end: Lsn) -> Result<Verdict> {
        let corrupt =
            |at, why| Err(self.loss(at, format!("{why}, but the log was closed at {clean_end}")));
        // Where nothing stands there is no trailer either.
        let is_empty = clean_end == Lsn::new(self.survey.floor, FILE_HEADER_LEN);
        if whole.end != clean_end || !(whole.is_closed || is_empty) {
            let (at, why) = self.first_loss(whole, clean_end);
            return corrupt(at, why);
        }
        match self
            .examined
            .keys()
            .find(|&&number| clean_end.segment < number && self.is_used(number))
        {
            Some(&number) => corrupt(Lsn::new(number, FILE_HEADER_LEN), "a segment in use"),
            None => {
                Ok(Verdict { end: clean_end, dropped_records: 0, dropped_bytes: 0, reason: None })
            }
        }
    }

    /// A log that was not closed may have lost what was not synced.
    fn judge_crashed(&self, whole: &Whole, synced: Lsn) -> Result<Verdict> {
        let end = whole.end;
        let synced = self.synced(synced);
        if end < synced {
            let (at, why) = self.first_loss(whole, synced);
            let detail = format!("{why}, but the log was synced up to {synced}");
            return Err(self.loss(at, detail));
        }
        let mut verdict = Verdict { end, dropped_records: 0, dropped_bytes: 0, reason: None };
        for (&number, Examined { walk, beyond }) in self.examined.range(end.segment..) {
            let from = if number == end.segment { end.offset } else { FILE_HEADER_LEN };
            verdict.dropped_bytes += walk.end.max(beyond.content_end).saturating_sub(from);
            verdict.dropped_records += beyond.records;
            if number != end.segment {
                verdict.dropped_records += walk.records;
            }
        }
        let damage = whole.damage.or_else(|| {
            let unused = Lsn::new(end.segment + 1, FILE_HEADER_LEN);
            (0 < verdict.dropped_bytes).then_some((unused, "no record header"))
        });
        verdict.reason = damage.map(|(at, why)| {
            let file = FileName::Log(at.segment);
            format!("{why} in {file} at {}", at.offset)
        });
        Ok(verdict)
    }

    /// The error for what is gone at a place: all of its segment, or something in it.
    fn loss(&self, at: Lsn, detail: String) -> Error {
        match self.examined.contains_key(&at.segment) {
            true => corruption_at(self.dir, at, detail),
            false => Error::MissingFile(FileName::Log(at.segment).path(self.dir)),
        }
    }

    /// What is wrong first, of a log that ends before `promised`.
    fn first_loss(&self, whole: &Whole, promised: Lsn) -> (Lsn, &'static str) {
        let end = whole.end;
        let next = Lsn::new(end.segment + 1, FILE_HEADER_LEN);
        let at = match whole.damage {
            Some((at, why)) if at < promised => return (at, why),
            // Where zeros follow the last whole record, what is gone is of this segment, or it is
            // all of the next one.
            _ if promised < next => end,
            _ => next,
        };
        let stop = self.examined.get(&at.segment).and_then(|examined| examined.walk.stop);
        (at, stop.unwrap_or("no record"))
    }

    /// How far the log is known to have been synced.
    fn synced(&self, recorded: Lsn) -> Lsn {
        // That a segment was begun says nothing about what stands in it.
        let recorded = if FILE_HEADER_LEN < recorded.offset { recorded } else { Lsn::ZERO };
        let of_segments =
            self.examined.values().map(|examined| examined.walk.synced.max(examined.beyond.synced));
        of_segments.fold(recorded, Lsn::max)
    }
}

impl Examined {
    /// Looks behind the damage, where there is any.
    fn search_beyond(&mut self, fs: &dyn Fs, dir: &Path, header: &FileHeader) -> Result<()> {
        if self.walk.stop.is_some() {
            let mut file = segments::open(fs, dir, header.number, header.owner)?;
            self.beyond = segments::search_beyond(&mut file, self.walk.end)?;
        }
        Ok(())
    }
}

/// Reads one segment as far as it is whole.
fn examine(
    fs: &dyn Fs,
    dir: &Path,
    number: u64,
    segment: &Surveyed,
    bound: Option<u64>,
) -> Result<Examined> {
    let mut file = segments::open(fs, dir, number, segment.header.owner)?;
    if file.header() != &segment.header {
        return Err(file.corruption(0, "changed while it was read"));
    }
    if bound.is_some_and(|bound| file.len() < bound) {
        let link = Lsn::new(number + 1, FILE_HEADER_LEN);
        return Err(corruption_at(dir, link, "the link names a length beyond its predecessor"));
    }
    let walk = segments::walk(&mut file, bound, &mut |_| Ok(()))?;
    Ok(Examined { walk, beyond: Beyond::default() })
}
