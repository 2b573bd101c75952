//! The three trees as one round reads them.
//!
//! Owns the cache of nodes and the walks up a tree. It must not decide anything.

use crate::tree::{LocalNode, PARKED, Position, RemoteNode, SyncedNode, View};
use common::ids::EntryId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What the three trees say about one entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Trio {
    pub(super) local: Option<LocalNode>,
    pub(super) remote: Option<RemoteNode>,
    pub(super) synced: Option<SyncedNode>,
}

impl Trio {
    /// The remote node, if it is not deleted.
    pub(super) fn live(&self) -> Option<&RemoteNode> {
        self.remote.as_ref().filter(|node| !node.deleted)
    }

    /// The remote node, if it is deleted.
    pub(super) fn tombstone(&self) -> Option<&RemoteNode> {
        self.remote.as_ref().filter(|node| node.deleted)
    }

    /// The merge base: a synced node that was held here and that the remote still knows of.
    pub(super) fn base(&self) -> Option<&SyncedNode> {
        self.synced.as_ref().filter(|node| node.held && self.remote.is_some())
    }

    /// Whether the local node stands aside.
    pub(super) fn is_parked(&self) -> bool {
        self.local.as_ref().is_some_and(|node| node.position.parent == PARKED)
    }

    /// Whether the local node was moved by somebody other than the planner.
    pub(super) fn is_moved_locally(&self) -> bool {
        match (&self.local, self.base()) {
            (Some(local), Some(base)) => !self.is_parked() && local.position != base.position,
            _ => false,
        }
    }
}

/// Cached reads of a view.
pub(super) struct Trees<'a> {
    view: &'a dyn View,
    cache: RefCell<BTreeMap<EntryId, Rc<Trio>>>,
}

impl<'a> Trees<'a> {
    pub(super) fn new(view: &'a dyn View) -> Self {
        Self { view, cache: RefCell::default() }
    }

    /// What is known about an entry. The root and the parking place have no nodes.
    pub(super) fn get(&self, entry: &EntryId) -> Rc<Trio> {
        if let Some(trio) = self.cache.borrow().get(entry) {
            return Rc::clone(trio);
        }
        let trio = Rc::new(if is_fixed(entry) {
            Trio::default()
        } else {
            Trio {
                local: self.view.local(entry),
                remote: self.view.remote(entry),
                synced: self.view.synced(entry),
            }
        });
        self.cache.borrow_mut().insert(*entry, Rc::clone(&trio));
        trio
    }

    pub(super) fn view(&self) -> &'a dyn View {
        self.view
    }

    /// Whether any tree knows an entry.
    pub(super) fn knows(&self, entry: &EntryId) -> bool {
        let trio = self.get(entry);
        trio.local.is_some() || trio.remote.is_some() || trio.synced.is_some()
    }

    /// The parents of an entry, nearest first, as `parent` names them, without the root. Ends at
    /// a repeat: a tree that came from outside may be none.
    pub(super) fn ancestors(
        &self,
        entry: &EntryId,
        parent: impl Fn(&Trio) -> Option<EntryId>,
    ) -> Vec<EntryId> {
        let mut seen = BTreeSet::from([*entry]);
        let mut chain = Vec::new();
        let mut at = *entry;
        while let Some(up) = parent(&self.get(&at)) {
            if is_fixed(&up) || !seen.insert(up) {
                break;
            }
            chain.push(up);
            at = up;
        }
        chain
    }

    /// The local parents of an entry, nearest first, without the root.
    pub(super) fn local_ancestors(&self, entry: &EntryId) -> Vec<EntryId> {
        self.ancestors(entry, |trio| trio.local.as_ref().map(|node| node.position.parent))
    }

    /// The live remote parents of an entry, nearest first, without the root.
    pub(super) fn remote_ancestors(&self, entry: &EntryId) -> Vec<EntryId> {
        self.ancestors(entry, |trio| trio.live().map(|node| node.position.parent))
    }

    /// Another entry at a position of the live remote tree.
    pub(super) fn other_remote_at(&self, position: &Position, entry: &EntryId) -> Option<EntryId> {
        self.view.remote_at(position).filter(|holder| holder != entry)
    }
}

/// Whether an id names no entry but a fixed place.
pub(super) fn is_fixed(entry: &EntryId) -> bool {
    *entry == EntryId::ROOT || *entry == PARKED
}
