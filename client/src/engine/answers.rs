//! Answers to questions from outside the engine.
//!
//! Owns how a path names an entry, and how asking maps to requests and rounds.

use super::handle::{Ask, AskError, ListedEntry};
use super::online::RoundError;
use super::run::{Engine, Halted, SyncWait};
use crate::fs::RelPath;
use crate::remote::RemoteError;
use crate::scan::Target;
use crate::state::{RemoteRow, StateError};
use client_core::tree::Position;
use common::ids::EntryId;
use common::name::Name;
use common::record::Kind;

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
            Ask::List(path, answer) => drop(answer.send(self.list(&path))),
            Ask::Log(path, limit, answer) => drop(answer.send(self.log(&path, limit).await)),
            Ask::Export(path, revision, to, answer) => {
                drop(answer.send(self.export(&path, revision, &to).await));
            }
            Ask::Restore(path, revision, answer) => {
                drop(answer.send(self.restore(&path, revision).await));
            }
            Ask::Conflicts(answer) => drop(answer.send(self.conflicts("", false).await)),
            Ask::ConflictsIn(path, compare, answer) => {
                drop(answer.send(self.conflicts(&path, compare).await));
            }
            Ask::Merge(path, answer) => drop(answer.send(self.merge_info(&path).await)),
            Ask::ResolveWith(path, settlement, answer) => {
                drop(answer.send(self.resolve_with(&path, settlement).await));
            }
            Ask::Resolve(path, keep, answer) => {
                drop(answer.send(self.resolve(&path, keep).await));
            }
            Ask::Checkpoint(answer) => {
                let checkpoint = crate::pull::checkpoint(&self.context);
                drop(answer.send(checkpoint.map_err(AskError::from)));
            }
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

    fn list(&self, path: &str) -> Result<Vec<ListedEntry>, AskError> {
        let missing = || AskError::NoSuchPath(path.to_owned());
        let entry = self.entry_at(path)?.ok_or_else(missing)?;
        let clean: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut listed = Vec::new();
        if entry != EntryId::ROOT {
            let row = self.context.state.remote_row(&entry)?.ok_or_else(missing)?;
            if row.node.kind != Kind::Directory {
                listed.push(listed_entry(clean.join("/"), &row));
                return Ok(listed);
            }
        }
        let mut queue = vec![(entry, clean.join("/"))];
        while let Some((directory, prefix)) = queue.pop() {
            for row in self.context.state.remote_rows_in(&directory)? {
                if row.broken.is_some() {
                    continue;
                }
                let name = row.node.position.name.as_str();
                let path =
                    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
                if row.node.kind == Kind::Directory {
                    queue.push((row.node.entry, path.clone()));
                }
                listed.push(listed_entry(path, &row));
            }
        }
        listed.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(listed)
    }

    pub(super) fn shown_path(&self, entry: &EntryId) -> Result<String, StateError> {
        let names = self.context.state.remote_path(entry)?.unwrap_or_default();
        let parts: Vec<&str> = names.iter().map(Name::as_str).collect();
        Ok(parts.join("/"))
    }
}

fn listed_entry(path: String, row: &RemoteRow) -> ListedEntry {
    ListedEntry {
        path,
        kind: row.node.kind,
        size: row.size,
        mtime_ns: row.node.content.mtime_ns,
        revision: row.node.place_revision.max(row.node.content_revision),
    }
}
