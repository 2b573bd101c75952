//! Taking back a mass deletion: that which waits for a person, and what had been let through of it
//! before it was seen to be one.
//!
//! Owns what is brought back of it. What waits has happened on one side alone, so the other brings it
//! back; what was let through is restored at the server, and comes to this disk as it comes to all.

use super::past::Past;
use super::restore::{ROUNDS, Restoring, registers_of};
use super::{AskError, Engine};
use crate::pull::row_of;
use crate::state::{RemoteRow, StateError};
use client_core::restore::{self, Wanted, Wish};
use client_core::tree::{ContentState, Position, SyncedNode};
use common::ids::{ContentTag, EntryId};
use common::record::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Versions that are looked through for one that is not empty.
const VERSIONS_MAX: u32 = 64;

/// What was lost, by where it was last: the row as it was deleted or emptied, and as it was before.
type Lost = BTreeMap<Position, (RemoteRow, RemoteRow)>;

impl Engine {
    /// Takes back the mass deletion that waits: what this disk has lost comes back from the server,
    /// what the server has lost goes back to it. What was let through just before, and counted with
    /// it, is restored. Returns of how many entries.
    pub(in crate::engine) async fn undo(&mut self) -> Result<u64, AskError> {
        let asked = self.asked_of_person()?;
        let halt = &asked.halt;
        let lately = self.guarded.let_through_of(halt);
        // First what needs the server: without it all waits on, and can be asked for again.
        let (mut taken_back, left) = self.restore_let_through(&lately).await?;
        let empty = self.context.keys.content_tag().finish();
        self.context.state.atomically(|state| {
            for entry in halt.deletions.union(&lately) {
                let Some(base) = state.synced_node(entry)? else { continue };
                let local = state.local_row(entry)?;
                let content = local.as_ref().and_then(|row| row.content());
                let remote = state.remote_row(entry)?.filter(|row| !row.node.deleted);
                let remote = remote.map(|row| row.node.content);
                let base = match (content, remote, halt.from_remote) {
                    // Emptied: the side that is not holds, as if the other had only been empty.
                    (Some(content), Some(remote), false)
                        if content.tag == empty && remote.tag != empty =>
                    {
                        SyncedNode { content, ..base }
                    }
                    (Some(content), Some(remote), true)
                        if remote.tag == empty && content.tag != empty =>
                    {
                        SyncedNode { content: remote, ..base }
                    }
                    // It is on both sides: another content has come meanwhile.
                    (_, Some(_), _) if local.is_some() => continue,
                    // Gone on one side: it is new to that side from now on.
                    _ => SyncedNode { held: false, ..base },
                };
                taken_back.insert(*entry);
                state.put_synced(&base)?;
            }
            state.clear_mass_deletion()?;
            state.clear_let_through()?;
            Ok::<_, StateError>(())
        })?;
        self.guarded.taken_back();
        self.busy = true;
        let left = left.iter().map(|entry| self.shown_path(entry));
        let mut left = left.collect::<Result<Vec<String>, StateError>>()?;
        left.sort_unstable();
        let Some((first, others)) = left.split_first() else { return Ok(taken_back.len() as u64) };
        let others = match others.len() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Err(AskError::Refused(format!(
            "{first}{others} cannot be brought back as things are: look with `driftless ls --deleted` \
             and `driftless log`; all else comes back"
        )))
    }

    /// Restores what was let through at the server; returns what that is, and what the server does
    /// not take back.
    async fn restore_let_through(
        &mut self,
        lately: &BTreeSet<EntryId>,
    ) -> Result<(BTreeSet<EntryId>, BTreeSet<EntryId>), AskError> {
        let mut restored = BTreeSet::new();
        let (mut fewest, mut in_vain, mut refused) = (usize::MAX, 0, false);
        loop {
            let (restoring, mut left) = self.let_through(lately).await?;
            let wanted = &restoring.wish.wanted;
            in_vain = if wanted.len() < fewest { 0 } else { in_vain + 1 };
            fewest = fewest.min(wanted.len());
            if wanted.is_empty() || refused || in_vain == ROUNDS {
                left.extend(wanted.keys());
                restored.retain(|entry| !left.contains(entry));
                return Ok((restored, left));
            }
            restored.extend(wanted.keys().copied());
            refused = match self.send_wish(&restoring).await {
                Err(AskError::Refused(reason)) => {
                    tracing::warn!(reason, "not all of a mass deletion was taken back");
                    true
                }
                sent => sent.map(|()| false)?,
            };
        }
    }

    /// What of these the server has lost, and nobody has made anew; and what cannot come back.
    async fn let_through(
        &mut self,
        lately: &BTreeSet<EntryId>,
    ) -> Result<(Restoring, BTreeSet<EntryId>), AskError> {
        let nothing = ContentTag::from_bytes([0; ContentTag::LEN]);
        let (mut lost, mut left) = (Lost::new(), BTreeSet::new());
        let (mut seen, mut queue) = (BTreeSet::new(), lately.clone());
        while let Some(entry) = queue.pop_first() {
            let state = &self.context.state;
            let now = state.remote_row(&entry)?.filter(|row| row.issue().is_none());
            let Some(now) = now.filter(|_| seen.insert(entry)) else { continue };
            let local = state.local_row(&entry)?;
            let position = now.node.position.clone();
            let before = if !now.node.deleted {
                self.before_it_was_emptied(&now, local.and_then(|row| row.content())).await?
            } else if (local.is_some() && now.node.kind != Kind::Directory)
                || state.remote_entry_at(&position)?.is_some()
            {
                // It was made anew: what stands here goes to the server by itself. A directory that
                // stands here and waits comes back first, for what was in it.
                None
            } else {
                Some(now.clone())
            };
            let Some(before) = before else { continue };
            if before.node.content.tag == nothing {
                left.insert(entry);
                continue;
            }
            // A directory that others have deleted meanwhile comes back with what was in it.
            queue.extend(Some(position.parent).filter(|parent| !seen.contains(parent)));
            // Of two that were deleted at one place it is the one that was there last.
            let is_last = |(other, _): &(RemoteRow, _)| other.newest() < now.newest();
            if lost.get(&position).is_none_or(is_last) {
                lost.insert(position, (now, before));
            }
        }
        let (mut past, mut wish) = (Past::default(), Wish::default());
        for (position, (now, before)) in lost {
            let (kind, content) = (now.node.kind, before.node.content);
            let entry = now.node.entry;
            past.rows.insert(entry, Box::new(before));
            let wanted = Wanted { position, kind, content, source: entry };
            wish.wanted.insert(entry, wanted);
        }
        left.extend(self.take_out_what_has_no_place(&mut wish)?);
        Ok((Restoring::of_folder(past, wish), left))
    }

    /// Takes out what the folder has no place for as things are, and what was in that; returns it.
    fn take_out_what_has_no_place(
        &mut self,
        wish: &mut Wish,
    ) -> Result<BTreeSet<EntryId>, StateError> {
        let mut left = self.take_out_what_has_no_directory(wish)?;
        loop {
            let policy = self.policy();
            let view = self.context.state.view();
            let plan = restore::plan(&view, wish, &policy);
            view.finish()?;
            let before = wish.wanted.len();
            for issue in &plan.issues {
                left.extend(wish.wanted.remove(&issue.entry).map(|_| issue.entry));
            }
            if wish.wanted.len() == before {
                return Ok(left);
            }
            left.extend(self.take_out_what_has_no_directory(wish)?);
        }
    }

    /// Nothing comes back into a directory that does not; returns what does not.
    fn take_out_what_has_no_directory(
        &self,
        wish: &mut Wish,
    ) -> Result<BTreeSet<EntryId>, StateError> {
        let mut left = BTreeSet::new();
        loop {
            let mut without = Vec::new();
            for (entry, wanted) in &wish.wanted {
                let parent = &wanted.position.parent;
                let is_there = *parent == EntryId::ROOT
                    || wish.wanted.contains_key(parent)
                    || self.context.state.remote_row(parent)?.is_some_and(|row| !row.node.deleted);
                if !is_there {
                    without.push(*entry);
                }
            }
            if without.is_empty() {
                return Ok(left);
            }
            wish.wanted.retain(|entry, _| !without.contains(entry));
            left.extend(without);
        }
    }

    /// What a file held before it was emptied; `None` if it is not empty.
    async fn before_it_was_emptied(
        &self,
        now: &RemoteRow,
        here: Option<ContentState>,
    ) -> Result<Option<RemoteRow>, AskError> {
        let empty = self.context.keys.content_tag().finish();
        let is_empty = |content: ContentState| content.tag == empty;
        if !is_empty(now.node.content) || here.is_some_and(|here| !is_empty(here)) {
            return Ok(None);
        }
        for version in self.versions(&now.node.entry, now.newest(), VERSIONS_MAX).await? {
            if version.deleted || version.released {
                continue;
            }
            let row = row_of(&self.context, &registers_of(version)?);
            if row.issue().is_none() && !is_empty(row.node.content) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}
