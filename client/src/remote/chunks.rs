//! Chunk requests over a connection: PUT, GET and HAVE, each on a stream of its own.
//!
//! Owns their framing and what a device checks of them at once: receipts that cover what was put,
//! bytes that hash to their id. It must not know what a chunk says.

use super::error::RemoteError;
use super::stream::{self, Reader, Taken, Writer};
use bytes::Bytes;
use common::ids::{ChunkId, FolderId};
use common::limits::{HAVE_IDS_MAX, REPLY_ITEMS_MAX, SEALED_BYTES_MAX};
use common::trust::ReceiptBatch;
use common::wire::meta::RefusalCode;
use common::wire::store::{
    GetHeader, GetRequest, HaveReply, HaveRequest, PutHeader, PutReply, StoreOpen, StoreVerb,
};
use quinn::Connection;
use std::time::Duration;

/// What every store stream begins with.
pub(super) struct Access {
    pub(super) connection: Connection,
    pub(super) folder: FolderId,
    pub(super) capability: Vec<u8>,
    pub(super) patience: Duration,
}

impl Access {
    async fn open(&self, verb: StoreVerb) -> Result<(Writer, Reader), RemoteError> {
        let (mut writer, reader) = stream::open(&self.connection, self.patience).await?;
        let open = StoreOpen { capability: self.capability.clone(), verb: verb as i32 };
        // Whether it was taken is told by the reply.
        writer.frame(&open).await?;
        Ok((writer, reader))
    }
}

/// Puts chunks and collects receipts that cover them in order.
pub(super) async fn put(
    access: &Access,
    chunks: &[(ChunkId, Bytes)],
) -> Result<Vec<Vec<u8>>, RemoteError> {
    if let Some((id, bytes)) = chunks.iter().find(|(_, bytes)| bytes.len() > SEALED_BYTES_MAX) {
        return Err(RemoteError::TooLarge(format!("chunk {id} of {} bytes", bytes.len())));
    }
    let (mut writer, mut reader) = access.open(StoreVerb::Put).await?;
    let sending = async {
        for (id, bytes) in chunks {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let header = PutHeader { id: id.to_vec(), length };
            if writer.frame_and_bytes(&header, bytes.clone()).await? == Taken::Enough {
                break;
            }
        }
        writer.finish();
        Ok(())
    };
    let receiving = receive_receipts(&mut reader, &access.folder, chunks);
    // A refusal ends both: the rest is not sent.
    let ((), receipts) = futures_util::future::try_join(sending, receiving).await?;
    Ok(receipts)
}

async fn receive_receipts(
    reader: &mut Reader,
    folder: &FolderId,
    chunks: &[(ChunkId, Bytes)],
) -> Result<Vec<Vec<u8>>, RemoteError> {
    let mut receipts = Vec::new();
    let mut uncovered = chunks;
    while let Some(reply) = reader.frame::<PutReply>().await? {
        if let Some(refusal) = reply.refusal {
            return Err(RemoteError::Refused(refusal));
        }
        let items = open_receipts(&reply.receipts, folder)?.items;
        if items.len() > uncovered.len() {
            return Err(RemoteError::Protocol("receipts for more than was put".into()));
        }
        let (covered, rest) = uncovered.split_at(items.len());
        let same = |((id, bytes), item): (&(ChunkId, Bytes), _)| {
            let item: &common::trust::ReceiptItem = item;
            *id == item.id && bytes.len() == item.length as usize
        };
        if !covered.iter().zip(&items).all(same) {
            return Err(RemoteError::Protocol("a receipt for another chunk than was put".into()));
        }
        uncovered = rest;
        receipts.push(reply.receipts);
    }
    if !uncovered.is_empty() {
        let missing = uncovered.len();
        return Err(RemoteError::Protocol(format!("no receipts for {missing} chunks")));
    }
    Ok(receipts)
}

fn open_receipts(receipts: &[u8], folder: &FolderId) -> Result<ReceiptBatch, RemoteError> {
    let batch = ReceiptBatch::open(receipts)
        .map_err(|error| RemoteError::Protocol(format!("receipts: {error}")))?;
    if batch.folder != *folder {
        return Err(RemoteError::Protocol("receipts for another folder".into()));
    }
    Ok(batch)
}

/// Gets chunks in the order asked and checks the hash of each; `None` for one without a whole copy.
pub(super) async fn get(
    access: &Access,
    ids: &[ChunkId],
) -> Result<Vec<Option<Bytes>>, RemoteError> {
    let (mut writer, mut reader) = access.open(StoreVerb::Get).await?;
    let asking = async {
        for ids in ids.chunks(REPLY_ITEMS_MAX) {
            let request = GetRequest { ids: ids.iter().map(|id| id.to_vec()).collect() };
            if writer.frame(&request).await? == Taken::Enough {
                break;
            }
        }
        writer.finish();
        Ok(())
    };
    let receiving = async {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(receive_chunk(&mut reader, *id).await?);
        }
        Ok(found)
    };
    let ((), found) = futures_util::future::try_join(asking, receiving).await?;
    Ok(found)
}

async fn receive_chunk(reader: &mut Reader, id: ChunkId) -> Result<Option<Bytes>, RemoteError> {
    let header = reader
        .frame::<GetHeader>()
        .await?
        .ok_or_else(|| RemoteError::Protocol("fewer chunks than were asked for".into()))?;
    if let Some(refusal) = header.refusal {
        // The others of the same request are good: this one fails its own file only.
        if refusal.code() == RefusalCode::Damaged {
            tracing::warn!(%id, "the server's copy of a chunk is damaged");
            return Ok(None);
        }
        return Err(RemoteError::Refused(refusal));
    }
    if !header.found {
        return Ok(None);
    }
    if header.length as usize > SEALED_BYTES_MAX {
        return Err(RemoteError::Protocol(format!("a chunk of {} bytes", header.length)));
    }
    let bytes = reader.bytes(header.length as usize).await?;
    if ChunkId::of(&bytes) != id {
        tracing::warn!(%id, "the server sent damaged bytes for a chunk");
        return Ok(None);
    }
    Ok(Some(bytes))
}

/// Collects receipts for those of the ids that are stored.
pub(super) async fn have(access: &Access, ids: &[ChunkId]) -> Result<Vec<Vec<u8>>, RemoteError> {
    let (mut writer, mut reader) = access.open(StoreVerb::Have).await?;
    let mut receipts = Vec::new();
    for ids in ids.chunks(HAVE_IDS_MAX) {
        let request = HaveRequest { ids: ids.iter().map(|id| id.to_vec()).collect() };
        writer.frame(&request).await?;
        let reply = reader
            .frame::<HaveReply>()
            .await?
            .ok_or_else(|| RemoteError::Protocol("a question was not answered".into()))?;
        if let Some(refusal) = reply.refusal {
            return Err(RemoteError::Refused(refusal));
        }
        for batch in &reply.receipts {
            open_receipts(batch, &access.folder)?;
        }
        receipts.extend(reply.receipts);
    }
    writer.finish();
    Ok(receipts)
}
