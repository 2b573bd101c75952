//! What a plan consists of.
//!
//! Owns the vocabulary between the planner and those who carry a plan out.

use crate::tree::{ContentState, Position};
use common::ids::{ConflictId, ContentTag, DeviceId, EntryId, FolderId};
use common::name::Platform;
use common::record::Kind;
use common::revision::Revision;
use std::collections::BTreeSet;

/// What the planner is told besides the trees.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which folder; with `device` it makes the ids of conflict copies reproducible.
    pub folder: FolderId,
    /// This device.
    pub device: DeviceId,
    /// This device's name, for conflict names.
    pub device_name: String,
    /// Today's date as `YYYY-MM-DD`, for conflict names.
    pub date: String,
    /// Whether the disk ignores case and normalisation of names.
    pub folds_names: bool,
    /// Whose rules names must keep on this disk.
    pub platform: Platform,
    /// The content tag of an empty file in this folder: the guard counts files that become empty.
    pub empty_content: Option<ContentTag>,
    /// A plan may delete this share of all held entries, in percent, …
    pub guard_percent: u32,
    /// … or this many, whichever is more, before it waits for a person.
    pub guard_entries: u64,
    /// What plans of the last seconds let through of that which the guard counts, in entries that
    /// are not agreed to: a mass may come in slices.
    pub lately: Vec<Loss>,
    /// How many entries were held when a person was asked about deletions that still wait.
    pub held_when_asked: Option<u64>,
    /// The mass deletion that a person has been asked about and has not answered.
    pub asked: Option<Halt>,
    /// Entries whose deletion a person has agreed to: the guard does not count them.
    pub agreed: BTreeSet<EntryId>,
    /// Whether local absences may be believed now (the dirty set is drained and settled, rule 9).
    pub absences_settled: bool,
}

/// The next steps, in batches: steps of one batch are independent of each other and may be carried
/// out in any order; a batch assumes that those before it succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub batches: Vec<Vec<Step>>,
    /// What cannot be done, and why; nothing else stops for it.
    pub issues: Vec<Issue>,
    /// What the guard counted and let through.
    pub losses: Vec<Loss>,
    /// Why deletions wait for a person. The steps in `batches` do not contain them.
    pub halt: Option<Halt>,
    /// Entries that could not be planned yet and have to stay dirty.
    pub waiting: Vec<EntryId>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Local and remote agree: the synced node becomes what they are, and held.
    Settle {
        /// Which entry.
        entry: EntryId,
    },
    /// Gone on both sides: the synced node goes.
    Forget {
        /// Which entry.
        entry: EntryId,
    },
    /// Deleted on one side and wanted after all: the synced node is not held any more, so that
    /// the entry is new to the side that deleted it from now on, whatever becomes of the rest of
    /// the plan.
    Keep {
        /// Which entry.
        entry: EntryId,
    },
    /// The local node is the remote entry of another id (two devices made the same thing): the
    /// local node takes the remote id. Children keep their ids and get the new parent, in the local
    /// and in the synced tree; the synced node of the old id goes, if any.
    Adopt {
        /// The local node's id until now.
        local: EntryId,
        /// The id that it gets.
        remote: EntryId,
    },
    /// The local node turns out to be of another kind than the entry that it was taken for (a file
    /// that a directory has replaced, say): it takes the id `fresh` and counts as new. The synced
    /// and the remote node stay, so that `entry` is absent here from now on, and its absence is
    /// judged like any other. Local children get the new parent.
    Detach {
        /// The local node's id until now.
        entry: EntryId,
        /// The id that it gets.
        fresh: EntryId,
    },
    /// Send an atomic group of changes.
    Push(PushGroup),
    /// Make an entry that is remote but not local.
    Create {
        /// Which entry.
        entry: EntryId,
        /// What it is.
        kind: Kind,
        /// Where; free when the step is reached.
        at: Position,
    },
    /// Give a local file or symlink the remote content. `seen` is what the planner compared.
    Replace {
        /// Which entry.
        entry: EntryId,
        /// The local content that may be replaced.
        seen: ContentState,
    },
    /// Give a local entry the remote mode and mtime; its bytes are the same already, and no longer
    /// asked for if the server has got others since the step was planned.
    SetAttributes {
        /// Which entry.
        entry: EntryId,
        /// The local content that was compared.
        seen: ContentState,
    },
    /// Move a local entry.
    Move {
        /// Which entry.
        entry: EntryId,
        /// Where it stands now.
        from: Position,
        /// Where it goes; free when the step is reached.
        to: Destination,
    },
    /// Delete a local entry: a directory when it is empty, anything else when it is still `seen`.
    Delete {
        /// Which entry.
        entry: EntryId,
        /// Where it stands.
        at: Position,
        /// The local content that may go.
        seen: Option<ContentState>,
    },
}

/// Where a local entry is moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A place in the tree.
    Position(Position),
    /// Aside, to break a cycle of moves; a later round brings it to its place.
    Parked,
}

/// Changes that take effect together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushGroup {
    /// Deletions first, children before parents; then the rest, parents before children.
    pub changes: Vec<Change>,
}

/// A change to be pushed. Content is that of the local node named, which must still be `content`
/// when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new entry at its local position.
    Create {
        /// Which local node.
        entry: EntryId,
        /// Its local position, and its place at the server.
        at: Position,
        /// Its content.
        content: ContentState,
    },
    /// A conflict copy: the local node `local` (an id that the server knows with other content, or
    /// that clashes with the name of another entry) is created at the server as `copy` at position
    /// `at`, beside `entry` there, together with an open conflict record. Once accepted,
    /// the local node has the id `copy`, its synced position is where it stands locally, and the
    /// synced node of `local` (often `entry` itself) is gone, so that the next plan moves the copy
    /// to its conflict name and makes the original. If `entry` is another one, its synced node
    /// stays: it still tells what was moved or deleted here.
    ConflictCopy {
        /// The local node that loses its name.
        local: EntryId,
        /// Its id at the server from now on; reproducible from the policy and what is in conflict.
        copy: EntryId,
        /// The conflict name.
        at: Position,
        /// Its content.
        content: ContentState,
        /// The entry that keeps the name.
        entry: EntryId,
        /// The content revision that both started from.
        base: Option<Revision>,
        /// The content revision of `entry` that was found instead.
        theirs: Revision,
        /// Id of the record, reproducible too.
        conflict: ConflictId,
    },
    /// A new content.
    Edit {
        /// Which entry.
        entry: EntryId,
        /// Its content.
        content: ContentState,
        /// The content revision that it replaces.
        base: Revision,
    },
    /// A new place: its local position.
    Move {
        /// Which entry.
        entry: EntryId,
        /// Where it goes.
        to: Position,
        /// The place revision that it replaces.
        base: Revision,
    },
    /// The end of an entry.
    Delete {
        /// Which entry.
        entry: EntryId,
        /// The place revision that was seen.
        place_base: Revision,
        /// The content revision that was seen.
        content_base: Revision,
    },
    /// A deleted entry comes back at its local position, because it was edited, moved or is needed
    /// as a parent; an edit of the same entry may follow in the group.
    Revive {
        /// Which entry.
        entry: EntryId,
        /// Where.
        at: Position,
        /// The revision of the deletion.
        base: Revision,
    },
}

/// A held entry that is deleted or emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which entry.
    pub entry: EntryId,
    /// Whether that comes from the server (true) or from this disk (false).
    pub from_remote: bool,
}

/// Deletions that wait for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The held entries that would be deleted or emptied, here or at the server.
    pub deletions: BTreeSet<EntryId>,
    /// How many held entries there are.
    pub held: u64,
    /// How many others the plans before this one let through, which count with them.
    pub lately: u64,
    /// Whether they come from the server (true) or from this disk (false).
    pub from_remote: bool,
}

/// An entry that cannot be synced as things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Which entry.
    pub entry: EntryId,
    /// Why.
    pub kind: IssueKind,
}

/// Why an entry cannot be synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueKind {
    /// Another entry in the directory differs only in case or normalisation, and this disk cannot
    /// hold both.
    NameClash {
        /// The one that is held.
        with: EntryId,
    },
    /// This platform cannot hold the name.
    NameNotHeld,
    /// The path would be longer or deeper than the limits.
    TooDeep,
    /// Its place is held by an entry that cannot leave it, for something that is listed itself.
    PlaceHeld {
        /// Who holds the place.
        by: EntryId,
    },
}
