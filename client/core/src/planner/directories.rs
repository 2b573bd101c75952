//! Directories that survive their deletion because of what is in them, and what survives with a
//! directory that was moved.
//!
//! Owns "delete directory / create inside" and "move / delete" as far as they reach across
//! entries. It must not know of names.

use super::merge::{Fate, Placement};
use super::round::Round;
use common::ids::EntryId;

/// Takes back deletions of what lies in a directory that the other side has moved: whoever moves
/// a directory means all of it. The reason for it is gone once the directory itself is in sync,
/// which may be before what lies in it: so it is taken back in the trees, for good.
pub(super) fn keep_what_was_moved(round: &mut Round<'_>) {
    for entry in round.planned() {
        let is_kept = match round.fates[&entry] {
            Fate::DeleteLocal => moved_here(round, &entry),
            Fate::DeleteRemote => moved_there(round, &entry),
            _ => false,
        };
        if is_kept {
            round.fates.insert(entry, Fate::Keep);
        }
    }
}

/// Whether a directory above, deleted at the server too, was moved here.
fn moved_here(round: &Round<'_>, entry: &EntryId) -> bool {
    for up in round.trees.local_ancestors(entry) {
        let trio = round.trees.get(&up);
        if trio.tombstone().is_none() {
            return false;
        }
        if trio.is_moved_locally() {
            return true;
        }
    }
    false
}

/// Whether a directory above, deleted here too, was moved at the server.
fn moved_there(round: &Round<'_>, entry: &EntryId) -> bool {
    for up in round.trees.remote_ancestors(entry) {
        let trio = round.trees.get(&up);
        let (None, Some(base), Some(remote)) = (&trio.local, trio.base(), trio.live()) else {
            return false;
        };
        if base.position != remote.position {
            return true;
        }
    }
    false
}

/// Takes back deletions of directories in which something lives on.
pub(super) fn keep_what_is_needed(round: &mut Round<'_>) {
    for entry in round.planned() {
        match round.fates[&entry] {
            Fate::Upload
            | Fate::Revive { .. }
            | Fate::Detach
            | Fate::Both { place: Placement::Local, .. } => revive_above(round, entry),
            Fate::Download | Fate::Both { place: Placement::Remote, .. } => {
                remake_above(round, &entry);
            }
            _ => {}
        }
    }
}

/// The local parents of an entry that lives on where it stands come back at the server.
fn revive_above(round: &mut Round<'_>, entry: EntryId) {
    let mut child = entry;
    for up in round.trees.local_ancestors(&entry) {
        if round.fate(&up) != Fate::DeleteLocal {
            break;
        }
        round.fates.insert(up, Fate::Revive { child: Some(child) });
        child = up;
    }
}

/// The remote parents of an entry that lives on at the server are made here again.
fn remake_above(round: &mut Round<'_>, entry: &EntryId) {
    for up in round.trees.remote_ancestors(entry) {
        if round.fate(&up) != Fate::DeleteRemote {
            break;
        }
        round.fates.insert(up, Fate::Download);
    }
}
