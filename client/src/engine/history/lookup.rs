//! What a path means in a folder's history.
//!
//! Owns which entries' histories belong to a path: that of what is there now, then of what was
//! deleted there, the last first. A path that something has only been moved away from means that.

use super::paths::Paths;
use super::{AskError, Engine, unreadable};
use crate::fs::RelPath;
use client_core::tree::Position;
use common::ids::EntryId;
use common::limits::NAMED_MAX;
use common::name::Name;
use common::record::{Kind, Registers};
use common::revision::Revision;
use common::wire::meta::{NamedEntry, NamedRead, Reply, Request};
use std::collections::BTreeMap;

/// Directories of one path that are looked into: of each name there may have been many.
const DIRECTORIES_MAX: usize = 64;

/// An entry that a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) entry: EntryId,
    pub(super) kind: Kind,
    pub(super) deleted: bool,
    /// Whether it is there, or was when it was deleted.
    last: bool,
    pub(super) place_revision: Revision,
}

/// Where restored versions of one path came from, remembered for the time of one answer.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// What was at the path once and is not what it means, if that has been asked for.
    others: Option<Vec<EntryId>>,
    at: BTreeMap<(EntryId, Revision), Option<String>>,
}

/// The names of a path as it was asked for.
pub(super) fn names_of(path: &str) -> Result<Vec<Name>, AskError> {
    let names = path.split('/').filter(|part| !part.is_empty()).map(Name::new);
    let names: Result<Vec<Name>, _> = names.collect();
    names.map_err(|_| AskError::NoSuchPath(path.to_owned()))
}

/// A path as it was asked for, as one below the root.
pub(super) fn relative(path: &str) -> Result<RelPath, AskError> {
    RelPath::new(names_of(path)?).map_err(|_| AskError::NoSuchPath(path.to_owned()))
}

impl Engine {
    /// The entry that is or was last at a path.
    pub(in crate::engine) async fn entry_ever_at(&self, path: &str) -> Result<EntryId, AskError> {
        let found = self.found_at(path).await?;
        found.first().map(|found| found.entry).ok_or_else(|| self.none_at(path))
    }

    /// What a path means, the nearest first; never empty.
    pub(super) async fn found_at(&self, path: &str) -> Result<Vec<Found>, AskError> {
        let names = names_of(path)?;
        if names.is_empty() {
            return Err(AskError::IsDirectory(path.to_owned()));
        }
        let all = self.ever_at(&names).await?;
        let mut found: Vec<Found> = all.iter().copied().filter(|found| found.last).collect();
        if found.is_empty() {
            found = all;
        }
        found.sort_by_key(|found| (found.deleted, std::cmp::Reverse(found.place_revision)));
        if found.is_empty() { Err(self.none_at(path)) } else { Ok(found) }
    }

    fn none_at(&self, path: &str) -> AskError {
        match relative(path).map(|path| self.context.fs.stat(&path)) {
            Ok(Ok(_)) => AskError::NoHistory(path.to_owned()),
            _ => AskError::NoSuchPath(path.to_owned()),
        }
    }

    /// All entries that ever were at a path.
    async fn ever_at(&self, names: &[Name]) -> Result<Vec<Found>, AskError> {
        let Some((last, above)) = names.split_last() else { return Ok(Vec::new()) };
        let mut directories = vec![EntryId::ROOT];
        for name in above {
            let mut named = Vec::new();
            for directory in &directories {
                named.extend(self.named(directory, name).await?);
            }
            directories = nearest_directories(named);
        }
        let mut found = Vec::new();
        for directory in &directories {
            found.extend(self.named(directory, last).await?);
        }
        Ok(found)
    }

    /// What was at a path once and is not what the path means.
    async fn others_at(&self, path: &str) -> Result<Vec<EntryId>, AskError> {
        let all = self.ever_at(&names_of(path)?).await?.into_iter();
        Ok(all.filter(|found| !found.last).map(|found| found.entry).collect())
    }

    /// Where something is now, or was last, that was at a path once, is not what the path means, and has
    /// a version of exactly this revision.
    pub(super) async fn elsewhere(
        &self,
        path: &str,
        revision: Revision,
    ) -> Result<Option<String>, AskError> {
        self.which_has(&self.others_at(path).await?, revision).await
    }

    /// Where the content of a version of an entry was brought back from by a restore, if that was
    /// something else that was at the path once.
    pub(super) async fn restored_from(
        &self,
        path: &str,
        (entry, restored): (EntryId, Revision),
        known: &mut Elsewhere,
    ) -> Result<Option<String>, AskError> {
        if let Some(at) = known.at.get(&(entry, restored)) {
            return Ok(at.clone());
        }
        // Many entries may have a version of one revision: the entry's own comes first.
        let own = self.sealed_version(&entry, restored).await?;
        let at = if own.is_some_and(|own| own.content_changed) {
            None
        } else {
            let others = match known.others.take() {
                Some(others) => others,
                None => self.others_at(path).await?,
            };
            let at = self.which_has(&others, restored).await?;
            known.others = Some(others);
            at
        };
        known.at.insert((entry, restored), at.clone());
        Ok(at)
    }

    /// Where the first of these is now, or was last, that has a version of exactly this revision.
    async fn which_has(
        &self,
        others: &[EntryId],
        revision: Revision,
    ) -> Result<Option<String>, AskError> {
        for entry in others {
            if self.sealed_version(entry, revision).await?.is_none() {
                continue;
            }
            let newest = self.versions(entry, 0, 1).await?.pop();
            let registers = newest.and_then(|newest| newest.registers);
            let Some(registers) = registers.and_then(|it| Registers::try_from(it).ok()) else {
                continue;
            };
            let (entry, place) = (&registers.entry, &registers.place);
            let at = Paths::default().path_of(self, entry, place, Revision::MAX).await?;
            return Ok(Some(at));
        }
        Ok(None)
    }

    /// Entries that ever had a name in a directory.
    pub(super) async fn named(
        &self,
        directory: &EntryId,
        name: &Name,
    ) -> Result<Vec<Found>, AskError> {
        let request = NamedRead {
            folder: self.context.folder.to_vec(),
            parent: directory.to_vec(),
            name_tag: self.context.keys.name_tag(directory, name).to_vec(),
        };
        let Reply::Named(reply) = self.answer_to(Request::Named(request)).await? else {
            return Err(unreadable("it is no list of names"));
        };
        reply.entries.into_iter().map(found).collect()
    }

    /// The entry that was at a path at a revision, and what it was then.
    pub(super) async fn entry_at_revision(
        &self,
        path: &str,
        at: Revision,
    ) -> Result<Option<Registers>, AskError> {
        let names = names_of(path)?;
        let (mut parent, mut there) = (EntryId::ROOT, None);
        for name in &names {
            let tag = self.context.keys.name_tag(&parent, name);
            there = None;
            let named = self.named(&parent, name).await?;
            let told = named.len();
            for found in named {
                let Some(version) = self.versions(&found.entry, at, 1).await?.pop() else {
                    continue;
                };
                let registers = version.registers.filter(|_| !version.deleted);
                let registers = registers.and_then(|it| Registers::try_from(it).ok());
                let is_there =
                    |it: &Registers| it.place.parent == parent && it.place.name_tag == tag;
                there = registers.filter(is_there);
                if there.is_some() {
                    break;
                }
            }
            let Some(found) = &there else { return not_among(told, path, at) };
            parent = found.entry;
        }
        Ok(there)
    }

    /// The live entry at a path, as this device has heard.
    pub(super) fn live_at(&self, names: &[Name]) -> Result<Option<(EntryId, Kind)>, AskError> {
        let mut at = (EntryId::ROOT, Kind::Directory);
        for name in names {
            let position = Position { parent: at.0, name: name.clone() };
            let Some(row) = self.context.state.remote_row_at(&position)? else { return Ok(None) };
            at = (row.node.entry, row.node.kind);
        }
        Ok(Some(at))
    }
}

/// What is known when none of those that had a name was there: nothing, where not all were told.
fn not_among(told: usize, path: &str, at: Revision) -> Result<Option<Registers>, AskError> {
    if told < NAMED_MAX {
        return Ok(None);
    }
    Err(AskError::Refused(format!(
        "{path}: whether it was there at revision {at} is not known: more had that name than are \
         told, which are the last {NAMED_MAX}"
    )))
}

/// The directories among what was found, the nearest first, as many as are looked into.
pub(super) fn nearest_directories(mut found: Vec<Found>) -> Vec<EntryId> {
    found.retain(|found| found.kind == Kind::Directory);
    found.sort_by_key(|found| (!found.last, found.deleted));
    found.truncate(DIRECTORIES_MAX);
    found.into_iter().map(|found| found.entry).collect()
}

fn found(named: NamedEntry) -> Result<Found, AskError> {
    let entry = EntryId::from_slice(&named.entry);
    let entry = entry.map_err(|_| unreadable("an entry id has another length"))?;
    let kind = Kind::from_code(named.kind).ok_or_else(|| unreadable("a kind is unknown"))?;
    let NamedEntry { deleted, last, place_revision, .. } = named;
    Ok(Found { entry, kind, deleted, last, place_revision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_name_that_too_many_had_it_is_not_said_that_nothing_was_there() {
        assert!(matches!(not_among(NAMED_MAX - 1, "a", 7), Ok(None)));
        let error = not_among(NAMED_MAX, "a", 7).unwrap_err();
        assert!(error.to_string().contains("is not known"), "{error}");
    }
}
