//! S11: a tree stays a tree: no cycle, no orphan, one place and one name each.

use super::super::world::World;
use common::ids::{EntryId, NameTag};
use common::record::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Checks the server's registers as they are now.
pub fn s11_a_tree_stays_a_tree(world: &World) {
    let folder = world.folder();
    let mut parents: BTreeMap<EntryId, EntryId> = BTreeMap::new();
    let mut directories: BTreeSet<EntryId> = BTreeSet::from([EntryId::ROOT]);
    let mut names: BTreeSet<(EntryId, NameTag)> = BTreeSet::new();
    let meta = world.server.meta();
    let entries = meta.read(|reads| reads.entries(&folder, None, usize::MAX >> 1)).unwrap();
    for (entry, _) in entries {
        let state = meta.read(|reads| reads.entry(&folder, &entry)).unwrap().unwrap();
        if state.deleted {
            continue;
        }
        parents.insert(entry, state.parent);
        if state.kind == Kind::Directory {
            directories.insert(entry);
        }
        if !names.insert((state.parent, state.name_tag)) {
            world.ledger.violation(format!("S11: two entries have the name of {entry}"));
        }
    }
    for (entry, parent) in &parents {
        if parents.contains_key(parent) && !directories.contains(parent) {
            world.ledger.violation(format!("S11: {entry} is in what is no directory"));
        }
        let (mut at, mut steps) = (*entry, 0);
        while at != EntryId::ROOT && steps <= parents.len() {
            let Some(parent) = parents.get(&at) else {
                world.ledger.violation(format!("S11: {entry} hangs below nothing"));
                break;
            };
            (at, steps) = (*parent, steps + 1);
        }
        if steps > parents.len() {
            world.ledger.violation(format!("S11: {entry} is inside itself"));
        }
    }
}
