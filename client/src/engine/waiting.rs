//! Who waits: for a folder to be in sync, or for something to be on this disk.
//!
//! Owns when they are answered, and with what. It must not do anything about what they wait for.

use super::handle::Answer;
use super::run::Engine;
use super::told::Sent;
use crate::state::StateError;
use common::revision::Revision;

/// A `sync` that waits to be answered.
pub(super) struct SyncWait {
    pub(super) answer: Answer<bool>,
    /// The journal's end when it was asked, once the server has said so.
    pub(super) up_to: Option<Revision>,
    pub(super) scanned: bool,
}

/// What is left of what was sent for a person.
enum Left {
    /// It is on this disk.
    Nothing,
    /// It will be.
    ToDo,
    /// Something keeps it from this disk, and is listed.
    Kept,
}

impl Engine {
    pub(super) fn answer_syncs(&mut self) {
        if self.syncs.is_empty() {
            return;
        }
        let waits_for_person = self.paused || self.waits_for_person();
        let cursor = self.context.state.cursor().ok().flatten();
        let quiet = self.journal.is_some() && self.is_quiet();
        let in_sync = self.is_in_sync();
        for sync in std::mem::take(&mut self.syncs) {
            let reached = sync.up_to.zip(cursor).is_some_and(|(to, at)| at.revision >= to);
            if waits_for_person || (quiet && sync.scanned && reached) {
                // A receiver that is gone has timed out; nobody is there to tell.
                drop(sync.answer.send(Ok(in_sync)));
            } else {
                self.syncs.push(sync);
            }
        }
    }

    /// Answers those for whom nothing is left to be done.
    pub(super) fn answer_waits(&mut self) {
        if self.waits.is_empty() {
            return;
        }
        // Or for something on this disk to give way; that is listed.
        let rests = self.journal.is_some() && self.is_quiet();
        // What does not belong to a mass deletion that waits is done meanwhile.
        let waits_for_person = self.paused || self.halted.is_some() || rests;
        for (sent, answer) in std::mem::take(&mut self.waits) {
            match self.left_of(&sent) {
                // A receiver that is gone has timed out; nobody is there to tell.
                Ok(Left::Nothing) => drop(answer.send(Ok(true))),
                Ok(Left::Kept) => drop(answer.send(Ok(false))),
                Ok(Left::ToDo) if waits_for_person => drop(answer.send(Ok(false))),
                Ok(Left::ToDo) => self.waits.push((sent, answer)),
                Err(error) => drop(answer.send(Err(error.into()))),
            }
        }
    }

    /// What this disk still lacks of what was sent. A change that was made here since lacks nothing.
    fn left_of(&self, sent: &Sent) -> Result<Left, StateError> {
        let state = &self.context.state;
        if state.cursor()?.is_none_or(|cursor| cursor.revision < sent.up_to) {
            return Ok(Left::ToDo);
        }
        let mut left = Left::Nothing;
        for entry in &sent.entries {
            let remote = state.remote_row(entry)?;
            let is_broken = remote.as_ref().is_some_and(|row| row.broken.is_some());
            let there = remote.map(|row| row.node).filter(|node| !node.deleted);
            let there = there.map(|node| (node.position, Some(node.content)));
            let here = state.local_row(entry)?.map(|row| (row.position.clone(), row.content()));
            let base = state.synced_node(entry)?.filter(|node| node.held);
            let base = base.map(|node| (node.position, Some(node.content)));
            if here == there || there == base {
                continue;
            }
            if !is_broken && !self.failed.contains(entry) && state.is_dirty(entry)? {
                return Ok(Left::ToDo);
            }
            left = Left::Kept;
        }
        Ok(left)
    }
}
