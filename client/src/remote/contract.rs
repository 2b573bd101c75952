//! What a device can ask of a server.
//!
//! Owns the [`Remote`] trait, behind which the QUIC connection and the simulated network stand
//! alike. It must not know how bytes travel, when to retry, or what a record says.

use super::error::RemoteError;
use async_trait::async_trait;
use bytes::Bytes;
use common::ids::{ChunkId, FolderId};
use common::wire::meta;

/// A server as one device sees it.
///
/// Every call makes one attempt: it connects if needed, and reports a lost connection or an
/// overdue answer instead of trying again. How often and how soon to try again is the caller's
/// decision ([`RemoteError::is_retryable`]). Calls may run at the same time from several tasks and
/// are not ordered among each other. Dropping a call's future abandons the answer; what the server
/// had begun may still take effect.
#[async_trait]
pub trait Remote: Send + Sync {
    /// Asks for anything but a commit and a subscription; returns the run of replies in order.
    ///
    /// # Errors
    /// A refusal is [`RemoteError::Refused`], never an `Ok` with a refusal inside. After
    /// `Closed` or `Timeout` it is not known whether the request took effect.
    async fn request(&self, request: meta::Request) -> Result<Vec<meta::Reply>, RemoteError>;

    /// Commits groups to a folder; one outcome a group, in order, durable when returned.
    ///
    /// All parts together are at most [`common::limits::COMMIT_BYTES_MAX`] and each fits a frame.
    ///
    /// # Errors
    /// As [`Remote::request`]. A rejected group is an outcome, not an error.
    async fn commit(
        &self,
        folder: FolderId,
        parts: Vec<meta::CommitPart>,
    ) -> Result<meta::Outcomes, RemoteError>;

    /// Subscribes to a folder's journal after a cursor.
    ///
    /// # Errors
    /// As [`Remote::request`]; a refusal may also come with the first [`JournalStream::next`].
    async fn subscribe(
        &self,
        request: meta::Subscribe,
    ) -> Result<Box<dyn JournalStream>, RemoteError>;

    /// Stores sealed chunks and returns encoded [`common::trust::ReceiptBatch`]es that cover all of
    /// them in the order given. The chunks are durable at the server when it returns.
    ///
    /// Each batch is signed by the node that it names and is for this folder. Several puts may run
    /// at once.
    ///
    /// # Errors
    /// On any error some of the chunks may be stored; putting them again is harmless.
    async fn put(
        &self,
        folder: FolderId,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> Result<Vec<Vec<u8>>, RemoteError>;

    /// Reads chunks in the order asked; `None` for one that the server has no whole copy of: it is
    /// absent, or damaged there or on the way. One bad chunk does not keep the others back.
    ///
    /// The bytes are as stored, and hash to the id. The caller bounds what one call returns (at
    /// most about 8 MiB): it is held in memory.
    ///
    /// # Errors
    /// As [`Remote::request`].
    async fn get(
        &self,
        folder: FolderId,
        ids: Vec<ChunkId>,
    ) -> Result<Vec<Option<Bytes>>, RemoteError>;

    /// Asks which chunks are stored; returns encoded receipt batches for those that are.
    ///
    /// # Errors
    /// As [`Remote::request`].
    async fn have(&self, folder: FolderId, ids: Vec<ChunkId>) -> Result<Vec<Vec<u8>>, RemoteError>;
}

/// A folder's journal as it grows. Dropping it ends the subscription.
#[async_trait]
pub trait JournalStream: Send {
    /// The next batch; waits until there is one. `None` when the server ended the stream in good
    /// order, as it does after a batch of another epoch.
    ///
    /// Not to be cancelled half way: after dropping an unfinished call the stream is to be dropped.
    ///
    /// # Errors
    /// `Refused`, or `Closed` when the connection is lost. After an error the stream is over.
    async fn next(&mut self) -> Result<Option<meta::JournalBatch>, RemoteError>;
}
