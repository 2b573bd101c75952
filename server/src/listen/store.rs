//! Store streams: the capability is shown once, then one verb follows.
//!
//! Owns the opening of a store stream, GET and HAVE. It must not know where chunks are kept.

use super::limits::GET_AHEAD_CHUNKS;
use super::put;
use super::stream::{Reader, StreamError, Writer};
use crate::service::{Service, StoreSession};
use bytes::Bytes;
use common::ids::{ChunkId, DeviceId};
use common::limits::{HAVE_IDS_MAX, REPLY_ITEMS_MAX};
use common::wire::meta::Refusal;
use common::wire::store::{
    GetHeader, GetRequest, HaveReply, HaveRequest, PutReply, StoreOpen, StoreVerb,
};
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Serves one store stream of an enrolled device. `room` bounds the bytes of its connection's puts.
pub(super) async fn serve(
    service: &Service,
    peer: DeviceId,
    room: &Arc<Semaphore>,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    let (open, _) =
        reader.frame::<StoreOpen>().await?.ok_or(StreamError::Malformed("no request came"))?;
    let verb = open.verb();
    match (verb, service.open_store(peer, &open)) {
        (StoreVerb::Unspecified, _) => return Err(StreamError::Malformed("no such verb")),
        (_, Err(refusal)) => refuse(verb, refusal, writer).await?,
        (StoreVerb::Put, Ok(session)) => put::serve(&session, room, reader, writer).await?,
        (StoreVerb::Get, Ok(session)) => get(&session, reader, writer).await?,
        (StoreVerb::Have, Ok(session)) => have(&session, reader, writer).await?,
    }
    writer.finish();
    Ok(())
}

/// Says why nothing is done, in the words of the verb.
async fn refuse(verb: StoreVerb, refusal: Refusal, writer: &mut Writer) -> Result<(), StreamError> {
    let refusal = Some(refusal);
    match verb {
        StoreVerb::Unspecified => Ok(()),
        StoreVerb::Put => writer.frame(&PutReply { receipts: Vec::new(), refusal }).await,
        StoreVerb::Get => writer.frame(&GetHeader { found: false, length: 0, refusal }).await,
        StoreVerb::Have => writer.frame(&HaveReply { receipts: Vec::new(), refusal }).await,
    }
}

/// Sends the chunks asked for, in order, reading a few ahead.
async fn get(
    session: &StoreSession,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    while let Some((request, _)) = reader.frame::<GetRequest>().await? {
        let ids = chunk_ids(&request.ids, REPLY_ITEMS_MAX)?;
        let mut found = stream::iter(ids).map(|id| session.get(id)).buffered(GET_AHEAD_CHUNKS);
        while let Some(found) = found.next().await {
            let (header, bytes) = answer(found);
            writer.frame_and_bytes(&header, bytes).await?;
        }
    }
    Ok(())
}

fn answer(found: Result<Option<Bytes>, Refusal>) -> (GetHeader, Bytes) {
    match found {
        Ok(Some(bytes)) => {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            (GetHeader { found: true, length, refusal: None }, bytes)
        }
        Ok(None) => (GetHeader::default(), Bytes::new()),
        Err(refusal) => {
            (GetHeader { found: false, length: 0, refusal: Some(refusal) }, Bytes::new())
        }
    }
}

/// Sends receipts for what is stored of the chunks asked for.
async fn have(
    session: &StoreSession,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    while let Some((request, _)) = reader.frame::<HaveRequest>().await? {
        let ids = chunk_ids(&request.ids, HAVE_IDS_MAX)?;
        writer.frame(&session.have(ids).await).await?;
    }
    Ok(())
}

fn chunk_ids(ids: &[Vec<u8>], max: usize) -> Result<Vec<ChunkId>, StreamError> {
    if ids.len() > max {
        return Err(StreamError::Malformed("too many chunks asked for at once"));
    }
    ids.iter()
        .map(|id| ChunkId::from_slice(id))
        .collect::<Result<_, _>>()
        .map_err(|_| StreamError::Malformed("a chunk id of another length"))
}
