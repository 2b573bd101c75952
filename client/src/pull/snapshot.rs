//! Taking all registers at once: a new device, or one whose journal has started anew.
//!
//! Owns rule 8's shadow table: the new tree is gathered beside the old one and swapped in together
//! with its cursor. It believes nothing that a checkpoint of an enrolled device does not vouch for.

use super::groups::PullError;
use super::registers;
use crate::context::{Alarm, FolderContext};
use crate::remote::RemoteError;
use crate::state::{Agreement, FolderState, IssueSource, Reopened, StateError};
use common::record::{ConflictRecord, RecordError, RegisterDigest, Registers, StandingSettings};
use common::revision::{Cursor, Epoch, Revision};
use common::trust::{Checkpoint, TrustError};
use common::wire::meta::{Reply, Request, SnapshotPart, SnapshotRead};

/// A snapshot that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The server could not be asked or refused.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// What it sent is not to be believed.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The checkpoint is not one.
    #[error("the snapshot's checkpoint is not valid: {0}")]
    Checkpoint(#[from] TrustError),
    /// An entry or conflict does not decode.
    #[error("the snapshot does not decode: {0}")]
    Record(#[from] RecordError),
}

impl From<StateError> for SnapshotError {
    fn from(error: StateError) -> Self {
        Self::Pull(error.into())
    }
}

impl From<Alarm> for SnapshotError {
    fn from(alarm: Alarm) -> Self {
        Self::Pull(alarm.into())
    }
}

/// A restore of the server, which has forgotten some of what this device has synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The last position that its journal shares with what this device has synced, in the new epoch.
    pub restored: Cursor,
    /// How far this device had seen the earlier epoch, if a person has agreed on it.
    pub agreed: Option<Cursor>,
}

/// Replaces the remote tree by the server's newest snapshot, or by nothing when there is none, and
/// moves the cursor there. `at_least` is a position that the snapshot must not be older than. After a
/// `restore` the tree is being rebuilt until [`finish_rebuild`].
///
/// What was sent and not answered is forgotten with the same transaction: the journal after the
/// snapshot does not bring it.
///
/// # Errors
/// [`SnapshotError`]; the old remote tree stays then.
pub async fn take_snapshot(
    context: &FolderContext,
    epoch: Epoch,
    at_least: Option<&Cursor>,
    restore: Option<&Restore>,
) -> Result<Cursor, SnapshotError> {
    let request = SnapshotRead { folder: context.folder.to_vec() };
    let replies = context.remote.request(Request::Snapshot(request)).await?;
    let mut parts = Vec::new();
    for reply in replies {
        match reply {
            Reply::Snapshot(part) => parts.push(part),
            _ => return Err(PullError::Protocol("not a snapshot".into()).into()),
        }
    }
    let checkpoint = check_checkpoint(context, &parts, epoch, at_least)?;
    // A checkpoint of an earlier epoch that the server was restored with stands in this one too.
    let from = checkpoint.as_ref().map_or(Cursor::START, |checkpoint| checkpoint.cursor);
    let cursor = Cursor { epoch, ..from };
    context.state.atomically(|state| {
        state.begin_shadow()?;
        state.clear_issues(None, IssueSource::Remote)?;
        let mut digest = RegisterDigest::new(&context.folder);
        let mut last = None;
        for part in &parts {
            for message in &part.entries {
                let registers = Registers::try_from(message.clone())?;
                if last.is_some_and(|last| last >= registers.entry) {
                    let text = "entries are out of order".to_owned();
                    return Err(SnapshotError::Pull(PullError::Protocol(text)));
                }
                last = Some(registers.entry);
                digest.entry(&registers.entry, &RegisterDigest::row(&registers));
                let row = registers::row(context, &registers);
                registers::list_issue(state, &row)?;
                state.put_shadow(&row)?;
            }
        }
        reopen_forgotten(context, restore)?;
        state.clear_conflicts()?;
        for message in parts.iter().flat_map(|part| &part.conflicts) {
            let record = ConflictRecord::try_from(message.clone())?;
            digest.conflict(&record);
            state.put_conflict(&record)?;
        }
        let settings = parts.iter().find_map(|part| part.settings.clone());
        let settings = settings.map(StandingSettings::try_from).transpose()?;
        if let Some(standing) = &settings {
            digest.settings(standing.revision, &standing.settings);
        }
        state.set_settings(settings.as_ref())?;
        if let Some(checkpoint) = &checkpoint
            && digest.finish() != checkpoint.digest
        {
            let text = "the snapshot is not what its checkpoint vouches for".to_owned();
            return Err(Alarm::History(text).into());
        }
        state.swap_shadow()?;
        state.forget_heads()?;
        state.set_cursor(&cursor)?;
        state.clear_outbox()?;
        if let Some(Restore { restored, agreed }) = restore {
            // What was stored before may not be there any more, whoever has acknowledged it.
            state.forget_stored()?;
            let agreement = agreed.map(|highest| Agreement { restored: *restored, highest });
            state.set_agreement(agreement.as_ref())?;
        }
        // A rebuild that did not come to its end has left the merge base as it was before the first
        // restore: of what came after that one, none is shared.
        let shared = restore.map(|restore| restore.restored.revision);
        match shared.into_iter().chain(state.rebuilding()?).min() {
            Some(shared) => state.set_rebuilding(Some(shared))?,
            None => normalise_synced(state, Revision::MAX)?,
        }
        Ok(cursor)
    })
}

/// Notes the conflicts that a restored server has forgotten, and that this device had opened: by who
/// opened it is told whose side is whose.
fn reopen_forgotten(context: &FolderContext, restore: Option<&Restore>) -> Result<(), StateError> {
    let Some(shared) = restore.map(|restore| restore.restored.revision) else { return Ok(()) };
    let records = context.state.conflicts()?.into_iter();
    for record in records.filter(|it| it.opened > shared && it.device == context.device()) {
        context.state.reopen(&Reopened {
            conflict: record.conflict,
            entry: record.entry,
            copy: record.copy,
            base: record.base.filter(|base| *base <= shared),
        })?;
    }
    Ok(())
}

fn check_checkpoint(
    context: &FolderContext,
    parts: &[SnapshotPart],
    epoch: Epoch,
    at_least: Option<&Cursor>,
) -> Result<Option<Checkpoint>, SnapshotError> {
    let bytes = parts.first().map(|part| part.checkpoint.as_slice()).unwrap_or_default();
    if bytes.is_empty() {
        let has_rows = parts.iter().any(|part| {
            !part.entries.is_empty() || !part.conflicts.is_empty() || part.settings.is_some()
        });
        if has_rows || at_least.is_some_and(|cursor| cursor.revision > 0) {
            return Err(Alarm::History("a snapshot came without its checkpoint".into()).into());
        }
        return Ok(None);
    }
    let checkpoint = Checkpoint::open(bytes)?;
    let device = checkpoint.device;
    if checkpoint.folder != context.folder {
        return Err(Alarm::History("the checkpoint is of another folder".into()).into());
    }
    if !context.signers.with(|log| log.was_enrolled(&device)) {
        return Err(PullError::UnknownSigner(device).into());
    }
    let too_old = at_least.is_some_and(|least| checkpoint.cursor.revision < least.revision);
    if checkpoint.cursor.epoch > epoch || too_old {
        let text = "the snapshot is older than what this device was invited to";
        return Err(Alarm::History(text.into()).into());
    }
    Ok(Some(checkpoint))
}

/// This device's signed word on what all registers are at its cursor.
///
/// # Errors
/// [`StateError`]; `None` before the first pull.
pub fn checkpoint(context: &FolderContext) -> Result<Option<Vec<u8>>, StateError> {
    let Some(cursor) = context.state.cursor()? else { return Ok(None) };
    let mut digest = RegisterDigest::new(&context.folder);
    for (entry, row) in context.state.remote_hashes()? {
        digest.entry(&entry, &row);
    }
    for record in context.state.conflicts()? {
        digest.conflict(&record);
    }
    if let Some(standing) = context.state.settings()? {
        digest.settings(standing.revision, &standing.settings);
    }
    let checkpoint = Checkpoint {
        folder: context.folder,
        cursor,
        digest: digest.finish(),
        device: context.device(),
    };
    Ok(Some(checkpoint.sign(&context.signer)))
}

/// After the journal has brought the remote tree up to date that is being rebuilt: makes the merge base
/// agree with it.
///
/// # Errors
/// [`StateError`].
pub fn finish_rebuild(context: &FolderContext) -> Result<(), StateError> {
    context.state.atomically(|state| {
        if let Some(shared) = state.rebuilding()? {
            normalise_synced(state, shared)?;
            state.set_rebuilding(None)?;
        }
        Ok(())
    })
}

/// Makes the merge base agree with a remote tree that was taken anew, so that absence deletes nothing
/// and what the server has forgotten is pushed again (rule 4). `shared` is the last revision that its
/// journal shares with what this device had synced.
fn normalise_synced(state: &FolderState, shared: Revision) -> Result<(), StateError> {
    state.doubt_placings(shared)?;
    for entry in state.synced_entries()? {
        let Some(mut node) = state.synced_node(&entry)? else { continue };
        let remote = state.remote_row(&entry)?.filter(|row| !row.node.deleted);
        let Some(remote) = remote.map(|row| row.node) else {
            state.remove_synced(&entry)?;
            continue;
        };
        let is_forgotten = node.place_revision.max(node.content_revision) > shared;
        if is_forgotten && state.local_row(&entry)?.is_none() {
            // What was deleted here was not what the server has: it comes back.
            state.remove_synced(&entry)?;
            continue;
        }
        if node.place_revision > shared {
            node.position = remote.position;
            node.place_revision = remote.place_revision;
        }
        if node.content_revision > shared {
            if remote.content_revision > shared && remote.content.tag != node.content.tag {
                // Somebody has changed it since, who did not know what this device has: neither of the
                // two came from the other.
                state.remove_synced(&entry)?;
                continue;
            }
            node.content = remote.content;
            node.content_revision = remote.content_revision;
        }
        state.put_synced(&node)?;
    }
    state.mark_all_dirty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Signers;
    use crate::daemon::SystemEnvironment;
    use crate::fs::memory::MemoryFs;
    use crate::fs::{Bundled, Fs};
    use crate::remote::{JournalStream, Remote};
    use crate::state::OutboxRow;
    use async_trait::async_trait;
    use bytes::Bytes;
    use common::chunk::Chunker;
    use common::ids::{ChunkId, FolderId, Head, Signature};
    use common::keys::{DeviceKeys, FolderKeys, RecoveryKey, UserSecrets};
    use common::record::SignedGroup;
    use common::trust::{DeviceLog, NewDevice, genesis_record};
    use common::wire::meta::{CommitPart, Outcomes, Subscribe};
    use std::sync::Arc;

    /// A server whose folder is empty.
    struct Empty;

    #[async_trait]
    impl Remote for Empty {
        async fn request(&self, _: Request) -> Result<Vec<Reply>, RemoteError> {
            Ok(vec![Reply::Snapshot(SnapshotPart { last: true, ..SnapshotPart::default() })])
        }

        async fn commit(&self, _: FolderId, _: Vec<CommitPart>) -> Result<Outcomes, RemoteError> {
            Err(RemoteError::Closed("it takes nothing".into()))
        }

        async fn subscribe(&self, _: Subscribe) -> Result<Box<dyn JournalStream>, RemoteError> {
            Err(RemoteError::Closed("it has no journal".into()))
        }

        async fn put(
            &self,
            _: FolderId,
            _: Vec<(ChunkId, Bytes)>,
        ) -> Result<Vec<Vec<u8>>, RemoteError> {
            Ok(Vec::new())
        }

        async fn get(
            &self,
            _: FolderId,
            _: Vec<ChunkId>,
        ) -> Result<Vec<Option<Bytes>>, RemoteError> {
            Ok(Vec::new())
        }

        async fn have(&self, _: FolderId, _: Vec<ChunkId>) -> Result<Vec<Vec<u8>>, RemoteError> {
            Ok(Vec::new())
        }
    }

    fn context() -> FolderContext {
        let device = DeviceKeys::from_seed([1; 32]);
        let secrets = UserSecrets::first([2; 32]);
        let new = NewDevice { keys: &device, label: "A", secrets: &secrets, seed: [3; 32] };
        let genesis = genesis_record(&new, &RecoveryKey::from_seed([4; 32]).public(), 1).unwrap();
        let log = DeviceLog::genesis(&genesis).unwrap();
        let keys = Arc::new(FolderKeys::new([5; 32], [6; 32]));
        let bundles = Arc::new(Bundled::new(Arc::new(MemoryFs::new(Arc::new(|| 0)))));
        let runtime = tokio::runtime::Handle::current();
        FolderContext {
            folder: FolderId::from_bytes([7; 32]),
            chunker: Chunker::new(keys.chunker_seed()),
            keys,
            user: log.user(),
            signer: device.signing.clone(),
            device_name: "A".to_owned(),
            signers: Signers::new(log),
            marker: Vec::new(),
            fs: Arc::clone(&bundles) as Arc<dyn Fs>,
            bundles,
            remote: Arc::new(Empty),
            state: FolderState::open_in_memory().unwrap(),
            environment: Arc::new(SystemEnvironment::new(runtime)),
        }
    }

    fn at(epoch: Epoch, revision: Revision) -> Cursor {
        Cursor { epoch, revision, head: Head::from_bytes([9; 32]) }
    }

    #[tokio::test]
    async fn what_a_snapshot_says_of_a_restore_is_stored_with_it() {
        let context = context();
        let state = &context.state;
        let group = SignedGroup { body: vec![1], signature: Signature::from_bytes([0; 64]) };
        state.put_outbox(&OutboxRow { counter: 1, group, effects: Vec::new() }).unwrap();
        let agreed = Some(at(1, 100));
        let first = Restore { restored: at(2, 30), agreed };
        take_snapshot(&context, 2, None, Some(&first)).await.unwrap();
        assert_eq!(state.outbox().unwrap(), [], "the journal will not bring it");
        let owed = Agreement { restored: at(2, 30), highest: at(1, 100) };
        assert_eq!(state.agreement().unwrap(), Some(owed));
        assert_eq!(state.rebuilding().unwrap(), Some(30));

        // Another restore, whose journal goes on longer: of the base it is still no more that is shared.
        let second = Restore { restored: at(3, 40), agreed: None };
        take_snapshot(&context, 3, None, Some(&second)).await.unwrap();
        assert_eq!((state.rebuilding().unwrap(), state.agreement().unwrap()), (Some(30), None));
        take_snapshot(&context, 3, None, None).await.unwrap();
        assert_eq!(state.rebuilding().unwrap(), Some(30), "nothing has ended it");
        finish_rebuild(&context).unwrap();
        assert_eq!(state.rebuilding().unwrap(), None);
    }
}
