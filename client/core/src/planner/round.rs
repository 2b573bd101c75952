//! What a round knows so far.
//!
//! Owns the fates of the entries that are planned and the cheap questions about them. It must not
//! decide which passes run, nor in what order.

use super::Policy;
use super::merge::{self, Fate, Placement};
use super::trees::{Trees, is_fixed};
use crate::tree::Position;
use common::ids::EntryId;
use common::name::Name;
use std::collections::{BTreeMap, BTreeSet};

/// The state that the passes of a round share.
pub(super) struct Round<'a> {
    pub(super) trees: Trees<'a>,
    pub(super) policy: &'a Policy,
    /// What happens to each entry that is planned.
    pub(super) fates: BTreeMap<EntryId, Fate>,
    /// Local directories that change their id in this round: what is in them waits.
    pub(super) renumbered: BTreeSet<EntryId>,
    /// Entries that have to stay dirty.
    pub(super) waiting: BTreeSet<EntryId>,
    /// Positions promised to conflict names in this round.
    pub(super) promised: BTreeSet<Position>,
}

impl<'a> Round<'a> {
    pub(super) fn new(trees: Trees<'a>, dirty: &BTreeSet<EntryId>, policy: &'a Policy) -> Self {
        let fates = dirty
            .iter()
            .filter(|entry| !is_fixed(entry))
            .map(|entry| (*entry, merge::fate(&trees.get(entry), policy)))
            .collect();
        Self {
            trees,
            policy,
            fates,
            renumbered: BTreeSet::new(),
            waiting: BTreeSet::new(),
            promised: BTreeSet::new(),
        }
    }

    /// What happens to an entry; of one that is not planned, what would.
    pub(super) fn fate(&self, entry: &EntryId) -> Fate {
        match self.fates.get(entry) {
            Some(fate) => fate.clone(),
            None => merge::fate(&self.trees.get(entry), self.policy),
        }
    }

    /// The parent that an entry has when all is done, as far as is known by now.
    pub(super) fn parent_to_be(&self, entry: &EntryId) -> Option<EntryId> {
        let trio = self.trees.get(entry);
        let local = trio.local.as_ref().map(|node| node.position.parent);
        let remote = trio.live().map(|node| node.position.parent);
        match self.fate(entry) {
            Fate::Both { place: Placement::Local, .. } => local,
            _ => remote.or(local),
        }
    }

    /// Entries that are planned, in order.
    pub(super) fn planned(&self) -> Vec<EntryId> {
        self.fates.keys().copied().collect()
    }

    /// Whether a local node changes its id or its parent's in this round, so that nothing else
    /// can be said about it.
    pub(super) fn is_renumbered(&self, entry: &EntryId) -> bool {
        self.renumbered.contains(entry)
            || self
                .trees
                .get(entry)
                .local
                .as_ref()
                .is_some_and(|node| self.renumbered.contains(&node.position.parent))
    }

    /// Whether nobody holds or is promised a position, other than `entry`.
    pub(super) fn is_free(&self, position: &Position, entry: &EntryId) -> bool {
        let other = |holder: Option<EntryId>| holder.is_some_and(|holder| holder != *entry);
        let is_taken = self.promised.contains(position)
            || other(self.trees.view().local_at(position))
            || other(self.trees.view().remote_at(position))
            || (self.policy.folds_names && self.folded_holder(position, entry));
        !is_taken
    }

    fn folded_holder(&self, position: &Position, entry: &EntryId) -> bool {
        let folded = position.name.folded();
        let view = self.trees.view();
        let clashes = |name: &Name| name.folded() == folded;
        view.local_children(&position.parent).into_iter().filter(|child| child != entry).any(
            |child| {
                self.trees.get(&child).local.as_ref().is_some_and(|n| clashes(&n.position.name))
            },
        ) || view
            .remote_children(&position.parent)
            .into_iter()
            .filter(|child| child != entry)
            .any(|child| self.trees.get(&child).live().is_some_and(|n| clashes(&n.position.name)))
            || self
                .promised
                .iter()
                .any(|taken| taken.parent == position.parent && clashes(&taken.name))
    }
}
