//! Waiting for another process to come to a state that nothing announces.

use super::PATIENCE;
use anyhow::{Context, Result, bail};
use std::thread::sleep; // ok: a pause between two looks at another process
use std::time::{Duration, Instant};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks again and again until there is something to see.
///
/// # Errors
/// If a look fails, or there is nothing in time.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    eventually_within(PATIENCE, what, look)
}

/// As [`eventually`], for what may take longer by design.
///
/// # Errors
/// As [`eventually`].
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience; // ok: the wait ends
    loop {
        if let Some(seen) = look().with_context(|| what.to_owned())? {
            return Ok(seen);
        }
        let is_late = Instant::now() >= deadline; // ok: the wait ends
        if is_late {
            bail!("not in time: {what}");
        }
        // ok: a pause between two looks at another process
        sleep(PAUSE);
    }
}
