//! File operations, and the ways in which they go wrong.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::file_name::FileName;

/// A file operation that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Op {
    /// How many operations came before it.
    pub index: u64,
    /// What was asked for.
    pub kind: OpKind,
    /// The file or directory, under the name by which the caller reached it.
    pub path: Arc<Path>,
    /// The new name, for a rename or a link.
    pub to: Option<Arc<Path>>,
    /// Where in the file, in bytes; 0 where that means nothing.
    pub offset: u64,
    /// How many bytes: of a read, a write or a write-back, or the length to allocate.
    pub len: u64,
    /// What went wrong with it; `None` while the plan is asked.
    pub fault: Option<Fault>,
}

impl Op {
    /// Which of the store's files it concerns; for a rename or a link the new name.
    #[must_use]
    pub fn file_name(&self) -> Option<FileName> {
        let path = self.to.as_ref().unwrap_or(&self.path);
        FileName::parse(path.file_name()?.to_str()?)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.index, self.kind.verb(), self.path.display())?;
        if let Some(to) = &self.to {
            write!(f, " to {}", to.display())?;
        }
        match self.kind {
            OpKind::Read | OpKind::Write | OpKind::StartWriteback => {
                write!(f, " {}+{}", self.offset, self.len)?;
            }
            OpKind::Allocate => write!(f, " {}", self.len)?,
            _ => {}
        }
        match self.fault {
            Some(fault) => write!(f, ": {fault:?}"),
            None => Ok(()),
        }
    }
}

/// What a file operation does: one for each method of `Fs` and `File` that reaches the medium.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "each is named like its method")]
pub enum OpKind {
    Canonical,
    CreateDir,
    Create,
    Open,
    OpenWritable,
    Rename,
    Link,
    Remove,
    SyncDir,
    List,
    Exists,
    Lock,
    LockExisting,
    FreeSpace,
    Read,
    Write,
    Allocate,
    SyncData,
    SyncAll,
    StartWriteback,
    Len,
}

impl OpKind {
    /// Whether it makes something durable.
    #[must_use]
    pub const fn is_sync(self) -> bool {
        matches!(self, OpKind::SyncDir | OpKind::SyncData | OpKind::SyncAll)
    }

    /// Whether the system has to hand out a descriptor for it. A sync of a directory is done by the
    /// handle that came with the lock.
    #[must_use]
    pub const fn needs_descriptor(self) -> bool {
        matches!(
            self,
            OpKind::Create
                | OpKind::Open
                | OpKind::OpenWritable
                | OpKind::List
                | OpKind::Lock
                | OpKind::LockExisting
        )
    }

    /// Whether it changes bytes, lengths or names: without these operations a file system stays as
    /// it is. [`OpKind::Lock`] is one, because it may create its file.
    #[must_use]
    pub const fn is_change(self) -> bool {
        matches!(
            self,
            OpKind::CreateDir
                | OpKind::Create
                | OpKind::Rename
                | OpKind::Link
                | OpKind::Remove
                | OpKind::Lock
                | OpKind::Write
                | OpKind::Allocate
        )
    }

    /// The verb of its errors.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            OpKind::Canonical => "resolve",
            OpKind::CreateDir => "create directory",
            OpKind::Create => "create",
            OpKind::Open | OpKind::OpenWritable => "open",
            OpKind::Rename => "rename",
            OpKind::Link => "link",
            OpKind::Remove => "remove",
            OpKind::SyncDir => "sync directory",
            OpKind::List => "list",
            OpKind::Exists => "look up",
            OpKind::Lock | OpKind::LockExisting => "lock",
            OpKind::FreeSpace => "measure the free space of",
            OpKind::Read => "read",
            OpKind::Write => "write",
            OpKind::Allocate => "allocate",
            OpKind::SyncData | OpKind::SyncAll => "sync",
            OpKind::StartWriteback => "write back",
            OpKind::Len => "measure",
        }
    }
}

/// A way in which an operation goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It does nothing and answers EIO.
    Eio,
    /// It does nothing and answers ENOSPC.
    Enospc,
    /// It does nothing and answers EINTR.
    Eintr,
    /// It does nothing and answers EMFILE, as what needs a new descriptor does in a process that has
    /// no more of them.
    Emfile,
    /// It does nothing and answers EROFS, as on a file system that is read-only, or has become so
    /// beneath open files: what changes something, opens a file for writing, or is a sync. Nothing
    /// else goes wrong. (A system may let a sync with nothing to do succeed; a plan can, too.)
    Erofs,
    /// It does what it should and answers EIO all the same.
    EioAfter,
    /// A read or write moves at most so many bytes, and says so.
    Short(usize),
    /// A write writes so many bytes and then answers EIO.
    Torn(usize),
    /// A sync does nothing and answers that all is well.
    LostSync,
    /// A sync does nothing and answers EIO, and no later one makes up for it, by whatever name or
    /// handle: the kernel has marked the pages clean. What is written afterwards can be synced.
    /// Only a `MemFs` behind this file system forgets.
    ForgettingSync,
}

impl Fault {
    /// Whether `op` can go wrong in this way. What cannot is carried out as if it were not planned.
    #[must_use]
    pub const fn applies_to(self, op: &Op) -> bool {
        match self {
            Fault::Eio | Fault::Enospc | Fault::Eintr | Fault::EioAfter => true,
            Fault::Emfile => op.kind.needs_descriptor(),
            Fault::Erofs => {
                op.kind.is_change() || op.kind.is_sync() || matches!(op.kind, OpKind::OpenWritable)
            }
            Fault::Short(len) => {
                matches!(op.kind, OpKind::Read | OpKind::Write) && (len as u64) < op.len
            }
            Fault::Torn(len) => matches!(op.kind, OpKind::Write) && (len as u64) < op.len,
            Fault::LostSync | Fault::ForgettingSync => op.kind.is_sync(),
        }
    }
}
