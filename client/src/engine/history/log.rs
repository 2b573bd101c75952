//! Versions as they are told: of a file, of a directory, of the whole folder.
//!
//! Owns what a change is called, and how long lists are cut into pages.

use super::lookup::{Elsewhere, Found, names_of};
use super::pages::{Ascending, Descending, endless};
use super::paths::{Paths, name_of};
use super::{AskError, Engine, OpenVersion, author, unreadable};
use crate::engine::handle::{ListedEntry, LogInfo, VersionInfo};
use client_core::past::Shown;
use common::chunk::open_attributes;
use common::ids::EntryId;
use common::limits::{GROUP_CHANGES_MAX, GROUP_CONTENTS_MAX, REPLY_ITEMS_MAX};
use common::record::{Kind, Registers};
use common::revision::Revision;
use common::wire::meta::{DeletedRead, Reply, Request, TimelineRead, Version, VersionsPart};
use std::collections::BTreeSet;

/// Rows of a timeline that are asked for at least: a question costs more than a few of them.
const ROWS_MIN: usize = 16;

/// Directories of one path whose versions are told: of each the folder's timeline is looked through.
const DIRECTORIES_TOLD: usize = 8;

/// An entry, and a version of it.
pub(super) type Row = (EntryId, Version);

/// Whether rows hold all of the revisions that a page of so many shows, and something of the next.
fn holds_a_page(rows: &[Row], limit: usize) -> bool {
    let revision = |row: Option<&Row>| row.map(|(_, version)| version.revision);
    let (first, cut) = (revision(rows.first()), revision(rows.get(limit)));
    cut.is_some() && (cut != first || revision(rows.last()) != first)
}

impl Engine {
    /// The versions of a path before a revision (0 for all), newest first, about so many: of a
    /// directory those of all that was in it, of the folder itself all, of what lies in a bundle those
    /// of the bundle.
    pub(in crate::engine) async fn log(
        &self,
        path: &str,
        before: Revision,
        limit: u32,
    ) -> Result<LogInfo, AskError> {
        match self.log_of_entry(path, before, limit).await {
            Err(error) if error.is_unknown_path() => {
                let Some(found) = self.bundle_above(path).await? else { return Err(error) };
                let log = self.log_of_entry(&found.bundle, before, limit).await?;
                Ok(LogInfo { bundle: Some(found.bundle), ..log })
            }
            told => told,
        }
    }

    async fn log_of_entry(
        &self,
        path: &str,
        before: Revision,
        limit: u32,
    ) -> Result<LogInfo, AskError> {
        let limit = limit.max(1) as usize;
        if names_of(path)?.is_empty() {
            let (rows, more) = self.timeline(None, before, limit).await?;
            return self.told(rows, limit, more).await;
        }
        let found = self.found_at(path).await?;
        let of_files = self.versions_of_files(&found, before, limit).await?;
        let (of_directories, more) = self.versions_in_directories(&found, before, limit).await?;
        // Of one revision first what stands there now.
        let is_directory = found.first().is_some_and(|first| first.kind == Kind::Directory);
        let mut rows = match is_directory {
            true => [of_directories, of_files].concat(),
            false => [of_files, of_directories].concat(),
        };
        rows.sort_by_key(|(_, version)| std::cmp::Reverse(version.revision));
        if is_directory {
            return self.told(rows, limit, more).await;
        }
        let entries: Vec<EntryId> = rows.iter().map(|(entry, _)| *entry).collect();
        let mut log = self.told(rows, limit, more).await?;
        let mut known = Elsewhere::default();
        // The last rows are those that are not told.
        for (entry, version) in entries.into_iter().zip(&mut log.versions) {
            if let Some(restored) = version.restored {
                let source = (entry, restored);
                version.restored_from = self.restored_from(path, source, &mut known).await?;
            }
        }
        Ok(log)
    }

    /// The versions of the files and symlinks of one path.
    async fn versions_of_files(
        &self,
        found: &[Found],
        before: Revision,
        limit: usize,
    ) -> Result<Vec<Row>, AskError> {
        // A revision more, to know whether there are more.
        let asked = u32::try_from(limit + GROUP_CONTENTS_MAX).unwrap_or(u32::MAX);
        let mut rows = Vec::new();
        for found in found.iter().filter(|found| found.kind != Kind::Directory && before != 1) {
            let versions = self.versions(&found.entry, before.saturating_sub(1), asked).await?;
            rows.extend(versions.into_iter().map(|version| (found.entry, version)));
        }
        Ok(rows)
    }

    /// The versions of all that was in the directories of one path: in the one that is there or was
    /// last, and in those that were deleted there before; and whether there are more.
    pub(super) async fn versions_in_directories(
        &self,
        found: &[Found],
        before: Revision,
        limit: usize,
    ) -> Result<(Vec<Row>, bool), AskError> {
        let (mut rows, mut more): (Vec<Row>, bool) = (Vec::new(), false);
        let directories = found.iter().filter(|found| found.kind == Kind::Directory);
        for found in directories.take(DIRECTORIES_TOLD) {
            // After its end nothing happens in a directory.
            let before = match before {
                _ if !found.deleted => before,
                0 => found.place_revision + 1,
                before => before.min(found.place_revision + 1),
            };
            let (of_one, goes_on) = self.timeline(Some(found.entry), before, limit).await?;
            more |= goes_on;
            // What was moved from one to another was in both.
            let known: BTreeSet<(Revision, EntryId)> =
                rows.iter().map(|(entry, version)| (version.revision, *entry)).collect();
            let is_new = |(entry, version): &Row| !known.contains(&(version.revision, *entry));
            rows.extend(of_one.into_iter().filter(is_new));
        }
        Ok((rows, more))
    }

    /// The versions of all entries, or of those in a directory, for a page, and whether there are more.
    pub(super) async fn timeline(
        &self,
        below: Option<EntryId>,
        before: Revision,
        limit: usize,
    ) -> Result<(Vec<Row>, bool), AskError> {
        let (mut rows, mut more) = (Vec::new(), before != 1);
        let mut next = Descending::from(before.saturating_sub(1));
        while more && !holds_a_page(&rows, limit) {
            // So many that hold no page are of one revision, which has a row for each change at most.
            if rows.len() > limit.max(GROUP_CHANGES_MAX) {
                return Err(endless());
            }
            let left = (limit + 1).saturating_sub(rows.len()).max(ROWS_MIN);
            let asked = if below.is_some() { REPLY_ITEMS_MAX } else { left };
            let (part, goes_on) = self.timeline_part(below, &mut next, asked).await?;
            more = goes_on;
            rows.extend(part);
        }
        Ok((rows, more))
    }

    /// The next versions of a timeline, about so many, and whether there are more.
    pub(super) async fn timeline_part(
        &self,
        below: Option<EntryId>,
        next: &mut Descending,
        asked: usize,
    ) -> Result<(Vec<Row>, bool), AskError> {
        let request = TimelineRead {
            folder: self.context.folder.to_vec(),
            at_or_before: next.revision,
            limit: u32::try_from(asked.min(REPLY_ITEMS_MAX)).unwrap_or(u32::MAX),
            below: below.map_or_else(Vec::new, |entry| entry.to_vec()),
            after: next.after.clone(),
        };
        let part = self.versions_part(Request::Timeline(request)).await?;
        let asked_at = next.revision;
        if part.more {
            next.go_on(part.next_revision, part.next_entry)?;
        }
        let revisions = part.versions.iter().map(|version| version.revision);
        let last = if part.more { next.revision } else { 1 };
        let is_told = |revision| last <= revision && (asked_at == 0 || revision <= asked_at);
        if !revisions.clone().all(is_told) || !revisions.is_sorted_by(|one, two| one >= two) {
            return Err(unreadable("its versions are not in order"));
        }
        let row = |version: Version| {
            let registers = version.registers.clone();
            let registers = registers.and_then(|it| Registers::try_from(it).ok());
            let registers = registers.ok_or_else(|| unreadable("a version is empty"))?;
            Ok((registers.entry, version))
        };
        let rows: Result<Vec<Row>, AskError> = part.versions.into_iter().map(row).collect();
        Ok((rows?, part.more))
    }

    async fn versions_part(&self, request: Request) -> Result<VersionsPart, AskError> {
        match self.answer_to(request).await? {
            Reply::Versions(part) => Ok(part),
            _ => Err(unreadable("it is no list of versions")),
        }
    }

    /// The first versions of a list, as whole revisions.
    async fn told(
        &self,
        mut rows: Vec<Row>,
        limit: usize,
        mut more: bool,
    ) -> Result<LogInfo, AskError> {
        if let (Some((_, first)), Some((_, cut))) = (rows.first(), rows.get(limit)) {
            // A page ends with a revision, so that the next one begins below it; one revision alone
            // may be longer than a page.
            let (first, cut) = (first.revision, cut.revision);
            let before = rows.len();
            rows.retain(|(_, version)| version.revision == first || version.revision > cut);
            more |= rows.len() < before;
        }
        let mut paths = Paths::default();
        let mut versions = Vec::with_capacity(rows.len());
        for (index, (entry, version)) in rows.iter().enumerate() {
            let older = rows.get(index + 1).filter(|(of, _)| of == entry);
            let is_merge = older.is_some_and(|(_, older)| older.revision == version.revision);
            let mut told = self.version_info(entry, version, is_merge, &mut paths).await?;
            let same = |(of, newer): &&Row| of == entry && newer.revision == version.revision;
            let newer = rows.get(..index).unwrap_or_default().iter().rev().take_while(same);
            told.older = u32::try_from(newer.count()).unwrap_or(u32::MAX);
            versions.push(told);
        }
        Ok(LogInfo { versions, more, bundle: None })
    }

    /// A version for a person. One that does not open is a row like the others: it must not hide
    /// them.
    async fn version_info(
        &self,
        entry: &EntryId,
        version: &Version,
        is_merge: bool,
        paths: &mut Paths,
    ) -> Result<VersionInfo, AskError> {
        let registers = version.registers.clone().and_then(|it| Registers::try_from(it).ok());
        let registers = registers.ok_or_else(|| unreadable("a version is empty"))?;
        let opened = self.open_version(entry, version);
        let restored = opened.as_ref().ok().and_then(|opened| opened.restored);
        let before = version.before.as_ref();
        let attributes =
            opened.as_ref().ok().and_then(|opened| self.only_attributes(version, opened));
        let change = if version.deleted {
            "deleted"
        } else if before.is_some_and(|before| before.deleted) {
            "restored"
        } else if version.place_changed && version.content_changed && before.is_none() && !is_merge
        {
            // Of a thinned history the oldest version that is left need not be the first.
            if restored.is_some() { "restored" } else { "created" }
        } else if version.content_changed && is_merge {
            "merged"
        } else if version.settled {
            "resolved"
        } else if version.content_changed && restored.is_some() {
            "restored"
        } else if attributes.is_some() {
            "attributes"
        } else if version.content_changed {
            "edited"
        } else {
            "moved"
        };
        let path = paths.path_of(self, entry, &registers.place, version.revision).await?;
        let from = match before.filter(|before| !before.deleted && !version.deleted) {
            None => None,
            Some(before) => {
                let parent = EntryId::from_slice(&before.parent);
                let parent = parent.map_err(|_| unreadable("an entry id has another length"))?;
                let name = name_of(self, entry, &before.name);
                let at = version.revision.saturating_sub(1);
                Some(paths.path_in(self, &parent, &name, at).await?)
            }
        };
        Ok(VersionInfo {
            revision: version.revision,
            older: 0,
            time_ms: version.time_ms,
            device: author(version),
            kind: opened.as_ref().map_or(Shown::of(registers.kind, 0), OpenVersion::shown),
            size: opened.as_ref().map_or(0, |opened| opened.size),
            change,
            attributes: attributes.filter(|_| change == "attributes").unwrap_or_default(),
            name: name_of(self, entry, &registers.place.name),
            path,
            from,
            restored: restored.filter(|_| version.content_changed),
            restored_from: None,
            unreadable: opened.err().map(|error| error.to_string()),
        })
    }

    /// Which attributes a version changed, if the bytes stayed the same.
    fn only_attributes(
        &self,
        version: &Version,
        opened: &OpenVersion,
    ) -> Option<Vec<&'static str>> {
        let sealed = version.attributes_before.as_ref().filter(|_| version.content_changed)?;
        let (keys, folder, entry) =
            (&self.context.keys, &self.context.folder, &opened.registers.entry);
        let (was, is) = (open_attributes(keys, folder, entry, sealed).ok()?, opened.attributes());
        let which = [(was.mode != is.mode, "mode"), (was.mtime_ns != is.mtime_ns, "time")];
        let which: Vec<_> =
            which.into_iter().filter_map(|(is_other, name)| is_other.then_some(name)).collect();
        (was.tag == is.tag && !which.is_empty()).then_some(which)
    }

    /// Entries below a path that are deleted, by path; what was deleted last comes first of one.
    pub(super) async fn deleted(&self, path: &str) -> Result<Vec<ListedEntry>, AskError> {
        let names = names_of(path)?;
        let asked = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join("/");
        let (mut listed, mut paths) = (Vec::new(), Paths::default());
        let (mut next, mut more) = (Ascending::default(), true);
        while more {
            let (folder, after) = (self.context.folder.to_vec(), next.after.clone());
            let request = DeletedRead { folder, after };
            let part = self.versions_part(Request::Deleted(request)).await?;
            more = part.more;
            if more {
                next.go_on(part.next_entry)?;
            }
            for version in part.versions {
                let registers = version.registers.clone();
                let registers = registers.and_then(|it| Registers::try_from(it).ok());
                let Some(registers) = registers else { continue };
                let Registers { entry, kind, place, .. } = &registers;
                let path = paths.path_of(self, entry, place, version.revision).await?;
                let is_asked = asked.is_empty()
                    || path
                        .strip_prefix(&asked)
                        .is_some_and(|r| r.is_empty() || r.starts_with('/'));
                if !is_asked {
                    continue;
                }
                let opened = self.open_version(entry, &version).ok();
                listed.push(ListedEntry {
                    path,
                    kind: opened.as_ref().map_or(Shown::of(*kind, 0), OpenVersion::shown),
                    size: opened.as_ref().map_or(0, |opened| opened.size),
                    mtime_ns: opened.map_or(0, |opened| opened.attributes().mtime_ns),
                    revision: version.revision,
                    deleted_ms: Some(version.time_ms),
                });
            }
        }
        listed.sort_by(|one, two| {
            one.path.cmp(&two.path).then_with(|| two.revision.cmp(&one.revision))
        });
        if listed.is_empty() && !asked.is_empty() {
            // Something that is or was there, or an error.
            self.found_at(path).await?;
        }
        Ok(listed)
    }
}
