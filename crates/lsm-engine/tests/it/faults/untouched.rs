//! That no file is synced or appended to after that failed once.
//!
//! What could not be written as a whole may be removed and made anew: then its name is another file's. A
//! create alone does not make it so, for it fails where there is a file.

use std::collections::BTreeMap;
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
    // Whether each has been removed since.
    let mut failed: BTreeMap<&Arc<Path>, bool> = BTreeMap::new();
    trace.iter().find(|op| {
        match op.kind {
            OpKind::Remove if op.fault.is_none() => {
                failed.entry(&op.path).and_modify(|is_removed| *is_removed = true);
            }
            OpKind::Create if op.fault.is_none() && failed.get(&op.path) == Some(&true) => {
                failed.remove(&op.path);
            }
            _ => {}
        }
        let is_append = op.kind == OpKind::Write && is_log(op);
        if !op.kind.is_sync() && !is_append {
            return false;
        }
        let is_touched = failed.contains_key(&op.path);
        let is_failure = match op.fault {
            Some(Fault::Eio | Fault::EioAfter | Fault::Torn(_) | Fault::ForgettingSync) => true,
            Some(Fault::Enospc | Fault::Eintr) => op.kind.is_sync(),
            _ => false,
        };
        if is_failure {
            failed.insert(&op.path, false);
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
            let anew = trace(nth, fault, true);
            assert!(first_touched(&anew).is_none(), "{nth}, {fault:?}");
            // Had it not been removed, no create could have succeeded.
            let kept: Vec<_> = anew.into_iter().filter(|op| op.kind != OpKind::Remove).collect();
            assert_eq!(first_touched(&kept).is_some(), fault != Fault::Enospc, "{nth}, {fault:?}");
        }
    }
}
