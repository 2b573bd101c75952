//! Metadata requests over a connection: one a stream.
//!
//! Owns how a request, a commit and a subscription are written and their replies read. It must not
//! know which connection is used, nor what a request means.

use super::contract::JournalStream;
use super::error::RemoteError;
use super::stream::{self, Reader, Taken, Writer};
use async_trait::async_trait;
use common::ids::FolderId;
use common::limits::COMMIT_BYTES_MAX;
use common::wire::meta::{
    CommitBegin, CommitPart, JournalBatch, Outcomes, Reply, ReplyFrame, Request, RequestFrame,
    Subscribe,
};
use prost::Message;
use quinn::Connection;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Reply frames of one request at most: a snapshot of ten million entries, and room.
const REPLY_FRAMES_MAX: usize = 64 * 1024;

/// Asks and collects the whole run of replies.
pub(super) async fn ask(
    connection: &Connection,
    request: Request,
    patience: Duration,
) -> Result<Vec<Reply>, RemoteError> {
    let (mut writer, mut reader) = stream::open(connection, patience).await?;
    begin(&mut writer, request).await?;
    writer.finish();
    let mut replies = Vec::new();
    while let Some(reply) = next_reply(&mut reader).await? {
        if replies.len() >= REPLY_FRAMES_MAX {
            return Err(RemoteError::Protocol("a reply does not end".into()));
        }
        replies.push(reply);
    }
    if replies.is_empty() {
        return Err(RemoteError::Protocol("a request was not answered".into()));
    }
    Ok(replies)
}

/// Sends a commit in all its parts and reads the outcomes.
pub(super) async fn commit(
    connection: &Connection,
    folder: FolderId,
    parts: Vec<CommitPart>,
    patience: Duration,
) -> Result<Outcomes, RemoteError> {
    let bytes: usize = parts.iter().map(Message::encoded_len).sum();
    if bytes > COMMIT_BYTES_MAX {
        return Err(RemoteError::TooLarge(format!("a commit of {bytes} bytes")));
    }
    let (mut writer, mut reader) = stream::open(connection, patience).await?;
    let mut taken =
        begin(&mut writer, Request::Commit(CommitBegin { folder: folder.to_vec() })).await?;
    for part in parts {
        if taken == Taken::Enough {
            break;
        }
        taken = writer.frame(&part).await?;
    }
    writer.finish();
    match next_reply(&mut reader).await? {
        Some(Reply::Outcomes(outcomes)) => Ok(outcomes),
        Some(_) => Err(RemoteError::Protocol("a commit was answered with something else".into())),
        None => Err(RemoteError::Protocol("a commit was not answered".into())),
    }
}

/// Starts a subscription; `turn` is held for as long as it lives.
pub(super) async fn subscribe(
    connection: &Connection,
    request: Subscribe,
    turn: OwnedSemaphorePermit,
    patience: Duration,
) -> Result<Subscription, RemoteError> {
    let (mut writer, mut reader) = stream::open(connection, patience).await?;
    begin(&mut writer, Request::Subscribe(request)).await?;
    writer.finish();
    // The first batch is sent at once, so that a refusal is told here and not much later.
    let first = next_batch(&mut reader).await?;
    reader.wait_forever();
    Ok(Subscription { reader, first, _turn: turn })
}

/// A live subscription over QUIC. Dropping it tells the server to stop.
pub(super) struct Subscription {
    reader: Reader,
    first: Option<JournalBatch>,
    _turn: OwnedSemaphorePermit,
}

#[async_trait]
impl JournalStream for Subscription {
    async fn next(&mut self) -> Result<Option<JournalBatch>, RemoteError> {
        match self.first.take() {
            Some(batch) => Ok(Some(batch)),
            None => next_batch(&mut self.reader).await,
        }
    }
}

async fn next_batch(reader: &mut Reader) -> Result<Option<JournalBatch>, RemoteError> {
    match next_reply(reader).await? {
        Some(Reply::Journal(batch)) => Ok(Some(batch)),
        Some(_) => Err(RemoteError::Protocol("a subscription carries something else".into())),
        None => Ok(None),
    }
}

async fn begin(writer: &mut Writer, request: Request) -> Result<Taken, RemoteError> {
    writer.frame(&RequestFrame { request: Some(request) }).await
}

/// The next reply that is not a refusal.
async fn next_reply(reader: &mut Reader) -> Result<Option<Reply>, RemoteError> {
    match reader.frame::<ReplyFrame>().await? {
        None => Ok(None),
        Some(ReplyFrame { reply: Some(Reply::Refused(refusal)) }) => {
            Err(RemoteError::Refused(refusal))
        }
        Some(ReplyFrame { reply: Some(reply) }) => Ok(Some(reply)),
        Some(ReplyFrame { reply: None }) => {
            Err(RemoteError::Protocol("a reply that this program does not know".into()))
        }
    }
}
