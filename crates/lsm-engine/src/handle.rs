//! The one way from what a user holds to the database behind it.
//!
//! What only looks goes past here at no cost: [`Handle::look`]. Whatever may change something, and so
//! cause events, is a method of [`Caller`] instead of the database; nobody but [`Handle::call`] makes a
//! caller, and that tells the listener before it returns.

use std::ops::Deref;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use crate::inner::Inner;

/// What a [`Db`](crate::Db), a [`Keyspace`](crate::Keyspace) and a [`Snapshot`](crate::Snapshot) hold
/// of a database. The last one that is dropped closes it; cursors and worker threads hold none.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    inner: Arc<Inner>,
    _closer: Arc<Closer>,
}

#[derive(Debug)]
struct Closer(Arc<Inner>);

impl Drop for Closer {
    fn drop(&mut self) {
        // There is nobody to report to; `Db::close` is for those who want to know.
        if !thread::panicking() {
            let _ = self.0.close();
            return;
        }
        // A listener that panics now would end the process.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.0.close()));
    }
}

impl Handle {
    pub(crate) fn new(inner: Arc<Inner>) -> Handle {
        Handle { _closer: Arc::new(Closer(Arc::clone(&inner))), inner }
    }

    /// The database, for what changes nothing.
    pub(crate) fn look(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Makes a call that may change something. Without workers it tells what it did by itself.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&Caller<'_>) -> T) -> T {
        let result = call(&Caller(self));
        if self.inner.options.background_threads == 0 {
            self.inner.tell();
        }
        result
    }
}

/// A call on the caller's thread, at whose end the listener is told.
pub(crate) struct Caller<'a>(&'a Handle);

impl Caller<'_> {
    pub(crate) fn handle(&self) -> &Handle {
        self.0
    }
}

impl Deref for Caller<'_> {
    type Target = Arc<Inner>;

    fn deref(&self) -> &Arc<Inner> {
        &self.0.inner
    }
}
