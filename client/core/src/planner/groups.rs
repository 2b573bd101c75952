//! Units of what has to happen together, and groups as they are pushed.
//!
//! Owns which members share a unit from the start and the order of changes in a group. It must
//! not know how units are ordered among each other.

use super::round::Round;
use super::schedule::{Member, Output, Unit};
use super::steps::{Change, PushGroup};
use common::ids::EntryId;
use common::limits::GROUP_CHANGES_MAX;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// One unit a member.
pub(super) fn single(members: Vec<Member>) -> Vec<Unit> {
    members.into_iter().map(|member| Unit { members: vec![member] }).collect()
}

/// One unit for members that belong together, as far as a group can hold them; what is left out
/// of a group that is full already comes in a later wave.
pub(super) fn joined(members: Vec<Member>, together: &[(EntryId, EntryId)]) -> Vec<Unit> {
    let mut units: Vec<Option<Unit>> = single(members).into_iter().map(Some).collect();
    let mut owner: BTreeMap<EntryId, usize> = BTreeMap::new();
    for (number, unit) in units.iter().enumerate() {
        for member in unit.iter().flat_map(|unit| &unit.members) {
            owner.insert(member.subject, number);
        }
    }
    for (one, other) in together {
        let (Some(&into), Some(&from)) = (owner.get(one), owner.get(other)) else { continue };
        let size = |number: usize| units[number].as_ref().map_or(0, Unit::changes);
        if into == from || size(into) + size(from) > GROUP_CHANGES_MAX {
            continue;
        }
        let Some(moved) = units[from].take() else { continue };
        for member in &moved.members {
            owner.insert(member.subject, into);
        }
        if let Some(unit) = &mut units[into] {
            unit.members.extend(moved.members);
        }
    }
    units.into_iter().flatten().collect()
}

/// A unit of the server's side as a group: deletions first, children before parents, then the
/// rest, parents before children.
pub(super) fn group(round: &Round<'_>, unit: Unit) -> PushGroup {
    let members: BTreeSet<EntryId> = unit.members.iter().map(|member| member.subject).collect();
    let mut parts = Vec::new();
    for member in unit.members {
        let Output::Push(changes) = member.output else { continue };
        let deletes = matches!(changes.first(), Some(Change::Delete { .. }));
        // Only the order among the members matters, so members above are all that is counted.
        let above = |chain: Vec<EntryId>| chain.iter().filter(|up| members.contains(up)).count();
        let order = match (members.len(), deletes) {
            (1, _) => Order::default(),
            (_, true) => Order::Gone(Reverse(above(round.trees.remote_ancestors(&member.subject)))),
            (_, false) => Order::Kept(above(round.trees.local_ancestors(&member.subject))),
        };
        parts.push((order, member.entry, changes));
    }
    parts.sort_by_key(|(order, entry, _)| (*order, *entry));
    PushGroup { changes: parts.into_iter().flat_map(|(.., changes)| changes).collect() }
}

/// Where in a group the changes of an entry stand, by how many members are above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Gone(Reverse<usize>),
    Kept(usize),
}

impl Default for Order {
    fn default() -> Self {
        Self::Kept(0)
    }
}
