//! Bars on stderr for work that takes a while; nothing where stderr is no terminal.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use lsm_engine::Progress as Told;

/// How often a bar that nothing moves shows that it is alive, and work is asked how far it is.
const TICK: Duration = Duration::from_millis(120);

const OF_BYTES: &str = "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left, {msg}";

/// The length of a bar that is told parts of a whole.
const WHOLE: u64 = 10_000;

/// A bar.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For the bytes of an input; without its length there is no remaining time.
    pub(crate) fn of_bytes(len: Option<u64>) -> Progress {
        match len {
            Some(len) => Progress::styled(ProgressBar::new(len), OF_BYTES),
            None => Progress::styled(
                ProgressBar::new_spinner(),
                "{spinner} {bytes} {binary_bytes_per_sec}, {elapsed}, {msg}",
            ),
        }
    }

    /// For about so many items, if that is known.
    pub(crate) fn of_items(estimate: Option<u64>) -> Progress {
        match estimate {
            Some(count) => Progress::styled(
                ProgressBar::new(count),
                "{bar:30} {human_pos} of about {human_len}, {per_sec}, {eta} left",
            ),
            None => Progress::styled(
                ProgressBar::new_spinner(),
                "{spinner} {human_pos} items, {per_sec}, {elapsed}",
            ),
        }
    }

    /// For work of which it is not known yet how much there is.
    pub(crate) fn of_work(what: &'static str) -> Progress {
        let progress = Progress::styled(ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}");
        progress.bar.set_message(what);
        progress.bar.enable_steady_tick(TICK);
        progress
    }

    fn styled(bar: ProgressBar, template: &str) -> Progress {
        bar.set_style(style(template));
        Progress { bar }
    }

    /// So many bytes are to be done.
    pub(crate) fn begin_bytes(&self, total: u64) {
        self.bar.set_style(style(OF_BYTES));
        self.bar.set_length(total);
    }

    /// Runs work that tells how far it is, and shows that meanwhile.
    pub(crate) fn follow<T>(&self, told: &Told, work: impl FnOnce() -> T) -> T {
        self.begin_bytes(0);
        let (working, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    self.bar.set_length(told.total_bytes());
                    self.bar.set_position(told.done_bytes());
                }
            });
            let result = work();
            drop(working);
            result
        })
    }

    /// Tells what part of the work is done, 0 to 1.
    pub(crate) fn set_part(&self, part: f64) {
        if self.bar.length() != Some(WHOLE) {
            self.bar.set_style(style("{bar:30} {percent}%, {elapsed}, {eta} left, {msg}"));
            self.bar.set_length(WHOLE);
        }
        self.bar.set_position((part * WHOLE as f64) as u64);
    }

    /// Tells how far the work is.
    pub(crate) fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Tells how far it is, and how many items that is.
    pub(crate) fn set_with_items(&self, position: u64, items: u64) {
        self.bar.set_position(position);
        self.bar.set_message(format!("{} items", HumanCount(items)));
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well-formed")
}

impl Drop for Progress {
    fn drop(&mut self) {
        // A clone in another hand has done so already, or has nothing left to show.
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lsm_base::fs::{Fs, MemFs};
    use lsm_engine::{Db, Durability, WriteOptions};

    use super::*;

    #[test]
    fn a_bar_follows_what_the_store_tells() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let db = Db::builder("db").fs(fs).open().unwrap();
        db.put_with("key", [7; 300], &WriteOptions::durability(Durability::Buffered)).unwrap();
        let (progress, told) = (Progress::of_work("flushing"), Told::new());
        progress.follow(&told, || {
            db.flush_with(&told).unwrap();
            // The bar is moved beside this.
            while progress.bar.position() != told.total_bytes() || told.total_bytes() == 0 {
                thread::yield_now();
            }
        });
        assert_eq!(progress.bar.length(), Some(told.total_bytes()));
    }

    #[test]
    fn a_part_is_shown_of_a_whole() {
        let progress = Progress::of_work("compacting");
        for (part, position) in [(0.0, 0), (0.4375, 4_375), (1.0, 10_000)] {
            progress.set_part(part);
            assert_eq!((progress.bar.position(), progress.bar.length()), (position, Some(WHOLE)));
        }
    }
}
