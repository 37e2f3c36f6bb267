//! Closing: everything into tables, an end to the log, and the lock released.

use lsm_compaction::VersionEdit;

use crate::error::Result;
use crate::health::Health;
use crate::inner::Inner;
use crate::recovery::position;

impl Inner {
    /// Flushes, ends the log, and refuses every call from now on. Closing twice does nothing.
    pub(crate) fn close(&self) -> Result<()> {
        let mut lock = self.lock.lock();
        let Some(held) = lock.take() else { return Ok(()) };
        let flushed = match self.health.get() {
            Health::Running => self.flush(),
            _ => Ok(()),
        };
        let before = self.health.close();
        self.background.stop();
        // Whoever was ahead of the close comes to an end: first those who work on files, then a
        // leader, who holds the commit lock. Nothing is written from here on.
        drop(self.calls.write());
        if let Some(side) = &self.write_side {
            side.commit.stop(self);
            self.background.join_attendants();
        }
        let is_all_flushed = self.is_all_flushed();
        let ended = match (&flushed, before) {
            // A writer ahead of the close may have written since the flush: then the log has no
            // end, and the next open replays it.
            (Ok(()), Health::Running) if is_all_flushed => self.end_log(),
            _ => Ok(()),
        };
        drop(held);
        flushed.and(ended)
    }

    fn is_all_flushed(&self) -> bool {
        self.write_side.as_ref().is_none_or(|side| side.commit.is_active_empty())
            && self.super_versions.load().sealed.is_empty()
    }

    fn end_log(&self) -> Result<()> {
        let end = self.wal().close()?;
        let edit = VersionEdit { clean_close: Some(position(end)), ..VersionEdit::default() };
        self.install_edit(edit)?;
        // The last that is unlinked: what the keeper had not come to.
        self.obsolete.remove(self)?;
        Ok(())
    }
}
