//! One request stream: frames and raw bytes in and out, each within its bound and its time.
//!
//! Owns the bounds that hold for any request: the length of a frame, how long a peer may take over
//! its next bytes, over a whole frame, and over taking a reply. It must not know what a frame says.

use super::limits::ListenLimits;
use bytes::Bytes;
use common::wire::frame::{self, FrameError, PREFIX_BYTES};
use common::wire::meta::RefusalCode;
use prost::Message;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// A stream that cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The peer broke a limit or sent what does not decode.
    #[error("malformed request: {0}")]
    Frame(#[from] FrameError),
    /// The peer broke the protocol in another way.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// A reply of our own is over the limit: a fault of this server, not of the peer.
    #[error("a reply cannot be sent: {0}")]
    Reply(FrameError),
    /// The peer did not send, or did not take, its bytes in time.
    #[error("the peer was too slow")]
    Slow,
    /// The stream ended inside a frame or chunk.
    #[error("the request ended half way")]
    Truncated,
    /// The peer gave up the request, or the connection is gone.
    #[error("the peer gave up the request while it was read: {0}")]
    ReadGone(#[from] ReadError),
    /// The peer gave up the reply, or the connection is gone.
    #[error("the peer gave up the reply: {0}")]
    WriteGone(#[from] WriteError),
}

impl StreamError {
    /// The code that the peer is told, which is a [`RefusalCode`]; `None` when it went by itself.
    pub(super) fn code(&self) -> Option<VarInt> {
        let code = match self {
            Self::Frame(_) | Self::Malformed(_) | Self::Truncated => RefusalCode::Malformed,
            Self::Reply(_) => RefusalCode::Stopped,
            Self::Slow => RefusalCode::Busy,
            Self::ReadGone(_) | Self::WriteGone(_) => return None,
        };
        Some(close_code(code))
    }
}

/// A refusal's code as the application error code of QUIC.
pub(super) fn close_code(code: RefusalCode) -> VarInt {
    VarInt::from_u32((code as i32).unsigned_abs())
}

/// The peer's side of a stream.
pub(super) struct Reader {
    stream: RecvStream,
    read: Duration,
    item: Duration,
}

impl Reader {
    pub(super) fn new(stream: RecvStream, limits: &ListenLimits) -> Self {
        Self { stream, read: limits.read, item: limits.item }
    }

    /// The next frame and the bytes it took; `None` at the clean end of the stream.
    pub(super) async fn frame<M: Message + Default>(
        &mut self,
    ) -> Result<Option<(M, usize)>, StreamError> {
        let deadline = Instant::now() + self.item;
        let Some(prefix) = self.exactly(PREFIX_BYTES, deadline).await? else { return Ok(None) };
        let mut length = [0; PREFIX_BYTES];
        length.copy_from_slice(&prefix);
        let length = frame::length(length)?;
        let body = self.exactly(length, deadline).await?.ok_or(StreamError::Truncated)?;
        Ok(Some((frame::decode(&body)?, PREFIX_BYTES + length)))
    }

    /// Exactly `length` raw bytes. The caller has checked the length.
    pub(super) async fn bytes(&mut self, length: usize) -> Result<Bytes, StreamError> {
        let deadline = Instant::now() + self.item;
        let bytes = self.exactly(length, deadline).await?.ok_or(StreamError::Truncated)?;
        Ok(Bytes::from(bytes))
    }

    /// `None` when the stream ends before the first byte.
    async fn exactly(
        &mut self,
        length: usize,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>, StreamError> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let until = deadline.min(Instant::now() + self.read);
            let next = self.stream.read_chunk(length - bytes.len(), true);
            match timeout_at(until, next).await.map_err(|_| StreamError::Slow)?? {
                Some(chunk) => bytes.extend_from_slice(&chunk.bytes),
                None if bytes.is_empty() => return Ok(None),
                None => return Err(StreamError::Truncated),
            }
        }
        Ok(Some(bytes))
    }

    /// Tells the peer to send no more.
    pub(super) fn stop(&mut self, code: VarInt) {
        // Err: the stream has ended already, and there is nothing to stop.
        let _ = self.stream.stop(code);
    }
}

/// The server's side of a stream.
pub(super) struct Writer {
    stream: SendStream,
    taken: Duration,
}

impl Writer {
    pub(super) fn new(stream: SendStream, limits: &ListenLimits) -> Self {
        Self { stream, taken: limits.read }
    }

    /// Sends a frame.
    pub(super) async fn frame(&mut self, message: &impl Message) -> Result<(), StreamError> {
        let frame = Bytes::from(frame::encode(message).map_err(StreamError::Reply)?);
        self.chunks(&mut [frame]).await
    }

    /// Sends a frame and the raw bytes that it announces.
    pub(super) async fn frame_and_bytes(
        &mut self,
        message: &impl Message,
        bytes: Bytes,
    ) -> Result<(), StreamError> {
        let frame = Bytes::from(frame::encode(message).map_err(StreamError::Reply)?);
        self.chunks(&mut [frame, bytes]).await
    }

    async fn chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        let mut written = 0;
        while written < chunks.len() {
            let writing = self.stream.write_chunks(&mut chunks[written..]);
            written += timeout(self.taken, writing).await.map_err(|_| StreamError::Slow)??.chunks;
        }
        Ok(())
    }

    /// Completes when the peer wants no more, or the connection is gone.
    pub(super) fn given_up(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = self.stream.stopped();
        async move {
            // Whatever the reason, there is nobody to send to.
            let _ = stopped.await;
        }
    }

    /// Ends the reply; what was written still arrives.
    pub(super) fn finish(&mut self) {
        // Err: the peer has stopped or the stream was reset; both ends know.
        let _ = self.stream.finish();
    }

    /// Ends the reply at once with a code.
    pub(super) fn reset(&mut self, code: VarInt) {
        // Err: it has ended already.
        let _ = self.stream.reset(code);
    }
}
