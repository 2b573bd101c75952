//! Chunk storage of one node: the trait that the service calls, and what it answers.
//!
//! Owns the [`ChunkStore`] contract (its tests are in `contract`) and its errors. It must not know
//! who asks, what a chunk says, or whether a commit will ever name it: presence is proven by
//! receipts, which the service signs from what this store answers.

mod compaction;
mod disk;
mod index;
mod memory;
mod reclaim;
mod reclaim_writer;
mod record;
mod recovery;
mod scan;
mod segment_store;
mod segments;
#[cfg(test)]
mod tests;
mod verified;
mod worker;
mod writer;

pub use disk::{CrashKeeps, Disk, SegmentFile, SimulatedDisk};
pub use index::IndexError;
pub use memory::MemoryStore;
pub use reclaim::{Compacted, Dropped, Due, Reclaim, Reclaimed, SegmentUse, Surveyed, TrashStamp};
pub use segment_store::{DrawSegmentId, OpenError, SegmentOptions, SegmentStore};

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use common::ids::{ChunkId, FolderId};
use common::limits::SEALED_BYTES_MAX;

/// Names a stored chunk. The folder is part of the name, so a chunk of another folder is never
/// found, whoever knows its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey {
    /// The folder that the chunk was put for.
    pub folder: FolderId,
    /// BLAKE3-256 of the stored bytes.
    pub id: ChunkId,
}

impl std::fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.folder, self.id)
    }
}

/// What a put came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whether the folder did not have the chunk before. A damaged copy that this put replaced was
    /// there before, so it is not new.
    pub new: bool,
    /// Length in bytes.
    pub length: u32,
}

/// Whether a store takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It takes reads and writes.
    Open,
    /// The last write found no room. Reads go on, and writes are tried again as they come.
    Full,
    /// A write failed in a way that leaves unknown what is on the disk; see [`StoreError::Stopped`].
    Stopped {
        /// What failed.
        reason: Arc<str>,
    },
    /// It was closed.
    Closed,
}

/// What a store holds, for status and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Chunks that can be asked for.
    pub chunks: u64,
    /// Bytes of those chunks, without what the store adds to each.
    pub bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes that are free on the disk; 0 when the disk does not say.
    pub free_bytes: u64,
    /// Whether it takes writes.
    pub state: StoreState,
}

/// Why a store did not do as it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// More bytes than a stored object may have.
    #[error("chunk {key} has {length} bytes, more than {SEALED_BYTES_MAX}")]
    TooLarge {
        /// The chunk that was put.
        key: ChunkKey,
        /// Bytes that were given.
        length: usize,
    },
    /// The bytes of a put do not hash to the id that they were put under.
    #[error("the bytes put as chunk {key} have another hash")]
    WrongBytes {
        /// The chunk that was put.
        key: ChunkKey,
    },
    /// What is stored is not what was put. It was not served; putting the chunk again repairs it.
    #[error("the stored copy of chunk {key} is damaged")]
    Damaged {
        /// The chunk that was read.
        key: ChunkKey,
    },
    /// The disk did not answer a read for a reason that says nothing about the bytes.
    #[error("reading chunk {key}: {source}")]
    Read {
        /// The chunk that was read.
        key: ChunkKey,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The segment files could not be looked at or removed. Nothing that is stored is affected.
    #[error("looking at the segment files: {source}")]
    Segments {
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// No new segment could be begun, for want of something other than room. Nothing was written.
    #[error("beginning a new segment: {source}")]
    NewSegment {
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// No room for the write. Nothing of it was acknowledged; reads go on.
    #[error(
        "no room: {free_bytes} bytes are free on the disk of the chunk store, which leaves \
         {reserve_bytes} of them alone"
    )]
    DiskFull {
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that writes leave free.
        reserve_bytes: u64,
    },
    /// A write or sync failed, now or before: what is on the disk is unknown, so the store takes
    /// no more writes and vouches for nothing until it is opened again and has looked.
    #[error("the chunk store has stopped: {reason}")]
    Stopped {
        /// What failed.
        reason: Arc<str>,
    },
    /// The store was closed.
    #[error("the chunk store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same request may succeed later without anyone's doing anything to this process.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Read { .. }
                | Self::Segments { .. }
                | Self::NewSegment { .. }
                | Self::DiskFull { .. }
        )
    }
}

/// Keeps chunks under (folder, id), durably, and never answers with bytes it has not verified.
#[async_trait]
pub trait ChunkStore: Send + Sync {
    /// Stores chunks, each checked against its id; durable when this returns, in the order given.
    ///
    /// A chunk that is stored already is verified (once a process) before it is answered as not
    /// new, and rewritten if it is damaged. Concurrent calls share their syncs. Waits while too
    /// many bytes are in flight. Dropping the future leaves open whether the chunks are stored.
    ///
    /// # Errors
    /// Any [`StoreError`] but `Damaged`. Then nothing is acknowledged, though some of the chunks
    /// may be stored.
    async fn put(&self, chunks: Vec<(ChunkKey, Bytes)>) -> Result<Vec<Stored>, StoreError>;

    /// Reads one chunk, verified against its id; `None` when the folder has no such chunk.
    ///
    /// # Errors
    /// `Damaged` when the stored bytes are not the chunk's, `Read` when the disk does not answer,
    /// `Closed`. A store that is full or stopped goes on reading: every read is verified.
    async fn get(&self, key: ChunkKey) -> Result<Option<Bytes>, StoreError>;

    /// Says for each key, in order, how long the stored chunk is; `None` when it is absent or
    /// damaged, so that it is put again.
    ///
    /// A length is given only for bytes that this process has verified, by a put or a read, or
    /// verifies now. The chunk is stamped with the current generation before it is vouched for.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `DiskFull` (a stamp needs room), or `Read`.
    async fn have(&self, keys: Vec<ChunkKey>) -> Result<Vec<Option<u32>>, StoreError>;

    /// Counts what is stored.
    async fn stats(&self) -> StoreStats;

    /// The GC generation that puts and haves are stamped with; 1 in a new store. It only grows.
    ///
    /// A receipt names the generation read *before* the put or have that it is about: the stamp
    /// may be newer than that, never older.
    fn generation(&self) -> u64;

    /// Finishes what is queued and closes; later calls answer [`StoreError::Closed`].
    async fn close(&self);
}
