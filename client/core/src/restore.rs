//! Bringing a folder, a directory or a file back to what it was.
//!
//! Owns which entry becomes what. It plans with the planner: a restore is what a person would do on
//! a disk that holds the folder as it is now, so nothing is rewritten, and all the rules of pushed
//! changes (order, swaps, cycles, whole groups) are the planner's. It must not know where the past
//! is read from, nor how changes are sent.
//!
//! An entry that is deleted is revived and keeps its history. One that has been moved out of the
//! directory that is restored stays where it is, and a copy takes its old place: a restore takes
//! nothing away from anywhere else.

use crate::past::Tree;
use crate::planner::{self, Plan, Policy};
use crate::tree::{
    ContentState, Kind, LocalNode, Position, RemoteNode, SyncedNode, View, same_attributes,
};
use common::ids::EntryId;
use common::name::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// What an entry is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is to be.
    pub position: Position,
    /// What it is.
    pub kind: Kind,
    /// What it is to hold.
    pub content: ContentState,
    /// The entry of the past that holds that.
    pub source: EntryId,
}

/// What is to be after a restore, as far as it is not so already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Entries that are to be brought back, changed or made.
    pub wanted: BTreeMap<EntryId, Wanted>,
    /// Live entries that are to go.
    pub gone: BTreeSet<EntryId>,
}

impl Wish {
    /// Whether all is so already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.gone.is_empty()
    }

    /// The folder as it will be.
    #[must_use]
    pub fn applied_to(&self, now: &Tree, past: &Tree) -> Tree {
        let mut tree = now.clone();
        self.gone.iter().for_each(|entry| tree.remove(entry));
        for (entry, wanted) in &self.wanted {
            let size = past.get(&wanted.source).map_or(0, |item| item.size);
            let (position, kind, content) = (wanted.position.clone(), wanted.kind, wanted.content);
            tree.put(*entry, crate::past::Item { position, kind, content, size });
        }
        tree
    }
}

/// What a restore may do with entries.
pub trait Entries {
    /// Whether an entry that is not live is known to have been: only such a one can be revived.
    fn is_deleted(&self, entry: &EntryId) -> bool;
    /// Whether an entry is left alone whatever happens: what is ignored here.
    fn is_left_alone(&self, entry: &EntryId) -> bool;
    /// An id for a new entry.
    fn fresh(&mut self) -> EntryId;
}

/// Makes the directory `into`, as it is `now`, what the directory `from` was in the `past`.
#[must_use]
pub fn directory(
    (past, from): (&Tree, EntryId),
    (now, into): (&Tree, EntryId),
    entries: &mut dyn Entries,
) -> Wish {
    let inside: BTreeSet<EntryId> = now.list(&into, "").into_iter().map(|it| it.entry).collect();
    let mut wish = Wish::default();
    let mut kept = BTreeSet::new();
    if let (Some(was), Some(is)) = (past.get(&from), now.get(&into)) {
        let wanted = Wanted {
            position: is.position.clone(),
            kind: Kind::Directory,
            content: was.content,
            source: from,
        };
        want(&mut wish, now, into, wanted);
    }
    let claimed: BTreeSet<EntryId> = past.list(&from, "").into_iter().map(|it| it.entry).collect();
    // A hostile past has cycles.
    let mut met = BTreeSet::from([from]);
    let mut queue = vec![(from, into)];
    while let Some((from, into)) = queue.pop() {
        for (name, source) in past.children(&from) {
            let Some(item) = past.get(source) else { continue };
            if entries.is_left_alone(source) || !met.insert(*source) {
                continue;
            }
            let is_free = now.get(source).is_none() && entries.is_deleted(source);
            // Who stands there now, and was not in the directory then, takes the content on.
            let holder = || {
                let holder = now.child(&into, name).filter(|it| !claimed.contains(it))?;
                now.get(&holder).filter(|it| it.kind == item.kind).map(|_| holder)
            };
            let entry = if inside.contains(source) || is_free {
                *source
            } else {
                holder().unwrap_or_else(|| entries.fresh())
            };
            kept.insert(entry);
            let position = Position { parent: into, name: name.clone() };
            let (kind, content, source) = (item.kind, item.content, *source);
            want(&mut wish, now, entry, Wanted { position, kind, content, source });
            if kind == Kind::Directory {
                queue.push((source, entry));
            }
        }
    }
    let alone = |entry: &EntryId| entries.is_left_alone(entry);
    wish.gone = inside.into_iter().filter(|it| !kept.contains(it) && !alone(it)).collect();
    keep_directories_of_what_stays(now, &mut wish, &alone);
    wish
}

/// A directory that holds something that is left alone cannot go.
fn keep_directories_of_what_stays(now: &Tree, wish: &mut Wish, alone: &dyn Fn(&EntryId) -> bool) {
    let stays: Vec<EntryId> = wish
        .gone
        .iter()
        .flat_map(|entry| now.children(entry).map(|(_, child)| *child))
        .filter(|child| alone(child))
        .collect();
    for directory in now.above(&stays) {
        wish.gone.remove(&directory);
    }
}

/// Wishes for an entry what it is not yet.
pub fn want(wish: &mut Wish, now: &Tree, entry: EntryId, wanted: Wanted) {
    let is_so = now.get(&entry).is_some_and(|item| {
        item.position == wanted.position
            && item.content.tag == wanted.content.tag
            && same_attributes(item.kind, &item.content, &wanted.content)
    });
    if !is_so {
        wish.wanted.insert(entry, wanted);
    }
}

/// The changes that make a wish true, as groups to push: [`Plan::batches`] holds nothing but pushes
/// whose contents are those of the wish. What has to wait for others to move is in [`Plan::waiting`]:
/// once the groups have taken effect, wish and plan again. What cannot be is in [`Plan::issues`].
#[must_use]
pub fn plan(view: &dyn View, wish: &Wish, policy: &Policy) -> Plan {
    // A person has asked for all of it; what names this disk can hold is not the server's matter.
    let policy = Policy {
        platform: Platform::Unix,
        guard_percent: 100,
        guard_entries: u64::MAX,
        absences_settled: true,
        folds_names: false,
        ..policy.clone()
    };
    let dirty = wish.wanted.keys().chain(&wish.gone).copied().collect();
    planner::plan(&Restored::new(view, wish), &dirty, &policy)
}

/// The folder at the server, on a disk where a person has restored it.
struct Restored<'a> {
    view: &'a dyn View,
    wish: &'a Wish,
    at: BTreeMap<&'a Position, EntryId>,
    inside: BTreeMap<EntryId, Vec<EntryId>>,
}

impl<'a> Restored<'a> {
    fn new(view: &'a dyn View, wish: &'a Wish) -> Self {
        let at = wish.wanted.iter().map(|(entry, wanted)| (&wanted.position, *entry)).collect();
        let mut inside: BTreeMap<EntryId, Vec<EntryId>> = BTreeMap::new();
        for (entry, wanted) in &wish.wanted {
            inside.entry(wanted.position.parent).or_default().push(*entry);
        }
        Self { view, wish, at, inside }
    }

    fn live(&self, entry: &EntryId) -> Option<RemoteNode> {
        self.view.remote(entry).filter(|node| !node.deleted)
    }

    /// Whether an entry's place on the disk is not that at the server.
    fn is_changed(&self, entry: &EntryId) -> bool {
        self.wish.gone.contains(entry) || self.wish.wanted.contains_key(entry)
    }

    fn name(&self, entry: &EntryId) -> Option<Position> {
        let wanted = self.wish.wanted.get(entry).map(|wanted| wanted.position.clone());
        wanted.or_else(|| self.live(entry).map(|node| node.position))
    }
}

impl View for Restored<'_> {
    fn local(&self, entry: &EntryId) -> Option<LocalNode> {
        if self.wish.gone.contains(entry) {
            return None;
        }
        let entry = *entry;
        if let Some(wanted) = self.wish.wanted.get(&entry) {
            let (position, kind) = (wanted.position.clone(), wanted.kind);
            return Some(LocalNode { entry, position, kind, content: Some(wanted.content) });
        }
        let RemoteNode { position, kind, content, .. } = self.live(&entry)?;
        Some(LocalNode { entry, position, kind, content: Some(content) })
    }

    fn remote(&self, entry: &EntryId) -> Option<RemoteNode> {
        self.view.remote(entry)
    }

    fn synced(&self, entry: &EntryId) -> Option<SyncedNode> {
        let node = self.live(entry)?;
        Some(SyncedNode {
            entry: node.entry,
            position: node.position,
            kind: node.kind,
            content: node.content,
            place_revision: node.place_revision,
            content_revision: node.content_revision,
            held: true,
        })
    }

    fn local_at(&self, position: &Position) -> Option<EntryId> {
        let wanted = self.at.get(position).copied();
        wanted.or_else(|| self.view.remote_at(position).filter(|entry| !self.is_changed(entry)))
    }

    fn remote_at(&self, position: &Position) -> Option<EntryId> {
        self.view.remote_at(position)
    }

    fn local_children(&self, parent: &EntryId) -> Vec<EntryId> {
        let mut children = self.view.remote_children(parent);
        children.retain(|entry| !self.is_changed(entry));
        children.extend(self.inside.get(parent).into_iter().flatten());
        children.sort_by_cached_key(|entry| self.name(entry));
        children
    }

    fn remote_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.view.remote_children(parent)
    }

    fn synced_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.view.remote_children(parent)
    }

    fn held_count(&self) -> u64 {
        self.view.held_count()
    }
}
