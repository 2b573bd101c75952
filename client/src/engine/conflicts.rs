//! Open conflicts: how they are listed, and what settles one.
//!
//! Owns which changes a resolution is made of. It must not know how a person is asked.

use super::handle::{AskError, Comparison, ConflictInfo, ConflictSide, Keep, ResolveInfo, Sent};
use super::history::{author, is_bundle_row};
use super::run::{Engine, Halted};
use super::settling::{Sides, Texts, changed};
use crate::fs::RelPath;
use crate::pull::is_edited;
use crate::scan::Target;
use crate::state::{RemoteRow, StateError};
use client_core::merge::MERGE_BYTES_MAX;
use client_core::past::Shown;
use common::chunk::{Attributes, seal_attributes};
use common::ids::EntryId;
use common::limits::GROUP_CHANGES_MAX;
use common::record::{Change, ConflictRecord, Content, Kind, Resolution, Root};
use common::revision::Revision;
use std::collections::BTreeSet;

/// Bytes of both sides that one listing reads, texts or not: what many large conflicts hold of memory, and
/// of the engine's time.
const LISTED_BYTES_MAX: u64 = 64 << 20;

impl Engine {
    /// The open conflicts with a side at or below a path, with their texts if that is asked for.
    pub(super) async fn conflicts(
        &mut self,
        asked: &str,
        compare: bool,
    ) -> Result<Vec<ConflictInfo>, AskError> {
        let under: Vec<&str> = asked.split('/').filter(|part| !part.is_empty()).collect();
        let is_under = |path: &str| {
            let mut parts = path.split('/');
            under.iter().all(|part| parts.next() == Some(*part))
        };
        let mut infos = Vec::new();
        let mut left = LISTED_BYTES_MAX;
        for record in self.context.state.conflicts()? {
            let (path, copy) = (self.shown_path(&record.entry)?, self.shown_path(&record.copy)?);
            if !is_under(&path) && !is_under(&copy) {
                continue;
            }
            let mut sides = Vec::new();
            for (entry, opened) in [(record.entry, record.theirs), (record.copy, record.opened)] {
                sides.push(self.side_now(&record, &entry, opened).await?);
            }
            // A server that has gone back has other revisions by these numbers.
            let is_back = matches!(self.halted, Some(Halted::Rollback { .. }));
            let base_version = match record.base.filter(|_| !is_back) {
                Some(base) => self.side(&record, &record.entry, base).await?,
                None => None,
            };
            let is_left_out = !is_back && self.is_left_out(&record, &mut left)?;
            let texts = match is_back || is_left_out {
                true => None,
                false => self.listed_texts(&record).await?,
            };
            let mergeable = match &texts {
                Some(texts) => self.merges_cleanly(texts).await?,
                None => None,
            };
            let compared = match texts {
                _ if !compare => None,
                _ if is_left_out => Some(Comparison::LeftOut),
                Some(Texts { base, original, copy, .. }) => {
                    let base = record.base.map(|_| base);
                    Some(Comparison::Texts { base, original, copy })
                }
                None => self.compared_bundles(&record, &path).await?,
            };
            infos.push(ConflictInfo {
                conflict: record.conflict,
                path,
                copy,
                opened_ms: record.time_ms,
                base: record.base,
                base_version,
                sides,
                mergeable,
                compared,
            });
        }
        infos.sort_by(|one, two| one.path.cmp(&two.path));
        if infos.is_empty() && !under.is_empty() && self.entry_at(asked)?.is_none() {
            // A path at which nothing is, nor ever was.
            if let Err(error) = self.entry_ever_at(asked).await {
                return Err(self.in_bundle_or(asked, error).await?);
            }
        }
        Ok(infos)
    }

    /// Whether a listing has no room `left` to read both sides of a conflict; takes it if there is room.
    fn is_left_out(&self, record: &ConflictRecord, left: &mut u64) -> Result<bool, StateError> {
        let Some(Sides { original, copy, .. }) = self.file_sides(record)? else { return Ok(false) };
        if original.size.max(copy.size) > MERGE_BYTES_MAX {
            // Neither is read.
            return Ok(false);
        }
        let rest = left.checked_sub(original.size + copy.size);
        *left = rest.unwrap_or(*left);
        Ok(rest.is_none())
    }

    /// A side as it is; as it was when the conflict was opened, if it is gone.
    async fn side_now(
        &mut self,
        record: &ConflictRecord,
        entry: &EntryId,
        opened: Revision,
    ) -> Result<ConflictSide, AskError> {
        let row = self.live(entry)?;
        let revision = row.as_ref().map_or(opened, |row| row.node.content_revision);
        let is_back = matches!(self.halted, Some(Halted::Rollback { .. }));
        if !is_back && let Some(mut side) = self.side(record, entry, revision).await? {
            // Who opened the conflict wrote the copy, whoever has sent it again to a restored server.
            if *entry == record.copy && revision <= record.opened {
                side.device = record.device;
            }
            return Ok(side);
        }
        Ok(ConflictSide {
            device: record.device,
            revision,
            time_ms: record.time_ms,
            kind: row.as_ref().map(|row| Shown::of(row.node.kind, row.node.content.mode)),
            size: row.map_or(0, |row| row.size),
            unreadable: None,
        })
    }

    /// One version that a conflict is about; `None` when it is not there. One that does not open
    /// must not hide the others.
    async fn side(
        &mut self,
        record: &ConflictRecord,
        entry: &EntryId,
        revision: Revision,
    ) -> Result<Option<ConflictSide>, AskError> {
        let Some(version) = self.sealed_version(entry, revision).await? else { return Ok(None) };
        let (kind, size, unreadable) = match self.open_version(entry, &version) {
            Ok(opened) => (Some(opened.shown()), opened.size, None),
            Err(error) => (None, 0, Some(error.to_string())),
        };
        let device = author(&version).unwrap_or(record.device);
        let time_ms = version.time_ms;
        Ok(Some(ConflictSide { device, revision, time_ms, kind, size, unreadable }))
    }

    /// How the bundles of a conflict differ, if both its sides are bundles that are there.
    async fn compared_bundles(
        &mut self,
        record: &ConflictRecord,
        path: &str,
    ) -> Result<Option<Comparison>, AskError> {
        let (Some(original), Some(copy)) = (self.live(&record.entry)?, self.live(&record.copy)?)
        else {
            return Ok(None);
        };
        if !is_bundle_row(&original) || !is_bundle_row(&copy) {
            return Ok(None);
        }
        let base = match record.base {
            Some(base) => self.contents_at(&record.entry, base).await?.pop(),
            None => None,
        };
        let base = base.as_ref().map(|(base, _)| (&record.entry, base));
        match self.compare_bundles(base, [&original, &copy], path).await {
            // One that cannot be had must not hide the others: its sizes are told.
            Err(error @ (AskError::Unreadable(_) | AskError::Refused(_))) => {
                tracing::debug!(path, %error, "bundles of a conflict are not compared");
                Ok(None)
            }
            compared => compared.map(Some),
        }
    }

    /// The open conflict with a side at a path.
    pub(super) async fn record_at(&self, path: &str) -> Result<ConflictRecord, AskError> {
        let none = || AskError::NoConflict(path.to_owned());
        let entry = match self.entry_at(path)? {
            Some(entry) => entry,
            // A side that was deleted by hand still names its conflict.
            None => match self.entry_ever_at(path).await {
                Ok(entry) => entry,
                Err(error) => {
                    let error = self.in_bundle_or(path, error).await?;
                    return Err(match error {
                        AskError::InBundle { .. } => error,
                        _ => none(),
                    });
                }
            },
        };
        self.context.state.conflicts_of(&entry)?.into_iter().next().ok_or_else(none)
    }

    pub(super) async fn resolve(
        &mut self,
        path: &str,
        keep: Keep,
    ) -> Result<ResolveInfo, AskError> {
        let record = self.record_at(path).await?;
        self.check_sides(&record)?;
        let resolution = match keep {
            Keep::Merged => return self.keep_merged(path).await,
            Keep::Both => Resolution::KeepBoth,
            Keep::Original => Resolution::KeepOriginal,
            Keep::Copy => Resolution::KeepCopy,
            Keep::Mine if self.copy_is_mine(path, &record).await? => Resolution::KeepCopy,
            Keep::Theirs if !self.copy_is_mine(path, &record).await? => Resolution::KeepCopy,
            Keep::Mine | Keep::Theirs => Resolution::KeepOriginal,
        };
        let changes = match (self.live(&record.entry)?, self.live(&record.copy)?) {
            (Some(original), Some(copy)) => {
                self.resolution(&record, resolution, &original, &copy)?
            }
            (original, copy) => self.one_sided(&record, resolution, original, copy).await?,
        };
        if self.send_changes(changes, Vec::new()).await? {
            return self.resolved(&record);
        }
        Err(changed())
    }

    /// Refuses to settle a conflict of which this disk has an edit that the server does not know: it would
    /// not be in what is kept.
    pub(super) fn check_sides(&mut self, record: &ConflictRecord) -> Result<(), AskError> {
        let sides = [record.entry, record.copy];
        for entry in &sides {
            let names = self.context.state.local_path(entry)?;
            let path = names.and_then(|names| RelPath::new(names).ok());
            self.targets.extend(path.map(Target::Path));
        }
        self.scan()?;
        for entry in sides.iter().filter(|entry| !self.missing.contains_key(entry)) {
            if is_edited(&self.context.state, entry)? {
                return Err(self.unsynced(entry)?);
            }
        }
        Ok(())
    }

    /// What is told of a conflict that was settled: the sides that are left.
    pub(super) fn resolved(&mut self, record: &ConflictRecord) -> Result<ResolveInfo, AskError> {
        self.busy = true;
        let mut kept = Vec::new();
        for entry in [&record.entry, &record.copy] {
            if self.live(entry)?.is_some() {
                kept.push(self.shown_path(entry)?);
            }
        }
        let entries = BTreeSet::from([record.entry, record.copy]);
        Ok(ResolveInfo { kept, sent: Sent { up_to: self.heard()?, entries } })
    }

    pub(super) fn live(&self, entry: &EntryId) -> Result<Option<RemoteRow>, StateError> {
        Ok(self.context.state.remote_row(entry)?.filter(|row| !row.node.deleted))
    }

    async fn copy_is_mine(
        &mut self,
        path: &str,
        record: &ConflictRecord,
    ) -> Result<bool, AskError> {
        let me = self.context.device();
        if record.device == me {
            return Ok(true);
        }
        let original = self.sealed_version(&record.entry, record.theirs).await?;
        let original_by = original.as_ref().and_then(author);
        if original_by == Some(me) {
            return Ok(false);
        }
        Err(AskError::NotMine {
            path: path.to_owned(),
            original_by: original_by.unwrap_or(record.device),
            copy_by: record.device,
        })
    }

    /// What settles a conflict of which both sides are there. Of two files the original gets the
    /// copy's content, and keeps its history; of what is of two kinds the copy gets the original's
    /// place.
    fn resolution(
        &self,
        record: &ConflictRecord,
        resolution: Resolution,
        original: &RemoteRow,
        copy: &RemoteRow,
    ) -> Result<Vec<Change>, AskError> {
        let mut changes = Vec::new();
        let kind = copy.node.kind;
        let takes_content = original.node.kind == kind && kind != Kind::Directory;
        if resolution == Resolution::KeepCopy && !takes_content {
            let place = self.context.place(&record.copy, &original.node.position);
            self.delete_whole(original, &mut changes)?;
            let base = copy.node.place_revision;
            changes.push(Change::Move { entry: record.copy, base, place });
        } else if resolution == Resolution::KeepCopy {
            let attributes = Attributes {
                mode: copy.node.content.mode,
                mtime_ns: copy.node.content.mtime_ns,
                size: copy.size,
                target: copy.target.clone(),
                tag: copy.node.content.tag,
                restored: None,
            };
            changes.push(self.edit(original, copy.root, &attributes));
            self.delete_whole(copy, &mut changes)?;
        } else if resolution == Resolution::KeepOriginal {
            self.delete_whole(copy, &mut changes)?;
        }
        changes.push(Change::ResolveConflict { conflict: record.conflict, resolution });
        Ok(changes)
    }

    /// Deletes a live entry with all that is in it, what is deepest first.
    fn delete_whole(&self, row: &RemoteRow, changes: &mut Vec<Change>) -> Result<(), AskError> {
        let entry = row.node.entry;
        for child in self.context.state.remote_rows_in(&entry)? {
            self.delete_whole(&child, changes)?;
        }
        // One more settles the conflict, and one may move the other side.
        if changes.len() + 3 > GROUP_CHANGES_MAX {
            let path = self.shown_path(&entry)?;
            return Err(AskError::Refused(format!(
                "{path}: is in a directory that holds too much to be deleted at once; delete that \
                 directory and resolve again"
            )));
        }
        changes.push(Change::Delete {
            entry,
            place_base: row.node.place_revision,
            content_base: row.node.content_revision,
        });
        Ok(())
    }

    /// Settles a conflict of which a side was deleted by hand. What is to be kept is what is left,
    /// or the copy, which comes back from history in the original's place; all else is for a person
    /// to bring back first.
    async fn one_sided(
        &mut self,
        record: &ConflictRecord,
        resolution: Resolution,
        original: Option<RemoteRow>,
        copy: Option<RemoteRow>,
    ) -> Result<Vec<Change>, AskError> {
        let conflict = record.conflict;
        match (resolution, &original, &copy) {
            (Resolution::KeepOriginal, Some(_), None) | (Resolution::KeepCopy, None, Some(_)) => {
                let resolution = Resolution::Gone;
                return Ok(vec![Change::ResolveConflict { conflict, resolution }]);
            }
            (Resolution::KeepCopy, Some(original), None) => {
                let last = self.last_version(&record.copy).await?.map(|(_, version)| version);
                let same = last.filter(|last| last.registers.kind == original.node.kind);
                if let Some(last) = same {
                    let root = last.registers.content.root;
                    let edit = self.edit(original, root, &last.attributes());
                    return Ok(vec![edit, Change::ResolveConflict { conflict, resolution }]);
                }
            }
            _ => {}
        }
        let keeps_copy = resolution == Resolution::KeepCopy;
        let gone = if original.is_none() && !keeps_copy { record.entry } else { record.copy };
        let revision = self.last_version(&gone).await?.map(|(revision, _)| revision);
        Err(AskError::SideGone { path: self.shown_path(&gone)?, revision })
    }

    /// A new content of a live entry.
    fn edit(&self, row: &RemoteRow, root: Option<Root>, attributes: &Attributes) -> Change {
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        let (entry, base) = (row.node.entry, row.node.content_revision);
        let sealed = seal_attributes(keys, folder, &entry, attributes);
        let content = Content { root, tag: attributes.tag, attributes: sealed };
        Change::Edit { entry, base, content }
    }
}
