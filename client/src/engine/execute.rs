//! Carrying a plan out, batch by batch.
//!
//! Owns what is done when a batch does not end as planned: the rest of the plan is dropped and the
//! next round plans anew.

use super::online::RoundError;
use super::run::{Engine, begin_incarnation};
use crate::apply::{ApplyError, Applying};
use crate::fs::RelPath;
use crate::push::{self, Prepared, Rejection};
use crate::remote::RemoteError;
use crate::scan::{Target, make_durable};
use crate::state::{Effect, IssueSource, StateError};
use client_core::planner::{Plan, PushGroup, Step};
use client_core::tree::SyncedNode;
use common::ids::EntryId;
use common::record::Change;
use common::wire::meta::RejectionCode;
use std::collections::BTreeSet;

/// Steps that are carried out before questions get their turn.
const STEPS_TOGETHER: usize = 4_000;
/// Why nothing is done for a person in the first moments after a server was restored.
pub(super) const REBUILDING: &str = "what the server has after its restore is still being read; \
                                     try again in a moment";

impl Engine {
    /// Carries out a plan as far as it goes as planned. Questions are answered in between.
    pub(super) async fn carry_out(&mut self, plan: Plan) -> Result<(), RoundError> {
        for batch in plan.batches {
            let mut steps = batch.into_iter().peekable();
            while steps.peek().is_some() {
                let slice = steps.by_ref().take(STEPS_TOGETHER).collect();
                // What did not go as planned is planned anew; later steps look for themselves
                // whether they are still possible.
                self.batch(slice).await?;
                if self.serve().await || self.paused {
                    // What was asked may have changed what the plan was made from.
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Carries out one batch. Only what changed something is a reason to plan again at once: a
    /// step that waits for the disk or the server is woken by them.
    async fn batch(&mut self, batch: Vec<Step>) -> Result<(), RoundError> {
        let agreed = self.make_agreed_durable(&batch).await?;
        self.busy |= self.keep_books(&batch, &agreed)?;
        let applying = Applying::new(&self.context, &self.ignore);
        let (progress, asks) = (&mut self.progress, &self.asks);
        let count = |bytes| progress.bytes_down += bytes;
        let applied = applying.run(&batch, count, || !asks.is_empty()).await?;
        self.busy |= applied.done > 0 || applied.yielded;
        self.targets.extend(applied.again);
        self.failed.extend(applied.failed);
        if let Some(error) = applied.cut {
            return Err(ApplyError::from(error).into());
        }
        let groups: Vec<PushGroup> = batch
            .into_iter()
            .filter_map(|step| match step {
                Step::Push(group) => Some(group),
                _ => None,
            })
            .collect();
        if groups.is_empty() { Ok(()) } else { self.push(groups).await }
    }

    /// Which of the entries to settle may become the merge base: what stands here was read from the
    /// disk, which a power cut could still take back (rule 6), unless it is what the base is.
    async fn make_agreed_durable(
        &mut self,
        batch: &[Step],
    ) -> Result<BTreeSet<EntryId>, RoundError> {
        let state = &self.context.state;
        let (mut agreed, mut observed) = (BTreeSet::new(), BTreeSet::new());
        for step in batch {
            let Step::Settle { entry } = step else { continue };
            let local = state.local_row(entry)?.and_then(|row| row.content());
            let base = state.synced_node(entry)?.filter(|base| base.held);
            if base.is_some_and(|base| Some(base.content) == local) {
                agreed.insert(*entry);
            } else {
                observed.insert(*entry);
            }
        }
        let moved = make_durable(&self.context, &observed).await?;
        agreed.extend(observed.difference(&moved));
        self.look_at(moved)?;
        Ok(agreed)
    }

    /// Steps that change trees alone. Others' groups may have arrived since the plan was made, so
    /// each looks once more whether it still holds. Returns whether anything was changed.
    fn keep_books(&self, batch: &[Step], agreed: &BTreeSet<EntryId>) -> Result<bool, RoundError> {
        let mut changed = false;
        self.context.state.atomically(|_| {
            for step in batch {
                changed |= match step {
                    Step::Settle { entry } if agreed.contains(entry) => self.settle(entry)?,
                    Step::Forget { entry } => self.forget(entry)?,
                    Step::Keep { entry } => self.keep(entry)?,
                    Step::Adopt { local, remote } => self.adopt(local, remote)?,
                    Step::Detach { entry, fresh } => self.rename(entry, fresh)?,
                    _ => false,
                };
            }
            Ok::<_, StateError>(())
        })?;
        Ok(changed)
    }

    fn settle(&self, entry: &EntryId) -> Result<bool, StateError> {
        let state = &self.context.state;
        let (Some(local), Some(remote)) = (state.local_row(entry)?, state.remote_row(entry)?)
        else {
            return Ok(false);
        };
        let node = remote.node;
        let agree = !node.deleted
            && local.kind == node.kind
            && local.position == node.position
            && local.content() == Some(node.content);
        if !agree {
            return Ok(false);
        }
        state.put_synced(&SyncedNode {
            entry: *entry,
            position: local.position,
            kind: local.kind,
            content: node.content,
            place_revision: node.place_revision,
            content_revision: node.content_revision,
            held: true,
        })?;
        Ok(true)
    }

    fn forget(&self, entry: &EntryId) -> Result<bool, StateError> {
        let state = &self.context.state;
        let is_live = state.remote_row(entry)?.is_some_and(|row| !row.node.deleted);
        if is_live || state.local_row(entry)?.is_some() {
            return Ok(false);
        }
        state.remove_synced(entry)?;
        Ok(true)
    }

    pub(super) fn keep(&self, entry: &EntryId) -> Result<bool, StateError> {
        let state = &self.context.state;
        let is_live = state.remote_row(entry)?.is_some_and(|row| !row.node.deleted);
        if is_live == state.local_row(entry)?.is_some() {
            return Ok(false);
        }
        let Some(base) = state.synced_node(entry)? else { return Ok(false) };
        state.put_synced(&SyncedNode { held: false, ..base })?;
        Ok(base.held)
    }

    fn adopt(&self, local: &EntryId, remote: &EntryId) -> Result<bool, StateError> {
        let state = &self.context.state;
        let kind = state.local_row(local)?.map(|row| row.kind);
        let live = state.remote_row(remote)?.filter(|row| !row.node.deleted);
        if kind.is_none() || live.map(|row| row.node.kind) != kind {
            return Ok(false);
        }
        if state.local_row(remote)?.is_some() {
            return Ok(false);
        }
        state.remove_synced(local)?;
        self.rename(local, remote)?;
        for mut child in state.synced_nodes_in(local)? {
            child.position.parent = *remote;
            state.put_synced(&child)?;
        }
        Ok(true)
    }

    /// Gives a node another id that the server knows as one that was deleted, and this device does not: a
    /// restored server has forgotten how it came back, and the deletion is older than what was taken of
    /// its journal. To be called when the journal has brought what was there at the refusal: another
    /// device may just have pushed the same entry again.
    fn make_new(&mut self, entry: &EntryId, message: &str) -> Result<(), StateError> {
        let state = &self.context.state;
        if state.remote_row(entry)?.is_some() || state.synced_node(entry)?.is_some() {
            return Ok(());
        }
        if self.renewed.contains(entry) {
            // Nobody can have an id that was drawn here: another one would fare no better.
            return self.list_failed(*entry, &refused(message));
        }
        let fresh = self.context.fresh_entry();
        if state.atomically(|_| self.rename(entry, &fresh))? {
            self.renewed.insert(fresh);
            self.busy = true;
        }
        Ok(())
    }

    /// Gives a local node another id; its children follow.
    pub(super) fn rename(&self, old: &EntryId, new: &EntryId) -> Result<bool, StateError> {
        let state = &self.context.state;
        if state.local_row(old)?.is_none() || state.local_row(new)?.is_some() {
            return Ok(false);
        }
        for child in state.synced_nodes_in(old)? {
            state.mark_dirty(&child.entry)?;
        }
        state.rename_local(old, new)?;
        Ok(true)
    }

    /// Sends planned groups.
    async fn push(&mut self, groups: Vec<PushGroup>) -> Result<(), RoundError> {
        let (groups, merges) = self.merge_edits(groups).await?;
        let mut prepared = push::prepare(&self.context, &self.proofs, &groups)?;
        prepared.ready.extend(merges);
        self.look_at(prepared.stale)?;
        for entry in prepared.blocked {
            let reason = "is not deleted at the server: it holds something there that this device \
                          cannot read";
            self.list_failed(entry, reason)?;
        }
        if !prepared.ready.is_empty() {
            self.send(prepared.ready).await?;
        }
        let mut files = Vec::new();
        for row in prepared.upload {
            let names = self.context.state.local_path(&row.entry)?;
            let path = names.and_then(|names| RelPath::new(names).ok());
            files.extend(path.map(|path| (row.entry, path)));
        }
        self.upload(files).await
    }

    /// Has local nodes looked at again that are not what they were.
    fn look_at(&mut self, entries: impl IntoIterator<Item = EntryId>) -> Result<(), RoundError> {
        for entry in entries {
            self.context.state.mark_dirty(&entry)?;
            if let Some(names) = self.context.state.local_path(&entry)?
                && let Ok(path) = RelPath::new(names)
            {
                self.targets.insert(Target::Path(path));
            }
        }
        Ok(())
    }

    /// Sends prepared groups and waits until the journal has brought them back; returns whether all
    /// were accepted.
    pub(super) async fn send(&mut self, ready: Vec<Prepared>) -> Result<bool, RoundError> {
        Ok(self.send_and_hear(ready).await?.is_ok())
    }

    /// As [`Engine::send`]; returns why groups were refused, if not all were accepted.
    pub(super) async fn send_and_hear(
        &mut self,
        ready: Vec<Prepared>,
    ) -> Result<Result<(), Vec<RejectionCode>>, RoundError> {
        // What somebody asked for meanwhile is made from half of the server's tree, or comes before the
        // word that a person has given.
        let is_agreement = |change: &Change| matches!(change, Change::ConfirmEpoch { .. });
        let agrees = ready.iter().flat_map(|group| &group.changes).all(is_agreement);
        let state = &self.context.state;
        if state.rebuilding()?.is_some() || (!agrees && state.agreement()?.is_some()) {
            return Err(RemoteError::Closed(REBUILDING.into()).into());
        }
        let alone = self.alone;
        let sent = match push::send(&self.context, &mut self.proofs, ready, alone).await {
            Ok(sent) => sent,
            Err(error) => {
                self.outbox_known = false;
                return Err(error.into());
            }
        };
        // One retry at once, each group alone; after that something has to change first.
        self.busy |= !alone && !sent.rejected.is_empty();
        self.alone = !sent.rejected.is_empty();
        let (mut for_good, mut taken) = (Vec::new(), Vec::new());
        for rejection in sent.rejected.iter() {
            if rejection.code == RejectionCode::IdTaken {
                taken.extend(rejection.named.map(|entry| (entry, &rejection.message)));
            }
            if self.rejected(rejection)? {
                for_good.extend(rejection.entry.map(|entry| (entry, &rejection.message)));
            }
        }
        self.look_at(sent.stale.iter().copied())?;
        for entry in sent.too_large {
            self.list_failed(
                entry,
                "is too large: what proves that it is stored does not fit a commit",
            )?;
        }
        let before = self.context.state.cursor()?;
        self.pull_up_to(sent.up_to).await?;
        let has_news = sent.accepted > 0 || before != self.context.state.cursor()?;
        self.busy |= has_news;
        for (entry, message) in taken {
            self.make_new(&entry, message)?;
        }
        if alone && !has_news {
            // Nobody was faster: who has the name is not shown here.
            for (entry, message) in for_good {
                self.list_failed(entry, &refused(message))?;
            }
        }
        if sent.rejected.is_empty() && !sent.left {
            return Ok(Ok(()));
        }
        Ok(Err(sent.rejected.iter().map(|rejection| rejection.code).collect()))
    }

    /// Sends changes that a person asked for, such as the end of a conflict.
    pub(super) async fn send_changes(
        &mut self,
        changes: Vec<Change>,
        effects: Vec<Effect>,
    ) -> Result<bool, RoundError> {
        let prepared = Prepared { changes, effects, ..Prepared::default() };
        self.send(vec![prepared]).await
    }

    /// Lists why an entry is not in sync; it is tried again with the next housekeeping.
    fn list_failed(&mut self, entry: EntryId, reason: &str) -> Result<(), StateError> {
        let state = &self.context.state;
        let names = match state.local_path(&entry)? {
            Some(names) => names,
            None => state.remote_path(&entry)?.unwrap_or_default(),
        };
        let path = RelPath::new(names).unwrap_or_else(|_| RelPath::root()).to_string();
        state.put_issue(&path, IssueSource::Apply, reason)?;
        self.failed.insert(entry);
        Ok(())
    }

    /// Does what a refusal asks for; returns whether only what comes with the journal can end it.
    pub(super) fn rejected(&mut self, rejection: &Rejection) -> Result<bool, RoundError> {
        let Rejection { code, message, named, .. } = rejection;
        tracing::debug!(?code, message, "a group was refused");
        match code {
            RejectionCode::MissingChunk | RejectionCode::StaleReceipt | RejectionCode::BadPage => {
                // Presence has to be proven anew; what is stored is not sent again.
                self.proofs.clear();
            }
            RejectionCode::RequestId => begin_incarnation(&self.context)?,
            RejectionCode::Quota => {
                self.context.state.put_issue("", IssueSource::Apply, message)?;
                self.trouble = Some(message.clone());
                self.back_off();
            }
            RejectionCode::WrongEpoch => self.journal = None,
            RejectionCode::BadSignature => {
                self.trouble = Some(format!("the server does not accept this device: {message}"));
                self.back_off();
            }
            RejectionCode::NameTaken => return Ok(true),
            RejectionCode::ContentReleased => {
                // The next plan brings the content along; each entry is told of once.
                if let Some(entry) = named {
                    self.busy |= self.context.state.forget_content(entry)?;
                }
            }
            // Somebody was faster: what they did comes with the journal, and a new plan with it.
            _ => {}
        }
        Ok(false)
    }
}

fn refused(message: &str) -> String {
    format!("the server refuses it: {message}")
}
