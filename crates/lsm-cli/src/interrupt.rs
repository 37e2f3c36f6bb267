//! Ctrl-C: what is in the middle of something is brought to a good end first.
//!
//! A thread waits for the signal. It runs what the command at work has left for this case, and ends
//! the program with 130, so that a read from a terminal or a pipe that never returns does not keep
//! the program alive. A second Ctrl-C does not wait.

use std::process;
use std::sync::{Mutex, PoisonError};
use std::thread;

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::exit::{Failure, Outcome, Status, say};

/// What to do before the end, and what to say then.
type LastAct = Box<dyn FnOnce() -> String + Send>;

static LAST_ACT: Mutex<Option<LastAct>> = Mutex::new(None);

/// Begins to watch for the signal.
pub(crate) fn watch() -> Outcome {
    let failed = |error| Failure::error(format!("cannot watch for Ctrl-C: {error}"));
    let mut signals = Signals::new([SIGINT]).map_err(failed)?;
    let begun = thread::Builder::new().name("interrupt".into()).spawn(move || {
        for _ in signals.forever() {
            // The end may take a while; a second signal comes to this loop and does not wait.
            let Some(act) = take() else { process::exit(Status::Interrupted as i32) };
            thread::spawn(move || {
                say(&act());
                process::exit(Status::Interrupted as i32);
            });
        }
    });
    begun.map(drop).map_err(failed)
}

/// Leaves what is to be done before the end.
pub(crate) fn set_last_act(act: impl FnOnce() -> String + Send + 'static) {
    *LAST_ACT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(act));
}

/// Takes back what was left; `None` if it is being done.
fn take() -> Option<LastAct> {
    LAST_ACT.lock().unwrap_or_else(PoisonError::into_inner).take()
}
