//! One side's tree as it will be after the steps scheduled so far.
//!
//! Owns positions laid over a tree that is not copied, each with its value before and after the
//! wave that is being filled. It must not know what steps are.

use super::trees::Trees;
use crate::tree::Position;
use common::ids::EntryId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Which tree lies below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The disk.
    Local,
    /// The server.
    Remote,
}

/// Children of a directory by folded name.
type FoldedNames = BTreeMap<String, Vec<EntryId>>;

/// A tree with changes laid over it.
pub(super) struct Overlay<'a> {
    trees: &'a Trees<'a>,
    side: Side,
    folds: bool,
    now: BTreeMap<EntryId, Option<Position>>,
    before: BTreeMap<EntryId, Option<Position>>,
    /// Entries that came to a directory, by (parent, name as this side compares it).
    arrived: BTreeMap<(EntryId, String), BTreeSet<EntryId>>,
    folded: RefCell<BTreeMap<EntryId, FoldedNames>>,
}

impl<'a> Overlay<'a> {
    /// `folds` says whether names that differ in case or normalisation alone are one name.
    pub(super) fn new(trees: &'a Trees<'a>, side: Side, folds: bool) -> Self {
        Self {
            trees,
            side,
            folds,
            now: BTreeMap::new(),
            before: BTreeMap::new(),
            arrived: BTreeMap::new(),
            folded: RefCell::default(),
        }
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    fn base(&self, entry: &EntryId) -> Option<Position> {
        let trio = self.trees.get(entry);
        match self.side {
            Side::Local => trio.local.as_ref().map(|node| node.position.clone()),
            Side::Remote => trio.live().map(|node| node.position.clone()),
        }
    }

    /// Where an entry stands with what is scheduled so far, this wave included.
    pub(super) fn now(&self, entry: &EntryId) -> Option<Position> {
        self.now.get(entry).cloned().unwrap_or_else(|| self.base(entry))
    }

    /// Where an entry stands before this wave.
    pub(super) fn before(&self, entry: &EntryId) -> Option<Position> {
        self.before.get(entry).cloned().unwrap_or_else(|| self.now(entry))
    }

    /// Whether an entry is there before this wave and stays.
    pub(super) fn stands(&self, entry: &EntryId) -> bool {
        *entry == EntryId::ROOT || (self.now(entry).is_some() && self.before(entry).is_some())
    }

    /// Puts an entry somewhere, or removes it, as part of this wave.
    pub(super) fn set(&mut self, entry: EntryId, position: Option<Position>) {
        let old = self.now(&entry);
        self.before.entry(entry).or_insert(old);
        if let Some(position) = &position {
            let key = (position.parent, self.key(&position.name));
            self.arrived.entry(key).or_default().insert(entry);
        }
        self.now.insert(entry, position);
    }

    /// Begins the next wave.
    pub(super) fn end_wave(&mut self) {
        self.before.clear();
    }

    /// Entries that stand at a position before this wave or after it, as this side compares
    /// names, in ascending order.
    pub(super) fn occupants(&self, position: &Position) -> BTreeSet<EntryId> {
        let key = self.key(&position.name);
        let is_here = |entry: &EntryId| {
            [self.before(entry), self.now(entry)]
                .into_iter()
                .flatten()
                .any(|other| other.parent == position.parent && self.key(&other.name) == key)
        };
        let mut found: BTreeSet<EntryId> = self.base_at(position).into_iter().collect();
        if let Some(arrived) = self.arrived.get(&(position.parent, key.clone())) {
            found.extend(arrived);
        }
        found.retain(is_here);
        found
    }

    /// Entries that stand in a directory before this wave or after it, in ascending order.
    pub(super) fn children(&self, parent: &EntryId) -> BTreeSet<EntryId> {
        let mut found: BTreeSet<EntryId> = self.base_children(parent).into_iter().collect();
        let from = (*parent, String::new());
        for ((at, _), arrived) in self.arrived.range(from..) {
            if at != parent {
                break;
            }
            found.extend(arrived);
        }
        found.retain(|entry| {
            [self.before(entry), self.now(entry)]
                .into_iter()
                .flatten()
                .any(|position| position.parent == *parent)
        });
        found
    }

    fn base_children(&self, parent: &EntryId) -> Vec<EntryId> {
        match self.side {
            Side::Local => self.trees.view().local_children(parent),
            Side::Remote => self.trees.view().remote_children(parent),
        }
    }

    fn base_at(&self, position: &Position) -> Vec<EntryId> {
        if !self.folds {
            let holder = match self.side {
                Side::Local => self.trees.view().local_at(position),
                Side::Remote => self.trees.view().remote_at(position),
            };
            return holder.into_iter().collect();
        }
        let mut folded = self.folded.borrow_mut();
        let names = folded.entry(position.parent).or_insert_with(|| {
            let mut names = FoldedNames::new();
            for child in self.base_children(&position.parent) {
                if let Some(at) = self.base(&child) {
                    names.entry(at.name.folded()).or_default().push(child);
                }
            }
            names
        });
        names.get(&position.name.folded()).cloned().unwrap_or_default()
    }

    fn key(&self, name: &common::name::Name) -> String {
        if self.folds { name.folded() } else { name.as_str().to_owned() }
    }
}
