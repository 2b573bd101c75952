//! The folders of a running daemon: each with its engine, its thread and its watch.
//!
//! Owns starting, stopping and restarting them. It must not know what an engine does.

use super::account::AccountError;
use super::roots;
use super::shared::{AccountLog, Shared, blocking};
use crate::context::FolderContext;
use crate::engine::{self, EngineParts, FolderHandle, HaltReason};
use crate::fs::{Bundled, DiskFs, Fs, FsError};
use crate::home::FolderConfig;
use crate::state::{FolderState, StateError};
use crate::watch::{Watch, WatchError, WatchOptions, WatchState};
use common::chunk::Chunker;
use common::ids::FolderId;
use common::keys::FolderKeys;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long an engine may take to finish its step when it is stopped. What it had acknowledged is
/// on the disk whatever happens.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How often is looked whether it has.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// A folder with its engine.
pub(super) struct Running {
    pub(super) handle: FolderHandle,
    thread: JoinHandle<()>,
    watch: Watch,
}

/// A folder that does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// Its keys are not at hand.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The system gives no watching thread.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The system gives no thread.
    #[error("the folder's thread could not be started: {0}")]
    Thread(#[source] io::Error),
}

/// What an engine cannot be made of; the folder is halted for it.
#[derive(Debug, thiserror::Error)]
enum PartsError {
    #[error("the folder's root cannot be opened: {0}")]
    Root(#[source] FsError),
    #[error("the folder's state {} cannot be opened: {source}", path.display())]
    State { path: PathBuf, source: StateError },
}

impl From<PartsError> for HaltReason {
    fn from(error: PartsError) -> Self {
        let message = error.to_string();
        let hint = match error {
            PartsError::Root(_) => {
                "mount or restore the directory; syncing goes on by itself when it is back"
            }
            PartsError::State { source: StateError::Newer { .. }, .. } => "update driftless",
            PartsError::State { source, .. } if source.is_retryable() => {
                "make room on the disk of the home; it is tried again by itself"
            }
            PartsError::State { .. } => {
                "see that the file can be read and written; if it is damaged, stop driftless and \
                 move it away: it is made anew from the disk and the server, and nothing is lost"
            }
        };
        Self::new(message, hint)
    }
}

impl Running {
    pub(super) fn watch_state(&self) -> WatchState {
        self.watch.state()
    }

    /// Whether the engine has ended by itself: its root or state could not be opened.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Shared {
    /// Starts the engine of a folder, unless it runs.
    pub(super) async fn start_folder(
        self: &Arc<Self>,
        folder: &FolderConfig,
    ) -> Result<(), StartError> {
        let keys = self.account.lock().await.folder_keys(&folder.id)?.clone();
        let mut folders = self.folders();
        if folders.get(&folder.id).is_some_and(|running| !running.has_ended()) {
            return Ok(());
        }
        let running = self.run_engine(folder, keys)?;
        folders.insert(folder.id, running);
        self.note_unstarted(&folder.id, None);
        Ok(())
    }

    fn run_engine(
        self: &Arc<Self>,
        folder: &FolderConfig,
        keys: FolderKeys,
    ) -> Result<Running, StartError> {
        let watch = Watch::start(&folder.path, WatchOptions::default())?;
        let hints = watch.hints().clone();
        let config = self.config();
        let (shared, folder) = (Arc::downgrade(self), folder.clone());
        let (home, user, signer) = (self.home.clone(), self.user, self.signer.clone());
        let (signers, remote) = (self.signers.clone(), Arc::clone(&self.remote));
        let (environment, pins) = (Arc::clone(&self.environment), Arc::clone(&self.pins));
        let name = folder.name.clone();
        let parts = move || -> Result<EngineParts, PartsError> {
            let fs = DiskFs::open(&folder.path).map_err(PartsError::Root)?;
            let bundles = Arc::new(Bundled::new(Arc::new(fs)));
            let path = home.state_path(&folder.id);
            let state =
                FolderState::open(&path).map_err(|source| PartsError::State { path, source })?;
            let context = FolderContext {
                folder: folder.id,
                chunker: Chunker::new(keys.chunker_seed()),
                keys: Arc::new(keys),
                user,
                marker: roots::marker(&folder.id, &signer.device()),
                signer,
                device_name: config.device.clone(),
                signers,
                fs: Arc::clone(&bundles) as Arc<dyn Fs>,
                bundles,
                remote,
                state,
                environment,
            };
            Ok(EngineParts {
                context,
                hints,
                pins,
                log: Arc::new(AccountLog(shared)),
                invited: config.invited_at(&folder.id),
                paused: folder.paused,
            })
        };
        let (handle, thread) = engine::start(&name, parts, tokio::runtime::Handle::current())
            .map_err(StartError::Thread)?;
        Ok(Running { handle, thread, watch })
    }

    /// Starts the engines of all folders that do not run: at the start, and again for those whose
    /// root or state could not be opened.
    pub(super) async fn start_folders(self: &Arc<Self>) {
        for folder in self.config().folders {
            let waits = self.folders().get(&folder.id).is_some_and(|running| {
                // Opening it again is of no use before the root is there.
                !running.has_ended() || !folder.path.is_dir()
            });
            if waits {
                continue;
            }
            if let Err(error) = self.start_folder(&folder).await {
                let reason = error.to_string();
                // It is tried again and again: the same reason is told once.
                if self.unstarted(&folder.id).as_ref() != Some(&reason) {
                    tracing::error!(folder = folder.name, reason, "a folder does not start");
                }
                self.note_unstarted(&folder.id, Some(reason));
            }
        }
    }

    /// Stops one folder. Returns whether its engine has ended.
    pub(super) async fn stop_folder(&self, folder: &FolderId) -> bool {
        let running = self.folders().remove(folder);
        self.note_unstarted(folder, None);
        match running {
            Some(running) => stop([running]).await,
            None => true,
        }
    }

    /// Stops all folders. Returns whether all their engines have ended.
    pub(super) async fn stop_folders(&self) -> bool {
        let running = std::mem::take(&mut *self.folders());
        stop(running.into_values()).await
    }
}

/// Stops engines and waits for their threads, but not for ever.
async fn stop(running: impl IntoIterator<Item = Running>) -> bool {
    let mut threads = Vec::new();
    let mut watches = Vec::new();
    for Running { handle, thread, watch } in running {
        handle.stop();
        threads.push(thread);
        watches.push(watch);
    }
    // Dropping a watch joins its threads.
    blocking(move || drop(watches)).await;
    let ended = async {
        while !threads.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(STOP_LOOK).await;
        }
    };
    let in_time = tokio::time::timeout(STOP_TIME_MAX, ended).await.is_ok();
    for thread in threads {
        if thread.is_finished() && thread.join().is_err() {
            tracing::error!("a folder's engine panicked");
        }
    }
    if !in_time {
        tracing::warn!("a folder's engine did not finish its step in time");
    }
    in_time
}
