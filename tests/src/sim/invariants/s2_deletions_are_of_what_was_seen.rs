//! S2: a delete removes only content that its author had seen, and an edit survives a delete that
//! did not know of it.

use super::super::ledger::{Fate, Print};
use super::super::world::World;
use super::m9_the_server_has_everything::live_contents;
use common::ids::{ContentTag, EntryId};
use common::record::Change;
use std::collections::BTreeMap;

/// Checks, by replaying the journal, that each deleted content was on its author's disk before; and
/// that a deleted content which nobody meant to remove is live again. Who restores a directory agrees to
/// the end of all that has come to it since, seen or not.
pub fn s2_deletions_are_of_what_was_seen(world: &World) {
    let (ledger, live) = (&world.ledger, live_contents(world));
    let prints: BTreeMap<ContentTag, Print> =
        ledger.all().into_iter().map(|(print, value)| (value.tag, print)).collect();
    let mut contents: BTreeMap<EntryId, ContentTag> = BTreeMap::new();
    for row in world.journal() {
        let Ok(group) = row.entry.group.decode() else { continue };
        let author = world.devices.iter().find(|device| device.device() == group.device);
        for change in &group.changes {
            let deleted = match change {
                Change::Create { entry, content, .. } | Change::Edit { entry, content, .. } => {
                    contents.insert(*entry, content.tag);
                    continue;
                }
                Change::Delete { entry, .. } => contents.get(entry).map(|tag| (entry, tag)),
                _ => continue,
            };
            let Some((entry, tag)) = deleted else { continue };
            let Some(print) = prints.get(tag) else { continue };
            let Some(value) = ledger.value(print) else { continue };
            let (revision, number) = (row.entry.revision, value.number);
            let is_restored = ledger.is_of_restore(&row.entry.group.body, entry);
            let unseen = author.filter(|author| !ledger.has_shown(author.number, print));
            if let Some(author) = unseen.filter(|_| !is_restored) {
                let author = author.number;
                ledger.violation(format!(
                    "S2: revision {revision} deletes value {number}, which its author, device \
                     {author}, never had"
                ));
            }
            if value.fate == Fate::Alive && !live.contains(tag) {
                ledger.violation(format!(
                    "S2: value {number} did not survive the delete of revision {revision}"
                ));
            }
        }
    }
}
