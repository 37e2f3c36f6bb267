//! What one key promises, as an object that does one thing after another.
//!
//! A key has a value with a version, or nothing. Every write has a sequence above all that were
//! seen of the key before, which also is the version that it leaves; a read says as of which
//! sequence it is. A write whose answer was lost leaves a version that nobody knows until it is
//! read.

use todc_utils::specifications::Specification;

/// What must hold of a key for a write of it to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Demand {
    Nothing,
    Absent,
    Exists,
    Version(u64),
    OtherThan(u64),
}

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Get,
    Put(u64, Demand),
    Delete(Demand),
}

/// What it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The value and its version, as of a sequence.
    Found {
        value: u64,
        version: u64,
        as_of: u64,
    },
    Missing {
        as_of: u64,
    },
    Written {
        seq: u64,
    },
    /// The demand does not hold: the key has this version, or none.
    Refused {
        version: Option<u64>,
    },
    /// No answer came. A write happened or did not.
    Lost,
}

/// A key between two operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Register {
    entry: Option<Entry>,
    /// Every sequence to come is above this one.
    seen: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Entry {
    value: u64,
    /// `None` if the answer that would have told it was lost; then it is above what had been seen.
    version: Option<u64>,
}

impl Register {
    fn holds(&self, demand: Demand) -> bool {
        // A client names only versions that it was told, and whoever was told one was so before:
        // a version that nobody was told yet is none of these.
        let has = |version| self.entry.is_some_and(|entry| entry.version == Some(version));
        match demand {
            Demand::Nothing => true,
            Demand::Absent => self.entry.is_none(),
            Demand::Exists => self.entry.is_some(),
            Demand::Version(version) => has(version),
            Demand::OtherThan(version) => !has(version),
        }
    }

    /// The key as it must be if it now has this version; `None` if it cannot have it.
    fn with_version(&self, version: u64) -> Option<Register> {
        let entry = self.entry?;
        let fits = match entry.version {
            Some(known) => known == version,
            None => self.seen < version,
        };
        let entry = Some(Entry { version: Some(version), ..entry });
        fits.then_some(Register { entry, seen: self.seen.max(version) })
    }

    fn as_of(self, seq: u64) -> Option<Register> {
        (self.seen <= seq).then_some(Register { seen: seq, ..self })
    }

    fn written(&self, value: Option<u64>, seq: u64) -> Option<Register> {
        let entry = value.map(|value| Entry { value, version: Some(seq) });
        (self.seen < seq).then_some(Register { entry, seen: seq })
    }

    /// A write of which nobody was told, if its demand holds.
    fn maybe_written(&self, value: Option<u64>, demand: Demand) -> Register {
        if !self.holds(demand) {
            return *self;
        }
        match value {
            Some(value) => Register { entry: Some(Entry { value, version: None }), ..*self },
            None => Register { entry: None, ..*self },
        }
    }

    /// The key after the operation; `None` if it could not have been answered so.
    fn after(&self, ask: Ask, answer: Answer) -> Option<Register> {
        let (value, demand) = match ask {
            Ask::Get => return self.after_get(answer),
            Ask::Put(value, demand) => (Some(value), demand),
            Ask::Delete(demand) => (None, demand),
        };
        match answer {
            Answer::Written { seq } if self.holds(demand) => self.written(value, seq),
            Answer::Refused { version } => {
                let now = match version {
                    Some(version) => self.with_version(version)?,
                    None => self.entry.is_none().then_some(*self)?,
                };
                (!now.holds(demand)).then_some(now)
            }
            Answer::Lost => Some(self.maybe_written(value, demand)),
            Answer::Written { .. } | Answer::Found { .. } | Answer::Missing { .. } => None,
        }
    }

    fn after_get(&self, answer: Answer) -> Option<Register> {
        match answer {
            Answer::Found { value, version, as_of } => {
                let now = self.with_version(version)?.as_of(as_of)?;
                self.entry.is_some_and(|entry| entry.value == value).then_some(now)
            }
            Answer::Missing { as_of } => self.entry.is_none().then_some(*self)?.as_of(as_of),
            Answer::Lost => Some(*self),
            Answer::Written { .. } | Answer::Refused { .. } => None,
        }
    }
}

/// Keys that do one thing after another, for the checker.
pub(super) struct Registers;

impl Specification for Registers {
    type State = Register;
    /// Of a call nobody asks the answer.
    type Operation = (Ask, Answer);

    fn init() -> Register {
        Register::default()
    }

    fn apply(&(ask, answer): &(Ask, Answer), state: &Register) -> (bool, Register) {
        match state.after(ask, answer) {
            Some(next) => (true, next),
            None => (false, *state),
        }
    }
}
