//! Closing: everything into tables, no log any more, and the lock released.
//!
//! What a close leaves is CURRENT, a MANIFEST and tables. The MANIFEST is begun anew: nothing but its
//! own bytes vouches for what it says, and an only record has to be whole, where a last one may be
//! the trace of a crash.
//!
//! Invariant: the log goes when what says that nothing of it is needed is on disk.

use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_compaction::VersionEdit;
use lsm_compaction::edit::LogFloor;
use lsm_wal::Lsn;

use crate::error::{Error, ErrorKind, Result};
use crate::health::Health;
use crate::inner::Inner;
use crate::open_tree::OpenVersion;
use crate::progress::Progress;
use crate::recovery::position;

impl Inner {
    /// Flushes, ends the log, and refuses every call from now on. Closing twice does nothing.
    ///
    /// # Errors
    /// What was acknowledged and may not survive a power loss, or why the store had stopped.
    pub(crate) fn close(&self) -> Result<()> {
        let mut lock = self.lock.lock();
        let Some(held) = lock.take() else { return Ok(()) };
        let flushed = match self.health.get() {
            Health::ReadOnly => Ok(()),
            _ => self.flush_all(&Progress::new()),
        };
        let before = self.health.close();
        self.background.stop();
        // Whoever was ahead of the close comes to an end: first those who work on files, then a
        // leader, who holds the commit lock. Nothing is written from here on.
        drop(self.calls.write());
        if let Some(side) = &self.write_side {
            side.commit.stop(self);
            self.background.join_attendants();
            side.commit.stop_waking();
        }
        let ended = self.end(before, flushed.is_ok());
        self.let_go();
        drop(held);
        drop(lock);
        self.tell();
        // Why the store had stopped says more than what that made of the flush.
        ended.and(flushed)
    }

    /// Keeps no table open, and no memtable, for handles that outlive the close. Cursors that are open
    /// hold their own. Requires: calls that change something have ended.
    fn let_go(&self) {
        let state = Arc::clone(&self.super_versions.load().version.state);
        let mode = self.options.read_mode(&state);
        let version = OpenVersion::new(state, None, |meta| self.open_table(mode, meta));
        self.super_versions.let_go(Arc::new(version));
        self.obsolete.let_go();
    }

    /// Leaves the log as durable as what was acknowledged, and removes it if nothing is in it that is
    /// not in tables. `before` is what the state was before the close.
    fn end(&self, before: Health, is_flushed: bool) -> Result<()> {
        match before {
            Health::ReadOnly | Health::Closed => Ok(()),
            // Neither written nor synced any more; the next open decides.
            Health::Poisoned(cause) => Err(Error::poisoned(cause)),
            Health::Running | Health::LowSpace if is_flushed && self.is_all_flushed() => {
                self.remove_log()
            }
            // A writer ahead of the close may have written since the flush, or it failed: then the
            // next open replays the log.
            Health::Running | Health::LowSpace => self.sync_log(),
            Health::NoSpace => self.sync_log().and(Err(Error::no_space())),
        }
    }

    fn sync_log(&self) -> Result<()> {
        Ok(self.wal().sync(self.wal().appended_lsn())?)
    }

    fn is_all_flushed(&self) -> bool {
        self.write_side.as_ref().is_none_or(|side| side.commit.is_active_empty(self))
            && self.super_versions.load().sealed.is_empty()
    }

    fn remove_log(&self) -> Result<()> {
        let end = self.wal().retire()?;
        if plant::is_live(Plant::LogRemovedBeforeManifest) {
            self.wal().release(end.segment)?;
        }
        match self.disown_log(end) {
            // The tables hold everything all the same: the next open finds the log, and nothing new
            // in it.
            Err(error) if error.is_passing() || error.kind() == ErrorKind::NoSpace => return Ok(()),
            result => result?,
        }
        // The last that is unlinked: with the log, what the cleaner had not come to. What cannot be is
        // left to the next open: it is in nobody's way, and says nothing of what is on disk.
        let _ = self.obsolete.remove(self);
        let _ = self.wal().release(end.segment);
        Ok(())
    }

    /// Begins a MANIFEST that says that nothing is needed of the log, of which no segment is at `end`
    /// or behind it.
    fn disown_log(&self, end: Lsn) -> Result<()> {
        let mut current = self.lock_decided(&[])?;
        let LogFloor { highest_segment, .. } = current.state().log_floor;
        // One that was named may not have come into use.
        let next = Lsn::new(end.segment.max(highest_segment + 1), end.offset);
        let edit = VersionEdit {
            clean_close: Some(position(next)),
            log_floor: Some(LogFloor {
                first_segment: next.segment,
                synced: position(self.wal().synced_lsn()),
                highest_segment: next.segment - 1,
            }),
            ..VersionEdit::default()
        };
        self.versions.log_anew(self, &mut current, edit.into())
    }
}
