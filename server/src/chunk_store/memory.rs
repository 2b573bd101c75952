//! A chunk store in memory, for simulating a whole system from one seed.
//!
//! Owns nothing that outlives the process. It has no threads and never waits, so that a
//! simulation stays deterministic; a put is durable at once. It keeps the contract of
//! [`ChunkStore`], and lets a simulation damage, lose and fill what it holds.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use common::ids::ChunkId;
use common::limits::SEALED_BYTES_MAX;

use super::{
    ChunkKey, ChunkStore, Compacted, Dropped, Due, Reclaim, Reclaimed, SegmentUse, StoreError,
    StoreState, StoreStats, Stored, Surveyed, TrashStamp,
};

/// Chunks in memory; see the module.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    chunks: BTreeMap<ChunkKey, Kept>,
    bytes: u64,
    bytes_max: u64,
    generation: u64,
    closed: bool,
}

#[derive(Debug)]
struct Kept {
    bytes: Bytes,
    /// Whether these bytes have been verified since they may last have changed.
    verified: bool,
    generation: u64,
    trash: Option<TrashStamp>,
}

impl Kept {
    /// Verifies the bytes, unless that was done before.
    fn is_whole(&mut self, key: &ChunkKey) -> bool {
        self.verified = self.verified || ChunkId::of(&self.bytes) == key.id;
        self.verified
    }

    /// Notes that presence was proven; so it is no trash.
    fn stamp(&mut self, generation: u64) {
        self.generation = generation;
        self.trash = None;
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store with unlimited room, at generation 1.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner {
            chunks: BTreeMap::new(),
            bytes: 0,
            bytes_max: u64::MAX,
            generation: 1,
            closed: false,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Limits how many bytes of chunks fit; less than is stored makes every new chunk
    /// [`StoreError::DiskFull`].
    pub fn set_bytes_max(&self, bytes_max: u64) {
        self.lock().bytes_max = bytes_max;
    }

    /// Sets the generation that later puts and haves are stamped with; it never goes back.
    pub fn advance_generation(&self, generation: u64) {
        let mut inner = self.lock();
        inner.generation = inner.generation.max(generation);
    }

    /// Flips a bit of a stored chunk, as a bad disk does, and forgets that it was verified.
    /// Says whether there was such a chunk with a bit to flip.
    pub fn damage(&self, key: &ChunkKey) -> bool {
        let mut inner = self.lock();
        let Some(kept) = inner.chunks.get_mut(key) else { return false };
        let mut bytes = kept.bytes.to_vec();
        let Some(byte) = bytes.first_mut() else { return false };
        *byte ^= 1;
        kept.bytes = Bytes::from(bytes);
        kept.verified = false;
        true
    }

    /// Loses a stored chunk, as a node that acknowledges and discards does. Says whether it had it.
    pub fn lose(&self, key: &ChunkKey) -> bool {
        let mut inner = self.lock();
        let Some(kept) = inner.chunks.remove(key) else { return false };
        inner.bytes -= kept.bytes.len() as u64;
        true
    }

    /// The keys of all stored chunks, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<ChunkKey> {
        self.lock().chunks.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn open(&mut self) -> Result<&mut Self, StoreError> {
        if self.closed { Err(StoreError::Closed) } else { Ok(self) }
    }

    fn put(&mut self, key: ChunkKey, bytes: Bytes) -> Result<Stored, StoreError> {
        let length = bytes.len() as u32;
        let generation = self.generation;
        if let Some(kept) = self.chunks.get_mut(&key) {
            if !kept.is_whole(&key) {
                self.bytes = self.bytes - kept.bytes.len() as u64 + u64::from(length);
                *kept = Kept { bytes, verified: true, generation, trash: None };
            }
            kept.stamp(generation);
            return Ok(Stored { new: false, length });
        }
        let free_bytes = self.bytes_max.saturating_sub(self.bytes);
        if u64::from(length) > free_bytes {
            return Err(StoreError::DiskFull { free_bytes, reserve_bytes: 0 });
        }
        self.bytes += u64::from(length);
        self.chunks.insert(key, Kept { bytes, verified: true, generation, trash: None });
        Ok(Stored { new: true, length })
    }
}

#[async_trait]
impl ChunkStore for MemoryStore {
    async fn put(&self, chunks: Vec<(ChunkKey, Bytes)>) -> Result<Vec<Stored>, StoreError> {
        for (key, bytes) in &chunks {
            if bytes.len() > SEALED_BYTES_MAX {
                return Err(StoreError::TooLarge { key: *key, length: bytes.len() });
            }
            if ChunkId::of(bytes) != key.id {
                return Err(StoreError::WrongBytes { key: *key });
            }
        }
        let mut guard = self.lock();
        let inner = guard.open()?;
        chunks.into_iter().map(|(key, bytes)| inner.put(key, bytes)).collect()
    }

    async fn get(&self, key: ChunkKey) -> Result<Option<Bytes>, StoreError> {
        let mut guard = self.lock();
        let Some(kept) = guard.open()?.chunks.get_mut(&key) else { return Ok(None) };
        if kept.is_whole(&key) {
            Ok(Some(kept.bytes.clone()))
        } else {
            Err(StoreError::Damaged { key })
        }
    }

    async fn have(&self, keys: Vec<ChunkKey>) -> Result<Vec<Option<u32>>, StoreError> {
        let mut guard = self.lock();
        let inner = guard.open()?;
        let generation = inner.generation;
        let answer = |key: ChunkKey| {
            let kept = inner.chunks.get_mut(&key)?;
            kept.is_whole(&key).then(|| {
                kept.stamp(generation);
                kept.bytes.len() as u32
            })
        };
        Ok(keys.into_iter().map(answer).collect())
    }

    async fn stats(&self) -> StoreStats {
        let inner = self.lock();
        let free_bytes = inner.bytes_max.saturating_sub(inner.bytes);
        let state = match (inner.closed, free_bytes) {
            (true, _) => StoreState::Closed,
            (false, 0) => StoreState::Full,
            (false, _) => StoreState::Open,
        };
        let chunks = inner.chunks.len() as u64;
        StoreStats { chunks, bytes: inner.bytes, segments: 0, free_bytes, state }
    }

    fn generation(&self) -> u64 {
        self.lock().generation
    }

    async fn close(&self) {
        self.lock().closed = true;
    }
}

#[async_trait]
impl Reclaim for MemoryStore {
    async fn raise_generation(&self, generation: u64) -> Result<(), StoreError> {
        self.lock().open()?;
        self.advance_generation(generation);
        Ok(())
    }

    async fn survey(
        &self,
        after: Option<ChunkKey>,
        limit: usize,
    ) -> Result<Vec<Surveyed>, StoreError> {
        let mut guard = self.lock();
        let inner = guard.open()?;
        let from = after.map_or(Unbounded, Excluded);
        let all = inner.chunks.range((from, Unbounded)).map(|(key, kept)| Surveyed {
            key: *key,
            length: kept.bytes.len() as u32,
            generation: kept.generation,
            trash: kept.trash,
        });
        Ok(all.take(limit).collect())
    }

    async fn trash(&self, keys: Vec<ChunkKey>, stamp: TrashStamp) -> Result<Reclaimed, StoreError> {
        let mut guard = self.lock();
        let inner = guard.open()?;
        let mut done = Reclaimed::default();
        for key in keys {
            let Some(kept) = inner.chunks.get_mut(&key) else { continue };
            if kept.trash.is_none() && kept.generation + 1 < inner.generation {
                kept.trash = Some(stamp);
                done.add(kept.bytes.len() as u32);
            }
        }
        Ok(done)
    }

    async fn untrash(&self, keys: Vec<ChunkKey>) -> Result<Reclaimed, StoreError> {
        let mut guard = self.lock();
        let inner = guard.open()?;
        let mut done = Reclaimed::default();
        for key in keys {
            let Some(kept) = inner.chunks.get_mut(&key) else { continue };
            if kept.trash.take().is_some() {
                done.add(kept.bytes.len() as u32);
            }
        }
        Ok(done)
    }

    async fn purge(&self, keys: Vec<ChunkKey>, due: Due) -> Result<Reclaimed, StoreError> {
        let mut guard = self.lock();
        let inner = guard.open()?;
        let mut done = Reclaimed::default();
        for key in keys {
            let Some(kept) = inner.chunks.get(&key) else { continue };
            let is_due = kept.trash.is_some_and(|trash| {
                trash.generation < due.trashed_before && trash.since_ms <= due.since_ms_max
            });
            if is_due && kept.generation + 1 < inner.generation {
                done.add(kept.bytes.len() as u32);
                inner.bytes -= kept.bytes.len() as u64;
                inner.chunks.remove(&key);
            }
        }
        Ok(done)
    }

    /// It has none.
    async fn segments(&self) -> Result<Vec<SegmentUse>, StoreError> {
        self.lock().open()?;
        Ok(Vec::new())
    }

    async fn compact(&self, _segment: u32) -> Result<Compacted, StoreError> {
        self.lock().open()?;
        Ok(Compacted::default())
    }

    async fn drop_empty(&self) -> Result<Dropped, StoreError> {
        self.lock().open()?;
        Ok(Dropped::default())
    }
}
