//! What every phase of a folder's engine works with: keys, disk, server, state, environment.
//!
//! Owns the bundle and the [`Environment`] trait; starts nothing and decides nothing.

use crate::fs::{Bundled, Fs};
use crate::remote::Remote;
use crate::state::FolderState;
use client_core::tree::Position;
use common::chunk::{Chunker, seal_name};
use common::ids::{DeviceId, EntryId, FolderId, UserId};
use common::keys::{FolderKeys, SigningKey};
use common::record::{GroupError, Place};
use common::trust::DeviceLog;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, RwLock};

/// Files that are built and swapped in together, unless the environment says otherwise.
const FILES_TOGETHER: usize = 1_000;

/// A job for the CPU pool.
pub type Job = Box<dyn FnOnce() + Send>;

/// Time, randomness and processors, injected so that a whole system runs from one seed.
pub trait Environment: Send + Sync {
    /// Wall clock in nanoseconds since 1970.
    fn now_ns(&self) -> i64;
    /// Nanoseconds since some moment, whatever becomes of the wall clock: what waits and pauses are
    /// measured with.
    fn monotonic_ns(&self) -> i64;
    /// Fills the buffer with random bytes fit for ids and keys.
    fn random(&self, bytes: &mut [u8]);
    /// Runs a job on the CPU pool, or at once.
    fn spawn(&self, job: Job);
    /// Files that are built and swapped in together, at most; fewer where that is to be tried out.
    fn files_together(&self) -> usize {
        FILES_TOGETHER
    }
    /// Waits on the environment's clock.
    fn sleep(&self, milliseconds: u64) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The pool dropped a job without running it, as it does when the program stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the program is stopping")]
pub struct Stopping;

/// Gives `work` to the CPU pool at once; what is returned waits for its result.
///
/// # Errors
/// [`Stopping`] when the pool is gone.
pub fn compute<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    environment: &dyn Environment,
    work: W,
) -> impl Future<Output = Result<T, Stopping>> + Send + use<T, W> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    environment.spawn(Box::new(move || {
        // The receiver is gone only when the caller no longer wants the result.
        drop(sender.send(work()));
    }));
    async { receiver.await.map_err(|_| Stopping) }
}

/// Who may sign a folder's groups. Replaced as the user's device log grows.
#[derive(Clone)]
pub struct Signers(Arc<RwLock<DeviceLog>>);

impl Signers {
    /// The devices of this log.
    #[must_use]
    pub fn new(log: DeviceLog) -> Self {
        Self(Arc::new(RwLock::new(log)))
    }

    /// Takes a longer log.
    pub fn replace(&self, log: DeviceLog) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = log;
    }

    /// Reads the log.
    pub fn with<T>(&self, read: impl FnOnce(&DeviceLog) -> T) -> T {
        read(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// A folder of this device, as its engine sees it.
pub struct FolderContext {
    /// Which folder.
    pub folder: FolderId,
    /// Its keys.
    pub keys: Arc<FolderKeys>,
    /// Its chunker.
    pub chunker: Chunker,
    /// Its owner.
    pub user: UserId,
    /// This device's key.
    pub signer: SigningKey,
    /// This device's name, for conflict names.
    pub device_name: String,
    /// Who else may sign.
    pub signers: Signers,
    /// Content of the root's marker file.
    pub marker: Vec<u8>,
    /// The synced root, in which every bundle is a file.
    pub fs: Arc<dyn Fs>,
    /// The same, for what is done with bundles as such.
    pub bundles: Arc<Bundled>,
    /// The server.
    pub remote: Arc<dyn Remote>,
    /// What is remembered.
    pub state: FolderState,
    /// Time, randomness, processors.
    pub environment: Arc<dyn Environment>,
}

impl FolderContext {
    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.signer.device()
    }

    /// A place, sealed for an entry.
    #[must_use]
    pub fn place(&self, entry: &EntryId, at: &Position) -> Place {
        Place {
            parent: at.parent,
            name: seal_name(&self.keys, &self.folder, entry, &at.name),
            name_tag: self.keys.name_tag(&at.parent, &at.name),
        }
    }

    /// A new random entry id.
    #[must_use]
    pub fn fresh_entry(&self) -> EntryId {
        let mut bytes = [0; 16];
        self.environment.random(&mut bytes);
        EntryId::from_bytes(bytes)
    }

    /// A name for a file in `.driftless`.
    #[must_use]
    pub fn fresh_name(&self) -> common::name::Name {
        let text = self.fresh_entry().to_string();
        common::name::Name::new(text)
            .unwrap_or_else(|error| unreachable!("32 hex digits are a name: {error}"))
    }
}

/// The folder has to stop until a person looks: what the server sent cannot be true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// A group that its author did not sign, or by an author who is not a member.
    #[error("revision {revision} is not signed by a device of this folder: {reason}")]
    Forged {
        /// Which revision.
        revision: u64,
        /// What is wrong.
        reason: String,
    },
    /// The journal does not continue what this device has seen.
    #[error("the server's history is not the one that this device has seen: {0}")]
    History(String),
    /// A group changes something that it cannot.
    #[error("revision {revision} contradicts the journal before it: {reason}")]
    Contradiction {
        /// Which revision.
        revision: u64,
        /// What is wrong.
        reason: String,
    },
}

impl Alarm {
    /// An alarm for a group that does not verify.
    #[must_use]
    pub fn forged(revision: u64, error: &GroupError) -> Self {
        Self::Forged { revision, reason: error.to_string() }
    }
}
