//! Versions: what each write of a key left, newest first.
//!
//! ```text
//! | trailer (8) | older (4) | jump (4) | depth (4) | value length (4) | value |      all plain
//! ```
//!
//! The trailer is that of an internal key: sequence and kind. `older` is the version written just
//! before; `jump` reaches further back, and `depth` counts the older versions. Jumps are laid out
//! after the skew-binary numbers (Myers, "An applicative random-access stack", 1983): a version
//! jumps over two equal jumps below it, or else to `older`. So a look-up takes jumps that do not go
//! too far and single steps between them, O(log n) in all, and a hot key with a million versions
//! under an old snapshot costs some forty steps.
//!
//! Invariant: sequences descend along `older`.

use lsm_base::key::{pack_trailer, unpack_trailer};
use lsm_base::{Kind, Seq};

use crate::arena::{Draft, Slot, Space, UNIT};

const TRAILER: usize = 0;
const OLDER: usize = 8;
const JUMP: usize = 12;
const DEPTH: usize = 16;
const VALUE_LEN: usize = 20;
const VALUE: usize = 24;

/// Bytes that a version takes in the arena.
pub(crate) const fn version_len(value_len: usize) -> usize {
    value_len.saturating_add(VALUE + UNIT - 1) / UNIT * UNIT
}

/// One version of a key.
#[derive(Clone, Copy)]
pub(crate) struct Version<'a> {
    space: Space<'a>,
    slot: Slot,
}

impl<'a> Version<'a> {
    #[inline(always)]
    pub(crate) fn new(space: Space<'a>, slot: Slot) -> Version<'a> {
        Version { space, slot }
    }

    #[inline(always)]
    pub(crate) fn slot(self) -> Slot {
        self.slot
    }

    #[inline(always)]
    pub(crate) fn seq(self) -> Seq {
        self.seq_and_kind().0
    }

    #[inline(always)]
    pub(crate) fn seq_and_kind(self) -> (Seq, Kind) {
        let trailer = u64::from_ne_bytes(self.space.array(self.slot, TRAILER));
        unpack_trailer(trailer).expect("a version is written with a kind that is in use")
    }

    #[inline(always)]
    pub(crate) fn value(self) -> &'a [u8] {
        let len = u32::from_ne_bytes(self.space.array(self.slot, VALUE_LEN));
        self.space.bytes(self.slot, VALUE, len as usize)
    }

    #[inline(always)]
    pub(crate) fn older(self) -> Option<Version<'a>> {
        self.space.slot(self.slot, OLDER).map(|slot| Version::new(self.space, slot))
    }

    fn jump(self) -> Option<Version<'a>> {
        self.space.slot(self.slot, JUMP).map(|slot| Version::new(self.space, slot))
    }

    /// How many older versions there are.
    fn depth(self) -> u32 {
        u32::from_ne_bytes(self.space.array(self.slot, DEPTH))
    }

    /// The newest version at `seq` or before it, from this one backwards.
    #[inline]
    pub(crate) fn at_or_before(self, seq: Seq) -> Option<Version<'a>> {
        if self.seq() <= seq {
            return Some(self);
        }
        self.oldest_after(seq).older()
    }

    /// The oldest version after `seq`, from this one backwards. Requires: this one is after it.
    pub(crate) fn oldest_after(self, seq: Seq) -> Version<'a> {
        self.last_while(|version| seq < version.seq())
    }

    /// The version written just after `version`, from this one backwards.
    /// Requires: this one is newer.
    pub(crate) fn newer_than(self, version: Version<'_>) -> Version<'a> {
        let depth = version.depth();
        self.last_while(|candidate| depth < candidate.depth())
    }

    /// The last version, going back from this one, of those for which `holds` is true.
    /// Requires: it is true for this one, and once false stays so.
    fn last_while(self, holds: impl Fn(Version<'a>) -> bool) -> Version<'a> {
        let mut version = self;
        loop {
            let jump = version.jump().filter(|&jump| holds(jump));
            match jump.or_else(|| version.older().filter(|&older| holds(older))) {
                Some(back) => version = back,
                None => return version,
            }
        }
    }
}

/// What a new version is made of.
pub(crate) struct VersionParts<'a> {
    seq: Seq,
    kind: Kind,
    value: &'a [u8],
    older: Option<Slot>,
    jump: Option<Slot>,
    depth: u32,
}

impl<'a> VersionParts<'a> {
    /// The first version of a key.
    pub(crate) fn first(seq: Seq, kind: Kind, value: &'a [u8]) -> VersionParts<'a> {
        VersionParts { seq, kind, value, older: None, jump: None, depth: 0 }
    }

    /// The version that follows `older`.
    pub(crate) fn above(
        older: Version<'_>,
        seq: Seq,
        kind: Kind,
        value: &'a [u8],
    ) -> VersionParts<'a> {
        let (older_slot, depth) = (Some(older.slot), older.depth() + 1);
        VersionParts { seq, kind, value, older: older_slot, jump: Some(jump_above(older)), depth }
    }

    /// Writes the version at `at` of a record that nobody knows of yet.
    pub(crate) fn write(&self, draft: &mut Draft<'_>, at: usize) {
        let value_len = u32::try_from(self.value.len()).expect("the length of a value was checked");
        draft.put(at + TRAILER, &pack_trailer(self.seq, self.kind).to_ne_bytes());
        draft.put_slot(at + OLDER, self.older);
        draft.put_slot(at + JUMP, self.jump);
        draft.put(at + DEPTH, &self.depth.to_ne_bytes());
        draft.put(at + VALUE_LEN, &value_len.to_ne_bytes());
        draft.put(at + VALUE, self.value);
    }
}

/// Where a version right above `older` jumps: over two equal jumps, or else one step.
fn jump_above(older: Version<'_>) -> Slot {
    let Some(near) = older.jump() else { return older.slot };
    let Some(far) = near.jump() else { return older.slot };
    match older.depth() - near.depth() == near.depth() - far.depth() {
        true => far.slot,
        false => older.slot,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::key_entry::KeyEntry;

    #[test]
    fn a_snapshot_read_of_a_hot_key_takes_logarithmic_steps() {
        const COUNT: u64 = 100_000;
        let arena = Arena::new(8 << 20);
        let mut writer = arena.writer().unwrap();
        let entry = KeyEntry::create(&mut writer, b"hot", Seq::new(10), Kind::Put, b"");
        let entry = KeyEntry::new(arena.space(), entry);
        for number in 1..COUNT {
            entry.push(&mut writer, Seq::new(10 + 10 * number), Kind::Put, b"");
        }
        for number in (0..COUNT).step_by(97) {
            let seq = Seq::new(10 + 10 * number + number % 10);
            let steps = std::cell::Cell::new(0);
            let newer = entry.newest().last_while(|version| {
                steps.set(steps.get() + 1);
                seq < version.seq()
            });
            // Two conditions are asked for each of at most 2 log2(n) steps.
            assert!(steps.get() <= 4 * COUNT.ilog2(), "{} steps to {number}", steps.get());
            if number + 1 < COUNT {
                assert_eq!(newer.seq(), Seq::new(20 + 10 * number));
                assert_eq!(entry.newest().newer_than(newer.older().unwrap()).slot, newer.slot);
            }
            assert_eq!(entry.version_at(seq).unwrap().seq(), Seq::new(10 + 10 * number));
        }
        assert!(entry.version_at(Seq::new(9)).is_none());
        assert_eq!(entry.oldest().seq(), Seq::new(10));
    }
}
