//! What is believed of a disk that has failed to sync.
//!
//! Owns what is remembered of it. A system forgets what it could not write, and says so once: the
//! next sync succeeds whether the bytes are stored or not (A. Rebello et al., "Can Applications
//! Recover from fsync Failures?"). While the system has them in memory the files read as they were
//! written, and it is right to send them to the server. Once the disk was mounted anew they may be
//! older, shorter or gone, and that would be taken for edits and deletions. It must not touch files.

use super::online::RoundError;
use super::run::Engine;
use crate::apply::ApplyError;
use crate::push::PushError;
use crate::scan::DurableError;
use crate::state::{IssueSource, StateError};

/// The setting that holds the boot id under which a sync has failed.
const UNSYNCED: &str = "unsynced";
/// What a person is told of it.
const REASON: &str = "this disk could not store what was written to it: check the disk; whenever \
                      Driftless starts, until this machine does, all files are compared with the \
                      server anew";

/// What this run of the engine knows of it.
#[derive(Default)]
pub(super) struct Mistrust {
    /// A sync has failed and the state does not say so yet.
    unnoted: bool,
    /// This run has compared everything, or found no reason to.
    compared: bool,
}

impl Engine {
    /// Remembers a round that has failed because the disk could not sync.
    pub(super) fn take_failed_sync(&mut self, error: &RoundError) {
        let failed = matches!(
            error,
            RoundError::Apply(ApplyError::Unsynced(_))
                | RoundError::Durable(DurableError::Unsynced(_))
                | RoundError::Push(PushError::Durable(DurableError::Unsynced(_)))
        );
        if failed {
            self.sync_has_failed(error);
        }
    }

    /// Remembers that a sync has failed.
    pub(super) fn sync_has_failed(&mut self, error: &dyn std::error::Error) {
        tracing::error!(%error, "a sync of the disk failed");
        self.mistrust.unnoted = true;
    }

    /// Notes a failed sync. To be called before anything becomes the merge base or is pushed.
    pub(super) fn note_failed_sync(&mut self) -> Result<(), RoundError> {
        if !self.mistrust.unnoted {
            return Ok(());
        }
        let boot = self.context.fs.boot_id().unwrap_or_default();
        self.context.state.atomically(|state| {
            state.put_issue("", IssueSource::Disk, REASON)?;
            state.set_meta(UNSYNCED, boot.as_bytes())?;
            Ok::<_, StateError>(())
        })?;
        self.mistrust.unnoted = false;
        Ok(())
    }

    /// The root has come back: what is there may be what the disk holds, and no more.
    pub(super) fn root_is_back(&mut self) {
        self.mistrust.compared = false;
        self.outbox_known = false;
    }

    /// After a failed sync, once in each run: no file is what it was believed to be, for the disk may
    /// have been mounted anew. All are hashed and compared with the server without a merge base, so
    /// that nothing is deleted or overwritten, at worst with conflicts. Another boot id ends it. To be
    /// called when the outcome of everything sent before is known: it would be a merge base again.
    pub(super) fn mistrust_the_disk(&mut self) -> Result<(), RoundError> {
        if std::mem::replace(&mut self.mistrust.compared, true) {
            return Ok(());
        }
        let state = &self.context.state;
        let Some(failed) = state.meta(UNSYNCED)? else { return Ok(()) };
        let boot = self.context.fs.boot_id().unwrap_or_default();
        let is_over = !boot.is_empty() && !failed.is_empty() && boot.as_bytes() != failed;
        tracing::warn!("a sync of the disk has failed before: all files are compared");
        let compared = state.atomically(|state| {
            state.release_synced()?;
            state.forget_local_contents()?;
            state.mark_all_dirty()?;
            if is_over {
                state.clear_issue("", IssueSource::Disk)?;
                state.clear_meta(UNSYNCED)?;
            }
            Ok::<_, StateError>(())
        });
        self.mistrust.compared = compared.is_ok();
        Ok(compared?)
    }
}
