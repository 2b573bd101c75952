//! A chunk store that acknowledges and discards.
//!
//! Owns that lie alone; everything else is the real store in memory.

use async_trait::async_trait;
use bytes::Bytes;
use server::chunk_store::{ChunkKey, ChunkStore, MemoryStore, StoreError, StoreStats, Stored};
use std::sync::Arc;

/// Forgets every chunk whose id begins with a small byte.
pub struct PlantedStore {
    inner: Arc<MemoryStore>,
}

impl PlantedStore {
    /// Over a store that keeps the rest.
    #[must_use]
    pub fn new(inner: Arc<MemoryStore>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl ChunkStore for PlantedStore {
    async fn put(&self, chunks: Vec<(ChunkKey, Bytes)>) -> Result<Vec<Stored>, StoreError> {
        let keys: Vec<ChunkKey> = chunks.iter().map(|(key, _)| *key).collect();
        let stored = self.inner.put(chunks).await?;
        for key in keys.iter().filter(|key| key.id.as_bytes()[0] < 24) {
            self.inner.lose(key);
        }
        Ok(stored)
    }

    async fn get(&self, key: ChunkKey) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key).await
    }

    async fn have(&self, keys: Vec<ChunkKey>) -> Result<Vec<Option<u32>>, StoreError> {
        self.inner.have(keys).await
    }

    async fn stats(&self) -> StoreStats {
        self.inner.stats().await
    }

    fn generation(&self) -> u64 {
        self.inner.generation()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
