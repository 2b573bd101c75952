//! Answers to questions from outside the engine.
//!
//! Owns how a path names an entry, and how asking maps to requests and rounds.

use super::handle::{Ask, AskError, HaltReason};
use super::online::RoundError;
use super::run::{Engine, Halted};
use super::waiting::SyncWait;
use crate::fs::RelPath;
use crate::push::PushError;
use crate::remote::RemoteError;
use crate::scan::Target;
use crate::state::{MassDeletion, StateError};
use client_core::tree::Position;
use common::ids::EntryId;
use common::name::Name;
use std::sync::Arc;

impl From<StateError> for AskError {
    fn from(error: StateError) -> Self {
        Self::Engine(error.to_string())
    }
}

impl From<RoundError> for AskError {
    fn from(error: RoundError) -> Self {
        match error {
            RoundError::Remote(error) | RoundError::Push(PushError::Remote(error)) => error.into(),
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
                self.forget_unreached();
                drop(answer.send(Ok(())));
            }
            Ask::Resume(answer) => {
                self.paused = false;
                drop(answer.send(Ok(())));
            }
            Ask::Halt(answer) => drop(answer.send(self.halt_now().await)),
            Ask::Confirm(answer) => drop(answer.send(self.confirm().await)),
            Ask::Undo(answer) => drop(answer.send(self.undo().await)),
            Ask::Why(path, answer) => drop(answer.send(self.why(&path).await)),
            Ask::Plan(answer) => drop(answer.send(self.planned())),
            Ask::List(path, what, answer) => {
                drop(answer.send(self.listing(&path, what).await));
            }
            Ask::Log(path, before, limit, answer) => {
                drop(answer.send(self.log(&path, before, limit).await));
            }
            Ask::Export(path, which, destination, answer) => {
                drop(answer.send(self.export(&path, which, &destination).await));
            }
            Ask::Restore(path, which, dry, answer) => {
                drop(answer.send(self.restore(&path, which, dry).await));
            }
            Ask::Diff(path, from, to, answer) => {
                drop(answer.send(self.diff(&path, from, to).await));
            }
            Ask::Settled(sent, answer) => {
                self.waits.retain(|(_, answer)| !answer.is_closed());
                self.waits.push((sent, answer));
            }
            Ask::Labels(ask) => self.answer_label(ask).await,
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
                self.waits.clear();
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

    async fn halt_now(&mut self) -> Result<Option<HaltReason>, AskError> {
        if self.waits_for_person() || self.paused {
            return Ok(self.shown_halt());
        }
        if let Err(error) = self.look_at_journal().await {
            let reason = error.to_string();
            self.failed_round(error);
            if !self.waits_for_person() {
                return Err(match self.journal {
                    None => AskError::Offline(reason),
                    Some(_) => AskError::Engine(reason),
                });
            }
        }
        Ok(self.shown_halt())
    }

    /// Connects anew if the journal is not, or no longer, the one that this device follows.
    async fn look_at_journal(&mut self) -> Result<(), RoundError> {
        let Some(cursor) = self.context.state.cursor()? else { return Ok(()) };
        let (epoch, _) = self.folder_state().await?;
        if self.journal.is_none() || epoch != cursor.epoch {
            self.journal = None;
            self.retry_at_ns = 0;
            self.connect().await?;
        }
        Ok(())
    }

    async fn confirm(&mut self) -> Result<(), AskError> {
        if let Some(Halted::Rollback { restored }) = self.halted.clone() {
            let highest = self.context.state.cursor()?.unwrap_or(restored);
            return Ok(self.follow(&restored, Some(highest)).await?);
        }
        let asked = self.asked_of_person()?;
        self.context.state.mark_all_dirty_that_differ()?;
        self.agreed.extend(&asked.halt.deletions);
        self.guarded.agreed();
        Ok(())
    }

    /// The mass deletion that a person is shown, and answers to: none while something else comes first.
    pub(super) fn asked_of_person(&self) -> Result<Arc<MassDeletion>, AskError> {
        let asked = self.guarded.asked().filter(|_| self.halted.is_none());
        asked.cloned().ok_or(AskError::NothingToConfirm)
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

    pub(super) fn shown_path(&self, entry: &EntryId) -> Result<String, StateError> {
        let names = self.context.state.remote_path(entry)?.unwrap_or_default();
        let parts: Vec<&str> = names.iter().map(Name::as_str).collect();
        Ok(parts.join("/"))
    }
}
