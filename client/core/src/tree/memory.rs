//! The three trees in memory, and what each step of a plan does to them when it succeeds.
//!
//! Owns the reference semantics of [`Step`](crate::planner::Step): whoever carries steps out for
//! real leaves the same trees behind. Meant for tests and simulations; it must not be mistaken for
//! a store: it keeps nothing.

mod apply;
mod server;

pub use apply::StepRefusal;
pub use server::{GroupRefusal, MemoryServer};

use super::{LocalNode, Position, RemoteNode, SyncedNode, View};
use common::ids::EntryId;
use common::name::Name;
use std::collections::{BTreeMap, BTreeSet};

/// A node that stands somewhere.
trait Placed {
    fn entry(&self) -> EntryId;
    /// Where it counts as a child; `None` for what is deleted.
    fn indexed(&self) -> Option<&Position>;
}

impl Placed for LocalNode {
    fn entry(&self) -> EntryId {
        self.entry
    }
    fn indexed(&self) -> Option<&Position> {
        Some(&self.position)
    }
}

impl Placed for RemoteNode {
    fn entry(&self) -> EntryId {
        self.entry
    }
    fn indexed(&self) -> Option<&Position> {
        (!self.deleted).then_some(&self.position)
    }
}

impl Placed for SyncedNode {
    fn entry(&self) -> EntryId {
        self.entry
    }
    fn indexed(&self) -> Option<&Position> {
        Some(&self.position)
    }
}

/// Nodes by entry and by (parent, name).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Indexed<N> {
    nodes: BTreeMap<EntryId, N>,
    names: BTreeMap<EntryId, BTreeMap<Name, BTreeSet<EntryId>>>,
}

impl<N> Default for Indexed<N> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), names: BTreeMap::new() }
    }
}

impl<N: Placed + Clone> Indexed<N> {
    fn get(&self, entry: &EntryId) -> Option<&N> {
        self.nodes.get(entry)
    }

    fn insert(&mut self, node: N) {
        let entry = node.entry();
        self.remove(&entry);
        if let Some(at) = node.indexed() {
            let names = self.names.entry(at.parent).or_default();
            names.entry(at.name.clone()).or_default().insert(entry);
        }
        self.nodes.insert(entry, node);
    }

    fn remove(&mut self, entry: &EntryId) -> Option<N> {
        let node = self.nodes.remove(entry)?;
        if let Some(at) = node.indexed()
            && let Some(names) = self.names.get_mut(&at.parent)
        {
            if let Some(holders) = names.get_mut(&at.name) {
                holders.remove(entry);
                if holders.is_empty() {
                    names.remove(&at.name);
                }
            }
            if names.is_empty() {
                self.names.remove(&at.parent);
            }
        }
        Some(node)
    }

    /// Changes a node if it is there.
    fn update(&mut self, entry: &EntryId, change: impl FnOnce(&mut N)) {
        if let Some(mut node) = self.remove(entry) {
            change(&mut node);
            self.insert(node);
        }
    }

    fn at(&self, position: &Position) -> impl Iterator<Item = EntryId> + '_ {
        let holders = self.names.get(&position.parent).and_then(|n| n.get(&position.name));
        holders.into_iter().flatten().copied()
    }

    fn children(&self, parent: &EntryId) -> Vec<EntryId> {
        let names = self.names.get(parent);
        names.into_iter().flat_map(BTreeMap::values).flatten().copied().collect()
    }
}

/// The three trees of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryView {
    local: Indexed<LocalNode>,
    server: MemoryServer,
    synced: Indexed<SyncedNode>,
    /// Whether the disk ignores case and normalisation of names.
    pub folds_names: bool,
}

impl MemoryView {
    /// Puts a local node in, or in place of the one of its entry.
    pub fn insert_local(&mut self, node: LocalNode) {
        self.local.insert(node);
    }

    /// Takes a local node out.
    pub fn remove_local(&mut self, entry: &EntryId) -> Option<LocalNode> {
        self.local.remove(entry)
    }

    /// Puts a synced node in, or in place of the one of its entry.
    pub fn insert_synced(&mut self, node: SyncedNode) {
        self.synced.insert(node);
    }

    /// Takes a synced node out.
    pub fn remove_synced(&mut self, entry: &EntryId) -> Option<SyncedNode> {
        self.synced.remove(entry)
    }

    /// The server as this device last heard of it. Steps that [`MemoryView::apply`] pushes are
    /// judged by it.
    pub fn server(&mut self) -> &mut MemoryServer {
        &mut self.server
    }

    /// Hears what the server holds: the remote tree becomes that, with tombstones only of entries
    /// that the synced tree has.
    pub fn pull(&mut self, server: &MemoryServer) {
        self.server = server.clone();
        let synced = &self.synced;
        self.server.forget_tombstones(|entry| synced.get(entry).is_none());
    }

    /// All local nodes, in order of entry.
    pub fn local_nodes(&self) -> impl Iterator<Item = &LocalNode> {
        self.local.nodes.values()
    }

    /// All remote nodes, tombstones included, in order of entry.
    pub fn remote_nodes(&self) -> impl Iterator<Item = &RemoteNode> {
        self.server.nodes()
    }

    /// All synced nodes, in order of entry.
    pub fn synced_nodes(&self) -> impl Iterator<Item = &SyncedNode> {
        self.synced.nodes.values()
    }

    /// Every entry that any tree knows.
    #[must_use]
    pub fn entries(&self) -> BTreeSet<EntryId> {
        let local = self.local.nodes.keys();
        let remote = self.server.nodes().map(|node| &node.entry);
        local.chain(remote).chain(self.synced.nodes.keys()).copied().collect()
    }

    /// Every entry on which the trees do not agree in every respect: what has to be dirty.
    #[must_use]
    pub fn differing(&self) -> BTreeSet<EntryId> {
        self.entries().into_iter().filter(|entry| !self.agrees(entry)).collect()
    }

    fn agrees(&self, entry: &EntryId) -> bool {
        let remote = self.server.node(entry);
        match (self.local.get(entry), remote, self.synced.get(entry)) {
            (Some(local), Some(remote), Some(synced)) => {
                synced.held
                    && !remote.deleted
                    && local.position == remote.position
                    && local.kind == remote.kind
                    && local.content == Some(remote.content)
                    && *synced == synced_of(remote)
            }
            // A tombstone that nothing needs.
            (None, Some(remote), None) => remote.deleted,
            _ => false,
        }
    }
}

/// The synced node of an entry that is what the server has.
fn synced_of(remote: &RemoteNode) -> SyncedNode {
    SyncedNode {
        entry: remote.entry,
        position: remote.position.clone(),
        kind: remote.kind,
        content: remote.content,
        place_revision: remote.place_revision,
        content_revision: remote.content_revision,
        held: true,
    }
}

impl View for MemoryView {
    fn local(&self, entry: &EntryId) -> Option<LocalNode> {
        self.local.get(entry).cloned()
    }

    fn remote(&self, entry: &EntryId) -> Option<RemoteNode> {
        self.server.node(entry).cloned()
    }

    fn synced(&self, entry: &EntryId) -> Option<SyncedNode> {
        self.synced.get(entry).cloned()
    }

    fn local_at(&self, position: &Position) -> Option<EntryId> {
        self.local.at(position).next()
    }

    fn remote_at(&self, position: &Position) -> Option<EntryId> {
        self.server.holder(position)
    }

    fn local_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.local.children(parent)
    }

    fn remote_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.server.children(parent)
    }

    fn synced_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.synced.children(parent)
    }

    fn held_count(&self) -> u64 {
        self.synced.nodes.values().filter(|node| node.held).count() as u64
    }
}
