//! Merges of texts, as the book of values sees them: an act that replaces both edits at once.
//!
//! Owns the check that a merge lost nothing: every line that one of the two edits brought is in it,
//! unless the other edit took it away. The bytes of a merge are found again from those that users
//! wrote, by its content tag; the lines are then looked at without the rule by which it was made.

use super::ledger::Ledger;
use super::world::World;
use client_core::merge::{Labels, Merged, merge};
use common::ids::{ContentTag, EntryId};
use common::record::{Change, Group};
use std::collections::{BTreeMap, BTreeSet};

/// Contents of a file that one group set: a device's own edit, and what it was merged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Merge {
    /// What the file held at the server before.
    pub theirs: ContentTag,
    /// The edit of the device that merged.
    pub mine: ContentTag,
    /// What it holds from then on.
    pub merged: ContentTag,
}

/// Follows what files hold, group by group, and finds the merges among them. What a person made of
/// a conflict is none.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    now: BTreeMap<EntryId, ContentTag>,
}

impl Contents {
    /// The merges of a group.
    pub fn merges(&mut self, group: &Group) -> Vec<Merge> {
        let before = self.now.clone();
        let by_person =
            group.changes.iter().any(|change| matches!(change, Change::ResolveConflict { .. }));
        let mut own: BTreeMap<EntryId, ContentTag> = BTreeMap::new();
        let mut merges = Vec::new();
        for change in &group.changes {
            let (Change::Create { entry, content, .. } | Change::Edit { entry, content, .. }) =
                change
            else {
                continue;
            };
            self.now.insert(*entry, content.tag);
            let Change::Edit { .. } = change else { continue };
            if let (Some(mine), Some(theirs)) = (own.insert(*entry, content.tag), before.get(entry))
                && !by_person
            {
                merges.push(Merge { theirs: *theirs, mine, merged: content.tag });
            }
        }
        merges
    }
}

/// Notes the merges that the journal has and the book does not know yet.
pub fn learn_merges(world: &World) {
    let mut contents = Contents::default();
    for row in world.journal() {
        let Ok(group) = row.entry.group.decode() else { continue };
        for merge in contents.merges(&group) {
            if !world.ledger.merged(&merge) {
                let revision = row.entry.revision;
                world.ledger.violation(format!(
                    "S3: revision {revision} merges to what no two edits come to"
                ));
            }
        }
    }
}

/// A merge that was found again.
pub(super) struct Found {
    pub(super) base: Vec<u8>,
    pub(super) theirs: Vec<u8>,
    pub(super) merged: Vec<u8>,
}

/// Finds a merge again from the texts that there were. Which one the file held before is not sure
/// where a group was accepted whose author did not live to hear it: then it may be any.
pub(super) fn found(
    ledger: &Ledger,
    texts: &BTreeMap<ContentTag, Vec<u8>>,
    merge_of: &Merge,
) -> Option<Found> {
    let mine = texts.get(&merge_of.mine)?;
    let labels = Labels { mine: String::new(), base: String::new(), theirs: String::new() };
    let from = |base: &Vec<u8>, theirs: &Vec<u8>| match merge(base, mine, theirs, &labels) {
        Ok(Merged::Clean(text)) if ledger.tag(text.as_bytes()) == merge_of.merged => {
            let (base, theirs, merged) = (base.clone(), theirs.clone(), text.into_bytes());
            Some(Found { base, theirs, merged })
        }
        _ => None,
    };
    let known = texts.get(&merge_of.theirs).into_iter();
    let mut sides = known.chain(texts.values());
    sides.find_map(|theirs| texts.values().find_map(|base| from(base, theirs)))
}

/// A line that a merge should have and has not, or has and should not.
pub(super) fn wrong_line(base: &[u8], mine: &[u8], theirs: &[u8], merged: &[u8]) -> Option<String> {
    let lines = |text: &[u8]| -> BTreeSet<Vec<u8>> {
        text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let [base, mine, theirs, merged] = [base, mine, theirs, merged].map(lines);
    let lacks = |one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>| {
        let is_lost = |line: &&Vec<u8>| {
            !merged.contains(*line) && (!base.contains(*line) || other.contains(*line))
        };
        one.iter().find(is_lost).cloned()
    };
    let invented = || merged.iter().find(|l| !mine.contains(*l) && !theirs.contains(*l)).cloned();
    let wrong = lacks(&mine, &theirs).or_else(|| lacks(&theirs, &mine)).or_else(invented);
    wrong.map(|line| String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::wrong_line;

    #[test]
    fn a_line_that_a_merge_loses_or_invents_is_seen() {
        let (base, mine, theirs) = (b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\n");
        assert_eq!(wrong_line(base, mine, theirs, b"A\nb\n"), None);
        assert_eq!(wrong_line(base, mine, theirs, b"b\n").as_deref(), Some("A"));
        assert_eq!(wrong_line(base, mine, theirs, b"A\n").as_deref(), Some("b"));
        assert_eq!(wrong_line(base, mine, theirs, b"A\nb\nx\n").as_deref(), Some("x"));
    }
}
