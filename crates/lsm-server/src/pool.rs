//! Threads for calls that block.
//!
//! Work runs on the runtime's blocking threads, of which there is a fixed number, and behind them
//! waits a bounded queue; beyond that the answer is `busy`. Writes may stand for seconds behind a slow
//! disk, so they get most of the threads and never all: reads and figures go on beside them. Work is
//! detached from whoever asked for it: a client that goes away neither cancels a commit nor tears it.
//! A panic ends the work and nothing else.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use crate::wire::{Code, Problem};

/// The door to the blocking threads.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    places: Arc<Semaphore>,
    size: u32,
    /// What writes may have of the threads.
    writers: Arc<Semaphore>,
    /// What the reading of large bodies may have of them.
    readers: Arc<Semaphore>,
}

impl Pool {
    /// How many threads a runtime should have for this pool. Writers wait here for the disk, and
    /// those that wait together share one sync, so there are many more than processors.
    pub(crate) const THREADS: usize = 64;
    /// How many of them writes may have at once.
    const WRITERS: usize = 48;
    /// How many large bodies are read at once. That waits for nothing and takes the memory of a body
    /// a second time, so that more would take longer and hold more, and end no sooner.
    const READERS: usize = 2;

    /// A pool for so many pieces of work, running and waiting.
    pub(crate) fn new(size: u32) -> Pool {
        let places = Arc::new(Semaphore::new(size as usize));
        let writers = Arc::new(Semaphore::new(Self::WRITERS));
        Pool { places, size, writers, readers: Arc::new(Semaphore::new(Self::READERS)) }
    }

    /// Runs work to its end, whether or not anyone still waits for it.
    ///
    /// # Errors
    ///
    /// `busy` if every place is taken, `internal` if the work panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.place()?;
        run_with(place, work).await
    }

    /// Runs a write to its end, whether or not anyone still waits for it, if it gets a thread before
    /// the deadline.
    ///
    /// # Errors
    ///
    /// As [`Pool::run`], and `busy` at the deadline.
    pub(crate) async fn run_write<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.run_in_turn(&self.writers, deadline, work).await
    }

    /// Reads a large body for a write, if it gets a thread before the deadline.
    ///
    /// # Errors
    ///
    /// As [`Pool::run_write`].
    pub(crate) async fn run_reading<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.run_in_turn(&self.readers, deadline, work).await
    }

    async fn run_in_turn<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.place()?;
        let turn = turns.clone().acquire_owned();
        let task = tokio::spawn(async move {
            let turn = timeout_at(deadline.into(), turn).await.map_err(|_| stalled())?;
            run_with((place, turn.expect("the semaphore is never closed")), work).await
        });
        task.await.map_err(|_| failed())?
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            Problem::new(Code::Busy, "too many requests wait for the store")
                .with_retry_after_ms(1000)
        })
    }

    /// Waits until no work is left.
    pub(crate) async fn idle(&self) {
        let all = self.places.acquire_many(self.size).await;
        drop(all.expect("the semaphore is never closed"));
    }
}

/// Runs work on a thread, and gives the permits back when it has ended.
async fn run_with<T: Send + 'static>(
    permits: impl Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let task = tokio::task::spawn_blocking(move || {
        let _permits = permits;
        work()
    });
    task.await.map_err(|error| {
        // The panic's message may hold what a client stored; the hook has written where it was.
        tracing::error!(panicked = error.is_panic(), "a request did not end");
        failed()
    })
}

fn failed() -> Problem {
    Problem::new(Code::Internal, "the request could not be finished")
}

/// The answer to a write that waited for as long as it may.
pub(crate) fn stalled() -> Problem {
    Problem::new(Code::Busy, "writes arrive faster than they can be stored")
        .with_retry_after_ms(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_is_a_problem_and_the_pool_lives() {
        let pool = Pool::new(2);
        let failed = pool.run(|| panic!("planned")).await;
        assert_eq!(failed.map(|()| 0).unwrap_err().code, Code::Internal);
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn writes_leave_threads_to_others_and_give_up_in_time() {
        let pool = Pool::new(200);
        let far = Instant::now() + Duration::from_secs(60);
        let (started, starts) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let writes: Vec<_> = (0..Pool::WRITERS)
            .map(|_| {
                let (pool, started, gate) = (pool.clone(), started.clone(), gate.clone());
                tokio::spawn(async move {
                    let work = move || {
                        started.send(()).unwrap();
                        gate.lock().unwrap().recv().unwrap_err();
                    };
                    pool.run_write(far, work).await
                })
            })
            .collect();
        for _ in 0..Pool::WRITERS {
            while starts.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
        let late = pool.run_write(Instant::now(), || ()).await.unwrap_err();
        assert_eq!((late.code, late.retry_after_ms), (Code::Busy, Some(1000)));
        drop(release);
        for write in writes {
            write.await.unwrap().unwrap();
        }
        pool.run_write(far, || ()).await.unwrap();
    }

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_and_the_queue_is_bounded() {
        let pool = Pool::new(1);
        let (release, gate) = mpsc::channel::<()>();
        let (done, ended) = mpsc::channel();
        let detached = pool.clone();
        let waiting = tokio::spawn(async move {
            detached
                .run(move || {
                    gate.recv().unwrap();
                    done.send(()).unwrap();
                })
                .await
        });
        while pool.places.available_permits() != 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|| ()).await.unwrap_err().code, Code::Busy);
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        release.send(()).unwrap();
        pool.idle().await;
        ended.try_recv().unwrap();
    }
}
