//! PUT: chunks are read while those before them are stored, and acknowledged batch by batch.
//!
//! Owns the pipeline between the network and the store and its bounds: a batch, and the bytes that
//! a connection holds in memory. It must not know what makes a chunk durable.

use super::limits::{PUT_BATCH_BYTES, PUT_BATCH_CHUNKS};
use super::stream::{Reader, StreamError, Writer, close_code};
use crate::service::StoreSession;
use bytes::Bytes;
use common::ids::ChunkId;
use common::limits::SEALED_BYTES_MAX;
use common::wire::meta::RefusalCode;
use common::wire::store::PutHeader;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// A chunk that waits to be stored, and its share of the connection's room.
struct Arrived {
    id: ChunkId,
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

/// Stores what the peer sends until it ends its side, or the store refuses.
pub(super) async fn serve(
    session: &StoreSession,
    room: &Arc<Semaphore>,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    let (sender, receiver) = mpsc::channel(PUT_BATCH_CHUNKS);
    let stopped_early = {
        let reading = read_chunks(reader, room, sender);
        let storing = store_batches(session, receiver, writer);
        tokio::pin!(reading, storing);
        tokio::select! {
            // Nothing more is taken: a refusal was sent, or nobody listens.
            stored = &mut storing => { stored?; true }
            read = &mut reading => {
                // What arrived whole is stored even if the rest never comes.
                let stored = storing.await;
                read?;
                stored?;
                false
            }
        }
    };
    if stopped_early {
        reader.stop(close_code(RefusalCode::Unspecified));
    }
    Ok(())
}

async fn read_chunks(
    reader: &mut Reader,
    room: &Arc<Semaphore>,
    arrived: mpsc::Sender<Arrived>,
) -> Result<(), StreamError> {
    while let Some((header, _)) = reader.frame::<PutHeader>().await? {
        let id = ChunkId::from_slice(&header.id)
            .map_err(|_| StreamError::Malformed("a chunk id of another length"))?;
        if header.length as usize > SEALED_BYTES_MAX {
            return Err(StreamError::Malformed("a chunk over the limit"));
        }
        // None: the semaphore is never closed.
        let share = Arc::clone(room).acquire_many_owned(header.length).await.ok();
        let bytes = reader.bytes(header.length as usize).await?;
        if arrived.send(Arrived { id, bytes, room: share }).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Stores what has arrived, as much at a time as has, and acknowledges it once it is durable.
async fn store_batches(
    session: &StoreSession,
    mut arrived: mpsc::Receiver<Arrived>,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    while let Some(first) = arrived.recv().await {
        let mut shares = Vec::new();
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(chunk) = next {
            bytes += chunk.bytes.len();
            shares.push(chunk.room);
            batch.push((chunk.id, chunk.bytes));
            let full = batch.len() >= PUT_BATCH_CHUNKS || bytes >= PUT_BATCH_BYTES;
            next = if full { None } else { arrived.try_recv().ok() };
        }
        let reply = session.put(batch).await;
        drop(shares);
        let refused = reply.refusal.is_some();
        writer.frame(&reply).await?;
        if refused {
            return Ok(());
        }
    }
    Ok(())
}
