//! S10 of a thinned history: each moment that is whole lists what the journal says, readable to the
//! byte; and what has a label is whole.

use super::super::world::World;
use super::s10_history_is_readable::read;
use common::ids::{ContentTag, EntryId, NameTag};
use common::record::{Change, Root};
use common::revision::Revision;
use server_core::metadata::query;
use std::collections::{BTreeMap, BTreeSet};

/// An entry as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    parent: EntryId,
    name_tag: NameTag,
    root: Option<Root>,
    tag: ContentTag,
    place_revision: Revision,
    content_revision: Revision,
    deleted: bool,
}

/// Checks every moment that is whole against the journal, which is never thinned.
pub fn s10_whole_moments_are_whole(world: &World) {
    let (folder, meta) = (world.folder(), world.server.meta());
    let whole = meta.read(|reads| reads.whole(&folder)).unwrap();
    let mut tree: BTreeMap<EntryId, Told> = BTreeMap::new();
    let mut readable: BTreeSet<ContentTag> = BTreeSet::new();
    let mut labels = BTreeMap::new();
    for row in world.journal() {
        let revision = row.entry.revision;
        for change in row.entry.group.decode().unwrap().changes {
            match &change {
                Change::AddLabel { label, at, .. } => drop(labels.insert(*label, *at)),
                Change::RemoveLabel { label } => drop(labels.remove(label)),
                _ => take(&mut tree, change, revision),
            }
        }
        if !whole.contains(revision) {
            continue;
        }
        let told: BTreeMap<_, _> = tree
            .iter()
            .filter(|(_, told)| !told.deleted)
            .map(|(entry, told)| (*entry, told.clone()))
            .collect();
        if listed(world, revision).as_ref() != Some(&told) {
            let text = format!("S10: revision {revision} is not what the journal says");
            return world.ledger.violation(text);
        }
        for (entry, told) in &told {
            if let Some(root) = &told.root
                && readable.insert(told.tag)
                && read(world, root).is_none_or(|bytes| world.ledger.tag(&bytes) != told.tag)
            {
                let text = format!("S10: {entry} as of revision {revision} cannot be read");
                return world.ledger.violation(text);
            }
        }
    }
    let stored = meta.read(|reads| reads.labels(&folder)).unwrap();
    let stored: BTreeMap<_, _> = stored.iter().map(|label| (label.label, label.at)).collect();
    if stored != labels || !labels.values().all(|at| whole.contains(*at)) {
        world
            .ledger
            .violation(format!("S10: labels are {stored:?}, and {labels:?} in the journal"));
    }
}

/// The folder as of a revision, as the server lists it; `None` when part of it is missing.
fn listed(world: &World, at: Revision) -> Option<BTreeMap<EntryId, Told>> {
    let (folder, meta) = (world.folder(), world.server.meta());
    let all = usize::MAX >> 1;
    let (page, _) = meta.read(|reads| query::snapshot_page(reads, &folder, at, None, all)).ok()?;
    let told = page.into_iter().map(|registers| {
        let told = Told {
            parent: registers.place.parent,
            name_tag: registers.place.name_tag,
            root: registers.content.root,
            tag: registers.content.tag,
            place_revision: registers.place_revision,
            content_revision: registers.content_revision,
            deleted: false,
        };
        (registers.entry, told)
    });
    Some(told.collect())
}

fn take(tree: &mut BTreeMap<EntryId, Told>, change: Change, revision: Revision) {
    match change {
        Change::Create { entry, place, content, .. } => {
            let told = Told {
                parent: place.parent,
                name_tag: place.name_tag,
                root: content.root,
                tag: content.tag,
                place_revision: revision,
                content_revision: revision,
                deleted: false,
            };
            tree.insert(entry, told);
        }
        Change::Edit { entry, content, .. } => {
            let told = tree.get_mut(&entry).unwrap();
            (told.root, told.tag, told.content_revision) = (content.root, content.tag, revision);
        }
        Change::Move { entry, place, .. } | Change::Revive { entry, place, .. } => {
            let told = tree.get_mut(&entry).unwrap();
            (told.parent, told.name_tag) = (place.parent, place.name_tag);
            (told.place_revision, told.deleted) = (revision, false);
        }
        Change::Delete { entry, .. } => {
            let told = tree.get_mut(&entry).unwrap();
            (told.place_revision, told.deleted) = (revision, true);
        }
        _ => {}
    }
}
