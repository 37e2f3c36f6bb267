//! Threads for calls that block.
//!
//! Work runs on the runtime's blocking threads, of which there is a fixed number, and behind them
//! waits a bounded queue; beyond that the answer is `busy`. Work is detached from whoever asked for
//! it: a client that goes away neither cancels a commit nor tears it. A panic ends the work and
//! nothing else.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::wire::{Code, Problem};

/// The door to the blocking threads.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    places: Arc<Semaphore>,
    size: u32,
}

impl Pool {
    /// How many threads a runtime should have for this pool. Writers wait here for the disk, and
    /// those that wait together share one sync, so there are many more than processors.
    pub(crate) const THREADS: usize = 64;

    /// A pool for so many pieces of work, running and waiting.
    pub(crate) fn new(size: u32) -> Pool {
        Pool { places: Arc::new(Semaphore::new(size as usize)), size }
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
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Err(Problem::new(Code::Busy, "too many requests wait for the store")
                .with_retry_after_ms(1000));
        };
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        task.await.map_err(|error| {
            // The panic's message may hold what a client stored; the hook has written where it was.
            tracing::error!(panicked = error.is_panic(), "a request did not end");
            Problem::new(Code::Internal, "the request could not be finished")
        })
    }

    /// Waits until no work is left.
    pub(crate) async fn idle(&self) {
        let all = self.places.acquire_many(self.size).await;
        drop(all.expect("the semaphore is never closed"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_panic_is_a_problem_and_the_pool_lives() {
        let pool = Pool::new(2);
        let failed = pool.run(|| panic!("planned")).await;
        assert_eq!(failed.map(|()| 0).unwrap_err().code, Code::Internal);
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
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
