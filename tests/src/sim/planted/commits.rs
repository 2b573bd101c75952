//! A server that lies about commits and journals.
//!
//! Owns the lies between a device and the real service. To have a stale change accepted it signs
//! with the device's own key, as no real server could: what is tested is what the oracles see.

use super::super::server::SimServer;
use super::Planted;
use common::ids::{DeviceId, EntryId, FolderId, RequestId};
use common::keys::SigningKey;
use common::record::{Change, Group, SignedGroup};
use common::wire::meta::{
    Accepted, CommitPart, GroupMessage, JournalBatch, Outcome, OutcomeKind, Outcomes,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What lies about commits, if anything does. Clones share their counters.
#[derive(Clone)]
pub struct Commits {
    planted: Option<Planted>,
    key: Arc<SigningKey>,
    calls: Arc<AtomicU64>,
}

impl Commits {
    /// For the device with this key.
    #[must_use]
    pub fn new(planted: Option<Planted>, key: SigningKey) -> Self {
        Self { planted, key: Arc::new(key), calls: Arc::default() }
    }

    /// What the service is given instead of these parts.
    #[must_use]
    pub fn before(
        &self,
        server: &SimServer,
        folder: FolderId,
        parts: Vec<CommitPart>,
    ) -> Vec<CommitPart> {
        let lies = [Planted::StaleBasesAccepted, Planted::StaleDeletesAccepted];
        if !self.planted.is_some_and(|planted| lies.contains(&planted)) {
            return parts;
        }
        let fresh = |part: CommitPart| CommitPart {
            groups: part.groups.iter().map(|group| self.rebased(server, folder, group)).collect(),
            ..part
        };
        parts.into_iter().map(fresh).collect()
    }

    fn rebased(
        &self,
        server: &SimServer,
        folder: FolderId,
        message: &GroupMessage,
    ) -> GroupMessage {
        let signature = common::ids::Signature::from_bytes([0; 64]);
        let signed = SignedGroup { body: message.body.clone(), signature };
        let Ok(group) = signed.decode() else { return message.clone() };
        let deletes_alone = self.planted == Some(Planted::StaleDeletesAccepted);
        let fresh = |change: &Change| match change {
            Change::Delete { .. } => newest(server, folder, change),
            _ if deletes_alone => change.clone(),
            _ => newest(server, folder, change),
        };
        let changes = group.changes.iter().map(fresh).collect();
        let signed = SignedGroup::sign(&Group { changes, ..group }, &self.key);
        GroupMessage { body: signed.body, signature: signed.signature.to_vec() }
    }

    /// What a commit proves, if it is to be given once more.
    #[must_use]
    pub fn proofs(&self, parts: &[CommitPart]) -> CommitPart {
        let parts = if self.planted == Some(Planted::CommittedTwice) { parts } else { &[] };
        CommitPart {
            receipts: parts.iter().flat_map(|part| part.receipts.clone()).collect(),
            pages: parts.iter().flat_map(|part| part.pages.clone()).collect(),
            groups: Vec::new(),
        }
    }

    /// What the service is given once more after it has accepted a group.
    #[must_use]
    pub fn again(
        &self,
        server: &SimServer,
        folder: FolderId,
        accepted: &GroupMessage,
        proofs: &CommitPart,
    ) -> Option<CommitPart> {
        if self.planted != Some(Planted::CommittedTwice) {
            return None;
        }
        let signature = common::ids::Signature::from_bytes([0; 64]);
        let group = SignedGroup { body: accepted.body.clone(), signature }.decode().ok()?;
        let is_repeated =
            |change: &Change| matches!(change, Change::Edit { .. } | Change::Move { .. });
        if !group.changes.iter().all(is_repeated) {
            return None;
        }
        let changes = group.changes.iter().map(|change| newest(server, folder, change)).collect();
        let incarnation = !group.request.incarnation;
        let request = RequestId { incarnation, ..group.request };
        let signed = SignedGroup::sign(&Group { changes, request, ..group }, &self.key);
        let message = GroupMessage { body: signed.body, signature: signed.signature.to_vec() };
        Some(CommitPart { groups: vec![message], ..proofs.clone() })
    }

    /// The answer that is given without asking the service.
    #[must_use]
    pub fn instead(
        &self,
        parts: &[CommitPart],
        server: &SimServer,
        folder: FolderId,
    ) -> Option<Outcomes> {
        if self.planted != Some(Planted::CommitDroppedAfterYes) {
            return None;
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call % 4 != 3 {
            return None;
        }
        let state = server.meta().read(|reads| reads.folder(&folder)).ok()??;
        let accepted = Accepted { revision: state.revision, time_ms: 0, epoch: state.epoch };
        let count: usize = parts.iter().map(|part| part.groups.len()).sum();
        let outcome = Outcome { kind: Some(OutcomeKind::Accepted(accepted)) };
        Some(Outcomes { outcomes: vec![outcome; count] })
    }

    /// The batch that the device gets.
    #[must_use]
    pub fn batch(&self, mut batch: JournalBatch) -> JournalBatch {
        if self.planted == Some(Planted::GroupsLeftOut) && batch.groups.len() > 2 {
            batch.groups.remove(1);
        }
        if self.planted != Some(Planted::JournalReplayed) {
            return batch;
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call % 5 == 4
            && let [first, .., last] = batch.groups.as_mut_slice()
        {
            last.body.clone_from(&first.body);
            last.signature.clone_from(&first.signature);
        }
        batch
    }

    /// Whose lies.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.key.device()
    }
}

/// The change as if its author had read the newest registers.
fn newest(server: &SimServer, folder: FolderId, change: &Change) -> Change {
    let revisions = |entry: &EntryId| {
        let state = server.meta().read(|reads| reads.entry(&folder, entry)).ok().flatten();
        state.map(|state| (state.place_revision, state.content_revision))
    };
    match change {
        Change::Edit { entry, base, content } => {
            let base = revisions(entry).map_or(*base, |(_, content)| content);
            Change::Edit { entry: *entry, base, content: content.clone() }
        }
        Change::Move { entry, base, place } => {
            let base = revisions(entry).map_or(*base, |(place, _)| place);
            Change::Move { entry: *entry, base, place: place.clone() }
        }
        Change::Delete { entry, place_base, content_base } => {
            let (place_base, content_base) =
                revisions(entry).unwrap_or((*place_base, *content_base));
            Change::Delete { entry: *entry, place_base, content_base }
        }
        other => other.clone(),
    }
}
