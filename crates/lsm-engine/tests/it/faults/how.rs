//! The ways in which a run is broken: which operations go wrong, and what follows from that.

use std::sync::{Arc, Mutex};

use lsm_base::fs::{Fault, MemFs, Op, OpKind, Space};
use lsm_base::{FileName, Fs};

use crate::harness::DeathSwitch;

/// How a run is broken, at some operation and perhaps behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    Once(Fault),
    /// From then on, wherever the fault makes sense.
    Sticky(Fault),
    /// The disk becomes full after so many bytes of a write, and has space again behind it.
    FullMidway(usize),
    /// From then on no file can grow.
    DiskFull,
    /// From then on half of the reserve is left of the disk.
    DiskNearlyFull,
}

pub(super) const WAYS: [How; 19] = [
    How::Once(Fault::Eio),
    How::Sticky(Fault::Eio),
    How::Once(Fault::EioAfter),
    How::Sticky(Fault::EioAfter),
    How::Once(Fault::Enospc),
    How::Sticky(Fault::Enospc),
    How::Once(Fault::Eintr),
    How::Sticky(Fault::Eintr),
    How::Once(Fault::Emfile),
    How::Sticky(Fault::Emfile),
    How::Once(Fault::Short(1)),
    How::Sticky(Fault::Short(61)),
    How::Once(Fault::Torn(40)),
    How::Sticky(Fault::Torn(40)),
    How::Once(Fault::ForgettingSync),
    How::Sticky(Fault::ForgettingSync),
    How::FullMidway(40),
    How::DiskFull,
    How::DiskNearlyFull,
];

/// More than a run ever writes.
pub(super) const ROOM: u64 = 1 << 30;

/// What puts leave free where that is the matter, in bytes.
const RESERVE: u64 = 64 << 10;

/// The operation that went wrong first, once one has.
pub(super) type Broken = Arc<Mutex<Option<Op>>>;

impl How {
    /// Breaks the first operation from number `at` on that can go wrong so, and notes it. Nothing
    /// works while the process is dead, and that counts for nothing.
    pub(super) fn plan(
        self,
        at: u64,
        disk: &MemFs,
        death: &DeathSwitch,
        broken: &Broken,
    ) -> impl FnMut(&Op) -> Option<Fault> + Send + 'static {
        let (disk, death, broken) = (disk.clone(), death.clone(), Arc::clone(broken));
        move |op| {
            if death.is_dead() {
                return Some(Fault::Eio);
            }
            if op.index < at {
                return None;
            }
            let mut broken = broken.lock().expect("nobody panics with it");
            match (&*broken, self) {
                (None, _) if self.applies_to(op) => {
                    *broken = Some(op.clone());
                    self.begin(&disk)
                }
                (Some(_), How::Sticky(fault)) => makes_sense(fault, op).then_some(fault),
                (Some(first), How::FullMidway(len)) => {
                    is_rest(op, first, len).then_some(Fault::Enospc)
                }
                _ => None,
            }
        }
    }

    /// What happens at the first operation that goes wrong.
    fn begin(self, disk: &MemFs) -> Option<Fault> {
        match self {
            How::Once(fault) | How::Sticky(fault) => Some(fault),
            How::FullMidway(len) => Some(Fault::Short(len)),
            How::DiskFull => {
                disk.set_capacity(0);
                None
            }
            How::DiskNearlyFull => {
                let Space { free, total } = disk.space("/".as_ref()).expect("there is a root");
                disk.set_capacity(total - free + RESERVE / 2);
                None
            }
        }
    }

    /// Whether this operation can be the first that goes wrong.
    pub(super) fn applies_to(self, op: &Op) -> bool {
        match self {
            How::Once(fault) => fault.applies_to(op),
            How::Sticky(fault) => fault.applies_to(op) && makes_sense(fault, op),
            How::FullMidway(len) => op.kind == OpKind::Write && Fault::Short(len).applies_to(op),
            How::DiskFull | How::DiskNearlyFull => grows(op),
        }
    }

    /// What the store is asked to leave free: nothing, so that it meets the end of the disk, or some.
    pub(super) fn disk_reserve(self) -> Option<u64> {
        Some(if self == How::DiskNearlyFull { RESERVE } else { 0 })
    }

    /// Whether the caller must not notice at all: the seam tries again.
    pub(super) fn is_hidden(self, kind: OpKind) -> bool {
        let is_transfer = matches!(kind, OpKind::Read | OpKind::Write);
        match self {
            How::Once(Fault::Short(_)) | How::Sticky(Fault::Short(_)) => true,
            How::Once(Fault::Eintr) => is_transfer,
            _ => false,
        }
    }

    /// Whether reads go on as if nothing had happened.
    pub(super) fn spares_reads(self) -> bool {
        match self {
            How::FullMidway(_) | How::DiskFull | How::DiskNearlyFull => true,
            How::Sticky(Fault::Enospc) => true,
            How::Once(fault) | How::Sticky(fault) => {
                matches!(fault, Fault::Short(_) | Fault::Torn(_) | Fault::ForgettingSync)
            }
        }
    }
}

/// A full disk refuses what needs room, and nothing else. A transfer that a signal interrupts every
/// time would be tried for ever.
fn makes_sense(fault: Fault, op: &Op) -> bool {
    match fault {
        Fault::Enospc => matches!(
            op.kind,
            OpKind::Write
                | OpKind::Allocate
                | OpKind::Create
                | OpKind::CreateDir
                | OpKind::Rename
                | OpKind::Link
        ),
        Fault::Eintr => !matches!(op.kind, OpKind::Read | OpKind::Write),
        _ => true,
    }
}

/// Whether an operation is what a write of `len` bytes has left of the one that was asked for.
fn is_rest(op: &Op, first: &Op, len: usize) -> bool {
    let offset = first.offset + len as u64;
    op.kind == OpKind::Write && op.path == first.path && op.offset == offset
}

/// Whether a file becomes longer. Log segments have their length from the beginning.
fn grows(op: &Op) -> bool {
    match op.kind {
        OpKind::Allocate => true,
        OpKind::Write => !matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_))),
        _ => false,
    }
}
