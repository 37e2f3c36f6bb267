//! Bars on stderr for work that takes a while; nothing where stderr is no terminal.

use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// How often a bar that nothing moves shows that it is alive.
const TICK: Duration = Duration::from_millis(120);

/// A bar.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For the bytes of an input; without its length there is no remaining time.
    pub(crate) fn of_bytes(len: Option<u64>) -> Progress {
        match len {
            Some(len) => Progress::styled(
                ProgressBar::new(len),
                "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left, {msg}",
            ),
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

    /// For work that does not tell how far it is.
    pub(crate) fn of_work(what: &'static str) -> Progress {
        let progress = Progress::styled(ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}");
        progress.bar.set_message(what);
        progress.bar.enable_steady_tick(TICK);
        progress
    }

    fn styled(bar: ProgressBar, template: &str) -> Progress {
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.expect("the templates above are well-formed"));
        Progress { bar }
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

impl Drop for Progress {
    fn drop(&mut self) {
        // A clone in another hand has done so already, or has nothing left to show.
        self.clear();
    }
}
