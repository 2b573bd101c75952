//! Moves of both sides that together would make a cycle, and the way back of what was parked.
//!
//! Owns "a move that would make a cycle is refused: the remote one holds". The order of moves is
//! the schedule's.

use super::merge::{Fate, Placement};
use super::round::Round;
use super::trees::is_fixed;
use crate::conflict::conflict_name;
use crate::tree::{Kind, Position};
use common::ids::EntryId;
use std::collections::BTreeSet;

/// Gives up local moves until local and remote places together are a tree.
///
/// The remote tree and the local tree have no cycle, so a cycle holds at least one entry that was
/// moved here alone. Giving one up may close another cycle, hence the repetition; each turn gives
/// up one at least.
pub(super) fn break_cycles(round: &mut Round<'_>) {
    let mut moved: BTreeSet<EntryId> =
        round.planned().into_iter().filter(|entry| is_moved_directory(round, entry)).collect();
    loop {
        let given_up: Vec<EntryId> =
            moved.iter().copied().filter(|entry| is_in_cycle(round, entry)).collect();
        if given_up.is_empty() {
            return;
        }
        for entry in given_up {
            moved.remove(&entry);
            if let Some(Fate::Both { place, .. }) = round.fates.get_mut(&entry) {
                *place = Placement::Remote;
            }
        }
    }
}

fn is_moved_directory(round: &Round<'_>, entry: &EntryId) -> bool {
    matches!(round.fates.get(entry), Some(Fate::Both { place: Placement::Local, .. }))
        && round.trees.get(entry).local.as_ref().is_some_and(|n| n.kind == Kind::Directory)
}

fn is_in_cycle(round: &Round<'_>, entry: &EntryId) -> bool {
    let mut seen = BTreeSet::new();
    let mut at = *entry;
    while let Some(up) = round.parent_to_be(&at) {
        if up == *entry {
            return true;
        }
        if is_fixed(&up) || !seen.insert(up) {
            return false;
        }
        at = up;
    }
    false
}

/// Where a parked entry goes that has no place at the server any more: back to where it was if
/// that can be, else to the top, under a free name.
pub(super) fn way_back(round: &mut Round<'_>, entry: &EntryId) -> Position {
    let trio = round.trees.get(entry);
    let last = trio
        .remote
        .as_ref()
        .map(|node| &node.position)
        .or(trio.synced.as_ref().map(|node| &node.position))
        .or(trio.local.as_ref().map(|node| &node.position));
    let parent = last.map(|position| position.parent).filter(|parent| {
        let holds =
            round.trees.get(parent).local.as_ref().is_some_and(|n| n.kind == Kind::Directory);
        holds && !round.trees.local_ancestors(parent).contains(entry) && parent != entry
    });
    let parent = parent.unwrap_or(EntryId::ROOT);
    let name = last.map(|position| position.name.clone());
    // Every entry that is parked stands at some position, so there always is a name.
    let name = name.unwrap_or_else(|| crate::tree::parked_position(entry).name);
    free_position(round, entry, Position { parent, name })
}

/// `wanted` if it is free, else the first conflict name beside it; promised to `entry`.
pub(super) fn free_position(round: &mut Round<'_>, entry: &EntryId, wanted: Position) -> Position {
    let found = if round.is_free(&wanted, entry) {
        wanted
    } else {
        conflict_position(round, entry, &wanted)
    };
    round.promised.insert(found.clone());
    found
}

/// The first free conflict name beside a position.
pub(super) fn conflict_position(round: &Round<'_>, entry: &EntryId, taken: &Position) -> Position {
    let at = |name: &common::name::Name| Position { parent: taken.parent, name: name.clone() };
    let name = conflict_name(&taken.name, &round.policy.date, &round.policy.device_name, |name| {
        !round.is_free(&at(name), entry)
    });
    at(&name)
}
