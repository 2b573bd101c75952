//! What the revision of a deletion means: what was there just before.
//!
//! Owns how far back the deletion of a directory reaches. What lies in it goes first, at revisions of
//! its own, so that just before its own there is nothing left in it. What one device has deleted in it
//! without another change in between, each deletion soon after the one before, was deleted with it. That
//! something was moved out of it is no such change: who empties a directory does so beside deleting.

use super::log::Row;
use super::lookup::Found;
use super::pages::{Descending, endless};
use super::restore::{Source, registers_of};
use super::{AskError, Engine};
use crate::engine::handle::{Instant, Moment};
use common::ids::EntryId;
use common::limits::{GROUP_CHANGES_MAX, REPLY_ITEMS_MAX};
use common::record::{Kind, Registers};
use common::revision::Revision;
use common::wire::meta::Version;
use std::collections::BTreeSet;

/// Deletions that are further apart were not made together, in milliseconds. A mass may have waited for
/// a person in the midst of it, or for the server.
const TOGETHER_MS: u64 = 10 * 60 * 1000;

/// Deletions by one device, up to that of the directory.
struct Run<'a> {
    device: &'a [u8],
    /// The first of them.
    began: Revision,
    began_ms: u64,
    /// What they took away, and what others did meanwhile.
    gone: BTreeSet<EntryId>,
}

impl<'a> Run<'a> {
    fn ends_with(end: &'a Version) -> Self {
        let (began, began_ms) = (end.revision, end.time_ms);
        Self { device: &end.device, began, began_ms, gone: BTreeSet::new() }
    }

    /// Whether deletions may go on before a revision that changed this in the directory. Those of other
    /// devices are passed over, and what was moved out of it.
    fn takes(&mut self, changed: &[Row]) -> bool {
        let changed: Vec<&Row> = changed.iter().filter(|(_, it)| sets_something(it)).collect();
        let Some((_, first)) = changed.first() else { return true };
        let is_apart = self.began_ms.saturating_sub(first.time_ms) > TOGETHER_MS;
        let parts = |(entry, version): &&Row| {
            !version.deleted && (self.gone.contains(entry) || !is_move(version))
        };
        if is_apart || changed.iter().any(parts) {
            return false;
        }
        let deleted = changed.iter().filter(|(_, version)| version.deleted);
        let count = self.gone.len();
        self.gone.extend(deleted.map(|(entry, _)| *entry));
        if self.gone.len() > count && first.device == self.device {
            (self.began, self.began_ms) = (first.revision, first.time_ms);
        }
        true
    }
}

/// When place and content of a version were set.
fn set_at(version: &Version) -> Option<(Revision, Revision)> {
    let registers = version.registers.clone().and_then(|it| Registers::try_from(it).ok())?;
    Some((registers.place_revision, registers.content_revision))
}

/// Whether a version differs from the one before in its place alone.
fn is_move(version: &Version) -> bool {
    set_at(version).is_some_and(|(_, content)| content < version.revision)
}

/// Whether a version differs from the one before at all: one that closed a conflict need not.
pub(super) fn sets_something(version: &Version) -> bool {
    set_at(version).is_none_or(|(place, content)| place.max(content) >= version.revision)
}

impl Engine {
    /// What stood at a path until it was deleted at exactly this revision, as it was just before;
    /// `None` if nothing was.
    pub(super) async fn source_of_deletion(
        &self,
        path: &str,
        revision: Revision,
    ) -> Result<Option<Source>, AskError> {
        let found = match self.found_at(path).await {
            Err(error) if error.is_unknown_path() => return Ok(None),
            found => found?,
        };
        for found in found {
            let version = self.sealed_version(&found.entry, revision).await?;
            if let Some(version) = version.filter(|version| version.deleted) {
                return self.before_deletion(path, &found, version).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn before_deletion(
        &self,
        path: &str,
        found: &Found,
        version: Version,
    ) -> Result<Source, AskError> {
        if found.kind != Kind::Directory {
            return self.source_of_version(version).await;
        }
        let entry = found.entry;
        let before = self.before_directory_went(found, &version).await?;
        let at = self.instant(Moment::Revision(before)).await?;
        let past = self.past(at.revision).await?;
        if past.tree.get(&entry).is_none() {
            return Err(AskError::NotThere { path: path.to_owned(), revision: at.revision });
        }
        Ok(Source::Directory { past, entry, at })
    }

    /// A version of a file or a symlink; that of its end means the one before.
    pub(super) async fn source_of_version(&self, version: Version) -> Result<Source, AskError> {
        let version = self.before_end(version).await?;
        let at = Instant { revision: version.revision, time_ms: version.time_ms };
        self.one(&registers_of(version)?, at)
    }

    /// A version; instead of an entry's end the one before it.
    pub(super) async fn before_end(&self, version: Version) -> Result<Version, AskError> {
        if !version.deleted {
            return Ok(version);
        }
        let registers = registers_of(Version { released: false, ..version.clone() })?;
        let before = self.versions(&registers.entry, version.revision.saturating_sub(1), 1).await?;
        // Of a thinned history an older content may be the last that is told; the end has the last.
        let before = before.into_iter().next().filter(|before| {
            let known = before.registers.clone().and_then(|it| Registers::try_from(it).ok());
            let same = known.is_some_and(|it| it.content_revision == registers.content_revision);
            same && before.revision < version.revision
        });
        Ok(before.unwrap_or(Version { deleted: false, ..version }))
    }

    /// The last revision before a directory and what lay in it was deleted, if one of those that were
    /// found was at exactly this revision.
    pub(super) async fn before_any_went(
        &self,
        found: &[Found],
        revision: Revision,
    ) -> Result<Option<Revision>, AskError> {
        for found in found.iter().filter(|found| found.kind == Kind::Directory) {
            let version = self.sealed_version(&found.entry, revision).await?;
            if let Some(version) = version.filter(|version| version.deleted) {
                return self.before_directory_went(found, &version).await.map(Some);
            }
        }
        Ok(None)
    }

    /// The last revision before the deletion of a directory and of what lay in it began.
    pub(super) async fn before_directory_went(
        &self,
        found: &Found,
        end: &Version,
    ) -> Result<Revision, AskError> {
        let mut run = Run::ends_with(end);
        let (mut next, mut held) = (Descending::from(end.revision), Vec::new());
        // Since when the last moment that it may go on from is known, and which that is.
        let mut reaches: Option<(u64, Revision)> = None;
        loop {
            let below = Some(found.entry);
            let (rows, more) = self.timeline_part(below, &mut next, REPLY_ITEMS_MAX).await?;
            held.extend(rows);
            // The last revision of a page may go on in the next one.
            let last = held.last().map(|(_, version): &Row| version.revision).filter(|_| more);
            let whole = held.partition_point(|(_, version)| Some(version.revision) != last);
            let whole: Vec<Row> = held.drain(..whole).collect();
            let mut revisions = whole.chunk_by(|(_, one), (_, two)| one.revision == two.revision);
            let before = |run: &Run<'_>| Ok(run.began.saturating_sub(1).max(1));
            if !revisions.all(|changed| run.takes(changed)) || !more {
                return before(&run);
            }
            // A revision has a row for each of its changes at most.
            if held.len() > GROUP_CHANGES_MAX {
                return Err(endless());
            }
            let limit = match reaches.filter(|(began_ms, _)| *began_ms == run.began_ms) {
                Some((_, limit)) => limit,
                None => self.last_at(run.began_ms.saturating_sub(TOGETHER_MS).max(1)).await?,
            };
            if next.revision <= limit {
                return before(&run);
            }
            reaches = Some((run.began_ms, limit));
        }
    }

    /// The last revision at or before a time; 0 when there was none.
    async fn last_at(&self, time_ms: u64) -> Result<Revision, AskError> {
        match self.nearest(Moment::Time(time_ms)).await {
            Ok(found) => Ok(found.instant.revision),
            Err(AskError::BeforeBeginning { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{ContentTag, NameTag};
    use common::record::{Content, Place};

    #[derive(Clone, Copy)]
    enum Did {
        Delete,
        Edit,
        Move,
        Settle,
    }

    /// One change: at which revision, in seconds, by which device, what it did, and to which entry.
    type Told = (Revision, u64, u8, Did, u8);

    fn row((revision, seconds, device, did, entry): Told) -> Row {
        let entry = EntryId::from_bytes([entry; 16]);
        let content_revision = if matches!(did, Did::Edit) { revision } else { 1 };
        let keeps_place = matches!(did, Did::Edit | Did::Settle);
        let place_revision = if keeps_place { 1 } else { revision };
        let name_tag = NameTag::from_bytes([0; NameTag::LEN]);
        let place = Place { parent: EntryId::ROOT, name: Vec::new(), name_tag };
        let tag = ContentTag::from_bytes([0; ContentTag::LEN]);
        let content = Content { root: None, tag, attributes: Vec::new() };
        let kind = Kind::File;
        let told = Registers { entry, kind, place_revision, place, content_revision, content };
        let version = Version {
            revision,
            time_ms: seconds * 1000,
            device: vec![device],
            deleted: matches!(did, Did::Delete),
            registers: Some((&told).into()),
            ..Version::default()
        };
        (entry, version)
    }

    #[test]
    fn deletions_of_one_device_without_a_change_between_are_one() {
        let check = |what: &str, changes: &[&[Told]], began: Revision| {
            let end = row(changes[0][0]).1;
            let mut run = Run::ends_with(&end);
            for changed in changes {
                if !run.takes(&changed.iter().copied().map(row).collect::<Vec<_>>()) {
                    break;
                }
            }
            assert_eq!(run.began, began, "{what}");
        };
        let deleted = |revision, seconds, entry| [(revision, seconds, 1, Did::Delete, entry)];
        let own = deleted(20, 10_000, 20);
        check("nothing but its own", &[&own], 20);
        let lay_in_it = [deleted(19, 10_000, 19), deleted(17, 9_990, 17)];
        check("what lay in it", &[&own, &lay_in_it[0], &lay_in_it[1]], 17);
        let (edit, before) = ([(19, 9_999, 1, Did::Edit, 19)], deleted(18, 9_999, 18));
        check("an edit between", &[&own, &edit, &before], 20);
        let both = [(19, 9_999, 1, Did::Delete, 19), (19, 9_999, 1, Did::Edit, 7)];
        check("a deletion in a group with an edit", &[&own, &both, &before], 20);
        check("one long before", &[&own, &deleted(19, 9_399, 19)], 20);
        check("a slow one", &[&own, &deleted(19, 9_500, 19), &deleted(18, 9_000, 18)], 18);
        let other = [(19, 9_999, 2, Did::Delete, 19)];
        check("another device's, passed over", &[&own, &other, &before], 18);
        check("another device's, before", &[&own, &other], 20);
        let moved = |entry| [(19, 9_999, 1, Did::Move, entry)];
        let both = [(19, 9_999, 1, Did::Delete, 19), (19, 9_999, 1, Did::Move, 7)];
        check("what was moved out of it with a deletion", &[&own, &both, &before], 18);
        check("what was moved out of it between", &[&own, &moved(7), &before], 18);
        check("what was moved out of it before", &[&own, &moved(7)], 20);
        let settled = [(19, 9_999, 1, Did::Settle, 20)];
        check("a conflict of it that was closed between", &[&own, &settled, &before], 18);
        let moved_in_it = [&own[..], &deleted(19, 10_000, 7), &[(18, 9_999, 1, Did::Move, 7)]];
        check("what was moved in it and deleted", &moved_in_it, 19);
    }
}
