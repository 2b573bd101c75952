//! Whether this device still takes part, and what a person is shown when it does not.
//!
//! Owns whose word counts for that: the user's own signed device log, and the server with the pinned
//! key. It must not stop or delete anything: files stay where they are, and what is written
//! meanwhile is noted.

use super::account::AccountError;
use super::control::Failure;
use super::shared::Shared;
use crate::engine::{FolderHandle, FolderStatus, FolderSummary, HaltReason};

impl Shared {
    /// Why this device is not let in any more, if so.
    pub(super) fn barred(&self) -> Option<Failure> {
        let device = self.signer.device();
        let revoked = self.signers.with(|log| {
            let record = log.device(&device).filter(|record| !record.is_enrolled());
            record.map(|record| AccountError::Revoked { at_ms: record.revoked_ms })
        });
        match revoked {
            Some(revoked) => Some(revoked.into()),
            None => self.remote.barred().map(Failure::from),
        }
    }

    /// A folder as a person is to see it: that of a device that is not let in waits for them,
    /// whatever its engine still hopes for.
    pub(super) fn shown(&self, handle: &FolderHandle) -> FolderSummary {
        let summary = handle.summary();
        match self.barred() {
            Some(failure) => halted(summary, failure),
            None => summary,
        }
    }
}

fn halted(summary: FolderSummary, failure: Failure) -> FolderSummary {
    let Failure { message, hint, .. } = failure;
    // An engine has met the same refusal, perhaps without its time: it is said once.
    let trouble = summary.trouble.filter(|trouble| !message.starts_with(trouble.as_str()));
    let halt = Some(HaltReason::new(message, hint));
    FolderSummary { status: FolderStatus::Halted, halt, trouble, ..summary }
}
