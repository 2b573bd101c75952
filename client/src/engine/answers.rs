//! Answers to questions from outside the engine.
//!
//! Owns how a path names an entry, and how asking maps to requests and rounds.

use super::handle::{Ask, AskError, ConflictInfo, ConflictSide, Keep};
use super::history::author;
use super::online::RoundError;
use super::run::{Engine, Halted, SyncWait};
use crate::fs::RelPath;
use crate::remote::RemoteError;
use crate::scan::Target;
use crate::state::{RemoteRow, StateError};
use client_core::tree::Position;
use common::chunk::{Attributes, seal_attributes, seal_name};
use common::ids::EntryId;
use common::limits::GROUP_CHANGES_MAX;
use common::name::Name;
use common::record::{Change, ConflictRecord, Content, Kind, Place, Resolution, Root};

impl From<StateError> for AskError {
    fn from(error: StateError) -> Self {
        Self::Engine(error.to_string())
    }
}

impl From<RoundError> for AskError {
    fn from(error: RoundError) -> Self {
        match error {
            RoundError::Remote(error) => error.into(),
            other => Self::Engine(other.to_string()),
        }
    }
}

impl From<RemoteError> for AskError {
    fn from(error: RemoteError) -> Self {
        if error.is_barred() {
            Self::NotLetIn(error)
        } else if error.is_offline() {
            Self::Offline(error.to_string())
        } else {
            Self::Refused(error.to_string())
        }
    }
}

impl Engine {
    /// Answers a question. One that waits for a round is kept; a receiver that is gone has given
    /// up, and nobody is there to tell.
    pub(super) async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Sync(answer) => {
                self.targets.insert(Target::Subtree(RelPath::root()));
                self.failed.clear();
                self.retry_at_ns = 0;
                // Of those that timed out, none is kept.
                self.syncs.retain(|sync| !sync.answer.is_closed());
                self.syncs.push(SyncWait { answer, up_to: None, scanned: false });
            }
            Ask::Pause(answer) => {
                self.paused = true;
                drop(answer.send(Ok(())));
            }
            Ask::Resume(answer) => {
                self.paused = false;
                drop(answer.send(Ok(())));
            }
            Ask::Confirm(answer) => drop(answer.send(self.confirm().await)),
            Ask::Undo(answer) => drop(answer.send(self.undo())),
            Ask::Why(path, answer) => drop(answer.send(self.why(&path).await)),
            Ask::Plan(answer) => drop(answer.send(self.planned())),
            Ask::List(path, what, answer) => {
                drop(answer.send(self.listing(&path, what).await));
            }
            Ask::Log(path, before, limit, answer) => {
                drop(answer.send(self.log(&path, before, limit).await));
            }
            Ask::Export(path, which, to, answer) => {
                drop(answer.send(self.export(&path, which, &to).await));
            }
            Ask::Restore(path, which, dry, answer) => {
                drop(answer.send(self.restore(&path, which, dry).await));
            }
            Ask::Diff(path, from, to, answer) => {
                drop(answer.send(self.diff(&path, from, to).await));
            }
            Ask::Settled(up_to, answer) => self.wait_for(up_to, answer),
            Ask::Conflicts(answer) => drop(answer.send(self.conflicts().await)),
            Ask::Resolve(path, keep, answer) => {
                drop(answer.send(self.resolve(&path, keep).await));
            }
            Ask::Checkpoint(answer) => {
                let checkpoint = crate::pull::checkpoint(&self.context);
                drop(answer.send(checkpoint.map_err(AskError::from)));
            }
            Ask::Labels(ask) => self.answer_label(ask).await,
            Ask::Stop => {
                // What is under way ends as it does for a pause, and the questions have ended too.
                self.paused = true;
                self.syncs.clear();
            }
        }
    }

    /// Learns from the server how far a `sync` has to come.
    pub(super) async fn ask_for_syncs(&mut self) -> Result<(), RoundError> {
        if self.syncs.iter().all(|sync| sync.up_to.is_some()) {
            return Ok(());
        }
        let (_, revision) = self.folder_state().await?;
        for sync in &mut self.syncs {
            sync.up_to.get_or_insert(revision);
        }
        self.pull_up_to(revision).await
    }

    async fn confirm(&mut self) -> Result<(), AskError> {
        match self.halted.clone() {
            Some(Halted::Deletions(halt)) => {
                self.agreed.extend(&halt.deletions);
                self.lately.clear();
                self.halted = None;
                Ok(self.context.state.mark_all_dirty_that_differ()?)
            }
            Some(Halted::Rollback { restored }) => {
                let highest = self.context.state.cursor()?.unwrap_or(restored);
                Ok(self.follow(&restored, Some(highest)).await?)
            }
            _ => Err(AskError::NothingToConfirm),
        }
    }

    /// The live remote entry at a path; for the whole folder the root.
    pub(super) fn entry_at(&self, path: &str) -> Result<Option<EntryId>, AskError> {
        let mut entry = EntryId::ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let missing = || AskError::NoSuchPath(path.to_owned());
            let name = Name::new(part).map_err(|_| missing())?;
            let position = Position { parent: entry, name };
            let row = match self.context.state.remote_row_at(&position)? {
                Some(row) => row.node.entry,
                None => match self.context.state.local_row_at(&position)? {
                    Some(row) => row.entry,
                    None => return Ok(None),
                },
            };
            entry = row;
        }
        Ok(Some(entry))
    }

    async fn conflicts(&mut self) -> Result<Vec<ConflictInfo>, AskError> {
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

    pub(super) fn shown_path(&self, entry: &EntryId) -> Result<String, StateError> {
        let names = self.context.state.remote_path(entry)?.unwrap_or_default();
        let parts: Vec<&str> = names.iter().map(Name::as_str).collect();
        Ok(parts.join("/"))
    }

    async fn resolve(&mut self, path: &str, keep: Keep) -> Result<(), AskError> {
        let none = || AskError::NoConflict(path.to_owned());
        let entry = match self.entry_at(path)? {
            Some(entry) => entry,
            // A side that was deleted by hand still names its conflict.
            None => self.entry_ever_at(path).await.map_err(|_| none())?,
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
