//! Conflicts that are opened again: those that a restored server has forgotten, and those that were settled
//! on one device while their copy was edited on another.
//!
//! Owns when that is possible and when it is given up. What is to be opened again is noted where it is
//! noticed, as the journal is taken.

use super::online::RoundError;
use super::run::Engine;
use crate::pull::is_edited;
use crate::push::Prepared;
use crate::state::{Reopened, StateError};
use common::ids::EntryId;
use common::record::Change;
use common::revision::Revision;
use common::wire::meta::RejectionCode;

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
        let Err(refusals) = self.send_and_hear(vec![prepared]).await? else { return Ok(()) };
        if refusals.into_iter().any(is_for_good) {
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
            _ if self.is_gone(entry)? || self.is_gone(copy)? => Fate::Drop,
            _ => Fate::Wait,
        })
    }

    /// Whether a side was deleted and does not come back from this disk. One that the server does not
    /// know may be on the disk of another.
    fn is_gone(&self, entry: &EntryId) -> Result<bool, StateError> {
        let state = &self.context.state;
        let is_deleted = state.remote_row(entry)?.is_some_and(|row| row.node.deleted);
        Ok(is_deleted && !is_edited(state, entry)?)
    }
}

/// Whether a refusal stands whatever else happens: every other is met by what comes with the journal, by
/// a new request, or by who looks after the server.
fn is_for_good(code: RejectionCode) -> bool {
    matches!(code, RejectionCode::IdTaken | RejectionCode::Malformed)
}
