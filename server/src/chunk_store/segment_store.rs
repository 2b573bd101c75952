//! The chunk store on a disk: append-only segments and an index.
//!
//! Owns opening, closing and the threads: one writer (`writer`) and some workers (`worker`), which
//! start with the store and end when it is closed or dropped. All file work is done on them, never
//! on the caller's runtime. It must not know records or SQL.
//!
//! Layout of the directory: `lock`, `generation`, `index.sqlite`, `segments/NNNNNN.seg`.
//!
//! A store that is dropped without [`ChunkStore::close`], or whose process dies, is opened again as
//! after a power cut (`recovery`, `index`); nothing acknowledged is lost either way.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use common::limits::SEALED_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::disk::{Disk, RealDisk};
use super::index::{Index, IndexError, IndexReader, Totals};
use super::reclaim_writer::ReclaimWrite;
use super::recovery::{RecoveryError, recover};
use super::segments::Segments;
use super::verified::Verified;
use super::worker::{Reply, Work, Worker};
use super::writer::{Writer, WriterParts};
use super::{
    ChunkKey, ChunkStore, Compacted, Dropped, Due, Reclaim, Reclaimed, SegmentUse, StoreError,
    StoreState, StoreStats, Stored, Surveyed, TrashStamp,
};

/// In-flight bytes are counted in units of this, so that their count fits a semaphore.
const PERMIT_BYTES: usize = 1024;
/// Bytes of one put that go to the threads together.
const PORTION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Chunks of one put or have that go to the threads together.
const PORTION_CHUNKS_MAX: usize = 512;

/// Draws the random id of a new segment.
pub type DrawSegmentId = Arc<dyn Fn() -> io::Result<[u8; 16]> + Send + Sync>;

/// How a [`SegmentStore`] works.
#[derive(Clone)]
pub struct SegmentOptions {
    /// Bytes at which a segment is full and the next begun.
    pub segment_bytes: u64,
    /// Bytes of chunks that one sync covers, at most, as soon as they are waiting.
    pub batch_bytes_max: usize,
    /// Bytes of puts in flight; more wait.
    pub in_flight_bytes_max: usize,
    /// Reads and haves in flight; more wait.
    pub reads_max: usize,
    /// Threads that hash, read and look up.
    pub workers: usize,
    /// Chunks that are remembered as verified, about 80 bytes each.
    pub verified_max: usize,
    /// Bytes that writes leave free on the disk, for the index and the metadata beside it.
    pub reserve_bytes: u64,
    /// Draws the random id of a new segment. Devices must not be able to guess it.
    pub segment_id: DrawSegmentId,
}

impl SegmentOptions {
    /// The usual sizes.
    #[must_use]
    pub fn new(segment_id: DrawSegmentId) -> Self {
        Self {
            segment_bytes: 256 * 1024 * 1024,
            batch_bytes_max: 16 * 1024 * 1024,
            in_flight_bytes_max: 64 * 1024 * 1024,
            reads_max: 64,
            workers: 4,
            verified_max: 256 * 1024,
            reserve_bytes: 64 * 1024 * 1024,
            segment_id,
        }
    }
}

impl Default for SegmentOptions {
    /// The usual sizes, with ids from the system's randomness.
    fn default() -> Self {
        Self::new(Arc::new(|| {
            let mut id = [0; 16];
            aws_lc_rs::rand::fill(&mut id)
                .map_err(|_| io::Error::other("the system has no randomness"))?;
            Ok(id)
        }))
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has the directory open.
    #[error("{} is in use by another process", .directory.display())]
    Locked {
        /// The directory of the store.
        directory: PathBuf,
    },
    /// The system failed.
    #[error("opening the chunk store in {}: {source}", .directory.display())]
    Disk {
        /// The directory of the store.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The index could be neither used nor rebuilt.
    #[error("opening the chunk store in {}: {source}", .directory.display())]
    Index {
        /// The directory of the store.
        directory: PathBuf,
        /// What failed.
        #[source]
        source: IndexError,
    },
}

/// Chunks in segment files; see the module.
pub struct SegmentStore {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    work: Mutex<Option<Sender<Work>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    writer_ended: watch::Receiver<bool>,
    puts: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    put_permits: usize,
}

/// What the store and its threads share.
pub(super) struct Shared {
    state: Mutex<StoreState>,
    /// Whether the index turned out damaged, so that the next start must rebuild it.
    pub(super) index_damaged: AtomicBool,
    /// Whether the store is being closed in good order.
    pub(super) closing: AtomicBool,
    pub(super) generation: AtomicU64,
    pub(super) segments: AtomicU64,
    totals: Mutex<Totals>,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, StoreState> {
        // Nothing under this lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the store for good, and says so to whoever asked.
    pub(super) fn stop(&self, reason: String) -> StoreError {
        let mut state = self.state();
        if !matches!(*state, StoreState::Stopped { .. }) {
            tracing::error!(reason, "the chunk store has stopped");
            *state = StoreState::Stopped { reason: reason.into() };
        }
        stopped(&state)
    }

    /// Stops the store because of its index.
    pub(super) fn stop_for_index(&self, error: &IndexError) -> StoreError {
        if matches!(error, IndexError::Damaged { .. }) {
            self.index_damaged.store(true, Ordering::SeqCst);
        }
        self.stop(error.to_string())
    }

    /// Fails when the store has stopped.
    pub(super) fn check_running(&self) -> Result<(), StoreError> {
        match &*self.state() {
            state @ StoreState::Stopped { .. } => Err(stopped(state)),
            _ => Ok(()),
        }
    }
}

fn stopped(state: &StoreState) -> StoreError {
    match state {
        StoreState::Stopped { reason } => StoreError::Stopped { reason: Arc::clone(reason) },
        _ => StoreError::Closed,
    }
}

impl SegmentStore {
    /// Opens the store in `directory`, makes it if it is not there, and recovers it if it was not
    /// closed. Blocks for as long as recovery takes: moments after a crash, minutes when the index
    /// of a large store is gone.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path, options: SegmentOptions) -> Result<Self, OpenError> {
        let disk = RealDisk::open(directory)
            .map_err(|source| OpenError::Disk { directory: directory.to_owned(), source })?;
        Self::open_on(Arc::new(disk), &directory.join("index.sqlite"), options)
    }

    /// Opens a store on any disk, with its index at a path of the file system.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        index_path: &Path,
        options: SegmentOptions,
    ) -> Result<Self, OpenError> {
        let directory = index_path.parent().unwrap_or(index_path).to_owned();
        let result = start(&disk, index_path, options);
        result.map_err(|failure| match failure {
            StartError::Locked => OpenError::Locked { directory },
            StartError::Disk(source) | StartError::Recovery(RecoveryError::Disk(source)) => {
                OpenError::Disk { directory, source }
            }
            StartError::Index(source) | StartError::Recovery(RecoveryError::Index(source)) => {
                OpenError::Index { directory, source }
            }
        })
    }

    fn send(&self, work: Work) -> Result<(), StoreError> {
        let sender = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = sender.as_ref().ok_or(StoreError::Closed)?;
        sender.send(work).map_err(|_| self.shared.stop("its threads have ended".to_owned()))
    }

    /// Asks the threads; for what one caller does at a time, so that it needs no permit.
    async fn ask<T>(&self, work: impl FnOnce(Reply<T>) -> Work) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(work(reply))?;
        self.answer(answer).await?
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, StoreError> {
        // A thread drops a reply only by panicking; then nothing is known of the request.
        answer.await.map_err(|_| self.shared.stop("a thread of it has failed".to_owned()))
    }

    async fn permit(
        &self,
        semaphore: &Arc<Semaphore>,
        permits: usize,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let permit = Arc::clone(semaphore).acquire_many_owned(permits).await;
        permit.map_err(|_| StoreError::Closed)
    }

    fn hang_up(&self) -> Vec<JoinHandle<()>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::mem::take(&mut self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum StartError {
    Locked,
    Disk(io::Error),
    Index(IndexError),
    Recovery(RecoveryError),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<IndexError> for StartError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl From<RecoveryError> for StartError {
    fn from(error: RecoveryError) -> Self {
        Self::Recovery(error)
    }
}

fn start(
    disk: &Arc<dyn Disk>,
    index_path: &Path,
    options: SegmentOptions,
) -> Result<SegmentStore, StartError> {
    let lock = disk.lock()?.ok_or(StartError::Locked)?;
    let generation = disk.load_generation()?.unwrap_or(1).max(1);
    let mut index = Index::open(index_path, generation)?;
    let recovered = recover(disk.as_ref(), &mut index, generation)?;
    let shared = Arc::new(Shared {
        state: Mutex::new(StoreState::Open),
        index_damaged: AtomicBool::new(false),
        closing: AtomicBool::new(false),
        generation: AtomicU64::new(generation),
        segments: AtomicU64::new(recovered.segments),
        totals: Mutex::new(index.totals()?),
    });
    let verified = Arc::new(Verified::new(options.verified_max));
    let segments = Arc::new(Segments::new(Arc::clone(disk)));
    let (work, received_work) = channel();
    let (writes, received_writes) = channel();
    let received_work = Arc::new(Mutex::new(received_work));
    let mut threads = Vec::new();
    for _ in 0..options.workers.max(1) {
        let worker = Worker {
            shared: Arc::clone(&shared),
            index: IndexReader::open(index_path, index.stamp_floor())?,
            segments: Arc::clone(&segments),
            verified: Arc::clone(&verified),
            writes: writes.clone(),
        };
        let received = Arc::clone(&received_work);
        threads.push(spawn("chunks-worker", move || worker.run(|| receive(&received)))?);
    }
    let (ended, writer_ended) = watch::channel(false);
    let put_permits = (options.in_flight_bytes_max / PERMIT_BYTES).clamp(1, u32::MAX as usize);
    let reads_max = options.reads_max.max(1);
    let parts = WriterParts {
        disk: Arc::clone(disk),
        index,
        index_path: index_path.to_owned(),
        shared: Arc::clone(&shared),
        verified,
        segments,
        options,
        recovered,
    };
    let writer = Writer::new(parts);
    threads.push(spawn("chunks-writer", move || {
        writer.run(&received_writes);
        drop(lock);
        // Nobody listens to a store that was dropped.
        let _ = ended.send(true);
    })?);
    Ok(SegmentStore {
        shared,
        disk: Arc::clone(disk),
        work: Mutex::new(Some(work)),
        threads: Mutex::new(threads),
        writer_ended,
        puts: Arc::new(Semaphore::new(put_permits)),
        reads: Arc::new(Semaphore::new(reads_max)),
        put_permits,
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn receive(work: &Mutex<Receiver<Work>>) -> Option<Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[async_trait]
impl Reclaim for SegmentStore {
    async fn raise_generation(&self, generation: u64) -> Result<(), StoreError> {
        self.ask(|reply| Work::Advance { generation, reply }).await
    }

    async fn survey(
        &self,
        after: Option<ChunkKey>,
        limit: usize,
    ) -> Result<Vec<Surveyed>, StoreError> {
        self.ask(|reply| Work::Survey { after, limit, reply }).await
    }

    async fn trash(&self, keys: Vec<ChunkKey>, stamp: TrashStamp) -> Result<Reclaimed, StoreError> {
        self.ask(|reply| Work::Reclaim(ReclaimWrite::Trash { keys, stamp, reply })).await
    }

    async fn untrash(&self, keys: Vec<ChunkKey>) -> Result<Reclaimed, StoreError> {
        self.ask(|reply| Work::Reclaim(ReclaimWrite::Untrash { keys, reply })).await
    }

    async fn purge(&self, keys: Vec<ChunkKey>, due: Due) -> Result<Reclaimed, StoreError> {
        self.ask(|reply| Work::Reclaim(ReclaimWrite::Purge { keys, due, reply })).await
    }

    async fn segments(&self) -> Result<Vec<SegmentUse>, StoreError> {
        // The newest may grow. Which one that is, is looked at before what points to them: of the
        // others, none will be pointed to that is not now.
        let failed = |source| StoreError::Segments { source: Arc::new(source) };
        let mut numbers = self.disk.segments().map_err(failed)?;
        numbers.pop();
        let uses = self.ask(|reply| Work::Uses { reply }).await?;
        let mut segments = Vec::with_capacity(numbers.len());
        for segment in numbers {
            let (live_chunks, live_bytes) = uses.get(&segment).copied().unwrap_or_default();
            let file_bytes =
                self.disk.open(segment).and_then(|file| file.length()).map_err(failed)?;
            segments.push(SegmentUse { segment, live_chunks, live_bytes, file_bytes });
        }
        Ok(segments)
    }

    async fn compact(&self, segment: u32) -> Result<Compacted, StoreError> {
        let mut done = Compacted::default();
        let mut next = Some(0);
        while let Some(position) = next {
            let (step, then) = self.ask(|reply| Work::Compact { segment, position, reply }).await?;
            done.moved += step.moved;
            done.damaged += step.damaged;
            next = then;
        }
        Ok(done)
    }

    async fn drop_empty(&self) -> Result<Dropped, StoreError> {
        let segments = self.segments().await?.into_iter();
        let empty = segments.filter(|segment| segment.live_chunks == 0);
        let segments = empty.map(|segment| (segment.segment, segment.file_bytes)).collect();
        self.ask(|reply| Work::Reclaim(ReclaimWrite::Drop { segments, reply })).await
    }
}

#[async_trait]
impl ChunkStore for SegmentStore {
    async fn put(&self, chunks: Vec<(ChunkKey, Bytes)>) -> Result<Vec<Stored>, StoreError> {
        for (key, bytes) in &chunks {
            if bytes.len() > SEALED_BYTES_MAX {
                return Err(StoreError::TooLarge { key: *key, length: bytes.len() });
            }
        }
        let mut answers = Vec::new();
        let mut stored = Vec::with_capacity(chunks.len());
        for chunks in portions(chunks) {
            self.shared.check_running()?;
            let bytes: usize = chunks.iter().map(|(_, bytes)| bytes.len()).sum();
            // A chunk costs memory even when it is empty.
            let permits = (bytes / PERMIT_BYTES + chunks.len()).min(self.put_permits);
            let permit = self.permit(&self.puts, permits).await?;
            let (reply, answer) = oneshot::channel();
            self.send(Work::Put { chunks, reply, permit })?;
            answers.push(answer);
        }
        for answer in answers {
            stored.extend(self.answer(answer).await??);
        }
        Ok(stored)
    }

    async fn get(&self, key: ChunkKey) -> Result<Option<Bytes>, StoreError> {
        let _permit = self.permit(&self.reads, 1).await?;
        let (reply, answer) = oneshot::channel();
        self.send(Work::Get { key, reply })?;
        self.answer(answer).await?
    }

    async fn have(&self, keys: Vec<ChunkKey>) -> Result<Vec<Option<u32>>, StoreError> {
        let mut lengths = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PORTION_CHUNKS_MAX) {
            self.shared.check_running()?;
            let _permit = self.permit(&self.reads, 1).await?;
            let (reply, answer) = oneshot::channel();
            self.send(Work::Have { keys: keys.to_vec(), reply })?;
            lengths.extend(self.answer(answer).await??);
        }
        Ok(lengths)
    }

    async fn stats(&self) -> StoreStats {
        let totals = *self.shared.totals();
        let state = self.shared.state().clone();
        StoreStats {
            chunks: totals.chunks,
            bytes: totals.bytes,
            segments: self.shared.segments.load(Ordering::SeqCst),
            free_bytes: self.disk.free_bytes().unwrap_or_default(),
            state,
        }
    }

    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::SeqCst)
    }

    async fn close(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // The threads end by themselves once nobody can ask them; joining them would block.
        drop(self.hang_up());
        let mut ended = self.writer_ended.clone();
        // An error means that the writer is gone, which is what is waited for.
        let _ = ended.wait_for(|ended| *ended).await;
        *self.shared.state() = StoreState::Closed;
    }
}

impl Drop for SegmentStore {
    /// Waits for what is in flight, without marking the store as closed.
    fn drop(&mut self) {
        for thread in self.hang_up() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// Splits a put so that one caller's many chunks neither exceed what may be in flight nor fill a
/// segment at once.
fn portions(chunks: Vec<(ChunkKey, Bytes)>) -> Vec<Vec<(ChunkKey, Bytes)>> {
    let mut portions = Vec::new();
    let mut portion = Vec::new();
    let mut bytes = 0;
    let mut rest = VecDeque::from(chunks);
    while let Some(chunk) = rest.pop_front() {
        if bytes + chunk.1.len() > PORTION_BYTES_MAX || portion.len() >= PORTION_CHUNKS_MAX {
            portions.push(std::mem::take(&mut portion));
            bytes = 0;
        }
        bytes += chunk.1.len();
        portion.push(chunk);
    }
    if !portion.is_empty() {
        portions.push(portion);
    }
    portions
}
