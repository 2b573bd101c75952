//! Virtual time, and the environment that an engine gets.
//!
//! Owns the wall clock of each simulated machine: tokio's paused clock, a step for every look (two
//! looks never see the same nanosecond, unless the machine's clock is coarse) and the jumps that
//! somebody made. It reads no clock of the real machine.

use super::draw::Draw;
use client::context::{Environment, Job};
use server::service::Clock;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// When every simulation begins: 2026-11-22 in ns since 1970.
const START_NS: i64 = 1_795_305_600_000_000_000;
/// What one look at a clock costs, in ns.
const LOOK_NS: i64 = 1_000;

/// Runs a simulation to its end: in one thread, and in a time that passes only when all wait.
///
/// # Panics
/// When the runtime cannot be built.
pub fn in_virtual_time<T>(simulation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, simulation)
}

/// A machine's wall clock. Clones share it.
#[derive(Clone, Debug)]
pub struct SimClock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    start: Instant,
    looks_ns: AtomicI64,
    jumped_ns: AtomicI64,
    grain_ns: i64,
}

impl SimClock {
    /// A clock whose times are multiples of `grain_ns`. To be made inside the runtime.
    #[must_use]
    pub fn new(grain_ns: i64) -> Self {
        let (looks_ns, jumped_ns) = (AtomicI64::new(0), AtomicI64::new(0));
        let inner = Inner { start: Instant::now(), looks_ns, jumped_ns, grain_ns }; // ok: virtual time
        Self { inner: Arc::new(inner) }
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        START_NS + self.elapsed_ns() + self.inner.jumped_ns.load(Ordering::Relaxed)
    }

    /// Nanoseconds since the simulation began, whatever anybody did to the clock.
    #[must_use]
    pub fn elapsed_ns(&self) -> i64 {
        let elapsed = i64::try_from(self.inner.start.elapsed().as_nanos()).unwrap_or(i64::MAX / 4);
        elapsed + self.inner.looks_ns.fetch_add(LOOK_NS, Ordering::Relaxed)
    }

    /// The time that a filesystem stamps on a file: as coarse as the machine's clock tick.
    #[must_use]
    pub fn stamp_ns(&self) -> i64 {
        let now = self.now_ns();
        now - now.rem_euclid(self.inner.grain_ns.max(1))
    }

    /// Sets the clock forward or back.
    pub fn jump(&self, by_ns: i64) {
        self.inner.jumped_ns.fetch_add(by_ns, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.now_ns() / 1_000_000).unwrap_or(0)
    }
}

/// So few that a story has many groups of files.
const FILES_TOGETHER: usize = 3;

/// Time, randomness and processors of one simulated device: jobs run at once where they are asked.
pub struct SimEnvironment {
    /// The machine's clock.
    pub clock: SimClock,
    /// Where ids and keys come from.
    pub draw: Draw,
}

impl Environment for SimEnvironment {
    fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    fn monotonic_ns(&self) -> i64 {
        self.clock.elapsed_ns()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.draw.fill(bytes);
    }

    fn spawn(&self, job: Job) {
        job();
    }

    fn files_together(&self) -> usize {
        FILES_TOGETHER
    }

    fn sleep(&self, milliseconds: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(milliseconds))) // ok: virtual time
    }
}
