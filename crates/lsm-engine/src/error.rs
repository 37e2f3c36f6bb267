//! The engine's error: what happened, and by [`ErrorKind`] what a caller can do about it.

use std::fmt;

use lsm_base::Seq;

use crate::failure::is_passing;

/// The result of every call of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error. A kind exists only where callers act differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call broke a rule: an empty key, a value above the limit. Nothing was written.
    InvalidArgument,
    /// The condition of a write did not hold: read again and decide. Nothing was written.
    Conflict,
    /// The store is behind with its background work: try later. Nothing was written.
    Busy,
    /// The disk is full, or up to its [reserve](crate::Options::disk_reserve), where it takes no puts
    /// and still deletes: make room. Reads go on. Nothing was written.
    NoSpace,
    /// The operating system failed. Whether a write may have happened all the same is what
    /// [`Error::is_undecided`] tells, and whether to try again, [`Error::is_passing`].
    Io,
    /// Bytes on disk are not what was written there; the error names file and offset.
    Corruption,
    /// A file that belongs to the database is gone.
    MissingFile,
    /// The database was written by a release that can do more than this one.
    UnsupportedFormat,
    /// Another process, or another handle of this one, has the database open.
    Locked,
    /// The database was opened for reading only. Nothing was written.
    ReadOnly,
    /// Something failed before that leaves in doubt what is on disk: a sync, an append to the log or
    /// to the MANIFEST, a file that could not be created, written or renamed, or a panic. Writes stop
    /// until the database is opened again. Nothing was written.
    Poisoned,
    /// The database, or the keyspace, was closed or dropped. Nothing was written.
    Closed,
}

/// What went wrong.
#[derive(Clone, Debug)]
pub struct Error {
    repr: Repr,
}

#[derive(Clone, Debug)]
enum Repr {
    /// Something below the engine.
    Base(lsm_base::Error),
    /// A failure of the log after the append of a write began.
    Indeterminate(lsm_base::Error),
    /// A failure on behalf of a write before its append began.
    NotBegun(lsm_base::Error),
    /// A condition that did not hold; the sequence of the key's last write, if the key exists.
    Conflict(Option<Seq>),
    Busy,
    NoSpace(Option<lsm_base::Error>),
    /// What there is, is reserved.
    LowSpace,
    ReadOnly,
    /// The failure that poisoned the store.
    Poisoned(String),
    Closed(&'static str),
}

impl Error {
    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.repr {
            Repr::Base(error) | Repr::NotBegun(error) => base_kind(error),
            Repr::Indeterminate(_) => ErrorKind::Io,
            Repr::Conflict(_) => ErrorKind::Conflict,
            Repr::Busy => ErrorKind::Busy,
            Repr::NoSpace(_) | Repr::LowSpace => ErrorKind::NoSpace,
            Repr::ReadOnly => ErrorKind::ReadOnly,
            Repr::Poisoned(_) => ErrorKind::Poisoned,
            Repr::Closed(_) => ErrorKind::Closed,
        }
    }

    /// For a [`ErrorKind::Conflict`]: the sequence of the key's last write, `None` inside if the
    /// key is absent. `None` outside for every other kind.
    #[must_use]
    pub fn current(&self) -> Option<Option<Seq>> {
        match self.repr {
            Repr::Conflict(current) => Some(current),
            _ => None,
        }
    }

    /// The error of the layers below, with file and offset, where there is one.
    #[must_use]
    pub fn base(&self) -> Option<&lsm_base::Error> {
        match &self.repr {
            Repr::Base(error)
            | Repr::Indeterminate(error)
            | Repr::NotBegun(error)
            | Repr::NoSpace(Some(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether what was asked for may have happened all the same: it was begun, and the next open
    /// decides, or, after a full disk, the return of space. Of any other error of a write it is
    /// certain that nothing was written.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        matches!(self.repr, Repr::Indeterminate(_))
    }

    /// Whether the system refused for a reason that passes by itself: the process, or the system, was
    /// out of descriptors, or a signal came. Another try may succeed; of a write nothing was written.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match &self.repr {
            Repr::Base(error) | Repr::NotBegun(error) => is_passing(error),
            _ => false,
        }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Error {
        lsm_base::Error::invalid(detail).into()
    }

    pub(crate) const fn conflict(current: Option<Seq>) -> Error {
        Error { repr: Repr::Conflict(current) }
    }

    /// For a write whose log failed after its append began: whether it happened is known after
    /// the next open. The kind is [`ErrorKind::Io`] even if the disk was full.
    pub(crate) const fn indeterminate(error: lsm_base::Error) -> Error {
        Error { repr: Repr::Indeterminate(error) }
    }

    /// For a write that met this error before its append began.
    pub(crate) fn not_begun(self) -> Error {
        match self.repr {
            Repr::Base(error) => Error { repr: Repr::NotBegun(error) },
            repr => Error { repr },
        }
    }

    pub(crate) const fn busy() -> Error {
        Error { repr: Repr::Busy }
    }

    pub(crate) const fn no_space() -> Error {
        Error { repr: Repr::NoSpace(None) }
    }

    pub(crate) const fn low_space() -> Error {
        Error { repr: Repr::LowSpace }
    }

    pub(crate) const fn read_only() -> Error {
        Error { repr: Repr::ReadOnly }
    }

    pub(crate) fn poisoned(cause: impl Into<String>) -> Error {
        Error { repr: Repr::Poisoned(cause.into()) }
    }

    pub(crate) const fn closed() -> Error {
        Error { repr: Repr::Closed("the database was closed") }
    }

    pub(crate) const fn keyspace_dropped() -> Error {
        Error { repr: Repr::Closed("the keyspace was dropped") }
    }
}

impl From<lsm_base::Error> for Error {
    fn from(error: lsm_base::Error) -> Error {
        if error.is_no_space() {
            return Error { repr: Repr::NoSpace(Some(error)) };
        }
        Error { repr: Repr::Base(error) }
    }
}

fn base_kind(error: &lsm_base::Error) -> ErrorKind {
    match error {
        lsm_base::Error::InvalidArgument(_) => ErrorKind::InvalidArgument,
        lsm_base::Error::Corruption { .. } => ErrorKind::Corruption,
        lsm_base::Error::MissingFile(_) => ErrorKind::MissingFile,
        lsm_base::Error::UnsupportedFormat { .. } => ErrorKind::UnsupportedFormat,
        lsm_base::Error::Locked(_) => ErrorKind::Locked,
        // `Io`, and whatever joins the base error later: the operating system's word.
        _ => ErrorKind::Io,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repr {
            Repr::Base(error) | Repr::NoSpace(Some(error)) => error.fmt(f),
            Repr::Indeterminate(error) => {
                write!(f, "whether it happened is known after the next open: {error}")
            }
            Repr::NotBegun(error) => write!(f, "nothing was written: {error}"),
            Repr::Conflict(Some(seq)) => {
                write!(f, "the condition does not hold: the key was last written at {seq}")
            }
            Repr::Conflict(None) => f.write_str("the condition does not hold: the key is absent"),
            Repr::Busy => f.write_str("the store is behind with its background work"),
            Repr::NoSpace(None) => f.write_str("the disk is full"),
            Repr::LowSpace => f.write_str("the disk is full but for what is reserved for deletes"),
            Repr::ReadOnly => f.write_str("the database is open for reading only"),
            Repr::Poisoned(cause) => {
                write!(f, "writes stopped after a failure, reopen the database: {cause}")
            }
            Repr::Closed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.base().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::Path;

    #[test]
    fn kinds_follow_the_cause() {
        let io = |kind: io::ErrorKind| lsm_base::Error::io("write", Path::new("x"), kind.into());
        assert_eq!(Error::from(io(io::ErrorKind::StorageFull)).kind(), ErrorKind::NoSpace);
        assert_eq!(Error::from(io(io::ErrorKind::PermissionDenied)).kind(), ErrorKind::Io);
        assert_eq!(Error::invalid("x").kind(), ErrorKind::InvalidArgument);
        let conflict = Error::conflict(Some(Seq::new(4)));
        assert_eq!(conflict.current(), Some(Some(Seq::new(4))));
        assert_eq!(Error::busy().current(), None);
    }
}
