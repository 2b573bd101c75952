//! Labels and settings: their rules and their rows.
//!
//! Owns what is checked of those changes and what they write. It must not know what a sealed name or
//! sealed preferences say, nor what retention does.

use super::super::state::{FolderState, Label};
use super::super::store::{MetaReads, MetaStore, Stored};
use super::draft::{Fault, Stopped};
use common::ids::{FolderId, LabelId};
use common::limits::LABELS_MAX;
use common::record::{Change, StandingSettings};
use common::revision::Revision;
use common::wire::meta::RejectionCode as Code;
use std::collections::BTreeSet;

/// What the changes of one group before this one did to labels and settings.
#[derive(Default)]
pub(super) struct LabelDraft {
    touched: BTreeSet<LabelId>,
    added: usize,
    is_set: bool,
}

impl LabelDraft {
    /// Checks a change of a label or of the settings; others are none of its business.
    pub(super) fn check(
        &mut self,
        reads: &dyn MetaReads,
        id: &FolderId,
        folder: &FolderState,
        change: &Change,
    ) -> Result<(), Stopped> {
        match change {
            Change::AddLabel { label, at, .. } => self.check_add(reads, id, folder, label, *at),
            Change::RemoveLabel { label } => {
                let known = reads.labels(id)?.iter().any(|known| known.label == *label);
                if !known || !self.touched.insert(*label) {
                    return fault(Code::NoSuchLabel, "there is no such label");
                }
                Ok(())
            }
            Change::SetSettings { base, .. } => {
                let standing = reads.settings(id, folder.revision)?;
                if standing.map_or(0, |standing| standing.revision) != *base {
                    return fault(Code::StaleSettings, "the settings have moved on");
                }
                if std::mem::replace(&mut self.is_set, true) {
                    return fault(Code::Malformed, "a group sets the settings once");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_add(
        &mut self,
        reads: &dyn MetaReads,
        id: &FolderId,
        folder: &FolderState,
        label: &LabelId,
        at: Revision,
    ) -> Result<(), Stopped> {
        let labels = reads.labels(id)?;
        let in_use = labels.iter().any(|known| known.label == *label);
        if in_use || !self.touched.insert(*label) {
            return fault(Code::IdTaken, "the label's id is in use");
        }
        self.added += 1;
        if labels.len() + self.added > LABELS_MAX {
            return fault(Code::Quota, format!("a folder has at most {LABELS_MAX} labels"));
        }
        if at == 0 || at > folder.revision {
            return fault(Code::NotWhole, format!("there is no revision {at} in the journal"));
        }
        if !reads.whole(id)?.contains(at) {
            return fault(Code::NotWhole, format!("revision {at} has been thinned"));
        }
        Ok(())
    }
}

fn fault<T>(code: Code, message: impl Into<String>) -> Result<T, Stopped> {
    Err(Stopped::Fault(Fault { code, entry: None, message: message.into() }))
}

/// Writes what a change does to labels and settings.
pub(super) fn write(
    store: &mut dyn MetaStore,
    id: &FolderId,
    revision: Revision,
    time_ms: u64,
    change: &Change,
) -> Stored<()> {
    match change {
        Change::AddLabel { label, at, name } => {
            let label = Label { label: *label, at: *at, added: revision, name: name.clone() };
            store.put_label(id, &label)
        }
        Change::RemoveLabel { label } => store.delete_label(id, label),
        Change::SetSettings { settings, .. } => {
            let settings = settings.clone();
            store.put_settings(id, &StandingSettings { revision, time_ms, settings })
        }
        _ => Ok(()),
    }
}
