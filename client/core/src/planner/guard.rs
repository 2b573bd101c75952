//! The guard against mass deletion (S14).
//!
//! Owns how deletions are counted and what is held back. It must not know who confirms.

use super::merge::{Fate, Merge};
use super::repack::{Packed, Repacks};
use super::round::Round;
use super::{Halt, Loss, Policy};
use crate::tree::ContentState;
use common::ids::EntryId;
use std::collections::BTreeSet;

/// Holds deletions back when there are too many, those found on this disk and those that come
/// from the server each for themselves, and says so. Files that become empty count as deleted, what
/// a person has agreed to does not.
/// Loose objects that git has packed count on neither side of the comparison, nor what a bundle holds
/// from now on: a `git gc` in a young repository deletes most of its entries and none of its content.
/// What a bundle of this disk takes over waits until that has been read, few or many: if it cannot be,
/// others keep what they have. A mass may come in slices: what the plans before this one let through
/// counts too. What a person was asked about waits for an answer, however little is left of it. Returns
/// what is let through, and why the rest waits.
pub(super) fn hold_back(round: &mut Round<'_>) -> (Vec<Loss>, Option<Halt>) {
    // What is gone here, and was not deleted here, is held by nobody: it must not make a mass look
    // small. Nor must what came since a person was asked.
    let held = round.trees.view().held_count().saturating_sub(gone(round));
    let held = round.policy.held_when_asked.map_or(held, |asked| held.min(asked));
    let (mut let_through, mut halt) = (Vec::new(), None);
    for (mut found, from_remote) in [(losses(round, true), true), (losses(round, false), false)] {
        if found.is_empty() {
            continue;
        }
        let lately = Lately::of(round, &found, from_remote);
        let is_too_much = |found: usize, held: u64| {
            is_too_much(found as u64 + lately.lost, held + lately.not_held, round.policy)
        };
        let all = found.len();
        let must_look = is_too_much(all, held);
        let mut repacks = Repacks::new(from_remote);
        let mut coming = Vec::new();
        found.retain(|entry| match repacks.of(round, entry) {
            Packed::No => true,
            Packed::Here => false,
            Packed::Coming => {
                coming.push(*entry);
                false
            }
        });
        let held = held.saturating_sub((all - found.len()) as u64);
        let waits = must_look && is_too_much(found.len(), held);
        let asked = round.policy.asked.as_ref().filter(|asked| asked.from_remote == from_remote);
        let is_asked = |entry: &EntryId| asked.is_some_and(|it| it.deletions.contains(entry));
        let (waiting, through): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|entry| waits || is_asked(entry));
        if must_look || !from_remote {
            // They go when what holds them is here.
            coming.iter().for_each(|entry| wait(round, entry));
        }
        let_through.extend(through.into_iter().map(|entry| Loss { entry, from_remote }));
        if !waiting.is_empty() {
            waiting.iter().for_each(|entry| wait(round, entry));
            let (deletions, lately) = (waiting.into_iter().collect(), lately.lost);
            halt = Some(Halt { deletions, held, lately, from_remote });
        }
    }
    (let_through, halt)
}

/// What plans before this one let through in the same direction, besides what this one is about.
struct Lately {
    lost: u64,
    /// Those of them that are not held any more.
    not_held: u64,
}

impl Lately {
    fn of(round: &Round<'_>, found: &[EntryId], from_remote: bool) -> Self {
        let found: BTreeSet<&EntryId> = found.iter().collect();
        let lately = round.policy.lately.iter();
        let others =
            lately.filter(|loss| loss.from_remote == from_remote && !found.contains(&loss.entry));
        let is_held =
            |entry: &EntryId| round.trees.get(entry).synced.as_ref().is_some_and(|node| node.held);
        others.fold(Self { lost: 0, not_held: 0 }, |lately, loss| Self {
            lost: lately.lost + 1,
            not_held: lately.not_held + u64::from(!is_held(&loss.entry)),
        })
    }
}

fn gone(round: &Round<'_>) -> u64 {
    let is_held =
        |entry: &EntryId| round.trees.get(entry).synced.as_ref().is_some_and(|node| node.held);
    let gone = round.fates.iter().filter(|(_, fate)| matches!(fate, Fate::Forget | Fate::Download));
    gone.filter(|(entry, _)| is_held(entry)).count() as u64
}

fn is_too_much(deletions: u64, held: u64, policy: &Policy) -> bool {
    let share = u128::from(deletions) * 100;
    share > u128::from(policy.guard_percent) * u128::from(held) && deletions > policy.guard_entries
}

fn losses(round: &Round<'_>, from_remote: bool) -> Vec<EntryId> {
    round
        .fates
        .iter()
        .filter(|(entry, fate)| match fate {
            Fate::DeleteRemote => !from_remote,
            Fate::DeleteLocal => from_remote,
            Fate::Both { content: Merge::Push, .. } => !from_remote && empties(round, entry, false),
            Fate::Both { content: Merge::Replace, .. } => {
                from_remote && empties(round, entry, true)
            }
            _ => false,
        })
        .map(|(entry, _)| *entry)
        .filter(|entry| !round.policy.agreed.contains(entry))
        .collect()
}

fn empties(round: &Round<'_>, entry: &EntryId, from_remote: bool) -> bool {
    let Some(empty) = round.policy.empty_content else { return false };
    let trio = round.trees.get(entry);
    let is_empty = |content: Option<&ContentState>| content.is_some_and(|c| c.tag == empty);
    let after = if from_remote {
        trio.live().map(|node| &node.content)
    } else {
        trio.local.as_ref().and_then(|node| node.content.as_ref())
    };
    is_empty(after) && !is_empty(trio.base().map(|node| &node.content))
}

fn wait(round: &mut Round<'_>, entry: &EntryId) {
    match round.fates.get_mut(entry) {
        Some(Fate::Both { content, .. }) => *content = Merge::Wait,
        Some(fate) => *fate = Fate::Wait,
        None => {}
    }
}
