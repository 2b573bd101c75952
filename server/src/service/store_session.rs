//! Store streams: chunks of one folder, for one device that showed a capability.
//!
//! Owns the checks before the chunk store and the receipts after it. It must not know metadata:
//! on a storage node of its own, the capability is all there is to go by.

use super::LAYOUT;
use super::Service;
use super::budget::Budget;
use super::presence::Presence;
use super::refusal::{malformed, of_chunk_store, revoked};
use crate::chunk_store::{ChunkKey, Stored};
use bytes::Bytes;
use common::ids::{ChunkId, DeviceId};
use common::limits::{HAVE_IDS_MAX, RECEIPT_ITEMS_MAX, SEALED_BYTES_MAX};
use common::trust::{Capability, ReceiptBatch, ReceiptItem};
use common::wire::meta::{Refusal, RefusalCode};
use common::wire::store::{HaveReply, PutReply, StoreOpen, StoreVerb};

/// An open store stream of one device and folder.
#[derive(Debug)]
pub struct StoreSession {
    service: Service,
    capability: Capability,
    budget: Budget,
    /// Tells of a revocation; does not count as a connection.
    peer: Presence,
}

impl StoreSession {
    /// Checks what a stream shows.
    pub(super) fn open(
        service: &Service,
        peer: DeviceId,
        open: &StoreOpen,
    ) -> Result<Self, Refusal> {
        // Before the check, so that a revocation in between is noticed.
        let presence = service.inner.presence.listen(peer);
        service.check_enrolled(&peer)?;
        let now_ms = service.now_ms();
        let capability = Capability::open(&open.capability, &service.cluster())
            .map_err(|error| refused(error.to_string()))?;
        if capability.device != peer {
            return Err(refused("the capability is another device's"));
        }
        if capability.key_id != service.inner.capability_key {
            return Err(refused("the capability was signed with a key that is void"));
        }
        let permitted = match StoreVerb::try_from(open.verb) {
            Ok(StoreVerb::Put) => capability.write,
            Ok(StoreVerb::Get | StoreVerb::Have) => capability.read,
            Ok(StoreVerb::Unspecified) | Err(_) => {
                return Err(malformed("a store stream is for put, get or have"));
            }
        };
        if !permitted {
            return Err(refused("the capability does not permit this"));
        }
        let budget = service.inner.budgets.of(
            peer,
            &open.capability,
            capability.bytes_max,
            capability.expires_ms,
            now_ms,
        )?;
        let session = Self { service: service.clone(), capability, budget, peer: presence };
        session.check()?;
        Ok(session)
    }

    /// Whether the stream may go on.
    fn check(&self) -> Result<(), Refusal> {
        if self.peer.is_revoked() {
            return Err(revoked(None));
        }
        if !self.capability.is_valid_at(self.service.now_ms()) {
            return Err(refused("the capability has expired"));
        }
        Ok(())
    }

    fn key(&self, id: ChunkId) -> ChunkKey {
        ChunkKey { folder: self.capability.folder, id }
    }

    fn receipts(&self, generation: u64, items: Vec<ReceiptItem>) -> Vec<u8> {
        let folder = self.capability.folder;
        let node = self.service.inner.node;
        ReceiptBatch { folder, node, layout: LAYOUT, generation, items }
            .sign(&self.service.inner.node_key)
    }

    /// Stores chunks, at most [`RECEIPT_ITEMS_MAX`]: all durable, with a receipt, when this
    /// returns, or refused and nothing acknowledged. The caller bounds what it collects.
    pub async fn put(&self, chunks: Vec<(ChunkId, Bytes)>) -> PutReply {
        match self.stored(chunks).await {
            Ok(receipts) => PutReply { receipts, refusal: None },
            Err(refusal) => PutReply { receipts: Vec::new(), refusal: Some(refusal) },
        }
    }

    async fn stored(&self, chunks: Vec<(ChunkId, Bytes)>) -> Result<Vec<u8>, Refusal> {
        self.check()?;
        if !self.capability.write {
            return Err(refused("the capability does not permit writing"));
        }
        if chunks.is_empty() || chunks.len() > RECEIPT_ITEMS_MAX {
            return Err(malformed(format!("1 to {RECEIPT_ITEMS_MAX} chunks are put at a time")));
        }
        if let Some((id, bytes)) = chunks.iter().find(|(_, bytes)| bytes.len() > SEALED_BYTES_MAX) {
            return Err(malformed(format!("chunk {id} of {} bytes is too large", bytes.len())));
        }
        let bytes: u64 = chunks.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        self.budget.spend(bytes)?;
        // Read before the put: the chunks are stamped with this generation or a later one.
        let chunk_store = &self.service.inner.chunks;
        let generation = chunk_store.generation();
        let ids: Vec<ChunkId> = chunks.iter().map(|(id, _)| *id).collect();
        let keyed = chunks.into_iter().map(|(id, bytes)| (self.key(id), bytes)).collect();
        let stored = chunk_store.put(keyed).await.map_err(|error| {
            self.budget.give_back(bytes);
            of_chunk_store(&error)
        })?;
        let known = stored.iter().filter(|stored| !stored.new);
        self.budget.give_back(known.map(|stored| u64::from(stored.length)).sum());
        let item = |(id, stored): (ChunkId, &Stored)| ReceiptItem {
            id,
            length: stored.length,
            new: stored.new,
        };
        Ok(self.receipts(generation, ids.into_iter().zip(&stored).map(item).collect()))
    }

    /// Reads a chunk, verified; `None` when it is not stored for this folder.
    ///
    /// # Errors
    /// The refusal to send in the header instead: damaged, the disk does not answer, the
    /// capability has expired, the device was revoked.
    pub async fn get(&self, id: ChunkId) -> Result<Option<Bytes>, Refusal> {
        self.check()?;
        if !self.capability.read {
            return Err(refused("the capability does not permit reading"));
        }
        let found = self.service.inner.chunks.get(self.key(id)).await;
        found.map_err(|error| of_chunk_store(&error))
    }

    /// Receipts for those of the ids that are stored and verified.
    pub async fn have(&self, ids: Vec<ChunkId>) -> HaveReply {
        match self.held(ids).await {
            Ok(receipts) => HaveReply { receipts, refusal: None },
            Err(refusal) => HaveReply { receipts: Vec::new(), refusal: Some(refusal) },
        }
    }

    async fn held(&self, ids: Vec<ChunkId>) -> Result<Vec<Vec<u8>>, Refusal> {
        self.check()?;
        if !self.capability.read {
            return Err(refused("the capability does not permit reading"));
        }
        if ids.len() > HAVE_IDS_MAX {
            return Err(malformed(format!(
                "at most {HAVE_IDS_MAX} chunks are asked for at a time"
            )));
        }
        let chunk_store = &self.service.inner.chunks;
        let generation = chunk_store.generation();
        let keys = ids.iter().map(|id| self.key(*id)).collect();
        let lengths = chunk_store.have(keys).await.map_err(|error| of_chunk_store(&error))?;
        let held: Vec<ReceiptItem> = ids
            .into_iter()
            .zip(lengths)
            .filter_map(|(id, length)| Some(ReceiptItem { id, length: length?, new: false }))
            .collect();
        let batches = held.chunks(RECEIPT_ITEMS_MAX);
        Ok(batches.map(|items| self.receipts(generation, items.to_vec())).collect())
    }
}

fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Capability, message)
}
