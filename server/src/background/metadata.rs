//! The metadata as work in the background uses it.
//!
//! Owns where its reads run, and that nothing is read from a store that has stopped (M8). It must not
//! know what is read.

use crate::meta_store::{MetaError, MetaHandle};
use crate::service::{Clock, Work};
use server_core::metadata::{Action, Command, MetaReads, Stored};
use std::sync::Arc;

/// The metadata of a server, for its background.
#[derive(Clone)]
pub(super) struct Metadata {
    handle: MetaHandle,
    clock: Arc<dyn Clock>,
    work: Work,
}

impl Metadata {
    pub(super) fn new(handle: MetaHandle, clock: Arc<dyn Clock>, work: Work) -> Self {
        Self { handle, clock, work }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Carries out a command; durable when this returns.
    pub(super) async fn apply(&self, action: Action) -> Result<(), MetaError> {
        let command = Command { time_ms: self.clock.now_ms(), action };
        self.handle.apply(command).await.map(|_| ())
    }

    /// Reads one state of the metadata, off the runtime's threads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn MetaReads) -> Stored<T> + Send + 'static,
    ) -> Result<T, MetaError> {
        if self.handle.is_stopped() {
            return Err(MetaError::Stopped);
        }
        let db = self.handle.db().clone();
        self.run(move || db.read(read)).await
    }

    /// Does something else with the database, off the runtime's threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> Stored<T> + Send + 'static,
    ) -> Result<T, MetaError> {
        // It ends early only when the runtime does, or by a panic, which was printed.
        let done = self.work.run(run).await.map_err(|_| MetaError::Stopped)?;
        done.map_err(MetaError::Read)
    }
}
