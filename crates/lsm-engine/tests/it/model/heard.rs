//! What the listener hears of one life of the store, against what its metrics count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lsm_engine::{Event, EventListener, Metrics};

/// Of stalls no more than so many may wait to be told.
const MAX_UNTOLD_STALLS: u64 = 1_000;

/// What was heard since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    flushes: AtomicU64,
    flush_bytes: AtomicU64,
    compactions: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    stalls: AtomicU64,
    stall_nanos: AtomicU64,
    /// What is not to happen.
    other: Mutex<Option<Event>>,
}

impl Heard {
    /// The listener that notes it.
    pub(crate) fn listener(self: &Arc<Self>) -> impl EventListener + use<> {
        let heard = Arc::clone(self);
        move |event: &Event| heard.note(event)
    }

    fn note(&self, event: &Event) {
        let add = |counter: &AtomicU64, more: u64| {
            counter.fetch_add(more, Ordering::SeqCst);
        };
        match event {
            Event::Flushed { bytes, .. } => {
                add(&self.flush_bytes, *bytes);
                add(&self.flushes, 1);
            }
            Event::Compacted { read, written, .. } => {
                add(&self.read_bytes, *read);
                add(&self.written_bytes, *written);
                add(&self.compactions, 1);
            }
            Event::Stalled { took } => {
                add(&self.stall_nanos, took.as_nanos() as u64);
                add(&self.stalls, 1);
            }
            event => {
                self.other.lock().unwrap().get_or_insert_with(|| event.clone());
            }
        }
    }

    fn counts(&self) -> [(&'static str, u64); 7] {
        assert!(self.other.lock().unwrap().is_none(), "{:?}", self.other);
        let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        [
            ("flushes", load(&self.flushes)),
            ("bytes of flushes", load(&self.flush_bytes)),
            ("compactions", load(&self.compactions)),
            ("bytes read", load(&self.read_bytes)),
            ("bytes written", load(&self.written_bytes)),
            ("stalls", load(&self.stalls)),
            ("time of stalls", load(&self.stall_nanos)),
        ]
    }

    /// Nothing was heard that does not count. `metrics` is asked after what was heard.
    pub(crate) fn assert_counted(&self, metrics: impl FnOnce() -> Metrics) {
        let heard = self.counts();
        for ((what, heard), counted) in heard.into_iter().zip(counted(&metrics())) {
            assert!(heard <= counted, "{what}: {heard} were heard, {counted} count");
        }
    }

    /// Everything that counts was heard. These are the metrics of a store that was closed.
    pub(crate) fn assert_told(&self, metrics: &Metrics) {
        let all_stalls = metrics.stall_nanos.count() <= MAX_UNTOLD_STALLS;
        for ((what, heard), counted) in self.counts().into_iter().zip(counted(metrics)) {
            let is_whole = all_stalls || !what.contains("stalls");
            assert!(heard == counted || !is_whole, "{what}: {heard} were heard, {counted} count");
        }
    }
}

/// In the order of [`Heard::counts`].
fn counted(metrics: &Metrics) -> [u64; 7] {
    [
        metrics.flushes,
        metrics.flush_bytes,
        metrics.compactions,
        metrics.compaction_read_bytes,
        metrics.compaction_written_bytes,
        metrics.stall_nanos.count(),
        metrics.stall_nanos.sum(),
    ]
}
