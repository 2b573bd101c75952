//! The real chunk store on a simulated disk, as one server of a simulation has it.
//!
//! Owns the store with its threads, and how it comes back after its disk failed. Each call waits on
//! the spot until the store's threads have answered: virtual time stands still meanwhile and no two
//! calls overlap, so that a seed always tells the same story. Its index is a file that survives.

use async_trait::async_trait;
use bytes::Bytes;
use server::chunk_store::{
    ChunkKey, ChunkStore, Compacted, CrashKeeps, Dropped, Due, Reclaim, Reclaimed, SegmentOptions,
    SegmentStore, SegmentUse, SimulatedDisk, StoreError, StoreState, StoreStats, Stored, Surveyed,
    TrashStamp,
};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// Small segments, so that a seed sees their ends.
const SEGMENT_BYTES: u64 = 128 * 1024;

/// A segment store that can be started again.
pub struct DiskChunks {
    open: Mutex<Open>,
    index: std::path::PathBuf,
    drawn: Arc<AtomicU64>,
}

struct Open {
    disk: SimulatedDisk,
    /// `None` only while it is opened again.
    store: Option<Arc<SegmentStore>>,
}

impl DiskChunks {
    /// An empty store, with its index in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let index = directory.join("index.sqlite");
        let drawn = Arc::default();
        let disk = SimulatedDisk::new();
        let store = open(&disk, &index, &drawn);
        Self { open: Mutex::new(Open { disk, store: Some(store) }), index, drawn }
    }

    /// Makes every sync fail from now on.
    pub fn fail_syncs(&self) {
        self.lock().disk.set_syncs_fail(true);
    }

    /// No more syncs fail; a store that has stopped stays so.
    pub fn mend(&self) {
        self.lock().disk.set_syncs_fail(false);
    }

    /// Whether it has stopped after a failed sync.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(wait(self.store().stats()).state, StoreState::Stopped { .. })
    }

    /// Starts it again on a disk that works: as its process left it, or with what a power cut keeps
    /// by this seed.
    pub fn restart(&self, power_cut: Option<u64>) {
        let mut open = self.lock();
        // Its threads end before the disk is looked at.
        drop(open.store.take());
        match power_cut {
            Some(seed) => open.disk = open.disk.after_crash(CrashKeeps::Some(seed)),
            None => open.disk.heal(),
        }
        open.store = Some(self::open(&open.disk, &self.index, &self.drawn));
    }

    fn store(&self) -> Arc<SegmentStore> {
        Arc::clone(self.lock().store.as_ref().unwrap())
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(disk: &SimulatedDisk, index: &Path, drawn: &Arc<AtomicU64>) -> Arc<SegmentStore> {
    let drawn = Arc::clone(drawn);
    let draw = move || Ok(u128::from(drawn.fetch_add(1, Ordering::Relaxed) + 1).to_le_bytes());
    let mut options = SegmentOptions::new(Arc::new(draw));
    (options.segment_bytes, options.workers, options.reserve_bytes) = (SEGMENT_BYTES, 1, 0);
    Arc::new(SegmentStore::open_on(Arc::new(disk.clone()), index, options).unwrap())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread. Unconstrained: nobody would wake a future that tokio has put off.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[async_trait]
impl ChunkStore for DiskChunks {
    async fn put(&self, chunks: Vec<(ChunkKey, Bytes)>) -> Result<Vec<Stored>, StoreError> {
        wait(self.store().put(chunks))
    }

    async fn get(&self, key: ChunkKey) -> Result<Option<Bytes>, StoreError> {
        wait(self.store().get(key))
    }

    async fn have(&self, keys: Vec<ChunkKey>) -> Result<Vec<Option<u32>>, StoreError> {
        wait(self.store().have(keys))
    }

    async fn stats(&self) -> StoreStats {
        wait(self.store().stats())
    }

    fn generation(&self) -> u64 {
        self.store().generation()
    }

    async fn close(&self) {
        wait(self.store().close());
    }
}

#[async_trait]
impl Reclaim for DiskChunks {
    async fn raise_generation(&self, generation: u64) -> Result<(), StoreError> {
        wait(self.store().raise_generation(generation))
    }

    async fn survey(
        &self,
        after: Option<ChunkKey>,
        limit: usize,
    ) -> Result<Vec<Surveyed>, StoreError> {
        wait(self.store().survey(after, limit))
    }

    async fn trash(&self, keys: Vec<ChunkKey>, stamp: TrashStamp) -> Result<Reclaimed, StoreError> {
        wait(self.store().trash(keys, stamp))
    }

    async fn untrash(&self, keys: Vec<ChunkKey>) -> Result<Reclaimed, StoreError> {
        wait(self.store().untrash(keys))
    }

    async fn purge(&self, keys: Vec<ChunkKey>, due: Due) -> Result<Reclaimed, StoreError> {
        wait(self.store().purge(keys, due))
    }

    async fn segments(&self) -> Result<Vec<SegmentUse>, StoreError> {
        wait(self.store().segments())
    }

    async fn compact(&self, segment: u32) -> Result<Compacted, StoreError> {
        wait(self.store().compact(segment))
    }

    async fn drop_empty(&self) -> Result<Dropped, StoreError> {
        wait(self.store().drop_empty())
    }
}
