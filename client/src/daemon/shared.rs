//! What all parts of a running daemon share: home, account, connection, running folders.
//!
//! Owns the locks around them and that a change is on the disk before it counts. Lock order:
//! `changing`, then `account`, then `config` or `folders`, which are held for no wait. Nobody asks
//! an engine while holding `account`: an engine may itself be waiting for the device log.

use super::account::{self, Account, AccountError};
use super::folders::Running;
use crate::context::{Environment, Signers};
use crate::engine::{FolderHandle, LogSource};
use crate::home::{Config, FilePins, FolderConfig, Home, HomeError};
use crate::remote::{QuicRemote, Server};
use common::ids::{DeviceId, FolderId, UserId};
use common::keys::SigningKey;
use common::trust::DeviceLog;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The shared state of a daemon.
pub(super) struct Shared {
    pub(super) home: Home,
    pub(super) user: UserId,
    pub(super) signer: SigningKey,
    pub(super) account: tokio::sync::Mutex<Account>,
    pub(super) signers: Signers,
    pub(super) remote: Arc<QuicRemote>,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) pins: Arc<FilePins>,
    /// Where other devices find the server.
    pub(super) advertised: Server,
    /// Held while folders are added or removed.
    pub(super) changing: tokio::sync::Mutex<()>,
    config: Mutex<Config>,
    folders: Mutex<BTreeMap<FolderId, Running>>,
    /// Why folders have no engine.
    unstarted: Mutex<BTreeMap<FolderId, String>>,
}

impl Shared {
    pub(super) fn new(parts: SharedParts) -> Self {
        let SharedParts { home, config, account, pins, remote, advertised, environment } = parts;
        Self {
            home,
            user: account.log().user(),
            signer: account.device_keys().signing.clone(),
            signers: Signers::new(account.log().clone()),
            account: tokio::sync::Mutex::new(account),
            remote,
            environment,
            pins: Arc::new(pins),
            advertised,
            changing: tokio::sync::Mutex::new(()),
            config: Mutex::new(config),
            folders: Mutex::default(),
            unstarted: Mutex::default(),
        }
    }

    pub(super) fn config(&self) -> Config {
        lock(&self.config).clone()
    }

    /// Changes the configuration, first on the disk.
    pub(super) async fn change_config(
        &self,
        change: impl FnOnce(&mut Config),
    ) -> Result<(), HomeError> {
        let mut next = self.config();
        change(&mut next);
        let home = self.home.clone();
        let written = blocking(move || {
            match home.config() {
                // What a person alone writes there may have been written since.
                Ok(standing) => next.merge_tool = standing.merge_tool,
                // A mistake in it is theirs to mend: it is not written over.
                Err(error @ HomeError::Config { .. }) => return Err(error),
                Err(error) => tracing::warn!(%error, "the configuration is written anew"),
            }
            home.put_config(&next).map(|()| next)
        })
        .await?;
        *lock(&self.config) = written;
        Ok(())
    }

    pub(super) fn folders(&self) -> MutexGuard<'_, BTreeMap<FolderId, Running>> {
        lock(&self.folders)
    }

    /// The running folders in the order of the configuration.
    pub(super) fn handles(&self) -> Vec<(FolderConfig, FolderHandle)> {
        let running = self.folders();
        let config = self.config();
        let handle = |folder: FolderConfig| {
            let handle = running.get(&folder.id)?.handle.clone();
            Some((folder, handle))
        };
        config.folders.into_iter().filter_map(handle).collect()
    }

    pub(super) fn handle(&self, folder: &FolderId) -> Option<FolderHandle> {
        self.folders().get(folder).map(|running| running.handle.clone())
    }

    /// Notes why a folder has no engine, or that it has one.
    pub(super) fn note_unstarted(&self, folder: &FolderId, reason: Option<String>) {
        let mut unstarted = lock(&self.unstarted);
        match reason {
            Some(reason) => drop(unstarted.insert(*folder, reason)),
            None => drop(unstarted.remove(folder)),
        }
    }

    /// Why a folder has no engine; `None` when it has not been tried yet.
    pub(super) fn unstarted(&self, folder: &FolderId) -> Option<String> {
        lock(&self.unstarted).get(folder).cloned()
    }

    /// Writes the account down and tells the engines of its devices.
    pub(super) async fn keep_account(&self, account: &Account) -> Result<(), HomeError> {
        let (home, kept) = (self.home.clone(), account.clone());
        blocking(move || kept.save(&home)).await?;
        self.signers.replace(account.log().clone());
        Ok(())
    }

    /// Reads device log and keyring on, and keeps what came.
    pub(super) async fn refresh(&self) -> Result<(), AccountError> {
        let mut account = self.account.lock().await;
        let known = account.log().len();
        let outcome =
            account::refresh(&mut account, self.remote.as_ref(), self.environment.as_ref()).await;
        if account.log().len() > known || matches!(outcome, Ok(true)) {
            self.keep_account(&account).await?;
        }
        outcome.map(|_| ())
    }
}

/// What shared state is made of.
pub(super) struct SharedParts {
    pub(super) home: Home,
    pub(super) config: Config,
    pub(super) account: Account,
    pub(super) pins: FilePins,
    pub(super) remote: Arc<QuicRemote>,
    pub(super) advertised: Server,
    pub(super) environment: Arc<dyn Environment>,
}

/// The device log for engines. Holds the daemon weakly: it is the daemon that holds engines.
pub(super) struct AccountLog(pub(super) Weak<Shared>);

impl LogSource for AccountLog {
    fn refresh(&self, device: DeviceId) -> Pin<Box<dyn Future<Output = Option<DeviceLog>> + Send>> {
        let shared = self.0.upgrade();
        Box::pin(async move {
            let shared = shared?;
            if let Err(error) = shared.refresh().await {
                tracing::warn!(%error, %device, "the device log cannot be read");
            }
            // What was read before an error counts: it is verified.
            Some(shared.account.lock().await.log().clone())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs work that blocks on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is stopping: nobody waits for this task any more.
            Err(_) => std::future::pending().await,
        },
    }
}
