//! Keeping the account fresh: connect, read device log and keyring on, void old invitations.
//!
//! Owns when that is done: at the start, after each lost connection with growing pauses, and every
//! minute. The task is started and stopped by the daemon. Engines connect for themselves.

use super::account;
use super::control::Failure;
use super::shared::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks while connected.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Time between two looks at folders whose root was not there.
const FOLDERS_EVERY: Duration = Duration::from_secs(10);
/// First and longest pause after a failure, in milliseconds.
const PAUSE_MS: (u64, u64) = (500, 30_000);

/// Runs until it is dropped.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut pause_ms = PAUSE_MS.0;
    let mut told = None;
    loop {
        match look(&shared).await {
            Ok(()) => {
                pause_ms = PAUSE_MS.0;
                told = None;
                tokio::select! {
                    () = shared.remote.disconnected() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
            Err(error) => {
                let barred = shared.barred();
                if barred.is_some() || !error.is_retryable() {
                    pause_ms = PAUSE_MS.1;
                }
                tell(&error, barred, &mut told);
                tokio::time::sleep(Duration::from_millis(jittered(&shared, pause_ms))).await;
                pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
            }
        }
    }
}

/// Writes to the log why the account is not fresh. That a device is not let in is said once.
fn tell(error: &account::AccountError, barred: Option<Failure>, told: &mut Option<Failure>) {
    match &barred {
        Some(failure) if barred != *told => {
            tracing::error!("{}; {}", failure.message, failure.hint);
        }
        None if !error.is_retryable() => {
            tracing::error!(%error, "the account cannot be refreshed");
        }
        _ => tracing::debug!(%error, "the account cannot be refreshed now"),
    }
    *told = barred;
}

/// Starts folders whose root has come back; runs until it is dropped.
pub(super) async fn keep_folders(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(FOLDERS_EVERY).await;
        let _turn = shared.changing.lock().await;
        shared.start_folders().await;
    }
}

async fn look(shared: &Shared) -> Result<(), account::AccountError> {
    shared.refresh().await?;
    let mut account = shared.account.lock().await;
    let (remote, environment) = (shared.remote.as_ref(), shared.environment.as_ref());
    if account::void_expired(&mut account, remote, environment).await? > 0 {
        shared.keep_account(&account).await?;
    }
    Ok(())
}

/// Between a half and all of a pause.
fn jittered(shared: &Shared, pause_ms: u64) -> u64 {
    let mut random = [0; 8];
    shared.environment.random(&mut random);
    pause_ms / 2 + u64::from_le_bytes(random) % (pause_ms / 2 + 1)
}
