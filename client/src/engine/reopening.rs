//! Conflicts that are opened again: those that a restored server has forgotten, and those that were settled
//! on one device while their copy was edited on another.
//!
//! Owns when that is possible and when it is given up. What is to be opened again is noted where it is
//! noticed, as the journal is taken.

use super::online::RoundError;
use super::run::Engine;
use crate::pull::is_edited;
use crate::push::Prepared;
use crate::state::{RemoteRow, Reopened, StateError};
use common::ids::EntryId;
use common::record::Change;
use common::revision::Revision;

/// What becomes of a conflict that is to be opened again.
enum Fate {
    /// Both its sides are there, and differ; with what the one that kept the name holds.
    Open(Revision),
    /// A side is still to come.
    Wait,
    /// There is nothing left of it.
    Drop,
}

impl Engine {
    /// Opens conflicts again of which both sides are back at the server. A record that somebody else was
    /// faster to open comes with the journal.
    pub(super) async fn reopen(&mut self) -> Result<(), RoundError> {
        let state = &self.context.state;
        let reopened = state.reopened()?;
        if reopened.is_empty() || state.rebuilding()?.is_some() || state.agreement()?.is_some() {
            return Ok(());
        }
        for it in reopened {
            match self.fate_of(&it)? {
                Fate::Wait => {}
                Fate::Drop => self.context.state.forget_reopened(&it.conflict)?,
                Fate::Open(theirs) => self.open_again(&it, theirs).await?,
            }
        }
        Ok(())
    }

    async fn open_again(
        &mut self,
        reopened: &Reopened,
        theirs: Revision,
    ) -> Result<(), RoundError> {
        let Reopened { conflict, entry, copy, base } = *reopened;
        let changes = vec![Change::OpenConflict { conflict, entry, base, theirs, copy }];
        let prepared = Prepared { changes, ..Prepared::default() };
        if self.send(vec![prepared]).await? {
            return Ok(());
        }
        // Refused for good, unless somebody has changed a side meanwhile.
        if matches!(self.fate_of(reopened)?, Fate::Open(now) if now == theirs) {
            tracing::info!(%conflict, "a conflict was not opened again");
            self.context.state.forget_reopened(&conflict)?;
        }
        Ok(())
    }

    fn fate_of(&self, reopened: &Reopened) -> Result<Fate, StateError> {
        let Reopened { entry, copy, .. } = reopened;
        Ok(match (self.live(entry)?, self.live(copy)?) {
            (Some(original), Some(copy)) => {
                let differ = original.node.kind != copy.node.kind
                    || original.node.content.tag != copy.node.content.tag;
                if differ { Fate::Open(original.node.content_revision) } else { Fate::Drop }
            }
            (original, other) => {
                let comes =
                    |entry: &EntryId, row: &Option<RemoteRow>| -> Result<bool, StateError> {
                        Ok(row.is_some() || is_edited(&self.context.state, entry)?)
                    };
                let both_come = comes(entry, &original)? && comes(copy, &other)?;
                if both_come { Fate::Wait } else { Fate::Drop }
            }
        })
    }
}
