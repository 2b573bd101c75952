//! A folder's entries at a server in memory, and how it judges a group.
//!
//! Owns the group semantics of the metadata service as far as the planner has to meet them. It
//! must not know of versions, keys or signatures.

use super::Indexed;
use crate::planner::{Change, PushGroup};
use crate::tree::{ContentState, Kind, Position, RemoteNode};
use common::ids::EntryId;
use common::revision::Revision;
use std::collections::{BTreeMap, BTreeSet};

/// Why a group is refused. The server is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// A base is not the register's revision, or the entry is deleted (or not).
    #[error("{0} has changed meanwhile")]
    Stale(EntryId),
    /// The id of a new entry is known already.
    #[error("{0} exists")]
    Exists(EntryId),
    /// Two entries would have one name.
    #[error("{0} would have the name of another entry")]
    NameTaken(EntryId),
    /// The parent would not be a live directory.
    #[error("{0} would have no parent")]
    Orphan(EntryId),
    /// A directory would lie in itself.
    #[error("{0} would lie in itself")]
    Cycle(EntryId),
    /// A deleted directory would hold something.
    #[error("{0} would not be empty")]
    NotEmpty(EntryId),
}

/// The entries of a folder, deleted ones included, and the journal's revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryServer {
    entries: Indexed<RemoteNode>,
    revision: Revision,
}

impl MemoryServer {
    /// The last revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Puts a node in as it is, or in place of the one of its entry.
    pub fn insert(&mut self, node: RemoteNode) {
        self.revision = self.revision.max(node.place_revision).max(node.content_revision);
        self.entries.insert(node);
    }

    /// Takes a node out, without a tombstone: as if it had never been.
    pub fn remove(&mut self, entry: &EntryId) -> Option<RemoteNode> {
        self.entries.remove(entry)
    }

    /// A node, deleted or not.
    #[must_use]
    pub fn node(&self, entry: &EntryId) -> Option<&RemoteNode> {
        self.entries.get(entry)
    }

    /// All nodes, deleted ones included, in order of entry.
    pub fn nodes(&self) -> impl Iterator<Item = &RemoteNode> {
        self.entries.nodes.values()
    }

    /// The live entry at a position.
    #[must_use]
    pub fn holder(&self, position: &Position) -> Option<EntryId> {
        self.entries.at(position).next()
    }

    /// Live entries in a directory, by name.
    #[must_use]
    pub fn children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.entries.children(parent)
    }

    /// Takes out the deleted nodes for which `is_unneeded` holds.
    pub fn forget_tombstones(&mut self, is_unneeded: impl Fn(&EntryId) -> bool) {
        self.entries.nodes.retain(|entry, node| !(node.deleted && is_unneeded(entry)));
    }

    /// Judges a group and lets it take effect whole or not at all. `kind_of` tells the kind of the
    /// author's local node, which new entries get.
    ///
    /// # Errors
    /// [`GroupRefusal`].
    pub fn judge(
        &mut self,
        group: &PushGroup,
        kind_of: impl Fn(&EntryId) -> Option<Kind>,
    ) -> Result<Revision, GroupRefusal> {
        let mut undo = BTreeMap::new();
        let outcome = self.take(group, &kind_of, &mut undo).and_then(|()| self.check(&undo));
        match outcome {
            Ok(()) => {
                self.revision += 1;
                Ok(self.revision)
            }
            Err(refusal) => {
                for (entry, node) in undo {
                    match node {
                        Some(node) => self.entries.insert(node),
                        None => drop(self.entries.remove(&entry)),
                    }
                }
                Err(refusal)
            }
        }
    }

    fn take(
        &mut self,
        group: &PushGroup,
        kind_of: &impl Fn(&EntryId) -> Option<Kind>,
        undo: &mut BTreeMap<EntryId, Option<RemoteNode>>,
    ) -> Result<(), GroupRefusal> {
        for change in &group.changes {
            let entry = subject(change);
            let old = self.entries.get(&entry).cloned();
            let new = self.changed(change, old.clone(), kind_of)?;
            undo.entry(entry).or_insert(old);
            self.entries.insert(new);
        }
        Ok(())
    }

    /// The node that a change makes of `old`. A register that the same group has changed already
    /// has the revision to come, which is nobody's base.
    fn changed(
        &self,
        change: &Change,
        old: Option<RemoteNode>,
        kind_of: &impl Fn(&EntryId) -> Option<Kind>,
    ) -> Result<RemoteNode, GroupRefusal> {
        let entry = subject(change);
        let revision = self.revision + 1;
        let stale = GroupRefusal::Stale(entry);
        let fresh = |source: &EntryId, at: &Position, content: &ContentState| {
            let kind = kind_of(source).ok_or(GroupRefusal::Stale(*source))?;
            Ok(RemoteNode {
                entry,
                position: at.clone(),
                kind,
                content: *content,
                place_revision: revision,
                content_revision: revision,
                deleted: false,
            })
        };
        match (change, old) {
            (Change::Create { .. } | Change::ConflictCopy { .. }, Some(_)) => {
                Err(GroupRefusal::Exists(entry))
            }
            (Change::Create { at, content, .. }, None) => fresh(&entry, at, content),
            (Change::ConflictCopy { local, at, content, entry: keeper, theirs, .. }, None) => {
                let found = self.entries.get(keeper).filter(|node| !node.deleted);
                match found {
                    Some(node) if node.content_revision == *theirs => fresh(local, at, content),
                    _ => Err(GroupRefusal::Stale(*keeper)),
                }
            }
            (Change::Edit { content, base, .. }, Some(node))
                if !node.deleted && node.content_revision == *base =>
            {
                Ok(RemoteNode { content: *content, content_revision: revision, ..node })
            }
            (Change::Move { to, base, .. }, Some(node))
                if !node.deleted && node.place_revision == *base =>
            {
                Ok(RemoteNode { position: to.clone(), place_revision: revision, ..node })
            }
            (Change::Delete { place_base, content_base, .. }, Some(node))
                if !node.deleted
                    && node.place_revision == *place_base
                    && node.content_revision == *content_base =>
            {
                Ok(RemoteNode { deleted: true, place_revision: revision, ..node })
            }
            (Change::Revive { at, base, .. }, Some(node))
                if node.deleted && node.place_revision == *base =>
            {
                let position = at.clone();
                Ok(RemoteNode { deleted: false, position, place_revision: revision, ..node })
            }
            _ => Err(stale),
        }
    }

    /// Checks the state after the group around the entries that it touched.
    fn check(&self, touched: &BTreeMap<EntryId, Option<RemoteNode>>) -> Result<(), GroupRefusal> {
        for entry in touched.keys() {
            let Some(node) = self.entries.get(entry) else { continue };
            if node.deleted {
                if !self.children(entry).is_empty() {
                    return Err(GroupRefusal::NotEmpty(*entry));
                }
                continue;
            }
            if self.entries.at(&node.position).count() > 1 {
                return Err(GroupRefusal::NameTaken(*entry));
            }
            self.check_parents(entry)?;
        }
        Ok(())
    }

    fn check_parents(&self, entry: &EntryId) -> Result<(), GroupRefusal> {
        let mut seen = BTreeSet::new();
        let mut at = *entry;
        while at != EntryId::ROOT {
            if !seen.insert(at) {
                return Err(GroupRefusal::Cycle(*entry));
            }
            let node = self.entries.get(&at).filter(|node| !node.deleted);
            match node {
                Some(node) if at == *entry || node.kind == Kind::Directory => {
                    at = node.position.parent;
                }
                _ => return Err(GroupRefusal::Orphan(*entry)),
            }
        }
        Ok(())
    }
}

/// The entry of the server that a change is about.
fn subject(change: &Change) -> EntryId {
    match change {
        Change::Create { entry, .. }
        | Change::Edit { entry, .. }
        | Change::Move { entry, .. }
        | Change::Delete { entry, .. }
        | Change::Revive { entry, .. } => *entry,
        Change::ConflictCopy { copy, .. } => *copy,
    }
}
