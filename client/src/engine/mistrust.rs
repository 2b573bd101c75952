//! What is believed of a disk that has failed to sync.
//!
//! Owns what is remembered of it. A system forgets what it could not write, and says so once: the
//! next sync succeeds whether the bytes are stored or not (A. Rebello et al., "Can Applications
//! Recover from fsync Failures?"). As long as the system runs the files read as they were written,
//! and it is right to send them to the server. After its next start they may be older, shorter or
//! gone, and that would be taken for edits and deletions. It must not touch files.

use super::online::RoundError;
use super::run::Engine;
use crate::apply::ApplyError;
use crate::push::PushError;
use crate::scan::DurableError;
use crate::state::{IssueSource, StateError};

/// The setting that holds the boot id under which a sync has failed.
const UNSYNCED: &str = "unsynced";
/// What a person is told of it.
const REASON: &str = "this disk could not store what was written to it: check the disk; after the \
                      next start of this machine all files are compared with the server anew";

impl Engine {
    /// Remembers a round that has failed because the disk could not sync.
    pub(super) fn note_failed_sync(&self, error: &RoundError) {
        let failed = matches!(
            error,
            RoundError::Apply(ApplyError::Unsynced(_))
                | RoundError::Durable(DurableError::Unsynced(_))
                | RoundError::Push(PushError::Durable(DurableError::Unsynced(_)))
        );
        if !failed {
            return;
        }
        let boot = self.context.fs.boot_id().unwrap_or_default();
        let noted = self.context.state.atomically(|state| {
            state.put_issue("", IssueSource::Disk, REASON)?;
            state.set_meta(UNSYNCED, boot.as_bytes())?;
            Ok::<_, StateError>(())
        });
        match noted {
            Ok(()) => tracing::error!(%error, "a sync of the disk failed"),
            // Nothing can become the merge base either as long as the state cannot be written.
            Err(state) => tracing::error!(%error, %state, "a failed sync could not be noted"),
        }
    }

    /// After a failed sync and a start of the machine since: no file is what it was believed to be.
    /// All are hashed anew and compared with the server without a merge base, so that nothing is
    /// deleted or overwritten, at worst with conflicts. To be called when the outcome of everything
    /// sent before is known: it would be a merge base again.
    pub(super) fn mistrust_the_disk(&mut self) -> Result<(), RoundError> {
        let state = &self.context.state;
        let Some(failed) = state.meta(UNSYNCED)? else { return Ok(()) };
        let boot = self.context.fs.boot_id().unwrap_or_default();
        if !boot.is_empty() && boot.as_bytes() == failed {
            return Ok(());
        }
        tracing::warn!("a sync failed before this machine was started: all files are compared");
        state.atomically(|state| {
            state.release_synced()?;
            state.forget_local_contents()?;
            state.mark_all_dirty()?;
            state.clear_issue("", IssueSource::Disk)?;
            state.clear_meta(UNSYNCED)?;
            Ok::<_, StateError>(())
        })?;
        Ok(())
    }
}
