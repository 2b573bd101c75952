//! Random groups and a naive model of the tree.
//!
//! The model applies all changes of a group to a copy of its tree and then checks every entry. It
//! must not know how the service does it.

use super::world::{create, delete, edit, entry, move_to, revive};
use common::ids::EntryId;
use common::record::{Change, Kind};
use common::revision::Revision;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a random change does; entries, parents and names are few, so that they meet.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create { entry: u8, directory: bool, parent: u8, name: u8 },
    Edit { entry: u8, stale: bool },
    Move { entry: u8, parent: u8, name: u8, stale: bool },
    Delete { entry: u8, stale: bool },
    Revive { entry: u8, parent: u8, name: u8 },
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let (id, parent, name) = (1..9_u8, 0..9_u8, 0..4_u8);
    let stale = prop::bool::weighted(0.05);
    prop_oneof![
        4 => (id.clone(), prop::bool::weighted(0.7), parent.clone(), name.clone()).prop_map(
            |(entry, directory, parent, name)| Step::Create { entry, directory, parent, name }
        ),
        1 => (id.clone(), stale).prop_map(|(entry, stale)| Step::Edit { entry, stale }),
        4 => (id.clone(), parent.clone(), name.clone(), stale).prop_map(
            |(entry, parent, name, stale)| Step::Move { entry, parent, name, stale }
        ),
        2 => (id.clone(), stale).prop_map(|(entry, stale)| Step::Delete { entry, stale }),
        2 => (id, parent, name)
            .prop_map(|(entry, parent, name)| Step::Revive { entry, parent, name }),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    directory: bool,
    parent: u8,
    name: u8,
    deleted: bool,
    place: Revision,
    content: Revision,
}

/// The naive tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    rows: BTreeMap<u8, Row>,
}

impl Model {
    fn bases(&self, entry: u8) -> (Revision, Revision) {
        self.rows.get(&entry).map_or((1, 1), |row| (row.place, row.content))
    }

    /// The change that a device makes of a step, from what it knows.
    pub(crate) fn change(&self, step: &Step) -> Change {
        let at = |parent: u8| if parent == 0 { EntryId::ROOT } else { entry(parent) };
        let off = |base: Revision, stale: bool| base + Revision::from(stale);
        match *step {
            Step::Create { entry, directory, parent, name } => {
                let kind = if directory { Kind::Directory } else { Kind::File };
                create(entry, kind, at(parent), &name.to_string())
            }
            Step::Edit { entry, stale } => edit(entry, off(self.bases(entry).1, stale), 99),
            Step::Move { entry, parent, name, stale } => {
                let base = off(self.bases(entry).0, stale);
                move_to(entry, base, at(parent), &name.to_string())
            }
            Step::Delete { entry, stale } => {
                let (place, content) = self.bases(entry);
                delete(entry, off(place, stale), content)
            }
            Step::Revive { entry, parent, name } => {
                revive(entry, self.bases(entry).0, at(parent), &name.to_string())
            }
        }
    }

    /// The tree after a group at `revision`, if every change may be made and a tree is left.
    pub(crate) fn after(&self, steps: &[Step], revision: Revision) -> Option<Self> {
        let mut next = self.clone();
        let mut placed = BTreeSet::new();
        for step in steps {
            next.take(self, step, revision, &mut placed)?;
        }
        let edited = steps.iter().filter_map(|step| match step {
            Step::Edit { entry, .. } => Some(*entry),
            _ => None,
        });
        let edits_live = edited.into_iter().all(|entry| !next.rows[&entry].deleted);
        (edits_live && next.is_tree()).then_some(next)
    }

    fn take(
        &mut self,
        before: &Self,
        step: &Step,
        revision: Revision,
        placed: &mut BTreeSet<u8>,
    ) -> Option<()> {
        match *step {
            Step::Create { entry, directory, parent, name } => {
                let (place, content) = (revision, revision);
                let row = Row { directory, parent, name, deleted: false, place, content };
                (!before.rows.contains_key(&entry) && placed.insert(entry)).then_some(())?;
                self.rows.insert(entry, row);
            }
            Step::Edit { entry, stale } => {
                (before.rows.contains_key(&entry) && !stale).then_some(())?;
                self.rows.get_mut(&entry)?.content = revision;
            }
            Step::Move { entry, parent, name, stale } => {
                let live = before.rows.get(&entry).is_some_and(|row| !row.deleted);
                (live && !stale && placed.insert(entry)).then_some(())?;
                self.set(entry, parent, name, revision)?;
            }
            Step::Delete { entry, stale } => {
                let live = before.rows.get(&entry).is_some_and(|row| !row.deleted);
                (live && !stale && placed.insert(entry)).then_some(())?;
                let row = self.rows.get_mut(&entry)?;
                (row.deleted, row.place) = (true, revision);
            }
            Step::Revive { entry, parent, name } => {
                let dead = before.rows.get(&entry).is_some_and(|row| row.deleted);
                (dead && placed.insert(entry)).then_some(())?;
                self.set(entry, parent, name, revision)?;
            }
        }
        Some(())
    }

    fn set(&mut self, entry: u8, parent: u8, name: u8, revision: Revision) -> Option<()> {
        let row = self.rows.get_mut(&entry)?;
        (row.parent, row.name, row.deleted, row.place) = (parent, name, false, revision);
        Some(())
    }

    fn is_tree(&self) -> bool {
        let mut names = BTreeSet::new();
        self.rows
            .iter()
            .filter(|(_, row)| !row.deleted)
            .all(|(entry, row)| names.insert((row.parent, row.name)) && self.reaches_root(*entry))
    }

    fn reaches_root(&self, entry: u8) -> bool {
        let mut at = self.rows[&entry].parent;
        for _ in 0..=self.rows.len() {
            if at == 0 {
                return true;
            }
            match self.rows.get(&at) {
                Some(row) if row.directory && !row.deleted => at = row.parent,
                _ => return false,
            }
        }
        false
    }

    /// Live entries with parent and name.
    pub(crate) fn live(&self) -> Vec<(u8, u8, String)> {
        let live = self.rows.iter().filter(|(_, row)| !row.deleted);
        live.map(|(entry, row)| (*entry, row.parent, row.name.to_string())).collect()
    }
}
