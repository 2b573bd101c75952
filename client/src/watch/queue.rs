//! The hints that wait to be taken.
//!
//! Owns a bounded set: the same hint twice is one, too many are one for everything, and putting
//! one in never waits for who takes them.

use super::Hint;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A handle on the hints of one watch; clones share them. There should be one taker.
#[derive(Clone, Debug)]
pub struct Hints {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<BTreeSet<Hint>>,
    hints_max: usize,
    came: Condvar,
    notify: Notify,
}

impl Hints {
    /// No hints yet. For a watch, and for the simulation, which pushes hints itself.
    #[must_use]
    pub fn new(hints_max: usize) -> Self {
        let (waiting, came, notify) = (Mutex::default(), Condvar::new(), Notify::new());
        Self { shared: Arc::new(Shared { waiting, hints_max, came, notify }) }
    }

    /// Adds a hint, as if a notification had come: for a daemon that knows by itself where to
    /// look.
    pub fn push(&self, hint: Hint) {
        {
            let mut waiting = self.lock();
            if waiting.contains(&Hint::Everything) {
                return;
            }
            if hint == Hint::Everything || waiting.len() >= self.shared.hints_max {
                waiting.clear();
                waiting.insert(Hint::Everything);
            } else {
                waiting.insert(hint);
            }
        }
        self.shared.came.notify_one();
        self.shared.notify.notify_one();
    }

    /// Takes all hints that wait, perhaps none; sorted. [`Hint::Everything`] comes alone.
    #[must_use]
    pub fn take(&self) -> Vec<Hint> {
        std::mem::take(&mut *self.lock()).into_iter().collect()
    }

    /// Waits until there are hints and takes them. May be cancelled: what was not taken waits on.
    pub async fn next(&self) -> Vec<Hint> {
        loop {
            let hints = self.take();
            if !hints.is_empty() {
                return hints;
            }
            self.shared.notify.notified().await;
        }
    }

    /// As [`Hints::next`] for a thread that may block; empty when the time is over.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Vec<Hint> {
        let until = Instant::now() + timeout;
        let mut waiting = self.lock();
        while waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.came.wait_timeout(waiting, left);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut *waiting).into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Hint>> {
        // The set is whole after each statement, whoever panicked.
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::contract::path;

    #[test]
    fn the_same_hint_is_one_and_too_many_are_everything() {
        let hints = Hints::new(3);
        for text in ["b", "a", "b", "b"] {
            hints.push(Hint::Path(path(text)));
        }
        hints.push(Hint::Subtree(path("a")));
        let expected = [Hint::Path(path("a")), Hint::Path(path("b")), Hint::Subtree(path("a"))];
        assert_eq!(hints.take(), expected);
        assert!(hints.take().is_empty());
        for text in ["a", "b", "c", "d", "e"] {
            hints.push(Hint::Path(path(text)));
        }
        assert_eq!(hints.take(), [Hint::Everything]);
        assert!(hints.wait(Duration::ZERO).is_empty());
    }

    #[tokio::test]
    async fn a_hint_that_came_before_the_waiting_is_not_missed() {
        let hints = Hints::new(3);
        hints.push(Hint::Everything);
        assert_eq!(hints.next().await, [Hint::Everything]);
        let other = hints.clone();
        let pusher = std::thread::spawn(move || other.push(Hint::Path(path("a"))));
        assert_eq!(hints.next().await, [Hint::Path(path("a"))]);
        pusher.join().unwrap();
    }
}
