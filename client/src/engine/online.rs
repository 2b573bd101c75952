//! The connection as the engine sees it: a subscription that delivers, and what to do when the
//! server's journal is another than before.

use super::run::{Engine, Halted};
use crate::context::Alarm;
use crate::pull::{self, PullError, SnapshotError};
use crate::push::{self, PushError};
use crate::remote::{JournalStream, RemoteError};
use crate::state::{Agreement, StateError};
use common::ids::{EntryId, FolderId};
use common::record::{Change, RecordError, Registers, SignedGroup};
use common::revision::{Cursor, Revision};
use common::trust::FolderGenesis;
use common::wire::meta::{JournalBatch, Reply, Request, Subscribe, VersionsRead};
use futures_util::FutureExt;
use std::future::Future;
use std::pin::Pin;

/// Batches of the journal that one round takes, at most.
const BATCHES_TOGETHER: usize = 64;
/// How long the next batch may take of a journal that has more to tell, in milliseconds.
const BATCH_PATIENCE_MS: u64 = 60_000;

type Next = Pin<
    Box<
        dyn Future<Output = (Box<dyn JournalStream>, Result<Option<JournalBatch>, RemoteError>)>
            + Send,
    >,
>;

/// A live subscription. Its `next` is never dropped half way: the future owns the stream.
pub(super) struct Journal {
    next: Option<Next>,
    ready: Option<Result<Option<JournalBatch>, RemoteError>>,
}

impl Journal {
    fn new(stream: Box<dyn JournalStream>) -> Self {
        Self { next: Some(await_next(stream)), ready: None }
    }

    /// Waits until a batch or the end is there; may be dropped at any time.
    pub(super) async fn arrived(&mut self) {
        if self.ready.is_some() {
            return;
        }
        let Some(next) = self.next.as_mut() else { return };
        let (stream, result) = next.await;
        self.keep(stream, result);
    }

    /// What has arrived, without waiting.
    fn poll(&mut self) -> Option<Result<Option<JournalBatch>, RemoteError>> {
        if self.ready.is_none()
            && let Some(next) = self.next.as_mut()
            && let Some((stream, result)) = next.now_or_never()
        {
            self.keep(stream, result);
        }
        self.ready.take()
    }

    async fn take(&mut self) -> Result<Option<JournalBatch>, RemoteError> {
        self.arrived().await;
        self.ready.take().unwrap_or(Ok(None))
    }

    fn keep(
        &mut self,
        stream: Box<dyn JournalStream>,
        result: Result<Option<JournalBatch>, RemoteError>,
    ) {
        self.next = match &result {
            Ok(Some(_)) => Some(await_next(stream)),
            _ => None,
        };
        self.ready = Some(result);
    }
}

fn await_next(mut stream: Box<dyn JournalStream>) -> Next {
    Box::pin(async move {
        let result = stream.next().await;
        (stream, result)
    })
}

/// A round that could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The server could not be asked or refused.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The root is not what it was.
    #[error(transparent)]
    Scan(#[from] crate::scan::ScanError),
    /// What the server sent was not taken.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The snapshot was not taken.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Contents could not be read or uploaded.
    #[error(transparent)]
    Ingest(#[from] crate::transfer::IngestError),
    /// What was found here could not be made durable.
    #[error(transparent)]
    Durable(#[from] crate::scan::DurableError),
    /// Changes could not be sent.
    #[error(transparent)]
    Push(#[from] PushError),
    /// Changes could not be applied.
    #[error(transparent)]
    Apply(#[from] crate::apply::ApplyError),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] crate::state::StateError),
}

impl Engine {
    /// Connects, or takes what has arrived. Returns whether the server can be used.
    pub(super) async fn connect(&mut self) -> Result<bool, RoundError> {
        if self.journal.is_none() {
            if self.context.environment.monotonic_ns() < self.retry_at_ns {
                return Ok(false);
            }
            self.subscribe().await?;
        }
        if self.journal.is_none() {
            // It is another journal than before: of this one nothing is known yet.
            return Ok(false);
        }
        if matches!(self.halted, Some(Halted::Rollback { .. })) {
            // It is again the one that this device follows.
            self.halted = None;
        }
        if self.context.state.rebuilding()?.is_some() {
            self.finish_rebuild().await?;
        }
        if !self.outbox_known {
            let up_to = push::resolve_outbox(&self.context).await?;
            self.pull_up_to(up_to).await?;
            self.mistrust_the_disk()?;
            self.outbox_known = true;
        }
        self.send_agreement().await?;
        self.drain().await?;
        Ok(self.journal.is_some())
    }

    async fn subscribe(&mut self) -> Result<(), RoundError> {
        self.outbox_known = false;
        if self.context.state.cursor()?.is_none() {
            let (epoch, _) = self.folder_state().await?;
            // A database that was lost does not make an older history true.
            let least = [self.invited, self.pinned].into_iter().flatten();
            let least = least.filter(|cursor| cursor.epoch == epoch).max_by_key(|c| c.revision);
            let invited = self.invited.filter(|invited| invited.epoch == epoch);
            pull::take_snapshot(&self.context, epoch, invited.as_ref(), None).await?;
            self.refresh_ignored()?;
            self.open(epoch).await?;
            if let Some(least) = least {
                self.pull_up_to(least.revision).await?;
            }
            return Ok(());
        }
        let epoch = self.context.state.cursor()?.map_or(1, |cursor| cursor.epoch);
        self.open(epoch).await
    }

    async fn open(&mut self, epoch: u64) -> Result<(), RoundError> {
        let revision = self.context.state.cursor()?.map_or(0, |cursor| cursor.revision);
        let request = Subscribe { folder: self.context.folder.to_vec(), epoch, revision };
        let stream = self.context.remote.subscribe(request).await?;
        let mut journal = Journal::new(stream);
        // The first batch comes at once: it says whether this journal is the one that was left.
        let first = self.expected(&mut journal).await?;
        self.forget_unreached();
        self.journal = Some(journal);
        match first {
            Some(batch) => self.take_batch(&batch).await,
            None => {
                self.journal = None;
                Err(RemoteError::Closed("the subscription ended at once".into()).into())
            }
        }
    }

    /// Takes the batches that have arrived, as many as one round takes: a server that never ends
    /// must not keep this device from its disk and its questions.
    async fn drain(&mut self) -> Result<(), RoundError> {
        for _ in 0..BATCHES_TOGETHER {
            let Some(journal) = self.journal.as_mut() else { return Ok(()) };
            let Some(result) = journal.poll() else { return Ok(()) };
            match result {
                Ok(Some(batch)) => self.take_batch(&batch).await?,
                Ok(None) => self.journal = None,
                Err(error) => {
                    self.journal = None;
                    return Err(error.into());
                }
            }
        }
        self.busy = true;
        Ok(())
    }

    /// Waits until the journal has brought a revision. A server that names one and does not bring it
    /// must not keep this device from its disk and its questions.
    pub(super) async fn pull_up_to(&mut self, revision: Revision) -> Result<(), RoundError> {
        loop {
            let at = self.context.state.cursor()?.map_or(0, |cursor| cursor.revision);
            if at >= revision {
                return Ok(());
            }
            let Some(mut journal) = self.journal.take() else {
                return Err(RemoteError::Closed("the subscription ended".into()).into());
            };
            if let Some(batch) = self.expected(&mut journal).await? {
                self.journal = Some(journal);
                self.take_batch(&batch).await?;
            }
        }
    }

    /// A batch that is on its way.
    async fn expected(&self, journal: &mut Journal) -> Result<Option<JournalBatch>, RemoteError> {
        let patience = self.context.environment.sleep(BATCH_PATIENCE_MS);
        tokio::select! {
            biased;
            taken = journal.take() => taken,
            () = patience => Err(RemoteError::Closed("the journal does not go on".into())),
        }
    }

    /// Applies a batch. One that was not applied is asked for again with a new subscription: the
    /// next of this one would seem to leave a gap.
    async fn take_batch(&mut self, batch: &JournalBatch) -> Result<(), RoundError> {
        let taken = self.apply_batch(batch).await;
        if taken.is_err() {
            self.journal = None;
        }
        taken
    }

    async fn apply_batch(&mut self, batch: &JournalBatch) -> Result<(), RoundError> {
        let epoch = self.context.state.cursor()?.map(|cursor| cursor.epoch);
        if epoch.is_some_and(|epoch| epoch != batch.epoch) {
            self.journal = None;
            return self.other_epoch(batch).await;
        }
        let mut revived = pull::Revived::new();
        let mut refreshed = false;
        let pulled = loop {
            let pin = self.pinned;
            let pin = pin.filter(|pin| pin.epoch == batch.epoch);
            match pull::apply_batch(&self.context, batch, pin.as_ref(), &revived) {
                Ok(pulled) => break pulled,
                Err(PullError::UnknownSigner(device)) if !refreshed => {
                    refreshed = true;
                    let Some(log) = self.log.refresh(device).await else {
                        return Err(
                            RemoteError::Closed("the device log cannot be read".into()).into()
                        );
                    };
                    self.context.signers.replace(log);
                }
                Err(PullError::UnknownSigner(device)) => {
                    let reason = format!("device {device} is not in the user's device log");
                    return Err(PullError::from(Alarm::Forged { revision: 0, reason }).into());
                }
                Err(PullError::UnknownEntry { entry, base })
                    if !revived.contains_key(&(entry, base)) =>
                {
                    let Some(registers) = self.deleted_registers(&entry, base).await? else {
                        return self.begin_anew().await;
                    };
                    revived.insert((entry, base), registers);
                }
                Err(error) => return Err(error.into()),
            }
        };
        if pulled.groups > 0 {
            self.failed.clear();
            if pulled.moved_directories || self.ignore.patterns() > 0 {
                self.refresh_ignored()?;
            }
        }
        Ok(())
    }

    /// The journal goes on in another epoch: the server was restored from a backup (rule 4).
    async fn other_epoch(&mut self, batch: &JournalBatch) -> Result<(), RoundError> {
        let Some(cursor) = self.context.state.cursor()? else { return Ok(()) };
        let start = batch.lineage.iter().filter(|start| start.epoch > cursor.epoch);
        let Some(start) = start.min_by_key(|start| start.revision) else {
            return Err(alarm("the server is in an older epoch than this device has seen"));
        };
        let head = common::ids::Head::from_slice(&start.head).map_err(PullError::from)?;
        let restored = Cursor { epoch: batch.epoch, revision: start.revision, head };
        let seen = self.pinned.filter(|pin| pin.epoch == cursor.epoch);
        let highest = seen.map_or(cursor.revision, |pin| pin.revision.max(cursor.revision));
        if highest <= restored.revision {
            // Nothing that this device has seen was lost: its history goes on there.
            let known = self.context.state.head_at(restored.revision)?;
            if highest == restored.revision && known.is_some_and(|known| known != head) {
                return Err(alarm("the restored server has another history"));
            }
            self.context.state.atomically(|state| {
                state.set_cursor(&Cursor { epoch: batch.epoch, ..cursor })?;
                if let Some(pending) = state.rebuilding()? {
                    state.set_rebuilding(Some(pending.min(restored.revision)))?;
                }
                // It was about an earlier restore, of which this journal may know nothing.
                let is_of_it = |owed: &Agreement| {
                    batch.lineage.iter().any(|start| {
                        let Cursor { revision, head, .. } = owed.restored;
                        start.revision == revision && start.head == head.as_bytes()
                    })
                };
                let owed = state.agreement()?.filter(is_of_it);
                state.set_agreement(owed.as_ref())?;
                // What was stored before may not be there any more, whoever has acknowledged it.
                state.forget_stored()?;
                Ok::<_, StateError>(())
            })?;
            self.forget_presence();
            self.busy = true;
            return Ok(());
        }
        let known = self.context.state.head_at(restored.revision)?;
        if known.is_some_and(|known| known != head) {
            return Err(alarm("the restored server has another history than this device"));
        }
        if self.confirmed_elsewhere(&restored).await? {
            return self.follow(&restored, None).await;
        }
        self.halted = Some(Halted::Rollback { restored });
        // A person takes their time: whether another device has agreed is asked now and then.
        self.back_off();
        Ok(())
    }

    /// Nothing proves any more that the server has something.
    fn forget_presence(&mut self) {
        self.proofs.clear();
        self.recovering = true;
    }

    /// Whether a device of this user has confirmed the new epoch with a signed group.
    async fn confirmed_elsewhere(&mut self, restored: &Cursor) -> Result<bool, RoundError> {
        let (_, last) = self.folder_state().await?;
        let request = Subscribe {
            folder: self.context.folder.to_vec(),
            epoch: restored.epoch,
            revision: restored.revision,
        };
        let mut stream = self.context.remote.subscribe(request).await?;
        let mut at = restored.revision;
        loop {
            let Some(batch) = stream.next().await? else { return Ok(false) };
            for message in &batch.groups {
                at = message.revision;
                let Ok(signature) = common::ids::Signature::from_slice(&message.signature) else {
                    continue;
                };
                let signed = SignedGroup { body: message.body.clone(), signature };
                let Ok(group) = signed.verify() else { continue };
                let enrolled = self.context.signers.with(|log| log.was_enrolled(&group.device));
                let confirms = group.changes.iter().any(|change| {
                    matches!(change, Change::ConfirmEpoch { restored: to, .. }
                        if (to.revision, to.head) == (restored.revision, restored.head))
                });
                if enrolled && confirms && group.folder == self.context.folder {
                    return Ok(true);
                }
            }
            if at >= last || at >= batch.last_revision {
                return Ok(false);
            }
        }
    }

    /// Goes on in a new epoch: the remote tree is built anew, and what the server has forgotten is
    /// pushed again. `agreed`: how far this device had seen the earlier epoch, if it is the one on which
    /// a person agreed. Nobody has to be asked once this has returned: what is left to do is noted, and
    /// done whenever the server is reached.
    pub(super) async fn follow(
        &mut self,
        restored: &Cursor,
        agreed: Option<Cursor>,
    ) -> Result<(), RoundError> {
        let restore = pull::Restore { restored: *restored, agreed };
        pull::take_snapshot(&self.context, restored.epoch, None, Some(&restore)).await?;
        self.forget_presence();
        self.pinned = None;
        self.journal = None;
        self.halted = None;
        self.retry_at_ns = 0;
        self.busy = true;
        Ok(())
    }

    /// Sends what a person has agreed to on this device, unless the journal has it: until then nothing
    /// else is done, and the other devices wait for it.
    async fn send_agreement(&mut self) -> Result<(), RoundError> {
        let Some(owed) = self.context.state.agreement()? else { return Ok(()) };
        let Agreement { restored, highest } = owed;
        let change = Change::ConfirmEpoch { restored, highest };
        if !self.send_changes(vec![change], Vec::new()).await? {
            let text = "the server did not take the agreement to go on after the restore";
            return Err(RemoteError::Closed(text.into()).into());
        }
        Ok(())
    }

    /// Brings the remote tree up to date that is being rebuilt, and the merge base with it. The snapshot
    /// alone would not do: it may be older than what this device and the server have both kept, which
    /// would be taken for an edit.
    async fn finish_rebuild(&mut self) -> Result<(), RoundError> {
        let (epoch, last) = self.folder_state().await?;
        self.pull_up_to(last).await?;
        let followed = self.context.state.cursor()?.map(|cursor| cursor.epoch);
        if self.journal.is_none() || followed != Some(epoch) {
            // Restored once more meanwhile: how far it shares this journal is to be heard first.
            self.journal = None;
            return Err(RemoteError::Closed("the server goes on in another epoch".into()).into());
        }
        pull::finish_rebuild(&self.context)?;
        self.refresh_ignored()?;
        Ok(())
    }

    /// Epoch and last revision of this folder's journal, as the server says now.
    pub(super) async fn folder_state(&self) -> Result<(u64, Revision), RoundError> {
        let replies = self.context.remote.request(Request::FolderList(Default::default())).await?;
        for reply in replies {
            let Reply::Folders(part) = reply else { continue };
            for folder in part.folders {
                if FolderGenesis::id(&folder.genesis) == self.context.folder {
                    return Ok((folder.epoch, folder.revision));
                }
            }
        }
        Err(no_folder(&self.context.folder))
    }

    /// An entry as this revision deleted it; `None` when retention has released that version.
    async fn deleted_registers(
        &self,
        entry: &EntryId,
        base: Revision,
    ) -> Result<Option<Registers>, RoundError> {
        let request = VersionsRead {
            folder: self.context.folder.to_vec(),
            entry: entry.to_vec(),
            at_or_before: base,
            limit: 1,
        };
        let replies = self.context.remote.request(Request::Versions(request)).await?;
        let bad = |error: RecordError| PullError::Protocol(error.to_string());
        for reply in replies {
            let Reply::Versions(part) = reply else { continue };
            let mut versions = part.versions.into_iter();
            let found = versions.find(|version| version.revision == base && version.deleted);
            if let Some(registers) = found.and_then(|version| version.registers) {
                return Ok(Some(Registers::try_from(registers).map_err(bad)?));
            }
        }
        Ok(None)
    }

    /// Goes on from the newest snapshot: this device was away for longer than the history is kept,
    /// and cannot follow the journal entry by entry. The newest checkpoint stays whole, so that it
    /// lies after what is missing.
    async fn begin_anew(&mut self) -> Result<(), RoundError> {
        self.journal = None;
        let Some(cursor) = self.context.state.cursor()? else { return Ok(()) };
        let least = Cursor { revision: cursor.revision + 1, ..cursor };
        pull::take_snapshot(&self.context, cursor.epoch, Some(&least), None).await?;
        self.refresh_ignored()?;
        self.outbox_known = false;
        self.busy = true;
        Ok(())
    }

    /// Pins the cursor when it has moved on.
    pub(super) fn pin(&mut self) -> Result<(), RoundError> {
        let cursor = self.context.state.cursor()?;
        let Some(cursor) = cursor.filter(|cursor| Some(*cursor) != self.pinned) else {
            return Ok(());
        };
        match self.pins.pin(&self.context.folder, &cursor) {
            Ok(()) => self.pinned = Some(cursor),
            Err(error) => tracing::warn!(%error, "the position could not be pinned"),
        }
        Ok(())
    }
}

fn alarm(text: &str) -> RoundError {
    PullError::from(Alarm::History(text.to_owned())).into()
}

fn no_folder(folder: &FolderId) -> RoundError {
    RemoteError::Refused(common::wire::meta::Refusal::new(
        common::wire::meta::RefusalCode::NoSuchFolder,
        format!("the server does not have folder {folder}"),
    ))
    .into()
}
