//! Ctrl-C: what is in the middle of something is brought to a good end first.
//!
//! A thread waits for the signal. It runs what the command at work has left for this case, and ends
//! the program with the failure that this gives, so that a read from a terminal or a pipe that never
//! returns does not keep the program alive. A second Ctrl-C does not wait.
//!
//! Invariant: one thread says how the program ends. Whoever has handed its work to the other one
//! waits in [`leave_the_end_to_the_other`].

use std::process;
use std::sync::{Mutex, PoisonError};
use std::thread;

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::exit::{Failure, Outcome, Status};

/// What to do before the end, and how to end then.
type LastAct = Box<dyn FnOnce() -> Failure + Send>;

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
                process::exit(act().report().into());
            });
        }
    });
    begun.map(drop).map_err(failed)
}

/// Leaves what is to be done before the end.
pub(crate) fn set_last_act(act: impl FnOnce() -> Failure + Send + 'static) {
    *LAST_ACT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(act));
}

/// Waits for the end of the program, which the other thread is about to bring.
pub(crate) fn leave_the_end_to_the_other() -> ! {
    loop {
        thread::park();
    }
}

/// Takes back what was left; `None` if it is being done.
fn take() -> Option<LastAct> {
    LAST_ACT.lock().unwrap_or_else(PoisonError::into_inner).take()
}
