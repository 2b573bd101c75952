//! How fast work in the background goes.
//!
//! Owns the pauses between its steps. It must not know what a step is.

use async_trait::async_trait;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest pause between two steps.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Asked between two steps: between them, everybody else gets a turn.
#[async_trait]
pub trait Pace: Send + Sync {
    /// Completes when the next step may begin.
    async fn breathe(&self);
}

/// As fast as it goes: somebody waits for the result.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

#[async_trait]
impl Pace for AtOnce {
    async fn breathe(&self) {
        tokio::task::yield_now().await;
    }
}

/// Rests as long as each step took: at most half of a disk, and of a processor.
#[derive(Debug, Default)]
pub struct Gentle {
    rested: Mutex<Option<Instant>>,
}

#[async_trait]
impl Pace for Gentle {
    async fn breathe(&self) {
        let took = {
            let rested = self.rested.lock().unwrap_or_else(PoisonError::into_inner);
            rested.map_or(Duration::ZERO, |rested| rested.elapsed())
        };
        tokio::time::sleep(took.min(PAUSE_MAX)).await;
        *self.rested.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
