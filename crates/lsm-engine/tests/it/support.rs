//! What several of the tests need: a store in memory, a limit on how long a scenario may take, and the
//! processor's time.

use std::future::Future;
use std::panic;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use lsm_engine::base::Fs;
use lsm_engine::base::fs::MemFs;
use lsm_engine::{Db, Options};
use rustix::time::{ClockId, clock_gettime};

/// Far beyond what any scenario takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A file system in memory, as the builder takes it.
pub(crate) fn memory() -> Arc<dyn Fs> {
    Arc::new(MemFs::new())
}

/// Options under which memtables rotate, are flushed and compacted all the time.
pub(crate) fn tiny() -> Options {
    Options {
        memtable_size: Some(16 << 10),
        table_size: 16 << 10,
        background_threads: 2,
        ..Options::default()
    }
}

/// Opens the database `data` of a file system.
pub(crate) fn open(fs: &Arc<dyn Fs>, options: &Options) -> Db {
    builder(fs, options).open().unwrap()
}

/// A builder of the database `data` of a file system.
pub(crate) fn builder(fs: &Arc<dyn Fs>, options: &Options) -> lsm_engine::DbBuilder {
    Db::builder("data").options(options.clone()).fs(Arc::clone(fs))
}

/// Runs a scenario on a thread of its own, and panics if it does not come to its end: a deadlock
/// is to fail one test, not to stop them all.
pub(crate) fn bounded(scenario: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        scenario();
        let _ = done.send(());
    });
    match ended.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("the scenario hangs"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panicked) = thread.join() {
                panic::resume_unwind(panicked);
            }
        }
    }
}

/// How long the processor has worked for this thread: on a busy machine as long as on an idle one.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// Waits for an asynchronous write as an executor of one task does.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
