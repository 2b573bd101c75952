//! What the revision of a deletion means: what was there just before.
//!
//! Owns how far back the deletion of a directory reaches. What lies in it goes first, at revisions of
//! its own, so that just before its own there is nothing left in it. What one device has deleted in it
//! without another change in between, each deletion soon after the one before, was deleted with it.

use super::log::Row;
use super::lookup::Found;
use super::pages::Descending;
use super::restore::{Source, registers_of};
use super::{AskError, Engine};
use crate::engine::handle::{Instant, Moment};
use common::limits::REPLY_ITEMS_MAX;
use common::record::{Kind, Registers};
use common::revision::Revision;
use common::wire::meta::Version;

/// Deletions that are further apart were not made together, in milliseconds. A mass may have waited for
/// a person in the midst of it, or for the server.
const TOGETHER_MS: u64 = 10 * 60 * 1000;

/// Deletions by one device, up to that of the directory.
struct Run<'a> {
    device: &'a [u8],
    /// The first of them.
    began: Revision,
    began_ms: u64,
}

impl Run<'_> {
    /// Whether deletions may go on before a revision that changed this in the directory. Those of other
    /// devices are passed over.
    fn takes(&mut self, changed: &[Row]) -> bool {
        let Some((_, first)) = changed.first() else { return true };
        let is_apart = self.began_ms.saturating_sub(first.time_ms) > TOGETHER_MS;
        if is_apart || changed.iter().any(|(_, version)| !version.deleted) {
            return false;
        }
        if first.device == self.device {
            (self.began, self.began_ms) = (first.revision, first.time_ms);
        }
        true
    }
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
        let mut run = Run { device: &end.device, began: end.revision, began_ms: end.time_ms };
        let (mut next, mut held) = (Descending::from(end.revision), Vec::new());
        loop {
            let below = Some(found.entry);
            let (rows, more) = self.timeline_part(below, &mut next, REPLY_ITEMS_MAX).await?;
            held.extend(rows);
            // The last revision of a page may go on in the next one.
            let last = held.last().map(|(_, version): &Row| version.revision).filter(|_| more);
            let whole = held.partition_point(|(_, version)| Some(version.revision) != last);
            let whole: Vec<Row> = held.drain(..whole).collect();
            let mut revisions = whole.chunk_by(|(_, one), (_, two)| one.revision == two.revision);
            if !revisions.all(|changed| run.takes(changed)) || !more {
                return Ok(run.began.saturating_sub(1).max(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::EntryId;

    /// One change: at which revision, in seconds, by which device, and whether it deleted something.
    fn row((revision, seconds, device, deleted): (Revision, u64, u8, bool)) -> Row {
        let (time_ms, device) = (seconds * 1000, vec![device]);
        let version = Version { revision, time_ms, device, deleted, ..Version::default() };
        (EntryId::from_bytes([revision as u8; 16]), version)
    }

    #[test]
    fn deletions_of_one_device_without_a_change_between_are_one() {
        let check = |what: &str, changes: &[&[(Revision, u64, u8, bool)]], began: Revision| {
            let mut run = Run { device: &[1], began: 20, began_ms: 10_000_000 };
            for changed in changes {
                if !run.takes(&changed.iter().copied().map(row).collect::<Vec<_>>()) {
                    break;
                }
            }
            assert_eq!(run.began, began, "{what}");
        };
        let own = [(20, 10_000, 1, true)];
        check("nothing but its own", &[&own], 20);
        check("what lay in it", &[&own, &[(19, 10_000, 1, true)], &[(17, 9_990, 1, true)]], 17);
        let (edit, before) = ([(19, 9_999, 1, false)], [(18, 9_999, 1, true)]);
        check("an edit between", &[&own, &edit, &before], 20);
        let both = [(19, 9_999, 1, true), (19, 9_999, 1, false)];
        check("a deletion in a group with a move", &[&own, &both, &before], 20);
        check("one long before", &[&own, &[(19, 9_399, 1, true)]], 20);
        check("a slow one", &[&own, &[(19, 9_500, 1, true)], &[(18, 9_000, 1, true)]], 18);
        let other = [(19, 9_999, 2, true)];
        check("another device's, passed over", &[&own, &other, &before], 18);
        check("another device's, before", &[&own, &other], 20);
    }
}
