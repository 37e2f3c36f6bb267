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
        // Nothing is written from here on. A writer that was ahead of the close may have written
        // since the flush: then the log has no end, and the next open replays it.
        let ended = match (&flushed, before) {
            (Ok(()), Health::Running) => self.end_log(),
            _ => Ok(()),
        };
        drop(held);
        flushed.and(ended)
    }

    fn end_log(&self) -> Result<()> {
        if !self.commit().is_active_empty() || !self.super_versions.load().sealed.is_empty() {
            return Ok(());
        }
        let end = self.wal().close()?;
        let edit = VersionEdit { clean_close: Some(position(end)), ..VersionEdit::default() };
        self.install_edit(edit)
    }
}
