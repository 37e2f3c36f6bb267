//! That no file is synced or appended to after that failed once.
//!
//! A file is who bears its name since the last create: what could not be written as a whole may be
//! removed and made anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lsm_base::FileName;
use lsm_base::fs::{Fault, Op, OpKind};

/// Fails if an operation of the trace touches what must not be touched any more.
pub(super) fn check_untouched(trace: &[Op]) {
    let touched = first_touched(trace);
    assert!(touched.is_none(), "{} after it failed", touched.expect("one"));
}

fn first_touched(trace: &[Op]) -> Option<&Op> {
    let mut failed: BTreeSet<&Arc<Path>> = BTreeSet::new();
    trace.iter().find(|op| {
        if op.kind == OpKind::Create && op.fault.is_none() {
            failed.remove(&op.path);
        }
        let is_append = op.kind == OpKind::Write && is_log(op);
        if !op.kind.is_sync() && !is_append {
            return false;
        }
        let is_touched = failed.contains(&op.path);
        let is_failure = match op.fault {
            Some(Fault::Eio | Fault::EioAfter | Fault::Torn(_) | Fault::ForgettingSync) => true,
            Some(Fault::Enospc | Fault::Eintr) => op.kind.is_sync(),
            _ => false,
        };
        if is_failure {
            failed.insert(&op.path);
        }
        is_touched
    })
}

fn is_log(op: &Op) -> bool {
    matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_) | FileName::Manifest(_)))
}

#[cfg(test)]
mod tests {
    use lsm_base::Fs;

    use super::*;
    use crate::harness;

    /// The trace of a log file whose `nth` operation of this kind fails, and which is written and
    /// synced again, or made anew before that.
    fn trace(nth: u64, fault: Fault, is_made_anew: bool) -> Vec<Op> {
        let (_, fs) = harness::disk();
        let path = FileName::LogTemp(1).path("/".as_ref());
        let file = fs.create(&path).unwrap();
        let next = fs.next_index();
        fs.fail_at(next + nth, fault);
        file.write_all_at(&[1; 80], 0).and_then(|()| file.sync_all()).unwrap_err();
        let file = if is_made_anew {
            fs.remove(&path).unwrap();
            fs.create(&path).unwrap()
        } else {
            file
        };
        file.write_all_at(&[1; 80], 0).unwrap();
        file.sync_all().unwrap();
        fs.trace()
    }

    #[test]
    fn what_failed_and_is_used_again_is_found_and_what_was_made_anew_is_not() {
        for (nth, fault) in [(0, Fault::Torn(40)), (0, Fault::Eio), (1, Fault::Eio)] {
            assert!(first_touched(&trace(nth, fault, false)).is_some(), "{nth}, {fault:?}");
        }
        // A write that the disk had no space for may be tried again, a sync may not.
        assert!(first_touched(&trace(0, Fault::Enospc, false)).is_none());
        assert!(first_touched(&trace(1, Fault::Enospc, false)).is_some());
        for (nth, fault) in [(0, Fault::Torn(40)), (0, Fault::Enospc), (1, Fault::Eio)] {
            assert!(first_touched(&trace(nth, fault, true)).is_none(), "{nth}, {fault:?}");
        }
    }
}
