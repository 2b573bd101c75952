//! What differs between two versions of a path.
//!
//! Owns which versions are compared when none are named: of a file its last two contents, of a
//! directory what its last revision changed.

use super::lookup::{Found, names_of};
use super::past::Past;
use super::{AskError, Engine};
use crate::engine::handle::{DiffInfo, DiffSides, Instant, Moment};
use client_core::past::{Listed, compare};
use common::ids::EntryId;
use common::limits::{GROUP_CONTENTS_MAX, REPLY_ITEMS_MAX};
use common::record::{Kind, Registers};
use common::revision::Revision;
use common::wire::meta::Version;

impl Engine {
    /// The difference between revision `from` and revision `to` of a path; without `to` its newest
    /// version, without both what changed last.
    pub(in crate::engine) async fn diff(
        &self,
        path: &str,
        from: Option<Revision>,
        to: Option<Revision>,
    ) -> Result<DiffInfo, AskError> {
        if names_of(path)?.is_empty() {
            return self.diff_of_directory(path, None, from, to).await;
        }
        let found = self.found_at(path).await?;
        match found.first() {
            Some(first) if first.kind == Kind::Directory => {
                self.diff_of_directory(path, Some(first.entry), from, to).await
            }
            _ => self.diff_of_file(path, &found, from, to).await,
        }
    }

    async fn diff_of_file(
        &self,
        path: &str,
        found: &[Found],
        from: Option<Revision>,
        to: Option<Revision>,
    ) -> Result<DiffInfo, AskError> {
        let to = match to {
            Some(to) => Some(self.version_among(path, found, (to, 0)).await?),
            None => None,
        };
        let asked = REPLY_ITEMS_MAX as u32;
        let newest = match found.first() {
            Some(first) => self.versions(&first.entry, 0, asked).await?,
            None => Vec::new(),
        };
        let to = to.or_else(|| newest.first().cloned());
        let to = to.ok_or_else(|| AskError::NoSuchPath(path.to_owned()))?;
        let from = match from {
            Some(from) => Some(self.version_among(path, found, (from, 0)).await?),
            None => {
                let tag = tag_of(&to);
                newest
                    .into_iter()
                    .find(|older| older.revision < to.revision && tag_of(older) != tag)
            }
        };
        let instant = |it: &Version| Instant { revision: it.revision, time_ms: it.time_ms };
        let from = from.as_ref().map(instant);
        Ok(DiffInfo { from, to: instant(&to), sides: DiffSides::File })
    }

    /// A version of one of a path's entries: of a revision that set several contents, the last but so
    /// many.
    pub(super) async fn version_among(
        &self,
        path: &str,
        found: &[Found],
        (revision, older): (Revision, u32),
    ) -> Result<Version, AskError> {
        for found in found {
            let asked = older.saturating_add(1).min(GROUP_CONTENTS_MAX as u32 + 1);
            let versions = self.versions(&found.entry, revision, asked).await?;
            let mut versions = versions.into_iter().filter(|it| it.revision == revision);
            if let Some(version) = versions.nth(older as usize) {
                return Ok(version);
            }
        }
        Err(AskError::NoSuchRevision { path: path.to_owned(), revision })
    }

    async fn diff_of_directory(
        &self,
        path: &str,
        entry: Option<EntryId>,
        from: Option<Revision>,
        to: Option<Revision>,
    ) -> Result<DiffInfo, AskError> {
        let last = self.context.state.cursor()?.map_or(0, |cursor| cursor.revision);
        let from = match from {
            Some(from) => from,
            None => {
                let log = self.log(path, 0, 1).await?;
                log.versions.first().map_or(1, |last| last.revision.saturating_sub(1).max(1))
            }
        };
        let from = self.instant(Moment::Revision(from)).await?;
        let to = self.instant(Moment::Revision(to.unwrap_or(last))).await?;
        let before = self.past(from.revision).await?;
        let after = self.past(to.revision).await?;
        let inside = |past: &Past| list_below(past, entry);
        let differences = compare(&inside(&before), &inside(&after));
        Ok(DiffInfo { from: Some(from), to, sides: DiffSides::Directory(differences) })
    }
}

/// What lay in a directory, by the paths of the whole folder.
fn list_below(past: &Past, entry: Option<EntryId>) -> Vec<Listed> {
    let Some(entry) = entry else { return past.tree.list(&EntryId::ROOT, "") };
    let path = past.tree.path(&entry);
    path.map_or_else(Vec::new, |path| past.tree.list(&entry, &path))
}

fn tag_of(version: &Version) -> Option<common::ids::ContentTag> {
    let registers = version.registers.clone().and_then(|it| Registers::try_from(it).ok());
    registers.map(|registers| registers.content.tag)
}
