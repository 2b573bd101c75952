//! M1: a stale base is refused, never overwritten.

use super::super::world::World;
use common::ids::{DeviceId, EntryId};
use common::record::Change;
use common::revision::Revision;
use std::collections::BTreeMap;

/// Checks, by replaying the journal, that each change was made to the registers that its author
/// had read: to the newest ones, which were set by what it had seen, or by itself. Within one group
/// an entry may be changed more than once.
pub fn m1_commits_are_linearizable(world: &World) {
    let mut places: BTreeMap<EntryId, Revision> = BTreeMap::new();
    let mut contents: BTreeMap<EntryId, Revision> = BTreeMap::new();
    let mut authors: BTreeMap<Revision, DeviceId> = BTreeMap::new();
    let stale = |revision, entry: &EntryId, what| {
        world.ledger.violation(format!("M1: revision {revision} has a stale {what} of {entry}"));
    };
    for row in world.journal() {
        let revision = row.entry.revision;
        let Ok(group) = row.entry.group.decode() else { continue };
        authors.insert(revision, group.device);
        let fits = |known: Option<&Revision>, base: Revision| {
            known.is_some_and(|known| *known == base || *known == revision)
        };
        let has_read = |base: Revision| {
            base <= group.seen_revision || authors.get(&base) == Some(&group.device)
        };
        for (entry, base) in group.changes.iter().flat_map(bases) {
            if !has_read(base) {
                world.ledger.violation(format!(
                    "M1: the author of revision {revision} has not read revision {base} of {entry}"
                ));
            }
        }
        for change in &group.changes {
            match change {
                Change::Create { entry, .. } => {
                    places.insert(*entry, revision);
                    contents.insert(*entry, revision);
                }
                Change::Edit { entry, base, .. } => {
                    if !fits(contents.get(entry), *base) {
                        stale(revision, entry, "content");
                    }
                    contents.insert(*entry, revision);
                }
                Change::Move { entry, base, .. } | Change::Revive { entry, base, .. } => {
                    if !fits(places.get(entry), *base) {
                        stale(revision, entry, "place");
                    }
                    places.insert(*entry, revision);
                }
                Change::Delete { entry, place_base, content_base } => {
                    if !fits(places.get(entry), *place_base) {
                        stale(revision, entry, "place");
                    }
                    if !fits(contents.get(entry), *content_base) {
                        stale(revision, entry, "content");
                    }
                    places.insert(*entry, revision);
                }
                _ => {}
            }
        }
    }
}

/// The registers that a change was made to.
fn bases(change: &Change) -> Vec<(EntryId, Revision)> {
    match change {
        Change::Edit { entry, base, .. }
        | Change::Move { entry, base, .. }
        | Change::Revive { entry, base, .. } => vec![(*entry, *base)],
        Change::Delete { entry, place_base, content_base } => {
            vec![(*entry, *place_base), (*entry, *content_base)]
        }
        _ => Vec::new(),
    }
}
