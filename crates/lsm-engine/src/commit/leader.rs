//! What a leader does: groups are formed, logged with one write, applied and handed over.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use lsm_base::plant::{self, Plant};
use lsm_wal::Lsn;

use super::check::Verdict;
use super::handover::{Duty, Handover, Need, Pace};
use super::request::{Outcome, Request};
use super::state::CommitState;
use crate::error::{Error, Result};
use crate::inner::Inner;

/// A leader gives the lock back after this many bytes of log, so that others get their turn.
const MAX_LEAD_BYTES: u64 = 1 << 20;

/// What a leader takes that may not keep its thread for long, in bytes of log.
const MAX_MOMENT_BYTES: u64 = 64 << 10;

impl Pace {
    /// Whether a request of this many bytes of log is taken after so many.
    pub(super) fn takes(self, led_bytes: u64, log_len: u64) -> bool {
        match self {
            Pace::Whole => led_bytes < MAX_LEAD_BYTES,
            Pace::Moment => led_bytes + log_len <= MAX_MOMENT_BYTES,
        }
    }
}

impl Duty for Inner {
    type State = CommitState;

    fn lead(&self, handover: &Handover<CommitState>, state: &mut CommitState, pace: Pace) -> Need {
        let mut led_bytes = 0;
        while let Some(request) = handover.pop_if(|next| pace.takes(led_bytes, next.log_len())) {
            let (log_len, arena_bound) = (request.log_len(), request.arena_bound);
            led_bytes += log_len;
            if request.take_needs_room() {
                self.background.changed();
            }
            if let Err(error) = self.check_takes(request.batch()) {
                request.answer(Outcome::Answered(Err(error)));
                continue;
            }
            let has_room = state.has_room(self, log_len, arena_bound);
            // For a condition the memtables must hold what earlier members of the group write.
            let is_next = request.check.is_none() || state.is_group_empty();
            if has_room && is_next {
                self.stage(state, request);
                continue;
            }
            // Back to where it stood while the disk is written: if that panics, it is answered with
            // all that are queued.
            handover.put_back(Arc::clone(&request));
            led_bytes -= log_len;
            self.commit_group(handover, state);
            if !has_room && !state.rotate(self, log_len, arena_bound) {
                request.set_needs_room();
                return Need::Room;
            }
        }
        self.commit_group(handover, state);
        if self.wal().take_writeback_request() {
            // For the keeper: whoever asks for it may wait for a busy disk.
            self.background.changed();
        }
        Need::Nothing
    }

    fn sync_log(&self) -> Result<Lsn, lsm_base::Error> {
        let wal = self.wal();
        let started = Instant::now();
        let result = wal.sync(wal.appended_lsn()).map(|()| wal.synced_lsn());
        self.metrics.wal_sync_nanos.record(started.elapsed().as_nanos() as u64);
        if let Err(error) = &result {
            self.poison(error);
        }
        result
    }

    fn make_room(&self, request: &Request) -> Result<()> {
        // Another leader may find room for it: then there may be other work for its owner.
        let (log_len, has_puts) = (request.log_len(), request.batch().has_puts());
        self.make_room(log_len, has_puts, request.deadline(), || request.needs_room())
    }

    fn give_up(&self) -> lsm_base::Error {
        self.give_up()
    }
}

impl Inner {
    /// Makes a request part of the group, or answers it.
    ///
    /// Requires: if there is a condition, the group is empty.
    fn stage(&self, state: &mut CommitState, request: Arc<Request>) {
        if request.keyspaces().any(|keyspace| !state.keyspaces.contains(&keyspace)) {
            request.answer(Outcome::Answered(Err(Error::keyspace_dropped())));
            return;
        }
        if let Some(check) = &request.check {
            match check.verdict(self) {
                Verdict::Holds => {}
                Verdict::ReadAgain => {
                    request.answer(Outcome::ReadAgain);
                    return;
                }
                Verdict::Conflict(current) => request.refuse(Error::conflict(current)),
            }
        }
        state.push(request);
    }

    /// Logs the group, applies it to the memtables, and hands it over for publication.
    fn commit_group(&self, handover: &Handover<CommitState>, state: &mut CommitState) {
        let group = state.take_group();
        if group.is_empty() {
            return;
        }
        // Writes may have stopped since; and what a leader that panicked left of its group must not
        // reach the log.
        if let Err(error) = self.check_writable() {
            let answer = || Outcome::Answered(Err(error.clone()));
            group.iter().for_each(|request| request.answer(answer()));
            return;
        }
        self.metrics.write_group_size.record(group.len() as u64);
        let publication = &handover.publication;
        let applied = panic::catch_unwind(AssertUnwindSafe(|| state.log_and_apply(self, &group)));
        let applied = applied.unwrap_or_else(|panicked| {
            let error = self.give_up();
            group.iter().for_each(|request| request.fail(&error));
            panic::resume_unwind(panicked)
        });
        match applied {
            Ok(()) => publication.push(group, self.wal().synced_lsn()),
            // The log's end is known: what stands before the group is whole, and a new segment
            // will name it. Only what the group would have written is lost.
            Err(error) if error.is_no_space() && !plant::is_live(Plant::FullDiskPoisons) => {
                self.report_no_space(&error);
                let (lost, rest): (Vec<_>, Vec<_>) =
                    group.into_iter().partition(|request| request.accepted_batch().is_some());
                lost.iter().for_each(|request| request.fail(&error));
                rest.iter().for_each(|request| request.set_end(self.wal().appended_lsn()));
                publication.push(rest, self.wal().synced_lsn());
            }
            Err(error) => {
                self.poison(&error);
                publication.fail(&error);
                group.iter().for_each(|request| request.fail(&error));
            }
        }
    }
}
