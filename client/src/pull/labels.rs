//! Labels, settings and agreements to a restore that the journal brings.
//!
//! Owns their checks. Settings are kept, so that what the devices agreed on holds offline too; labels
//! are asked for when somebody wants to see them; of an agreement only that it was heard. It must not
//! know what any of them means.

use super::groups::PullError;
use crate::context::Alarm;
use crate::state::FolderState;
use common::record::{Change, StandingSettings};
use common::revision::{Cursor, Revision};

/// Takes a change of a label or of the settings, or an agreement; others are none of its business.
///
/// # Errors
/// [`PullError::Alarm`] for what an honest service has refused.
pub(super) fn take(
    state: &FolderState,
    change: &Change,
    revision: Revision,
    time_ms: u64,
) -> Result<(), PullError> {
    match change {
        Change::AddLabel { at, .. } if *at == 0 || *at >= revision => {
            let reason = format!("its label names revision {at}");
            Err(Alarm::Contradiction { revision, reason }.into())
        }
        Change::SetSettings { base, settings } => {
            let standing = state.settings()?.map_or(0, |standing| standing.revision);
            if standing != *base {
                let reason = "its base of the settings is stale".to_owned();
                return Err(Alarm::Contradiction { revision, reason }.into());
            }
            let settings = settings.clone();
            Ok(state.set_settings(Some(&StandingSettings { revision, time_ms, settings }))?)
        }
        Change::ConfirmEpoch { restored, .. } => {
            // One word is enough, whoever gave it.
            let same = |at: &Cursor| (at.revision, at.head) == (restored.revision, restored.head);
            if state.agreement()?.is_some_and(|owed| same(&owed.restored)) {
                state.set_agreement(None)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
