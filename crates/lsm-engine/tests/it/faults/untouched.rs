//! That a process leaves alone what failed: after a failed sync or write it neither writes nor syncs
//! that file again, nor gives it another name; after a failed sync of a directory it never syncs that
//! one again.
//!
//! - A log segment that had no space for a record is synced all the same, up to the record before.
//! - A log segment is written by one thread while another syncs it, so that with threads either may
//!   have begun before the other failed: then a failed sync forbids syncs only, and a failed write writes.
//! - What could not be written as a whole may be removed and made anew: then its name is another file's.
//!   A create alone does not make it so, for it fails where there is a file.
//! - A short transfer, and a write that a signal interrupts, have not failed: the seam goes on with them.
//!
//! A segment is known by the name under which it was made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lsm_base::FileName;
use lsm_base::fs::{Fault, Op, OpKind};

/// Fails if an operation of the trace touches what must not be touched any more. It is the trace of
/// one process, with so many background threads.
pub(super) fn check_untouched(trace: &[Op], threads: usize) {
    let touched = first_touched(trace, threads);
    assert!(touched.is_none(), "{} after it failed", touched.expect("one"));
}

/// What must not be done any more to a file or a directory.
#[derive(Clone, Copy, Default)]
struct Forbidden {
    writes: bool,
    syncs: bool,
    /// Until it is made anew, which it may be.
    is_removed: bool,
}

impl Forbidden {
    fn forbids(self, op: &Op) -> bool {
        match op.kind {
            OpKind::Write => self.writes,
            OpKind::Rename => self.writes || self.syncs,
            kind => kind.is_sync() && self.syncs,
        }
    }

    /// Notes an operation that failed.
    fn note_failure(&mut self, op: &Op, threads: usize) {
        let is_log = matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_)));
        let is_apart = is_log && 0 < threads;
        if op.kind.is_sync() {
            self.syncs = true;
            self.writes |= !is_apart;
        } else {
            self.writes = true;
            self.syncs |= !(is_apart || is_log && op.fault == Some(Fault::Enospc));
        }
    }
}

fn first_touched(trace: &[Op], threads: usize) -> Option<&Op> {
    let mut failed: BTreeMap<&Arc<Path>, Forbidden> = BTreeMap::new();
    trace.iter().find(|op| {
        match (op.kind, op.fault) {
            (OpKind::Remove, None | Some(Fault::EioAfter)) => {
                failed.entry(&op.path).and_modify(|forbidden| forbidden.is_removed = true);
            }
            (OpKind::Create, None) if failed.get(&op.path).is_some_and(|it| it.is_removed) => {
                failed.remove(&op.path);
            }
            _ => {}
        }
        let is_touched = failed.get(&op.path).is_some_and(|forbidden| forbidden.forbids(op));
        if is_failure(op) {
            failed.entry(&op.path).or_default().note_failure(op, threads);
        }
        is_touched
    })
}

/// Whether it is a write or a sync that failed.
fn is_failure(op: &Op) -> bool {
    match op.fault {
        Some(Fault::Eio | Fault::EioAfter | Fault::Torn(_) | Fault::Enospc) => {
            op.kind == OpKind::Write || op.kind.is_sync()
        }
        Some(Fault::Eintr | Fault::ForgettingSync) => op.kind.is_sync(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use lsm_base::Fs;

    use super::*;
    use crate::harness;

    /// What is done to a file after it failed.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Then {
        Write,
        Sync,
        Rename,
        MakeAnew,
    }

    const FAILURES: [(u64, Fault); 5] = [
        (0, Fault::Torn(40)),
        (0, Fault::Eio),
        (0, Fault::Enospc),
        (1, Fault::Eio),
        (1, Fault::Enospc),
    ];

    /// The trace of a file that is written and synced, of which the `nth` operation fails, and what is
    /// done to it then.
    fn trace(name: FileName, (nth, fault): (u64, Fault), then: Then) -> Vec<Op> {
        let (_, fs) = harness::disk();
        let path = name.path("/".as_ref());
        let file = fs.create(&path).unwrap();
        fs.fail_at(fs.next_index() + nth, fault);
        file.write_all_at(&[1; 80], 0).and_then(|()| file.sync_all()).unwrap_err();
        match then {
            Then::Write => file.write_all_at(&[1; 80], 0).unwrap(),
            Then::Sync => file.sync_all().unwrap(),
            Then::Rename => fs.rename(&path, "/other".as_ref()).unwrap(),
            Then::MakeAnew => {
                fs.remove(&path).unwrap();
                let file = fs.create(&path).unwrap();
                file.write_all_at(&[1; 80], 0).and_then(|()| file.sync_all()).unwrap();
                fs.rename(&path, "/other".as_ref()).unwrap();
            }
        }
        fs.trace()
    }

    #[test]
    fn what_failed_and_is_used_again_is_found() {
        let names = [FileName::Table(1), FileName::Manifest(1), FileName::CurrentTemp];
        for name in names.into_iter().chain([FileName::LogTemp(1)]) {
            for (nth, fault) in FAILURES {
                for then in [Then::Write, Then::Sync, Then::Rename] {
                    let trace = trace(name, (nth, fault), then);
                    // A log that had no space for a record is synced up to the one before.
                    let is_spared = name == FileName::LogTemp(1)
                        && (nth, fault, then) == (0, Fault::Enospc, Then::Sync);
                    let is_found = first_touched(&trace, 0).is_some();
                    assert_eq!(is_found, !is_spared, "{name}, {nth}, {fault:?}, {then:?}");
                }
            }
        }
    }

    #[test]
    fn beside_threads_a_log_is_written_and_synced_by_two() {
        for (nth, fault) in FAILURES {
            for (then, of) in [(Then::Write, 0), (Then::Sync, 1)] {
                let log = trace(FileName::LogTemp(1), (nth, fault), then);
                assert_eq!(
                    first_touched(&log, 1).is_some(),
                    nth == of,
                    "{nth}, {fault:?}, {then:?}"
                );
                let table = trace(FileName::Table(1), (nth, fault), then);
                assert!(first_touched(&table, 1).is_some(), "{nth}, {fault:?}, {then:?}");
            }
        }
    }

    #[test]
    fn what_was_made_anew_is_another_file() {
        for failure in FAILURES {
            let anew = trace(FileName::LogTemp(1), failure, Then::MakeAnew);
            assert!(first_touched(&anew, 0).is_none(), "{failure:?}");
            // Had it not been removed, no create could have succeeded.
            let kept: Vec<_> = anew.into_iter().filter(|op| op.kind != OpKind::Remove).collect();
            assert!(first_touched(&kept, 0).is_some(), "{failure:?}");
        }
    }
}
