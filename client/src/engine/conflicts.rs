//! Open conflicts: how they are listed, and what settles one.
//!
//! Owns which changes a resolution is made of. It must not know how a person is asked.

use super::handle::{AskError, ConflictInfo, ConflictSide, Keep};
use super::history::author;
use super::run::Engine;
use crate::state::{RemoteRow, StateError};
use common::chunk::{Attributes, seal_attributes, seal_name};
use common::ids::EntryId;
use common::limits::GROUP_CHANGES_MAX;
use common::record::{Change, ConflictRecord, Content, Kind, Place, Resolution, Root};

impl Engine {
    pub(super) async fn conflicts(&mut self) -> Result<Vec<ConflictInfo>, AskError> {
        let mut infos = Vec::new();
        for record in self.context.state.conflicts()? {
            let mut sides = Vec::new();
            for (entry, revision) in [(record.entry, record.theirs), (record.copy, record.opened)] {
                let version = self.sealed_version(&entry, revision).await?;
                let opened = version.as_ref().map(|version| self.open_version(&entry, version));
                // A side that is not there, or does not open, must not hide the others.
                let (size, unreadable) = match opened {
                    None => (0, None),
                    Some(Ok(opened)) => (opened.size, None),
                    Some(Err(error)) => (0, Some(error.to_string())),
                };
                let device = version.as_ref().and_then(author).unwrap_or(record.device);
                let time_ms = version.as_ref().map_or(record.time_ms, |version| version.time_ms);
                sides.push(ConflictSide { device, revision, time_ms, size, unreadable });
            }
            infos.push(ConflictInfo {
                conflict: record.conflict,
                path: self.shown_path(&record.entry)?,
                copy: self.shown_path(&record.copy)?,
                opened_ms: record.time_ms,
                base: record.base,
                sides,
            });
        }
        infos.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(infos)
    }

    pub(super) async fn resolve(&mut self, path: &str, keep: Keep) -> Result<(), AskError> {
        let none = || AskError::NoConflict(path.to_owned());
        let entry = match self.entry_at(path)? {
            Some(entry) => entry,
            // A side that was deleted by hand still names its conflict.
            None => self.entry_ever_at(path).map_err(|_| none())?,
        };
        let record =
            self.context.state.conflicts_of(&entry)?.into_iter().next().ok_or_else(none)?;
        let resolution = match keep {
            Keep::Both => Resolution::KeepBoth,
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
            self.busy = true;
            return Ok(());
        }
        Err(AskError::Refused("the conflict has changed meanwhile; look at it again".to_owned()))
    }

    fn live(&self, entry: &EntryId) -> Result<Option<RemoteRow>, StateError> {
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
        if original.and_then(|version| author(&version)) == Some(me) {
            return Ok(false);
        }
        Err(AskError::NotMine(path.to_owned()))
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
            let (keys, folder) = (&self.context.keys, &self.context.folder);
            let at = &original.node.position;
            let place = Place {
                parent: at.parent,
                name: seal_name(keys, folder, &record.copy, &at.name),
                name_tag: keys.name_tag(&at.parent, &at.name),
            };
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
