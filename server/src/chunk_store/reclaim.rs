//! What garbage collection asks of a chunk store: the trash, purging, and giving room back.
//!
//! Owns the [`Reclaim`] contract. It must not know what is garbage: the caller decides that, and the
//! store holds every decision against its own stamps when it carries it out. A chunk that was put
//! or vouched for in this generation or the one before is never trashed nor purged, whatever the
//! caller says; and one that is put or vouched for while it is in the trash leaves it.

use async_trait::async_trait;

use super::{ChunkKey, ChunkStore, StoreError};

/// When a chunk was put into the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrashStamp {
    /// By the server's clock, in milliseconds since 1970.
    pub since_ms: u64,
    /// In which generation of the garbage collection.
    pub generation: u64,
}

/// What a survey says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name.
    pub key: ChunkKey,
    /// Bytes.
    pub length: u32,
    /// The generation that it counts as stamped with.
    pub generation: u64,
    /// Since when it is in the trash, if it is.
    pub trash: Option<TrashStamp>,
}

/// Which chunks of the trash may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Put there in a generation before this one.
    pub trashed_before: u64,
    /// Put there at this time or before, in milliseconds since 1970.
    pub since_ms_max: u64,
}

/// Chunks that something was done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// How many.
    pub chunks: u64,
    /// Their bytes, without what the store adds to each.
    pub bytes: u64,
}

impl Reclaimed {
    /// Counts a chunk.
    pub fn add(&mut self, length: u32) {
        self.chunks += 1;
        self.bytes += u64::from(length);
    }
}

impl std::ops::AddAssign for Reclaimed {
    fn add_assign(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.bytes += other.bytes;
    }
}

/// What a segment file is still worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentUse {
    /// Its number.
    pub segment: u32,
    /// Chunks in it that can be asked for.
    pub live_chunks: u64,
    /// Bytes that they take there, with what the store adds to each.
    pub live_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

/// What became of a segment's chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Those that were copied elsewhere.
    pub moved: Reclaimed,
    /// Those whose copy is damaged: they stay where they are, and the segment with them.
    pub damaged: u64,
}

/// Segment files that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub segments: u64,
    /// Bytes that this gave back to the disk.
    pub bytes: u64,
}

/// Gives room back. Every change outlives the process when it returns, and a power cut some time
/// later; what a power cut takes back keeps chunks for longer.
#[async_trait]
pub trait Reclaim: ChunkStore {
    /// Sets the generation that later puts and haves are stamped with; durable when this returns.
    /// A lower one than the present changes nothing.
    ///
    /// # Errors
    /// `DiskFull`, `Stopped`, `Closed`.
    async fn raise_generation(&self, generation: u64) -> Result<(), StoreError>;

    /// Chunks after one in order of key, at most `limit`; none at the end.
    ///
    /// # Errors
    /// `Stopped`, `Closed`.
    async fn survey(
        &self,
        after: Option<ChunkKey>,
        limit: usize,
    ) -> Result<Vec<Surveyed>, StoreError>;

    /// Puts chunks into the trash. They can be read there. One that is stamped with this generation
    /// or the one before, is in the trash already, or is not stored, is passed over.
    ///
    /// # Errors
    /// `DiskFull`, `Stopped`, `Closed`; then some may be in the trash.
    async fn trash(&self, keys: Vec<ChunkKey>, stamp: TrashStamp) -> Result<Reclaimed, StoreError>;

    /// Takes chunks out of the trash again.
    ///
    /// # Errors
    /// `DiskFull`, `Stopped`, `Closed`.
    async fn untrash(&self, keys: Vec<ChunkKey>) -> Result<Reclaimed, StoreError>;

    /// Forgets chunks for good that are in the trash and due. One that has left the trash since, or
    /// was stamped with this generation or the one before, stays.
    ///
    /// # Errors
    /// `DiskFull`, `Stopped`, `Closed`; then some may be gone.
    async fn purge(&self, keys: Vec<ChunkKey>, due: Due) -> Result<Reclaimed, StoreError>;

    /// The segments that could be compacted: all but the newest, in order of number. Costs a pass
    /// over the index.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Segments`.
    async fn segments(&self) -> Result<Vec<SegmentUse>, StoreError>;

    /// Copies what is wanted of a segment into the newest one, each chunk verified, durably. Reads
    /// go on meanwhile. Works in steps; what an interrupted call has copied stays so.
    ///
    /// # Errors
    /// `DiskFull` when the copies find no room, `Segments`, `Read`, `Stopped`, `Closed`.
    async fn compact(&self, segment: u32) -> Result<Compacted, StoreError>;

    /// Removes segment files that nothing is wanted of any more.
    ///
    /// # Errors
    /// `Segments`, `Stopped`, `Closed`.
    async fn drop_empty(&self) -> Result<Dropped, StoreError>;
}
