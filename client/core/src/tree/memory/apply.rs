//! What each step does to the three trees when it succeeds.
//!
//! Owns the reference semantics of steps. It must not plan, nor judge groups: that is the server's.

use super::{GroupRefusal, MemoryServer, MemoryView, synced_of};
use crate::planner::{Change, Destination, PushGroup, Step};
use crate::tree::{
    ContentState, Kind, LocalNode, PARKED, Position, SyncedNode, View, parked_position,
};
use common::ids::EntryId;
use common::revision::Revision;

/// Why a step is not possible. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepRefusal {
    /// The server refuses the group.
    #[error(transparent)]
    Group(#[from] GroupRefusal),
    /// The entry is not (or not any more) what the step says.
    #[error("{0} is not what was planned for")]
    Changed(EntryId),
    /// The position is held.
    #[error("the place of {0} is taken")]
    Taken(EntryId),
    /// The parent is no directory, or lies in the entry itself.
    #[error("{0} would have no parent")]
    NoParent(EntryId),
    /// The directory holds something.
    #[error("{0} is not empty")]
    NotEmpty(EntryId),
}

impl MemoryView {
    /// Carries a step out, with this view's remote tree as the server.
    ///
    /// # Errors
    /// [`StepRefusal`] when its precondition does not hold.
    pub fn apply(&mut self, step: &Step) -> Result<(), StepRefusal> {
        match step {
            Step::Push(group) => {
                let local = &self.local;
                let kind = |entry: &EntryId| local.get(entry).map(|node| node.kind);
                let revision = self.server.judge(group, kind)?;
                self.acknowledge(group, revision);
                Ok(())
            }
            Step::Settle { entry } => self.settle(entry),
            Step::Forget { entry } => {
                self.forget(entry);
                Ok(())
            }
            Step::Keep { entry } => {
                self.synced.update(entry, |node| node.held = false);
                Ok(())
            }
            Step::Adopt { local, remote } => self.adopt(local, remote),
            Step::Detach { entry, fresh } => self.renumber(entry, fresh),
            Step::Create { entry, at, .. } => self.create(entry, at),
            Step::Replace { entry, seen } => self.take_content(entry, seen),
            Step::SetAttributes { entry, seen } => {
                // The server may have got other bytes since: those are not attributes.
                match self.server.node(entry) {
                    Some(remote) if remote.content.tag == seen.tag => {
                        self.take_content(entry, seen)
                    }
                    _ => Err(StepRefusal::Changed(*entry)),
                }
            }
            Step::Move { entry, from, to } => self.move_local(entry, from, to),
            Step::Delete { entry, at, seen } => self.delete(entry, at, *seen),
        }
    }

    /// Sends a group to `server`, hears the server's state, and records what was accepted.
    ///
    /// # Errors
    /// [`StepRefusal::Group`]; the server's state is heard all the same.
    pub fn push(
        &mut self,
        group: &PushGroup,
        server: &mut MemoryServer,
    ) -> Result<(), StepRefusal> {
        let local = &self.local;
        let outcome = server.judge(group, |entry| local.get(entry).map(|node| node.kind));
        self.pull(server);
        self.acknowledge(group, outcome?);
        Ok(())
    }

    /// A group was accepted at `revision`, and the remote tree shows it.
    fn acknowledge(&mut self, group: &PushGroup, revision: Revision) {
        for change in &group.changes {
            match change {
                Change::Create { entry, .. } => self.sync_with_remote(entry),
                Change::Edit { entry, content, .. } => self.synced.update(entry, |node| {
                    node.content = *content;
                    node.content_revision = revision;
                }),
                Change::Move { entry, to, .. } => self.sync_place(entry, to, revision),
                Change::Revive { entry, at, .. } => {
                    if self.synced.get(entry).is_none_or(|node| !node.held) {
                        self.sync_with_remote(entry);
                    }
                    self.sync_place(entry, at, revision);
                }
                Change::Delete { entry, .. } => self.forget(entry),
                Change::ConflictCopy { local, copy, .. } => self.become_copy(local, copy),
            }
        }
    }

    fn sync_with_remote(&mut self, entry: &EntryId) {
        if let Some(remote) = self.server.node(entry) {
            let synced = synced_of(remote);
            self.synced.insert(synced);
        }
    }

    fn sync_place(&mut self, entry: &EntryId, position: &Position, revision: Revision) {
        self.synced.update(entry, |node| {
            node.position = position.clone();
            node.place_revision = revision;
        });
    }

    /// The local node becomes the copy: its base stands where it stands itself, so that the copy's
    /// place at the server is a move to follow.
    fn become_copy(&mut self, local: &EntryId, copy: &EntryId) {
        let at = self.local.get(local).map(|node| node.position.clone());
        if let (Some(at), Some(remote)) = (at, self.server.node(copy)) {
            let synced = SyncedNode { position: at, ..synced_of(remote) };
            self.synced.insert(synced);
        }
        if let Some(node) = self.local.remove(local) {
            self.local.insert(LocalNode { entry: *copy, ..node });
        }
        if local != copy {
            self.forget(local);
        }
    }

    fn settle(&mut self, entry: &EntryId) -> Result<(), StepRefusal> {
        let agrees = match (self.local.get(entry), self.server.node(entry)) {
            (Some(local), Some(remote)) => {
                !remote.deleted
                    && local.position == remote.position
                    && local.content.is_some_and(|content| content.tag == remote.content.tag)
            }
            _ => false,
        };
        if !agrees {
            return Err(StepRefusal::Changed(*entry));
        }
        self.sync_with_remote(entry);
        Ok(())
    }

    /// The synced node goes, and with it the tombstone: nothing needs it any more.
    fn forget(&mut self, entry: &EntryId) {
        self.synced.remove(entry);
        self.server.forget_tombstones(|tombstone| tombstone == entry);
    }

    fn adopt(&mut self, local: &EntryId, remote: &EntryId) -> Result<(), StepRefusal> {
        if self.local.get(remote).is_some() {
            return Err(StepRefusal::Changed(*remote));
        }
        self.renumber(local, remote)?;
        for child in self.synced.children(local) {
            self.synced.update(&child, |node| node.position.parent = *remote);
        }
        self.forget(local);
        Ok(())
    }

    /// A local node takes another id; its children follow.
    fn renumber(&mut self, old: &EntryId, new: &EntryId) -> Result<(), StepRefusal> {
        let node = self.local.remove(old).ok_or(StepRefusal::Changed(*old))?;
        self.local.insert(LocalNode { entry: *new, ..node });
        for child in self.local.children(old) {
            self.local.update(&child, |node| node.position.parent = *new);
        }
        Ok(())
    }

    fn create(&mut self, entry: &EntryId, at: &Position) -> Result<(), StepRefusal> {
        let remote = self.server.node(entry).filter(|node| !node.deleted);
        let Some(remote) = remote.cloned() else { return Err(StepRefusal::Changed(*entry)) };
        if self.local.get(entry).is_some() {
            return Err(StepRefusal::Changed(*entry));
        }
        self.check_place(entry, at)?;
        self.local.insert(LocalNode {
            entry: *entry,
            position: at.clone(),
            kind: remote.kind,
            content: Some(remote.content),
        });
        // The base stands where the entry was made, even if the server has moved it on since.
        self.synced.insert(SyncedNode { position: at.clone(), ..synced_of(&remote) });
        Ok(())
    }

    fn take_content(&mut self, entry: &EntryId, seen: &ContentState) -> Result<(), StepRefusal> {
        let remote = self.server.node(entry).filter(|node| !node.deleted);
        let (content, revision) = match remote {
            Some(remote) => (remote.content, remote.content_revision),
            None => return Err(StepRefusal::Changed(*entry)),
        };
        if self.local.get(entry).is_none_or(|node| node.content != Some(*seen)) {
            return Err(StepRefusal::Changed(*entry));
        }
        self.local.update(entry, |node| node.content = Some(content));
        self.synced.update(entry, |node| {
            node.content = content;
            node.content_revision = revision;
        });
        Ok(())
    }

    fn move_local(
        &mut self,
        entry: &EntryId,
        from: &Position,
        to: &Destination,
    ) -> Result<(), StepRefusal> {
        if self.local.get(entry).is_none_or(|node| node.position != *from) {
            return Err(StepRefusal::Changed(*entry));
        }
        let to = match to {
            Destination::Position(to) => {
                self.check_place(entry, to)?;
                to.clone()
            }
            Destination::Parked => parked_position(entry),
        };
        self.local.update(entry, |node| node.position = to.clone());
        let remote = self.server.node(entry).filter(|node| !node.deleted && node.position == to);
        if let Some(revision) = remote.map(|node| node.place_revision) {
            self.sync_place(entry, &to, revision);
        }
        Ok(())
    }

    fn delete(
        &mut self,
        entry: &EntryId,
        at: &Position,
        seen: Option<ContentState>,
    ) -> Result<(), StepRefusal> {
        let Some(node) = self.local.get(entry) else { return Err(StepRefusal::Changed(*entry)) };
        let is_same = node.kind == Kind::Directory || node.content == seen;
        if node.position != *at || !is_same {
            return Err(StepRefusal::Changed(*entry));
        }
        if !self.local.children(entry).is_empty() {
            return Err(StepRefusal::NotEmpty(*entry));
        }
        self.local.remove(entry);
        self.forget(entry);
        Ok(())
    }

    fn check_place(&self, entry: &EntryId, at: &Position) -> Result<(), StepRefusal> {
        let folded = at.name.folded();
        let clashes = |child: &EntryId| {
            self.local.get(child).is_some_and(|n| n.position.name.folded() == folded)
        };
        let mut siblings = self.local.children(&at.parent).into_iter().filter(|c| c != entry);
        let taken = if self.folds_names {
            siblings.any(|child| clashes(&child))
        } else {
            self.local_at(at).is_some_and(|holder| holder != *entry)
        };
        if taken {
            return Err(StepRefusal::Taken(*entry));
        }
        let mut up = at.parent;
        while up != EntryId::ROOT && up != PARKED {
            let parent = self.local.get(&up).filter(|node| node.kind == Kind::Directory);
            match parent {
                Some(node) if up != *entry => up = node.position.parent,
                _ => return Err(StepRefusal::NoParent(*entry)),
            }
        }
        Ok(())
    }
}
