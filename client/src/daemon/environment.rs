//! The real machine as an [`Environment`]: system clock, system randomness, a bounded pool.
//!
//! Owns the bound of the CPU pool. Its jobs run on tokio's blocking threads, as many at a time as
//! there are processors.

use crate::context::{Environment, Job};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Time, randomness and processors of this machine.
#[derive(Clone, Debug)]
pub struct SystemEnvironment {
    runtime: Handle,
    processors: Arc<Semaphore>,
    started: Instant,
}

impl SystemEnvironment {
    /// An environment whose jobs run on this runtime's blocking threads.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let processors = Arc::new(Semaphore::new(processors));
        Self { runtime, processors, started: Instant::now() }
    }
}

impl Environment for SystemEnvironment {
    fn now_ns(&self) -> i64 {
        let nanoseconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()),
            Err(before) => i64::try_from(before.duration().as_nanos()).map(|since| -since),
        };
        // A clock beyond the year 2262.
        nanoseconds.unwrap_or(i64::MAX)
    }

    fn monotonic_ns(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    fn random(&self, bytes: &mut [u8]) {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            // Without randomness there are no keys and no ids: going on would be worse.
            unreachable!("the system gives no random bytes");
        }
    }

    fn spawn(&self, job: Job) {
        let processors = Arc::clone(&self.processors);
        self.runtime.spawn(async move {
            // Err: the semaphore is never closed. A job of a stopping runtime is dropped, which
            // whoever waits for it notices.
            if let Ok(_turn) = processors.acquire_owned().await
                && let Err(error) = tokio::task::spawn_blocking(job).await
                && error.is_panic()
            {
                tracing::error!(%error, "a job panicked");
            }
        });
    }

    fn sleep(&self, milliseconds: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(milliseconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::compute;

    #[tokio::test]
    async fn jobs_run_and_answer() {
        let environment = SystemEnvironment::new(Handle::current());
        assert_eq!(compute(&environment, || 6 * 7).await, Ok(42));
        let mut bytes = [0; 32];
        environment.random(&mut bytes);
        assert_ne!(bytes, [0; 32]);
        assert!(environment.now_ns() > 1_700_000_000_000_000_000);
    }
}
