//! A history that is kept in a file if the test fails, whoever fails: the checker, or a client that
//! is told what no server says.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, thread};

use super::history::History;

/// A history, and where it goes when this is dropped by a panic.
pub(super) struct Kept {
    history: Mutex<History>,
    file: PathBuf,
}

impl Kept {
    pub(super) fn in_file(file: PathBuf) -> Kept {
        Kept { history: Mutex::default(), file }
    }

    /// For the clients.
    pub(super) fn shared(&self) -> &Mutex<History> {
        &self.history
    }

    /// What there is, whether or not a client panicked as it added to it.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        // A second panic would end the process, and hide the first.
        match fs::write(&self.file, self.history().text()) {
            Ok(()) => eprintln!("the history is in {}", self.file.display()),
            Err(error) => eprintln!("{}: {error}", self.file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::register::{Answer, Ask};
    use super::*;

    /// What two clients of a history asked and were told before one of them panicked, or nobody.
    fn left_by(fails: fn(&mut History)) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.txt");
        let kept = Kept::in_file(file.clone());
        let _ = catch_unwind(AssertUnwindSafe(move || {
            thread::scope(|scope| {
                let asks = || {
                    let mut history = kept.shared().lock().unwrap();
                    let operation = history.call(2, Ask::Get);
                    history.answer(operation, Answer::Missing { as_of: 7 });
                };
                scope.spawn(asks).join().unwrap();
                scope.spawn(|| fails(&mut kept.shared().lock().unwrap()));
            });
        }));
        fs::read_to_string(file).ok()
    }

    #[test]
    fn a_history_is_kept_if_a_client_panics_and_only_then() {
        let text = left_by(|history| {
            history.call(3, Ask::Get);
            panic!("a batch was torn");
        });
        let text = text.expect("it is in the file");
        assert!(text.contains("as_of: 7"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(left_by(|_| ()), None);
    }
}
