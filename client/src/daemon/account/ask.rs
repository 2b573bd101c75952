//! Asking the server for something that may safely be asked twice.
//!
//! Owns how often and how soon a request of a person's command is tried again.

use super::AccountError;
use crate::context::Environment;
use crate::remote::{Remote, RemoteError};
use common::wire::meta::{Reply, Request};

/// Attempts before an error is told.
const ATTEMPTS: u32 = 4;
/// Wait before the second attempt; doubled for each one after.
const PAUSE_MS: u64 = 200;

/// Asks, and asks again after an error that may pass. Only for requests that have the same effect
/// however often they are made.
pub(super) async fn ask(
    remote: &dyn Remote,
    environment: &dyn Environment,
    request: Request,
) -> Result<Vec<Reply>, RemoteError> {
    let mut attempt = 1;
    loop {
        match remote.request(request.clone()).await {
            Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                environment.sleep(PAUSE_MS << attempt).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// As [`ask`], for what is answered by `Done`.
pub(super) async fn ask_done(
    remote: &dyn Remote,
    environment: &dyn Environment,
    what: &'static str,
    request: Request,
) -> Result<(), AccountError> {
    match ask(remote, environment, request).await?.as_slice() {
        [Reply::Done(_)] => Ok(()),
        _ => Err(AccountError::Answer(what)),
    }
}

/// The environment's clock in milliseconds since 1970.
pub(super) fn now_ms(environment: &dyn Environment) -> u64 {
    u64::try_from(environment.now_ns() / 1_000_000).unwrap_or(0)
}

/// 32 fresh random bytes.
pub(super) fn random32(environment: &dyn Environment) -> [u8; 32] {
    let mut bytes = [0; 32];
    environment.random(&mut bytes);
    bytes
}
