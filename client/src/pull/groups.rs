//! Journal groups: checked one by one, applied to the remote tree in one transaction a batch.

use super::{labels, registers};
use crate::context::{Alarm, FolderContext};
use crate::fs::RelPath;
use crate::state::{Effect, FolderState, IssueSource, RemoteRow, Reopened, StateError};
use client_core::conflict::opened_again;
use client_core::tree::SyncedNode;
use common::ids::{ConflictId, DeviceId, EntryId, IdLengthError, Signature};
use common::limits::DEPTH_MAX;
use common::record::{Change, ConflictRecord, Group, Registers, SignedGroup};
use common::revision::{Cursor, Revision};
use common::wire::meta::{JournalBatch, JournalGroup};
use std::collections::BTreeMap;

/// A batch that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The folder has to stop until a person looks.
    #[error(transparent)]
    Alarm(#[from] Alarm),
    /// A device that the log on this device does not list: the log is to be read again first.
    #[error("device {0} is not in this device's copy of the device log")]
    UnknownSigner(DeviceId),
    /// An entry comes back that this device has never seen: its registers are to be asked for.
    #[error("entry {entry} came back and is not known here")]
    UnknownEntry {
        /// Which entry.
        entry: EntryId,
        /// The place revision of its deletion.
        base: Revision,
    },
    /// The server broke the protocol.
    #[error("the server's journal does not decode: {0}")]
    Protocol(String),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<IdLengthError> for PullError {
    fn from(error: IdLengthError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// What a batch brought.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// Groups taken.
    pub groups: u64,
    /// How many of them were this device's own.
    pub own: u64,
    /// The journal's last revision when the server sent the batch.
    pub last_revision: Revision,
    /// Whether a directory was moved, so that paths below it changed.
    pub moved_directories: bool,
}

/// Registers of entries as they were deleted, by entry and the revision of the deletion.
pub type Revived = BTreeMap<(EntryId, Revision), Registers>;

/// Takes a batch of the cursor's epoch. Groups at or before the cursor are passed over. Registers
/// of entries that come back without being known here are taken from `revived`.
///
/// # Errors
/// [`PullError`]; nothing of the batch is kept then.
pub fn apply_batch(
    context: &FolderContext,
    batch: &JournalBatch,
    pin: Option<&Cursor>,
    revived: &Revived,
) -> Result<Pulled, PullError> {
    let mut pulled = Pulled { last_revision: batch.last_revision, ..Pulled::default() };
    context.state.atomically(|state| {
        let mut cursor = state.cursor()?.unwrap_or(Cursor { epoch: batch.epoch, ..Cursor::START });
        for message in &batch.groups {
            if message.revision <= cursor.revision {
                continue;
            }
            if message.revision != cursor.revision + 1 {
                let text = format!("revision {} follows {}", message.revision, cursor.revision);
                return Err(Alarm::History(text).into());
            }
            let taken = Taking { context, state, revived }.group(&mut cursor, message)?;
            pulled.groups += 1;
            pulled.own += u64::from(taken.is_own);
            pulled.moved_directories |= taken.moved_directory;
            if let Some(pin) = pin.filter(|pin| pin.revision == cursor.revision)
                && pin.head != cursor.head
            {
                let text = format!("revision {} is not what this device has pinned", pin.revision);
                return Err(Alarm::History(text).into());
            }
        }
        state.set_cursor(&cursor)?;
        Ok::<_, PullError>(())
    })?;
    Ok(pulled)
}

struct Taking<'a> {
    context: &'a FolderContext,
    state: &'a FolderState,
    revived: &'a Revived,
}

#[derive(Default)]
struct Taken {
    is_own: bool,
    moved_directory: bool,
}

impl Taking<'_> {
    fn group(&self, cursor: &mut Cursor, message: &JournalGroup) -> Result<Taken, PullError> {
        let revision = message.revision;
        let signed = SignedGroup {
            body: message.body.clone(),
            signature: Signature::from_slice(&message.signature)?,
        };
        let group = signed.verify().map_err(|error| Alarm::forged(revision, &error))?;
        self.check_author(&group, revision)?;
        self.check_seen(&group, cursor, revision)?;
        let digest = signed.digest(message.time_ms);
        cursor.head = cursor.head.next(&self.context.folder, message.epoch, revision, &digest);
        cursor.revision = revision;
        // The chain is stored as it grows: a later group of the batch may have seen this one.
        self.state.set_cursor(cursor)?;
        let mut taken = Taken::default();
        for change in &group.changes {
            taken.moved_directory |= self.change(change, revision, message.time_ms, &group)?;
        }
        self.check_tree(&group, revision)?;
        taken.is_own = self.complete(&group, revision)?;
        Ok(taken)
    }

    fn check_author(&self, group: &Group, revision: Revision) -> Result<(), PullError> {
        let forged = |reason: &str| Alarm::Forged { revision, reason: reason.to_owned() };
        if group.folder != self.context.folder {
            return Err(forged("it was written for another folder").into());
        }
        if group.user != self.context.user {
            return Err(forged("its author is not a member").into());
        }
        if !self.context.signers.with(|log| log.was_enrolled(&group.device)) {
            return Err(PullError::UnknownSigner(group.device));
        }
        Ok(())
    }

    fn check_seen(
        &self,
        group: &Group,
        cursor: &Cursor,
        revision: Revision,
    ) -> Result<(), PullError> {
        if group.seen_revision >= revision {
            let text = format!("revision {revision} claims to have seen {}", group.seen_revision);
            return Err(Alarm::History(text).into());
        }
        let known = if group.seen_revision == cursor.revision {
            Some(cursor.head)
        } else {
            self.state.head_at(group.seen_revision)?
        };
        // Before a snapshot there is no chain here; the checkpoint vouches for that part.
        if known.is_some_and(|head| head != group.seen_head) {
            let text = format!(
                "the author of revision {revision} has seen another revision {}",
                group.seen_revision
            );
            return Err(Alarm::History(text).into());
        }
        Ok(())
    }

    /// Checks that the tree is one after the group: names unique, no orphan, no cycle, nothing left
    /// in a deleted directory. An honest service has refused anything else.
    fn check_tree(&self, group: &Group, revision: Revision) -> Result<(), PullError> {
        let mut rooted = BTreeMap::from([(EntryId::ROOT, 0)]);
        for change in &group.changes {
            match change {
                Change::Create { entry, .. }
                | Change::Move { entry, .. }
                | Change::Revive { entry, .. } => {
                    self.check_rooted(entry, revision, &mut rooted)?;
                }
                Change::Delete { entry, .. }
                    if self.state.remote_row(entry)?.is_some_and(|row| row.node.deleted)
                        && !self.state.remote_rows_in(entry)?.is_empty() =>
                {
                    let text = format!("deleted directory {entry} still holds entries");
                    return Err(contradiction(revision, &text));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_rooted(
        &self,
        entry: &EntryId,
        revision: Revision,
        rooted: &mut BTreeMap<EntryId, usize>,
    ) -> Result<(), PullError> {
        let row = self.state.remote_row(entry)?.filter(|row| !row.node.deleted);
        let Some(row) = row else { return Ok(()) };
        if self.state.remote_count_at(&row.node.position)? > 1 {
            let text = format!("entry {entry} takes a name that another has");
            return Err(contradiction(revision, &text));
        }
        let (mut at, mut way) = (row.node.position.parent, vec![*entry]);
        let above = loop {
            if let Some(depth) = rooted.get(&at) {
                break *depth;
            }
            if way.len() > DEPTH_MAX {
                return Err(contradiction(revision, &format!("entry {entry} is too deep")));
            }
            let parent = self.state.remote_row(&at)?.filter(|row| !row.node.deleted);
            let parent = parent.filter(|row| row.node.kind == common::record::Kind::Directory);
            let Some(parent) = parent.filter(|_| !way.contains(&at)) else {
                let text = format!("entry {entry} does not hang below the root");
                return Err(contradiction(revision, &text));
            };
            way.push(at);
            at = parent.node.position.parent;
        };
        if above + way.len() > DEPTH_MAX {
            return Err(contradiction(revision, &format!("entry {entry} is too deep")));
        }
        // The entry itself may be no directory: only those above it can hold others.
        rooted.extend(way.into_iter().skip(1).rev().zip(above + 1..));
        Ok(())
    }

    fn live(&self, entry: &EntryId, revision: Revision) -> Result<RemoteRow, PullError> {
        let row = self.state.remote_row(entry)?.filter(|row| !row.node.deleted);
        row.ok_or_else(|| contradiction(revision, &format!("entry {entry} is not there")))
    }

    fn put(&self, row: &RemoteRow) -> Result<(), PullError> {
        if let Some(before) = self.state.remote_row(&row.node.entry)? {
            self.state.clear_issue(&registers::issue_path(&before), IssueSource::Remote)?;
        }
        self.state.put_remote(row)?;
        Ok(registers::list_issue(self.state, row)?)
    }

    /// Applies one change; returns whether it moved a directory.
    fn change(
        &self,
        change: &Change,
        revision: Revision,
        time_ms: u64,
        group: &Group,
    ) -> Result<bool, PullError> {
        match change {
            Change::Create { entry, kind, place, content } => {
                if self.state.remote_row(entry)?.is_some() || *entry == EntryId::ROOT {
                    return Err(contradiction(revision, &format!("entry {entry} exists")));
                }
                self.put(&registers::row(
                    self.context,
                    &Registers {
                        entry: *entry,
                        kind: *kind,
                        place_revision: revision,
                        place: place.clone(),
                        content_revision: revision,
                        content: content.clone(),
                    },
                ))?;
            }
            Change::Edit { entry, base, content } => {
                let mut row = self.live(entry, revision)?;
                if row.node.content_revision != *base && row.node.content_revision != revision {
                    return Err(stale(revision, entry));
                }
                registers::set_content(self.context, &mut row, revision, content);
                self.put(&row)?;
            }
            Change::Move { entry, base, place } => {
                let mut row = self.live(entry, revision)?;
                if row.node.place_revision != *base {
                    return Err(stale(revision, entry));
                }
                registers::set_place(self.context, &mut row, revision, place);
                self.put(&row)?;
                return Ok(row.node.kind == common::record::Kind::Directory);
            }
            Change::Delete { entry, place_base, content_base } => {
                let mut row = self.live(entry, revision)?;
                let node = &mut row.node;
                if (node.place_revision, node.content_revision) != (*place_base, *content_base) {
                    return Err(stale(revision, entry));
                }
                node.deleted = true;
                node.place_revision = revision;
                self.put(&row)?;
                self.keep_other_side(entry, &group.device)?;
            }
            Change::Revive { entry, base, place } => {
                let mut row = self.revived(entry, *base, revision)?;
                if row.node.place_revision != *base {
                    return Err(stale(revision, entry));
                }
                registers::set_place(self.context, &mut row, revision, place);
                self.put(&row)?;
            }
            Change::OpenConflict { conflict, entry, base, theirs, copy } => {
                self.state.put_conflict(&ConflictRecord {
                    conflict: *conflict,
                    entry: *entry,
                    base: *base,
                    theirs: *theirs,
                    copy: *copy,
                    opened: revision,
                    time_ms,
                    device: group.device,
                })?;
            }
            Change::ResolveConflict { conflict, .. } => self.close(conflict)?,
            other => labels::take(self.state, other, revision, time_ms)?,
        }
        Ok(false)
    }

    /// Another device has deleted a side of a conflict. If this one has deleted the other side and kept that,
    /// each has settled the conflict its own way, and nothing of it would be left: the deletion that the
    /// server has heard of stands, and the other does not.
    fn keep_other_side(&self, deleted: &EntryId, by: &DeviceId) -> Result<(), PullError> {
        if *by == self.context.device() {
            return Ok(());
        }
        for record in self.state.conflicts_of(deleted)? {
            let other = if record.copy == *deleted { &record.entry } else { &record.copy };
            let is_live = self.state.remote_row(other)?.is_some_and(|row| !row.node.deleted);
            let base = self.state.synced_node(other)?.filter(|base| base.held && is_live);
            if let Some(base) = base
                && self.stands(deleted)?
                && !self.stands(other)?
            {
                self.state.put_synced(&SyncedNode { held: false, ..base })?;
            }
        }
        Ok(())
    }

    /// Whether an entry is on this disk. One that has just gone may still have its row.
    fn stands(&self, entry: &EntryId) -> Result<bool, PullError> {
        let names = self.state.local_path(entry)?;
        let Some(path) = names.and_then(|names| RelPath::new(names).ok()) else { return Ok(false) };
        Ok(!self.context.fs.stat(&path).is_err_and(|error| error.is_not_found()))
    }

    /// Closes a conflict. A copy that was deleted with it, and edited here meanwhile, comes back, and the
    /// conflict with it.
    fn close(&self, conflict: &ConflictId) -> Result<(), PullError> {
        if let Some(record) = self.state.conflict(conflict)? {
            let copy = self.state.remote_row(&record.copy)?;
            if copy.is_some_and(|row| row.node.deleted) && is_edited(self.state, &record.copy)? {
                self.state.reopen(&Reopened {
                    conflict: opened_again(conflict),
                    entry: record.entry,
                    copy: record.copy,
                    base: record.base,
                })?;
            }
        }
        Ok(self.state.remove_conflict(conflict)?)
    }

    fn revived(
        &self,
        entry: &EntryId,
        base: Revision,
        revision: Revision,
    ) -> Result<RemoteRow, PullError> {
        match self.state.remote_row(entry)? {
            Some(row) if row.node.deleted => Ok(row),
            Some(_) => Err(contradiction(revision, &format!("entry {entry} was not deleted"))),
            None => match self.revived.get(&(*entry, base)) {
                Some(registers) => Ok(registers::row(self.context, registers)),
                None => Err(PullError::UnknownEntry { entry: *entry, base }),
            },
        }
    }

    /// Completes the outbox row of a group of this device's own.
    fn complete(&self, group: &Group, revision: Revision) -> Result<bool, PullError> {
        if group.device != self.context.device() {
            return Ok(false);
        }
        if group.request.incarnation != self.state.incarnation()? {
            return Ok(true);
        }
        let outbox = self.state.outbox()?;
        let Some(row) = outbox.into_iter().find(|row| row.counter == group.request.counter) else {
            return Ok(true);
        };
        for effect in &row.effects {
            self.effect(effect, revision)?;
        }
        self.state.remove_outbox(row.counter)?;
        Ok(true)
    }

    fn effect(&self, effect: &Effect, revision: Revision) -> Result<(), StateError> {
        let placed = |entry: &EntryId, kind, position, content| SyncedNode {
            entry: *entry,
            position,
            kind,
            content,
            place_revision: revision,
            content_revision: revision,
            held: true,
        };
        match effect {
            Effect::Placed { entry, kind, at, content } => {
                self.state.put_synced(&placed(entry, *kind, at.clone(), *content))
            }
            Effect::Edited { entry, content } => self.change_synced(entry, |node| {
                node.content = *content;
                node.content_revision = revision;
            }),
            Effect::Moved { entry, to } => self.change_synced(entry, |node| {
                node.position = to.clone();
                node.place_revision = revision;
            }),
            Effect::Revived { entry, at } => self.change_synced(entry, |node| {
                node.position = at.clone();
                node.place_revision = revision;
            }),
            Effect::Deleted { entry } => self.state.remove_synced(entry),
            Effect::Copied { local, copy, kind, from, content, entry } => {
                if local != copy && self.state.local_row(local)?.is_some() {
                    self.state.rename_local(local, copy)?;
                }
                self.state.put_synced(&placed(copy, *kind, from.clone(), *content))?;
                if local == entry { self.state.remove_synced(entry) } else { Ok(()) }
            }
        }
    }

    /// Changes a synced node; one that is not there begins as what the server has.
    fn change_synced(
        &self,
        entry: &EntryId,
        change: impl FnOnce(&mut SyncedNode),
    ) -> Result<(), StateError> {
        let node = match self.state.synced_node(entry)? {
            Some(node) if node.held => Some(node),
            _ => self.state.remote_row(entry)?.map(|row| SyncedNode {
                entry: *entry,
                position: row.node.position,
                kind: row.node.kind,
                content: row.node.content,
                place_revision: row.node.place_revision,
                content_revision: row.node.content_revision,
                held: true,
            }),
        };
        let Some(mut node) = node else { return Ok(()) };
        change(&mut node);
        self.state.put_synced(&node)
    }
}

/// Whether what stands on this disk is not known to be what was synced last.
pub(crate) fn is_edited(state: &FolderState, entry: &EntryId) -> Result<bool, StateError> {
    let Some(local) = state.local_row(entry)? else { return Ok(false) };
    let base = state.synced_node(entry)?.filter(|base| base.held);
    Ok(base.is_none_or(|base| local.content().is_none_or(|local| local.tag != base.content.tag)))
}

fn contradiction(revision: Revision, reason: &str) -> PullError {
    Alarm::Contradiction { revision, reason: reason.to_owned() }.into()
}

fn stale(revision: Revision, entry: &EntryId) -> PullError {
    contradiction(revision, &format!("its base of entry {entry} is stale"))
}
