//! What a run did, over all of its opens.

use lsm_engine::Metrics;

use super::driver::Driver;

/// What a run did, over all of its opens.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Figures {
    /// Operations, but for those that found nothing that they could do.
    pub(crate) ops: u64,
    /// Those.
    pub(crate) idle: u64,
    pub(crate) flushes: u64,
    pub(crate) compactions: u64,
    /// The most levels that held tables at once, in one keyspace.
    pub(crate) levels: usize,
    pub(crate) reopens: u64,
    /// Power losses, process deaths among them.
    pub(crate) crashes: u64,
    /// Commits that a power loss took, and that were written again.
    pub(crate) lost: u64,
    /// The most generations that waited for their flush at once.
    pub(crate) sealed: usize,
    /// Cursors that went the other way from an entry to an entry.
    pub(crate) turns: u64,
    /// Cursors that were first read from long after they were made.
    pub(crate) woken: u64,
    /// Reads without the disk that had an answer.
    pub(crate) resident: u64,
    /// Asynchronous writes that were queued before another was waited for.
    pub(crate) in_flight: u64,
    /// Outcomes that were asked for when much had happened since.
    pub(crate) late: u64,
    pub(crate) checkpoints: u64,
    pub(crate) repairs: u64,
    /// Closes after which the listener had heard all that counts.
    pub(crate) heard: u64,
    /// Writes that were refused because they would have had to wait.
    pub(crate) busy: u64,
    /// Sizes that were asked for while no table came or went.
    pub(crate) sizes: u64,
    /// Calls that told how far they were, and had told all at their end.
    pub(crate) told: u64,
}

impl Figures {
    /// Takes those of another run in.
    pub(crate) fn add(&mut self, other: Figures) {
        self.ops += other.ops;
        self.idle += other.idle;
        self.flushes += other.flushes;
        self.compactions += other.compactions;
        self.levels = self.levels.max(other.levels);
        self.reopens += other.reopens;
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.sealed = self.sealed.max(other.sealed);
        self.turns += other.turns;
        self.woken += other.woken;
        self.resident += other.resident;
        self.in_flight += other.in_flight;
        self.late += other.late;
        self.checkpoints += other.checkpoints;
        self.repairs += other.repairs;
        self.heard += other.heard;
        self.busy += other.busy;
        self.sizes += other.sizes;
        self.told += other.told;
    }
}

impl Driver {
    pub(super) fn add_figures(&mut self, metrics: &Metrics) {
        self.figures.flushes += metrics.flushes;
        self.figures.compactions += metrics.compactions;
    }
}
