//! What differs between two versions of a path.
//!
//! Owns which versions are compared when none are named: of a file or a bundle the last and the one
//! before, of a directory what its last revision changed, and of what was deleted what went.

use super::bundles::{Inside, is_bundle_row};
use super::deletions::sets_something;
use super::lookup::{Found, names_of};
use super::past::{Past, item};
use super::paths::Paths;
use super::{AskError, Engine, unreadable};
use crate::engine::handle::{DiffInfo, DiffSides, DiffTo, FileDiff, Instant, Moment};
use crate::engine::merging::Stored;
use crate::pull::row_of;
use crate::state::RemoteRow;
use client_core::past::{Change, Difference, Item, Listed, Shown, compare, compare_inside};
use common::archive::Index;
use common::ids::EntryId;
use common::limits::GROUP_CONTENTS_MAX;
use common::name::Name;
use common::record::{Kind, Registers};
use common::revision::Revision;
use common::wire::meta::Version;

/// Conflicts of one file that may have been closed one after another without a change in between.
const CLOSED_MAX: u32 = 32;

impl Engine {
    /// The difference between revision `from` of a path (without it, that of what changed last) and
    /// another version, or of a bundle what is on the disk.
    pub(in crate::engine) async fn diff(
        &mut self,
        path: &str,
        from: Option<(Revision, u32)>,
        to: DiffTo,
    ) -> Result<DiffInfo, AskError> {
        if names_of(path)?.is_empty() {
            return self.diff_of_directory(path, &[], from, to).await;
        }
        match self.found_at(path).await {
            Ok(found) => match found.first() {
                Some(first) if first.kind == Kind::Directory => {
                    self.diff_of_directory(path, &found, from, to).await
                }
                _ => self.diff_of_file((path, ""), &found, from, to).await,
            },
            Err(error) if error.is_unknown_path() => {
                let Some(Inside { bundle, inside }) = self.bundle_above(path).await? else {
                    return Err(error);
                };
                let found = self.found_at(&bundle).await?;
                self.diff_of_file((&bundle, &inside), &found, from, to).await
            }
            Err(error) => Err(error),
        }
    }

    /// Of a file, or of a bundle, and what lies at or below a path in it (empty for all).
    async fn diff_of_file(
        &mut self,
        (path, inside): (&str, &str),
        found: &[Found],
        from: Option<(Revision, u32)>,
        to: DiffTo,
    ) -> Result<DiffInfo, AskError> {
        let named = match to {
            DiffTo::Revision(to, older) => {
                Some(self.version_among(path, found, (to, older)).await?.1)
            }
            DiffTo::Newest | DiffTo::Disk => None,
        };
        let last = match (named, found.first()) {
            (None, Some(first)) => self.last_change(&first.entry).await?,
            (named, _) => named,
        };
        let last = last.ok_or_else(|| AskError::NoSuchPath(path.to_owned()))?;
        let from = match from {
            Some(from) => {
                let (_, from) = self.version_among(path, found, from).await?;
                Some(self.before_end(from).await?)
            }
            // What is on the disk is compared with what was synced last.
            None if to == DiffTo::Disk => Some(last.clone()),
            None if last.deleted => Some(self.before_end(last.clone()).await?),
            None => self.before(&last).await?.filter(|before| !before.deleted),
        };
        let sides = self.sides_of((path, inside), from.as_ref(), (&last, to)).await?;
        let instant = |it: &Version| Instant { revision: it.revision, time_ms: it.time_ms };
        let from = from.as_ref().map(instant);
        Ok(DiffInfo { from, to: (to != DiffTo::Disk).then(|| instant(&last)), sides })
    }

    /// The newest version of an entry that differs from the one before: those that closed a conflict
    /// need not.
    async fn last_change(&self, entry: &EntryId) -> Result<Option<Version>, AskError> {
        let newest = self.versions(entry, 0, CLOSED_MAX).await?;
        Ok(newest.iter().find(|it| sets_something(it)).or(newest.first()).cloned())
    }

    /// The version of the same entry before a revision.
    async fn before(&self, last: &Version) -> Result<Option<Version>, AskError> {
        let registers = last.registers.clone().map(Registers::try_from).transpose();
        let registers = registers.map_err(|error| unreadable(&error.to_string()))?;
        match registers {
            // No revision is 0, which asks for the newest.
            Some(registers) if last.revision > 1 => {
                Ok(self.versions(&registers.entry, last.revision - 1, 1).await?.pop())
            }
            _ => Ok(None),
        }
    }

    /// What is compared of two versions, or of one and the disk.
    async fn sides_of(
        &mut self,
        (path, inside): (&str, &str),
        from: Option<&Version>,
        (last, to): (&Version, DiffTo),
    ) -> Result<DiffSides, AskError> {
        let row = |engine: &Self, version: &Version| -> Result<Option<RemoteRow>, AskError> {
            let registers = version.registers.clone().map(Registers::try_from).transpose();
            let registers = registers.map_err(|error| unreadable(&error.to_string()))?;
            let row = registers.map(|registers| row_of(&engine.context, &registers));
            Ok(row.filter(|row| row.content_issue.is_none()))
        };
        let old = from.map(|from| row(self, from)).transpose()?.flatten();
        let is_there = to != DiffTo::Disk && !last.deleted;
        let new = if is_there { row(self, last)? } else { None };
        let is_bundle = [&old, &new].into_iter().flatten().any(is_bundle_row);
        if !is_bundle {
            if to == DiffTo::Disk {
                return Err(AskError::NoBundle(path.to_owned()));
            }
            let old = old.as_ref().zip(from.map(|from| from.revision));
            let new = new.as_ref().map(|new| (new, last.revision));
            return Ok(DiffSides::File(self.file_diff(old, new, last.deleted).await?));
        }
        let before = match &old {
            Some(row) => self.index_of(&row.node.entry, &Stored::from(row)).await?,
            None => Index::default(),
        };
        let after = match &new {
            Some(row) => self.index_of(&row.node.entry, &Stored::from(row)).await?,
            None if to == DiffTo::Disk => self.index_on_disk(path)?,
            None => Index::default(),
        };
        let mut differences = compare_inside(path, &before, &after);
        if !inside.is_empty() {
            let is_there = |index: &Index| index.items().iter().any(|it| it.path == inside);
            if !is_there(&before) && !is_there(&after) {
                let (path, bundle) = (format!("{path}/{inside}"), path.to_owned());
                return Err(AskError::NotInBundle { path, bundle, revision: last.revision });
            }
            let asked = format!("{path}/{inside}");
            differences.retain(|it| is_below(&asked, &it.path));
            return Ok(DiffSides::Bundle(differences));
        }
        // What was a file and became a bundle, or the other way round, has itself changed.
        if let (Some(old), Some(new)) = (&old, &new)
            && is_bundle_row(old) != is_bundle_row(new)
        {
            let itself = Difference {
                path: path.to_owned(),
                from: None,
                kind: Shown::of(new.node.kind, new.node.content.mode),
                change: Change::Edited,
                bytes_before: Some(old.size),
                bytes_after: Some(new.size),
            };
            differences.insert(0, itself);
        }
        let old = old.as_ref().zip(from.map(|from| from.revision));
        if let (Some(old), Some(new)) = (old, &new) {
            let itself =
                self.file_diff(Some(old), Some((new, last.revision)), false).await?.changes;
            let itself = itself.into_iter().filter(|it| it.change != Change::Edited);
            differences.splice(0..0, itself);
        }
        Ok(DiffSides::Bundle(differences))
    }

    /// What two versions of files, or only one of them, are besides their bytes, each as of a revision.
    async fn file_diff(
        &self,
        old: Option<(&RemoteRow, Revision)>,
        new: Option<(&RemoteRow, Revision)>,
        deleted: bool,
    ) -> Result<FileDiff, AskError> {
        let mut paths = Paths::default();
        let mut listed = [Vec::new(), Vec::new()];
        for (side, listed) in [old, new].into_iter().zip(&mut listed) {
            let Some((row, at)) = side else { continue };
            let position = &row.node.position;
            let path = paths.path_in(self, &position.parent, position.name.as_str(), at).await?;
            listed.push(Listed { entry: row.node.entry, path, item: item(row) });
        }
        let [before, after] = listed;
        let mut told = FileDiff { deleted, ..FileDiff::default() };
        if let (Some((old, _)), Some((new, _))) = (old, new) {
            let (was, is) = (old.node.content, new.node.content);
            told.same_bytes = (was.tag == is.tag).then_some(new.size);
            let is_link = new.node.kind == Kind::Symlink;
            told.modes = (!is_link && was.mode != is.mode).then_some((was.mode, is.mode));
            told.mtimes_ns = (was.mtime_ns != is.mtime_ns).then_some((was.mtime_ns, is.mtime_ns));
        }
        told.changes = compare(&before, &after);
        Ok(told)
    }

    /// A version of one of a path's entries, and what that is: of a revision that set several
    /// contents, the last but so many.
    pub(super) async fn version_among(
        &self,
        path: &str,
        found: &[Found],
        (revision, older): (Revision, u32),
    ) -> Result<(Kind, Version), AskError> {
        for found in found {
            let asked = older.saturating_add(1).min(GROUP_CONTENTS_MAX as u32 + 1);
            let versions = self.versions(&found.entry, revision, asked).await?;
            let mut versions = versions.into_iter().filter(|it| it.revision == revision);
            if let Some(version) = versions.nth(older as usize) {
                return Ok((found.kind, version));
            }
        }
        let elsewhere = self.elsewhere(path, revision).await?;
        Err(AskError::NoSuchRevision { path: path.to_owned(), revision, older, elsewhere })
    }

    /// The last revision before what last changed a directory, or before it was deleted with all that
    /// lay in it.
    async fn before_last_change(&self, found: &[Found]) -> Result<Revision, AskError> {
        if let Some(first) = found.first()
            && let Some(end) = self.versions(&first.entry, 0, 1).await?.first()
            && end.deleted
        {
            return self.before_directory_went(first, end).await;
        }
        let (rows, _) = match found {
            [] => self.timeline(None, 0, CLOSED_MAX as usize).await?,
            found => self.versions_in_directories(found, 0, CLOSED_MAX as usize).await?,
        };
        let changes = rows.iter().filter(|(_, version)| sets_something(version));
        let last = changes.map(|(_, version)| version.revision).max();
        Ok(last.map_or(1, |last| last.saturating_sub(1).max(1)))
    }

    /// Of what stood at a path at one moment, and what stood there at another.
    async fn diff_of_directory(
        &self,
        path: &str,
        found: &[Found],
        from: Option<(Revision, u32)>,
        to: DiffTo,
    ) -> Result<DiffInfo, AskError> {
        let last = self.context.state.cursor()?.map_or(0, |cursor| cursor.revision);
        let from = match from {
            Some((from, _)) => self.before_any_went(found, from).await?.unwrap_or(from),
            None => self.before_last_change(found).await?,
        };
        let from = self.instant(Moment::Revision(from)).await?;
        let to = match to {
            DiffTo::Newest => last,
            DiffTo::Revision(to, _) => to,
            DiffTo::Disk => return Err(AskError::NoBundle(path.to_owned())),
        };
        let to = self.instant(Moment::Revision(to)).await?;
        let before = self.past(from.revision).await?;
        let after = self.past(to.revision).await?;
        let names = names_of(path)?;
        let below = |past: &Past| list_below(past, &names, found);
        let (before, after) = (below(&before), below(&after));
        let mode = |below: &Option<Below>| Some(below.as_ref()?.itself.as_ref()?.item.content.mode);
        let modes = mode(&before).zip(mode(&after)).filter(|(old, new)| old != new);
        let differences = match (before, after) {
            // A file and a directory have no more in common than what lies at the path.
            (Some(before), Some(after)) if before.itself.is_some() != after.itself.is_some() => {
                compare(&before.listed, &after.listed)
            }
            (before, after) => {
                let listed = |below: Option<Below>| below.map_or_else(Vec::new, Below::with_itself);
                compare(&listed(before), &listed(after))
            }
        };
        let sides = DiffSides::Directory(differences, modes);
        Ok(DiffInfo { from: Some(from), to: Some(to), sides })
    }
}

/// What stood at a path.
struct Below {
    /// The directory itself; none of the folder, and of what is no directory.
    itself: Option<Listed>,
    /// What lay in it; what is no directory alone.
    listed: Vec<Listed>,
}

impl Below {
    fn with_itself(self) -> Vec<Listed> {
        self.itself.into_iter().chain(self.listed).collect()
    }
}

/// What stood at a path, or if nothing did, what the path means now, by the paths of the whole folder.
fn list_below(past: &Past, names: &[Name], found: &[Found]) -> Option<Below> {
    let known = || found.iter().map(|found| found.entry).find(|it| past.tree.get(it).is_some());
    let entry = past.tree.at(names).or_else(known)?;
    let path = past.tree.path(&entry)?;
    let listed = |item: Item| Listed { entry, path: path.clone(), item };
    let itself = past.tree.get(&entry).cloned().map(listed);
    Some(match itself {
        Some(one) if one.item.kind != Kind::Directory => Below { itself: None, listed: vec![one] },
        itself => Below { itself, listed: past.tree.list(&entry, &path) },
    })
}

/// Whether a path is another, or lies in what is there.
fn is_below(above: &str, path: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
