//! The tree as a group would leave it (rule 10).
//!
//! Owns two passes over a group's changes. The first holds every base against the registers before
//! the group. The second holds the rules of the tree against the state after it, so that a swap of
//! two names or a move onto a deleted entry's name is one group. It must not write, and it knows
//! nothing of quotas, proofs and request ids.

use super::super::query::head_at;
use super::super::state::{EntryState, FolderState};
use super::super::store::{MetaReads, StoreError, Stored};
use super::labels::LabelDraft;
use common::ids::{ConflictId, EntryId, FolderId, NameTag};
use common::limits::{DEPTH_MAX, GROUP_CONTENTS_MAX};
use common::record::{Change, Content, Group, Kind, Place};
use common::revision::{Cursor, Revision};
use common::wire::meta::RejectionCode as Code;
use std::collections::{BTreeMap, BTreeSet};

/// Why a change cannot be made.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) entry: Option<EntryId>,
    pub(super) message: String,
}

/// Why judging a change stops: it cannot be made, or the store failed.
#[derive(Debug)]
pub(super) enum Stopped {
    Fault(Fault),
    Store(StoreError),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn fault<T>(code: Code, entry: EntryId, message: &str) -> Result<T, Stopped> {
    Err(Stopped::Fault(Fault { code, entry: Some(entry), message: message.to_owned() }))
}

fn malformed<T>(entry: Option<EntryId>, message: &str) -> Result<T, Stopped> {
    Err(Stopped::Fault(Fault { code: Code::Malformed, entry, message: message.to_owned() }))
}

/// A place as the group sets it.
#[derive(Clone, Copy)]
struct Placed {
    kind: Kind,
    parent: EntryId,
    deleted: bool,
}

/// What a group does, held against one state of one folder.
pub(super) struct Draft<'a> {
    reads: &'a dyn MetaReads,
    id: &'a FolderId,
    folder: &'a FolderState,
    before: BTreeMap<EntryId, Option<EntryState>>,
    places: BTreeMap<EntryId, Placed>,
    /// How many contents it sets on each entry.
    contents: BTreeMap<EntryId, usize>,
    opened: BTreeSet<ConflictId>,
    closed: BTreeSet<ConflictId>,
    labels: LabelDraft,
    claims: BTreeMap<(EntryId, NameTag), EntryId>,
    depths: BTreeMap<EntryId, usize>,
}

impl<'a> Draft<'a> {
    /// Judges a group.
    ///
    /// # Errors
    /// The number of the first change that cannot be made, and why.
    pub(super) fn judge(
        reads: &'a dyn MetaReads,
        id: &'a FolderId,
        folder: &'a FolderState,
        group: &Group,
    ) -> Result<Self, (u32, Stopped)> {
        let mut draft = Self {
            reads,
            id,
            folder,
            before: BTreeMap::new(),
            places: BTreeMap::new(),
            contents: BTreeMap::new(),
            opened: BTreeSet::new(),
            closed: BTreeSet::new(),
            labels: LabelDraft::default(),
            claims: BTreeMap::new(),
            depths: BTreeMap::from([(EntryId::ROOT, 0)]),
        };
        for (number, change) in (0..).zip(&group.changes) {
            draft.check_base(change).map_err(|stopped| (number, stopped))?;
        }
        for (number, change) in (0..).zip(&group.changes) {
            draft.check_after(change).map_err(|stopped| (number, stopped))?;
        }
        Ok(draft)
    }

    /// The registers that entries of the group had before it.
    pub(super) fn into_before(self) -> BTreeMap<EntryId, Option<EntryState>> {
        self.before
    }

    fn before(&mut self, entry: &EntryId) -> Stored<Option<EntryState>> {
        if let Some(known) = self.before.get(entry) {
            return Ok(*known);
        }
        let state = self.reads.entry(self.id, entry)?;
        self.before.insert(*entry, state);
        Ok(state)
    }

    fn existing(&mut self, entry: &EntryId) -> Result<EntryState, Stopped> {
        match self.before(entry)? {
            Some(state) => Ok(state),
            None => fault(Code::NoSuchEntry, *entry, "there is no such entry"),
        }
    }

    fn check_base(&mut self, change: &Change) -> Result<(), Stopped> {
        match change {
            Change::Create { entry, kind, place, content } => {
                if *entry == EntryId::ROOT || self.before(entry)?.is_some() {
                    return fault(Code::IdTaken, *entry, "the entry id is in use");
                }
                check_shape(*entry, *kind, content)?;
                self.count_content(entry)?;
                self.set_place(entry, *kind, place.parent, false)
            }
            Change::Edit { entry, base, content } => {
                let state = self.existing(entry)?;
                check_shape(*entry, state.kind, content)?;
                self.count_content(entry)?;
                fresh_content(entry, &state, *base)
            }
            Change::Move { entry, base, place } => {
                let state = self.existing(entry)?;
                if state.deleted {
                    return fault(Code::NoSuchEntry, *entry, "the entry has been deleted");
                }
                fresh_place(entry, &state, *base)?;
                self.set_place(entry, state.kind, place.parent, false)
            }
            Change::Delete { entry, place_base, content_base } => {
                let state = self.existing(entry)?;
                if state.deleted {
                    return fault(Code::NoSuchEntry, *entry, "the entry has been deleted");
                }
                fresh_place(entry, &state, *place_base)?;
                fresh_content(entry, &state, *content_base)?;
                self.set_place(entry, state.kind, state.parent, true)
            }
            Change::Revive { entry, base, place } => {
                let state = self.existing(entry)?;
                fresh_place(entry, &state, *base)?;
                if !state.deleted {
                    return fault(Code::NoSuchEntry, *entry, "the entry is not deleted");
                }
                self.set_place(entry, state.kind, place.parent, false)
            }
            Change::OpenConflict { conflict, entry, base, theirs, copy } => {
                self.check_open(conflict, entry, *base, *theirs, copy)
            }
            Change::ResolveConflict { conflict, .. } => self.check_resolve(conflict),
            Change::ConfirmEpoch { restored, highest } => self.check_epoch(restored, highest),
            Change::AddLabel { .. } | Change::RemoveLabel { .. } | Change::SetSettings { .. } => {
                self.labels.check(self.reads, self.id, self.folder, change)
            }
        }
    }

    fn set_place(
        &mut self,
        entry: &EntryId,
        kind: Kind,
        parent: EntryId,
        deleted: bool,
    ) -> Result<(), Stopped> {
        let placed = Placed { kind, parent, deleted };
        if self.places.insert(*entry, placed).is_some() {
            return malformed(Some(*entry), "a group sets the place of an entry once");
        }
        Ok(())
    }

    fn count_content(&mut self, entry: &EntryId) -> Result<(), Stopped> {
        let count = self.contents.entry(*entry).or_default();
        *count += 1;
        if *count > GROUP_CONTENTS_MAX {
            return malformed(Some(*entry), "a group sets too many contents of an entry");
        }
        Ok(())
    }

    fn check_open(
        &mut self,
        conflict: &ConflictId,
        entry: &EntryId,
        base: Option<Revision>,
        theirs: Revision,
        copy: &EntryId,
    ) -> Result<(), Stopped> {
        if !self.opened.insert(*conflict) || self.reads.conflict(self.id, conflict)?.is_some() {
            return fault(Code::IdTaken, *entry, "the conflict id is in use");
        }
        let state = self.existing(entry)?;
        fresh_content(entry, &state, theirs)?;
        if entry == copy {
            return malformed(Some(*entry), "the sides of a conflict are two entries");
        }
        if base.is_some_and(|base| base == 0 || base > self.folder.revision) {
            return malformed(Some(*entry), "the base of a conflict is a revision of the journal");
        }
        Ok(())
    }

    fn check_resolve(&mut self, conflict: &ConflictId) -> Result<(), Stopped> {
        let state = self.reads.conflict(self.id, conflict)?;
        let open = state.is_some_and(|state| state.closed.is_none());
        if open && self.closed.insert(*conflict) {
            return Ok(());
        }
        Err(Stopped::Fault(Fault {
            code: Code::NoSuchConflict,
            entry: None,
            message: "the conflict is not open".to_owned(),
        }))
    }

    /// The author names where the lives of the journal parted, whichever of the lives that share
    /// the position it names with it: an epoch began there after the one of which it names the
    /// furthest that it had seen.
    fn check_epoch(&mut self, restored: &Cursor, highest: &Cursor) -> Result<(), Stopped> {
        let parted = self.reads.lineage(self.id)?.iter().any(|start| {
            start.epoch > highest.epoch
                && start.revision == restored.revision
                && start.head == restored.head
        });
        let on_chain = head_at(self.reads, self.id, restored.revision)? == Some(restored.head);
        if !parted || !on_chain || highest.epoch >= self.folder.epoch {
            return Err(Stopped::Fault(Fault {
                code: Code::UnknownHead,
                entry: None,
                message: "no epoch of this journal began there".to_owned(),
            }));
        }
        Ok(())
    }

    fn check_after(&mut self, change: &Change) -> Result<(), Stopped> {
        match change {
            Change::Create { entry, place, .. } | Change::Move { entry, place, .. } => {
                self.check_place(entry, place)
            }
            Change::Revive { entry, place, .. } => {
                self.check_content_is_there(entry)?;
                self.check_place(entry, place)
            }
            Change::Edit { entry, .. } => self.check_live(entry),
            Change::Delete { entry, .. } => self.check_empty(entry),
            Change::OpenConflict { entry, copy, .. } => {
                self.check_live(entry)?;
                self.check_live(copy)
            }
            Change::ResolveConflict { .. }
            | Change::ConfirmEpoch { .. }
            | Change::AddLabel { .. }
            | Change::RemoveLabel { .. }
            | Change::SetSettings { .. } => Ok(()),
        }
    }

    fn check_place(&mut self, entry: &EntryId, place: &Place) -> Result<(), Stopped> {
        self.check_parent(entry, place)?;
        self.check_climb(entry, place)?;
        self.check_name(entry, place)
    }

    /// What comes back has a content: that which it had, or one that the group brings.
    fn check_content_is_there(&mut self, entry: &EntryId) -> Result<(), Stopped> {
        if self.contents.contains_key(entry) {
            return Ok(());
        }
        let last = self.reads.contents(self.id, entry, self.folder.revision, 1)?.pop();
        if last.is_some_and(|last| last.released) {
            let message = "the entry's content was released: it comes back with a new one";
            return fault(Code::ContentReleased, *entry, message);
        }
        Ok(())
    }

    fn after(&mut self, entry: &EntryId) -> Stored<Option<Placed>> {
        if let Some(placed) = self.places.get(entry) {
            return Ok(Some(*placed));
        }
        Ok(self.before(entry)?.map(|state| Placed {
            kind: state.kind,
            parent: state.parent,
            deleted: state.deleted,
        }))
    }

    fn check_live(&mut self, entry: &EntryId) -> Result<(), Stopped> {
        match self.after(entry)? {
            Some(placed) if !placed.deleted => Ok(()),
            _ => fault(Code::NoSuchEntry, *entry, "the entry has been deleted"),
        }
    }

    fn check_parent(&mut self, entry: &EntryId, place: &Place) -> Result<(), Stopped> {
        if place.parent == *entry {
            return fault(Code::Cycle, *entry, "the entry would be inside itself");
        }
        if place.parent == EntryId::ROOT {
            return Ok(());
        }
        match self.after(&place.parent)? {
            Some(parent) if !parent.deleted && parent.kind == Kind::Directory => Ok(()),
            _ => fault(Code::NoParent, place.parent, "the parent is not a live directory"),
        }
    }

    /// Climbs to the root. Directories whose depth is known are on a way that ends there, so no
    /// cycle can lead through one of them.
    fn check_climb(&mut self, entry: &EntryId, place: &Place) -> Result<(), Stopped> {
        let mut at = place.parent;
        let mut steps = 1;
        let mut passed = BTreeSet::from([*entry]);
        while !self.depths.contains_key(&at) {
            if !passed.insert(at) {
                return fault(Code::Cycle, at, "the entry would be inside itself");
            }
            steps += 1;
            let Some(placed) = self.after(&at)? else {
                return fault(Code::NoParent, at, "the parent is not a live directory");
            };
            if steps > DEPTH_MAX {
                return malformed(Some(*entry), "the entry would be too deep");
            }
            at = placed.parent;
        }
        let depth = steps + self.depths.get(&at).copied().unwrap_or(0);
        if depth > DEPTH_MAX {
            return malformed(Some(*entry), "the entry would be too deep");
        }
        self.depths.insert(place.parent, depth - 1);
        Ok(())
    }

    fn check_name(&mut self, entry: &EntryId, place: &Place) -> Result<(), Stopped> {
        let taken = "another entry has the name";
        let claim = (place.parent, place.name_tag);
        if let Some(other) = self.claims.insert(claim, *entry) {
            return fault(Code::NameTaken, other, taken);
        }
        match self.reads.named(self.id, &place.parent, &place.name_tag)? {
            // Whoever is placed anew by this group makes its own claim.
            Some(other) if !self.places.contains_key(&other) => {
                fault(Code::NameTaken, other, taken)
            }
            _ => Ok(()),
        }
    }

    /// Entries that the group itself puts into a deleted directory fail by their own change.
    fn check_empty(&mut self, entry: &EntryId) -> Result<(), Stopped> {
        let limit = self.places.len() + 1;
        let children = self.reads.children(self.id, entry, limit)?;
        match children.into_iter().find(|child| !self.places.contains_key(child)) {
            Some(child) => fault(Code::NotEmpty, child, "the directory is not empty"),
            None => Ok(()),
        }
    }
}

fn check_shape(entry: EntryId, kind: Kind, content: &Content) -> Result<(), Stopped> {
    if kind != Kind::File && content.root.is_some() {
        return malformed(Some(entry), "only a file has chunks");
    }
    Ok(())
}

fn fresh_place(entry: &EntryId, state: &EntryState, base: Revision) -> Result<(), Stopped> {
    if state.place_revision == base {
        return Ok(());
    }
    fault(Code::StalePlace, *entry, "the entry's place has moved on")
}

fn fresh_content(entry: &EntryId, state: &EntryState, base: Revision) -> Result<(), Stopped> {
    if state.content_revision == base {
        return Ok(());
    }
    fault(Code::StaleContent, *entry, "the entry's content has moved on")
}
