//! Where a restore meets what is only on this disk: what it must not replace, and what it brings back
//! besides because it was deleted here and the server has not been told yet.
//!
//! Owns what a person is told of it before anything is done. It must not know how a restore is planned.

use super::restore::Restoring;
use super::{AskError, Engine};
use crate::engine::handle::{Instant, RestoreInfo, Sent};
use crate::scan::remove_subtree;
use crate::state::{RemoteRow, StateError};
use client_core::restore::Wish;
use common::ids::EntryId;
use common::name::Name;
use std::collections::BTreeSet;

impl Engine {
    /// Nothing that is only on this disk is replaced: neither an edit that is not synced, nor a file
    /// where one is to come.
    pub(super) fn check_synced(&self, restoring: &Restoring) -> Result<(), AskError> {
        let state = &self.context.state;
        let Wish { wanted, gone } = &restoring.wish;
        for entry in wanted.keys().chain(gone) {
            let Some(row) = state.local_row(entry)?.filter(|_| !self.missing.contains_key(entry))
            else {
                continue;
            };
            let base = state.synced_node(entry)?;
            let is_synced = base.is_some_and(|base| {
                row.content() == Some(base.content) && row.position == base.position
            });
            if !is_synced {
                return Err(self.unsynced(entry)?);
            }
        }
        for wanted in wanted.values() {
            let holder = state.local_entry_at(&wanted.position)?;
            let holder = holder.filter(|holder| !self.missing.contains_key(holder));
            // What the server does not know under this name is only here.
            if let Some(holder) = holder
                && state.remote_row(&holder)?.is_none_or(|row| row.node.deleted)
                && let Some(row) = state.local_row(&holder)?
            {
                let is_received = self
                    .guarded
                    .halt()
                    .is_some_and(|halt| halt.from_remote && halt.deletions.contains(&holder));
                let base = state.synced_node(&holder)?.filter(|_| is_received);
                let is_as_it_was = base.is_some_and(|base| row.content() == Some(base.content));
                return Err(match is_as_it_was {
                    true => AskError::Refused(format!(
                        "{}: is still on this disk, as it was deleted elsewhere with many others: \
                         `driftless confirm --undo` keeps them all, and `driftless confirm` deletes \
                         them here too, after which it can be restored",
                        self.path_to_show(&holder)
                    )),
                    false => self.unsynced(&holder)?,
                });
            }
        }
        Ok(())
    }

    pub(in crate::engine) fn unsynced(&self, entry: &EntryId) -> Result<AskError, AskError> {
        let names = self.context.state.local_path(entry)?.unwrap_or_default();
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        Ok(AskError::Unsynced(names.join("/")))
    }

    /// Where nothing is to be brought back, that it is so already is said of what this disk has too: of
    /// nothing that was edited or moved here since.
    pub(super) fn check_untouched(&self, stays: &[EntryId]) -> Result<(), AskError> {
        let state = &self.context.state;
        for entry in self.unsettled(stays)? {
            let base = state.synced_node(&entry)?.filter(|base| base.held);
            if let Some((row, base)) = state.local_row(&entry)?.zip(base)
                && (row.content() != Some(base.content) || row.position != base.position)
            {
                return Err(self.unsynced(&entry)?);
            }
        }
        Ok(())
    }

    /// Those of some entries that may be another here than at the server.
    fn unsettled(&self, entries: &[EntryId]) -> Result<Vec<EntryId>, StateError> {
        let dirty = self.context.state.dirty(usize::MAX)?;
        // What lies in a directory that is gone goes with it, and is marked when that is believed.
        let is_one = |entry: &&EntryId| !self.missing.is_empty() || dirty.contains(entry);
        Ok(entries.iter().filter(is_one).copied().collect())
    }

    /// What a restore does, for a person: before anything is done.
    pub(super) fn told_of(
        &self,
        restoring: &Restoring,
        stays: &[EntryId],
        at: Instant,
    ) -> Result<RestoreInfo, AskError> {
        let state = &self.context.state;
        let (mut absent, mut back) = (Vec::new(), BTreeSet::new());
        for entry in self.unsettled(stays)? {
            let is_held = state.synced_node(&entry)?.is_some_and(|base| base.held);
            let is_live = |row: RemoteRow| !row.node.deleted;
            if is_held && self.is_absent(&entry)? && state.remote_row(&entry)?.is_some_and(is_live)
            {
                absent.push(self.shown_path(&entry)?);
                back.insert(entry);
            }
        }
        absent.sort_unstable();
        back.extend(restoring.wish.wanted.keys());
        let of_halt = self.guarded.halt().and_then(|halt| {
            let count = halt.deletions.iter().filter(|entry| back.contains(entry)).count();
            Some((count as u64, halt.deletions.len() as u64)).filter(|_| count > 0)
        });
        let (differences, sent) = (restoring.differences(), Sent::default());
        Ok(RestoreInfo { at, differences, absent, of_halt, sent })
    }

    /// Whether something is not on this disk, or was not when it was looked at last.
    fn is_absent(&self, entry: &EntryId) -> Result<bool, StateError> {
        let mut at = *entry;
        while at != EntryId::ROOT {
            let Some(row) = self.context.state.local_row(&at)? else { return Ok(true) };
            if self.missing.contains_key(&at) {
                return Ok(true);
            }
            if self.missing.is_empty() {
                break;
            }
            at = row.position.parent;
        }
        Ok(false)
    }

    /// What was deleted here, and the server has not been told yet, is brought back with the rest;
    /// returns what that is.
    pub(super) fn bring_back_absent(
        &mut self,
        stays: Vec<EntryId>,
    ) -> Result<Vec<EntryId>, AskError> {
        // All rows of what is gone first: those in a directory go with it.
        for entry in &stays {
            if self.missing.remove(entry).is_some() {
                self.context.state.atomically(|_| remove_subtree(&self.context, entry))?;
            }
        }
        let mut kept = Vec::new();
        for entry in stays {
            let base = self.context.state.synced_node(&entry)?;
            if base.is_some_and(|base| base.held) && self.keep(&entry)? {
                kept.push(entry);
            }
        }
        self.busy |= !kept.is_empty();
        Ok(kept)
    }
}
