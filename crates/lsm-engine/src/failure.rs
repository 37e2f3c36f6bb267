//! What a failed file operation means for the store.

use std::io;

use crate::error::Error;
use crate::inner::Inner;
use crate::manifest::is_sync;

impl Inner {
    /// What a failure to append to the log means for the store.
    pub(crate) fn note_append_error(&self, error: &lsm_base::Error) {
        if error.is_no_space() && !is_sync(error) {
            self.report_no_space(error);
        } else {
            self.poison(error);
        }
    }

    /// What a failure to write or sync a file means for the store.
    pub(crate) fn note_write_error(&self, error: lsm_base::Error) -> Error {
        if error.is_no_space() && !is_sync(&error) {
            self.report_no_space(&error);
        } else if is_write_failure(&error) {
            self.poison(&error);
        }
        error.into()
    }
}

/// Whether a file could not be written, synced, created or renamed, so that what is on disk is in
/// doubt: not a read, and not what another try may do.
fn is_write_failure(error: &lsm_base::Error) -> bool {
    const READS: [&str; 7] =
        ["read", "open", "map", "list", "look up", "measure", "measure the free space of"];
    match error {
        lsm_base::Error::Io { op, .. } => !READS.contains(op) && !is_passing(error),
        _ => false,
    }
}

/// Whether nothing was done for a reason that passes: the process, or the system, is out of
/// descriptors, or a signal came. A sync has failed whatever the reason.
pub(crate) fn is_passing(error: &lsm_base::Error) -> bool {
    match error {
        lsm_base::Error::Io { source, .. } if !is_sync(error) => {
            source.kind() == io::ErrorKind::Interrupted
                || matches!(source.raw_os_error(), Some(EMFILE | ENFILE))
        }
        _ => false,
    }
}

const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_base::fs::OpKind;
    use std::path::Path;

    fn failure(op: &'static str, errno: i32) -> lsm_base::Error {
        lsm_base::Error::io(op, Path::new("file"), io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn only_what_leaves_the_disk_in_doubt_is_a_write_failure() {
        let writes = [
            OpKind::CreateDir,
            OpKind::Create,
            OpKind::Rename,
            OpKind::Link,
            OpKind::Remove,
            OpKind::SyncDir,
            OpKind::Lock,
            OpKind::Write,
            OpKind::Allocate,
            OpKind::SyncData,
            OpKind::SyncAll,
            OpKind::StartWriteback,
        ];
        let reads = [
            OpKind::Open,
            OpKind::OpenWritable,
            OpKind::List,
            OpKind::Exists,
            OpKind::FreeSpace,
            OpKind::Read,
            OpKind::Len,
        ];
        const EINTR: i32 = 4;
        const EIO: i32 = 5;
        const ENOMEM: i32 = 12;
        for kind in writes {
            assert!(is_write_failure(&failure(kind.verb(), EIO)), "{kind:?}");
            for errno in [EMFILE, EINTR] {
                let is_failure = is_write_failure(&failure(kind.verb(), errno));
                assert_eq!(is_failure, kind.is_sync(), "{kind:?}");
            }
        }
        for kind in reads {
            assert!(!is_write_failure(&failure(kind.verb(), EIO)), "{kind:?}");
        }
        // The verb of a table that is mapped.
        assert!(!is_write_failure(&failure("map", ENOMEM)));
    }

    #[test]
    fn what_another_try_may_do_is_passing() {
        const EINTR: i32 = 4;
        const EIO: i32 = 5;
        for errno in [EMFILE, ENFILE, EINTR] {
            assert!(is_passing(&failure("write", errno)), "{errno}");
            assert!(!is_passing(&failure(OpKind::SyncData.verb(), errno)), "{errno}");
        }
        assert!(!is_passing(&failure("write", EIO)));
    }
}
