//! The metadata as the service uses it: commands with the time they were taken at, reads off the
//! runtime's threads, wake-ups, and the way of a revocation to live connections.
//!
//! Owns where work that blocks runs. It must not know a command's rules or a row's storage.

use super::access::Denied;
use super::clock::Clock;
use super::presence::PresenceRegistry;
use super::refusal::{busy, of_metadata, stopped};
use crate::meta_store::{MetaDb, MetaHandle, Position};
use common::ids::{DeviceId, FolderId, UserId};
use common::wire::meta::Refusal;
use server_core::metadata::{Action, Answer, Command, Event, MetaReads, Stored};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinError;

/// Where reads and costly checks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// On the caller's thread, before its future yields: a simulation stays deterministic.
    Inline,
    /// On tokio's threads for blocking work, so that nobody else waits for a disk or a signature.
    Pool,
}

impl Work {
    /// Does work that blocks, where this says.
    ///
    /// # Errors
    /// [`JoinError`]: it panicked, or the runtime ends.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Self::Inline => Ok(work()),
            Self::Pool => tokio::task::spawn_blocking(work).await,
        }
    }
}

/// Reads at once; more wait. Each has a connection to the database, and that two or three files.
const READS_MAX: usize = 32;

/// The metadata.
pub(super) struct Metadata {
    handle: MetaHandle,
    clock: Arc<dyn Clock>,
    work: Work,
    reads: Arc<Semaphore>,
}

impl Metadata {
    /// # Panics
    /// When another service has the handle: revocations would reach one of the two only.
    pub(super) fn new(
        handle: MetaHandle,
        clock: Arc<dyn Clock>,
        presence: Arc<PresenceRegistry>,
        work: Work,
    ) -> Self {
        // By the database and not by the handle, which holds this listener.
        let db = handle.db().clone();
        let first = handle.listen(move |event| {
            if let Event::Devices { user } = event {
                tell_revoked(&presence, &db, user);
            }
        });
        assert!(first, "a metadata handle serves one service");
        Self { handle, clock, work, reads: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// Carries out a command; durable when this returns. Cancelling does not take it back.
    pub(super) async fn apply(&self, action: Action) -> Result<Answer, Refusal> {
        let command = Command { time_ms: self.clock.now_ms(), action };
        self.handle.apply(command).await.map_err(|error| of_metadata(&error))
    }

    /// Reads one state of the metadata, where [`Work`] says, in its turn.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn MetaReads) -> Result<T, Denied> + Send + 'static,
    ) -> Result<T, Refusal> {
        if self.work == Work::Inline {
            return read_on(&self.handle, read);
        }
        let handle = self.handle.clone();
        let turn = Arc::clone(&self.reads).acquire_owned().await.map_err(|_| stopped())?;
        let read = move || {
            // Held by the work and not by who waits for it, and given up as soon as it is done.
            let _turn = turn;
            read_on(&handle, read)
        };
        self.work(read).await?
    }

    /// Reads at once, on the calling thread: for a row or two. There are as many at a time as the
    /// runtime has threads.
    pub(super) fn read_now<T>(
        &self,
        read: impl FnOnce(&dyn MetaReads) -> Result<T, Denied>,
    ) -> Result<T, Refusal> {
        read_on(&self.handle, read)
    }

    /// Does work that costs time, where [`Work`] says.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.work.run(work).await.map_err(|error| {
            if error.is_panic() {
                tracing::error!(%error, "a request failed in the server");
            }
            busy("the server could not do this just now")
        })
    }

    /// Wake-ups for a folder. To miss nothing, take them first and read after.
    pub(super) fn wakeups(&self, folder: &FolderId) -> Wakeups {
        Wakeups { position: self.handle.watch_folder(folder), stopped: self.handle.watch_stopped() }
    }

    /// Whether the store has stopped after a failed write.
    pub(super) fn is_stopped(&self) -> bool {
        self.handle.is_stopped()
    }
}

fn read_on<T>(
    handle: &MetaHandle,
    read: impl FnOnce(&dyn MetaReads) -> Result<T, Denied>,
) -> Result<T, Refusal> {
    // M8: after a failed sync, what is read may not be what is on the disk.
    if handle.is_stopped() {
        return Err(stopped());
    }
    let mut refused = None;
    let found = handle.read(|reads| match read(reads) {
        Ok(value) => Ok(Some(value)),
        Err(Denied::Store(error)) => Err(error),
        Err(Denied::Refused(refusal)) => {
            refused = Some(refusal);
            Ok(None)
        }
    });
    match (found, refused) {
        (Ok(Some(value)), _) => Ok(value),
        (Err(error), _) => Err(of_metadata(&error)),
        (Ok(None), refused) => Err(refused.unwrap_or_else(stopped)),
    }
}

/// Tells connected devices of a user that they are revoked, if they are.
fn tell_revoked(presence: &PresenceRegistry, db: &MetaDb, user: &UserId) {
    let revoked: Stored<Vec<DeviceId>> = db.read(|reads| {
        let devices = reads.devices(user)?.into_iter();
        Ok(devices.filter_map(|(device, state)| state.revoked.then_some(device)).collect())
    });
    match revoked {
        Ok(revoked) => revoked.iter().for_each(|device| presence.revoke(device)),
        // The store is failing, or busy. Every request checks again, so nothing is served meanwhile.
        Err(error) => tracing::error!(%error, %user, "cannot tell which devices are revoked"),
    }
}

/// Tells that a folder's journal has changed.
pub(super) struct Wakeups {
    position: watch::Receiver<Position>,
    stopped: watch::Receiver<bool>,
}

impl Wakeups {
    /// Forgets wake-ups up to now.
    pub(super) fn mark_seen(&mut self) {
        self.position.mark_unchanged();
    }

    /// Completes with true after a change, with false when there will be none. Cancel-safe.
    pub(super) async fn woken(&mut self) -> bool {
        // Biased, so that a simulation's runs repeat.
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stopped| *stopped) => false,
            changed = self.position.changed() => changed.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::SystemClock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn reads_take_turns_at_the_connections() {
        let directory = tempfile::tempdir().unwrap();
        let db = MetaDb::open(&directory.path().join("meta.sqlite")).unwrap();
        let handle = MetaHandle::inline(db);
        let presence = Arc::new(PresenceRegistry::new(Arc::new(SystemClock)));
        let metadata = Metadata::new(handle, Arc::new(SystemClock), presence, Work::Pool);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let reads = (0..4 * READS_MAX).map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            metadata.read(move |reads| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // ok: makes the reads overlap; nothing is asserted about time
                std::thread::sleep(std::time::Duration::from_millis(5));
                let generation = reads.generation()?;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(generation)
            })
        });
        for read in futures_util::future::join_all(reads).await {
            assert_eq!(read.unwrap(), 0);
        }
        assert!(most.load(Ordering::SeqCst) <= READS_MAX, "{most:?} at once");
    }
}
