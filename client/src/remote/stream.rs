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
    patience: Option<Duration>,
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
    Ok((writer, Reader { stream: receive, patience: Some(patience) }))
}

impl Reader {
    /// Waits for bytes for as long as the connection lives.
    pub(super) fn wait_forever(&mut self) {
        self.patience = None;
    }

    /// The next frame; `None` at the clean end of the reply.
    pub(super) async fn frame<M: Message + Default>(&mut self) -> Result<Option<M>, RemoteError> {
        let Some(prefix) = self.exactly(PREFIX_BYTES).await? else { return Ok(None) };
        let mut length = [0; PREFIX_BYTES];
        length.copy_from_slice(&prefix);
        let length = frame::length(length).map_err(|error| misframed(&error))?;
        let body = self.exactly(length).await?.ok_or_else(half_way)?;
        frame::decode(&body).map(Some).map_err(|error| misframed(&error))
    }

    /// Exactly `length` raw bytes. The caller has checked the length.
    pub(super) async fn bytes(&mut self, length: usize) -> Result<Bytes, RemoteError> {
        self.exactly(length).await?.map(Bytes::from).ok_or_else(half_way)
    }

    /// `None` when the stream ends before the first byte.
    async fn exactly(&mut self, length: usize) -> Result<Option<Vec<u8>>, RemoteError> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let next = self.stream.read_chunk(length - bytes.len(), true);
            let read = match self.patience {
                Some(patience) => timeout(patience, next)
                    .await
                    .map_err(|_| RemoteError::Timeout("waiting for a reply"))?,
                None => next.await,
            };
            match read.map_err(unreadable)? {
                Some(chunk) => bytes.extend_from_slice(&chunk.bytes),
                None if bytes.is_empty() => return Ok(None),
                None => return Err(half_way()),
            }
        }
        Ok(Some(bytes))
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
