//! One request stream from the device's side: frames and raw bytes, in and out.
//!
//! Owns framing and how long the server may take. It must not know what a frame says.

use super::error::RemoteError;
use super::failure::{lost, misframed, unreadable, unwritable};
use bytes::Bytes;
use common::wire::frame::{self, PREFIX_BYTES};
use prost::Message;
use quinn::{Connection, RecvStream, SendStream, VarInt, WriteError};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of a reply that arrive at least in each millisecond, on the slowest link that is of use: a
/// server that sends now and then a byte must not hold a request for ever.
const BYTES_PER_MS_MIN: u64 = 8;

/// Whether the server still takes what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of it.
    Yes,
    /// It wants no more of the request; its reply says why.
    Enough,
}

/// The reply's side of a stream.
pub(super) struct Reader {
    stream: RecvStream,
    patience: Duration,
    waits_forever: bool,
}

/// The request's side of a stream. Unless finished, the request is given up when it is dropped.
pub(super) struct Writer {
    stream: SendStream,
    patience: Duration,
    finished: bool,
}

/// Opens a stream; waits while the server allows no more of them.
pub(super) async fn open(
    connection: &Connection,
    patience: Duration,
) -> Result<(Writer, Reader), RemoteError> {
    let opened = timeout(patience, connection.open_bi()).await;
    let (send, receive) = opened
        .map_err(|_| RemoteError::Timeout("waiting for a free stream"))?
        .map_err(|error| lost(&error))?;
    let writer = Writer { stream: send, patience, finished: false };
    Ok((writer, Reader { stream: receive, patience, waits_forever: false }))
}

impl Reader {
    /// Waits for the beginning of a frame for as long as the connection lives.
    pub(super) fn wait_forever(&mut self) {
        self.waits_forever = true;
    }

    /// The next frame; `None` at the clean end of the reply.
    pub(super) async fn frame<M: Message + Default>(&mut self) -> Result<Option<M>, RemoteError> {
        let mut prefix = Vec::with_capacity(PREFIX_BYTES);
        if self.waits_forever && !self.some(&mut prefix, PREFIX_BYTES).await? {
            return Ok(None);
        }
        let Some(prefix) = self.exactly(prefix, PREFIX_BYTES).await? else { return Ok(None) };
        let mut length = [0; PREFIX_BYTES];
        length.copy_from_slice(&prefix);
        let length = frame::length(length).map_err(|error| misframed(&error))?;
        let body = Vec::with_capacity(length);
        let body = self.exactly(body, length).await?.ok_or_else(half_way)?;
        frame::decode(&body).map(Some).map_err(|error| misframed(&error))
    }

    /// Exactly `length` raw bytes. The caller has checked the length.
    pub(super) async fn bytes(&mut self, length: usize) -> Result<Bytes, RemoteError> {
        let bytes = Vec::with_capacity(length);
        self.exactly(bytes, length).await?.map(Bytes::from).ok_or_else(half_way)
    }

    /// Fills `bytes` up to `length`, in bounded time; `None` when the stream ends before the first.
    async fn exactly(
        &mut self,
        mut bytes: Vec<u8>,
        length: usize,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        let patience = self.patience + Duration::from_millis(length as u64 / BYTES_PER_MS_MIN);
        let reading = async {
            while bytes.len() < length {
                if !self.some(&mut bytes, length).await? {
                    return if bytes.is_empty() { Ok(None) } else { Err(half_way()) };
                }
            }
            Ok(Some(bytes))
        };
        let read = timeout(patience, reading).await;
        read.map_err(|_| RemoteError::Timeout("waiting for a reply"))?
    }

    /// Adds what comes next, up to `length` in all; `false` at the end of the stream.
    async fn some(&mut self, bytes: &mut Vec<u8>, length: usize) -> Result<bool, RemoteError> {
        let next = self.stream.read_chunk(length - bytes.len(), true).await;
        let chunk = next.map_err(unreadable)?;
        bytes.extend_from_slice(chunk.as_ref().map_or(&[][..], |chunk| &chunk.bytes));
        Ok(chunk.is_some())
    }
}

fn half_way() -> RemoteError {
    RemoteError::Protocol("a reply ended half way".into())
}

impl Writer {
    /// Sends a frame.
    ///
    /// # Errors
    /// [`RemoteError::TooLarge`] when the message is over the limit; nothing of it was sent.
    pub(super) async fn frame(&mut self, message: &impl Message) -> Result<Taken, RemoteError> {
        self.frame_and_bytes(message, Bytes::new()).await
    }

    /// Sends a frame and the raw bytes that it announces.
    pub(super) async fn frame_and_bytes(
        &mut self,
        message: &impl Message,
        bytes: Bytes,
    ) -> Result<Taken, RemoteError> {
        let frame =
            frame::encode(message).map_err(|error| RemoteError::TooLarge(error.to_string()))?;
        let mut chunks = [Bytes::from(frame), bytes];
        let mut written = 0;
        while written < chunks.len() {
            let writing = self.stream.write_chunks(&mut chunks[written..]);
            match timeout(self.patience, writing).await {
                Ok(Ok(some)) => written += some.chunks,
                Ok(Err(WriteError::Stopped(_))) => return Ok(Taken::Enough),
                Ok(Err(error)) => return Err(unwritable(error)),
                Err(_) => return Err(RemoteError::Timeout("sending a request")),
            }
        }
        Ok(Taken::Yes)
    }

    /// Ends the request.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        // Err: the server has stopped it, and its reply says why.
        let _ = self.stream.finish();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // Without this a request cut short would look like a whole one.
            // Err: it was stopped or the connection is gone.
            let _ = self.stream.reset(VarInt::from_u32(0));
        }
    }
}
