//! Subscriptions: a folder's journal from a cursor on, and everything that follows.
//!
//! Owns where a subscriber stands. It holds no journal groups: each batch is read from the journal
//! when the subscriber takes it, so a slow one costs the same as a fast one. A wake-up says only
//! that there is more. It must not know how batches are sent.

use super::Service;
use super::access::{self, Denied};
use super::admission::Admitted;
use super::metadata::Wakeups;
use super::presence::Presence;
use super::refusal::bad_id;
use common::ids::{DeviceId, FolderId};
use common::limits::{FRAME_BYTES_MAX, REPLY_BYTES_SOFT, REPLY_ITEMS_MAX};
use common::revision::{Epoch, Revision};
use common::wire::meta::{EpochStart, JournalBatch, JournalGroup, Refusal, RefusalCode, Subscribe};
use prost::Message;
use server_core::metadata::{JournalRow, MetaReads, query};

/// Room that the fields of a batch and the frame around it take beside the groups, in bytes.
const BATCH_ROOM_BYTES: usize = 1024;

/// A live subscription.
pub struct Subscription {
    service: Service,
    folder: FolderId,
    epoch: Epoch,
    /// Everything up to here has been handed out.
    revision: Revision,
    /// Whether a batch has been handed out: the first one comes at once, even when empty.
    begun: bool,
    ended: bool,
    wakeups: Wakeups,
    /// Tells of the device's revocation; does not count as a connection.
    peer: Presence,
    _admitted: Admitted,
}

impl Subscription {
    pub(super) async fn start(
        service: &Service,
        peer: DeviceId,
        request: &Subscribe,
    ) -> Result<Self, Refusal> {
        let admitted = service.inner.admission.subscription(peer)?;
        let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
        // Both before the state is read, so that nothing in between is missed.
        let presence = service.inner.presence.listen(peer);
        let wakeups = service.inner.meta.wakeups(&folder);
        let state =
            service.inner.meta.read(move |reads| access::folder(reads, &peer, &folder)).await?;
        if state.epoch == request.epoch && request.revision > state.revision {
            // Journals do not shrink within an epoch: one of the two sides was restored.
            return Err(Refusal::new(
                RefusalCode::EpochChanged,
                format!(
                    "the journal ends at revision {}, before {}",
                    state.revision, request.revision
                ),
            ));
        }
        Ok(Self {
            service: service.clone(),
            folder,
            epoch: request.epoch,
            revision: request.revision,
            begun: false,
            ended: false,
            wakeups,
            peer: presence,
            _admitted: admitted,
        })
    }

    /// The next batch: at once while the subscriber is behind, else when something commits. `None`
    /// when the subscription has ended: the device was revoked, the epoch is another (after one
    /// batch that tells the lineage), or the node stops. Cancel-safe.
    pub async fn next(&mut self) -> Option<JournalBatch> {
        loop {
            if self.ended || self.peer.is_revoked() {
                return None;
            }
            // Before the read: what commits after it wakes the wait below.
            self.wakeups.mark_seen();
            let batch = match self.read().await {
                Ok(batch) => batch,
                Err(refusal) => {
                    let (peer, folder) = (self.peer.device(), self.folder);
                    let reason = &refusal.message;
                    tracing::info!(%peer, %folder, reason, "a subscription ends");
                    self.ended = true;
                    return None;
                }
            };
            self.ended = batch.epoch != self.epoch;
            if let Some(last) = batch.groups.last() {
                self.revision = last.revision;
            }
            if self.ended || !batch.groups.is_empty() || !self.begun {
                self.begun = true;
                return Some(batch);
            }
            // Biased, so that a simulation's runs repeat.
            tokio::select! {
                biased;
                () = self.peer.revoked() => return None,
                woken = self.wakeups.woken() => if !woken { return None },
            }
        }
    }

    async fn read(&self) -> Result<JournalBatch, Refusal> {
        let (peer, folder) = (self.peer.device(), self.folder);
        let (epoch, revision) = (self.epoch, self.revision);
        let meta = &self.service.inner.meta;
        let mut batch =
            meta.read(move |reads| read_batch(reads, &peer, &folder, epoch, revision)).await?;
        trim(&mut batch.groups);
        Ok(batch)
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("folder", &self.folder)
            .field("epoch", &self.epoch)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

fn read_batch(
    reads: &dyn MetaReads,
    peer: &DeviceId,
    folder: &FolderId,
    epoch: Epoch,
    revision: Revision,
) -> Result<JournalBatch, Denied> {
    let state = access::folder(reads, peer, folder)?;
    if state.epoch != epoch {
        let lineage = query::lineage_after(reads, folder, epoch)?;
        return Ok(JournalBatch {
            epoch: state.epoch,
            groups: Vec::new(),
            last_revision: state.revision,
            lineage: lineage
                .into_iter()
                .map(|start| EpochStart {
                    epoch: start.epoch,
                    revision: start.revision,
                    head: start.head.to_vec(),
                })
                .collect(),
        });
    }
    let rows = reads.journal(folder, revision, REPLY_ITEMS_MAX, REPLY_BYTES_SOFT)?;
    Ok(JournalBatch {
        epoch,
        groups: rows.into_iter().map(group).collect(),
        last_revision: state.revision,
        lineage: Vec::new(),
    })
}

fn group(row: JournalRow) -> JournalGroup {
    JournalGroup {
        revision: row.entry.revision,
        time_ms: row.entry.time_ms,
        body: row.entry.group.body,
        signature: row.entry.group.signature.to_vec(),
        epoch: row.epoch,
    }
}

/// Keeps the groups that fit one frame; a large group after smaller ones waits for the next. One
/// group alone always fits.
fn trim(groups: &mut Vec<JournalGroup>) {
    let mut bytes = BATCH_ROOM_BYTES;
    let fit = groups
        .iter()
        .take_while(|group| {
            bytes += group.encoded_len() + 8;
            bytes <= FRAME_BYTES_MAX
        })
        .count();
    groups.truncate(fit.max(1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::limits::GROUP_BYTES_MAX;

    fn group_of(bytes: usize) -> JournalGroup {
        JournalGroup { revision: 1, body: vec![7; bytes], ..JournalGroup::default() }
    }

    #[test]
    fn a_batch_fits_its_frame_whatever_the_groups_sizes_are() {
        let mut groups = vec![group_of(REPLY_BYTES_SOFT - 1), group_of(GROUP_BYTES_MAX)];
        trim(&mut groups);
        assert_eq!(groups.len(), 1);
        let mut groups = vec![group_of(GROUP_BYTES_MAX)];
        trim(&mut groups);
        assert_eq!(groups.len(), 1);
        let batch = JournalBatch { groups, ..JournalBatch::default() };
        assert!(batch.encoded_len() + BATCH_ROOM_BYTES <= FRAME_BYTES_MAX);
        let mut small = vec![group_of(10); 500];
        trim(&mut small);
        assert_eq!(small.len(), 500);
    }
}
