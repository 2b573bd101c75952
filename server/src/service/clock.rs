//! The clock that a server reads.
//!
//! Owns the one place where a server learns what time it is. It must not be asked for order: the
//! metadata service stamps monotone times itself.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time; injected, so that tests and the simulation own it.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970. May jump in either direction.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A clock before 1970 is a broken clock: 0 makes everything look unexpired, never lost.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
