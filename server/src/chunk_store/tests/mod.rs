//! Tests of the chunk stores: the contract that all keep, and the segment store under faults.
//!
//! Owns the rig: a store on a real or simulated disk that can be closed, killed and opened again.

mod contract;
mod crash;
mod faults;
mod reclaim;
mod recovery;

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use common::ids::{ChunkId, FolderId};
use tempfile::TempDir;

use super::disk::{RealDisk, read_full};
use super::{
    ChunkKey, ChunkStore as _, Disk, OpenError, SegmentOptions, SegmentStore, SimulatedDisk, Stored,
};

/// Payload bytes that no other number or length has.
fn payload(number: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    Bytes::from(bytes)
}

fn folder(number: u8) -> FolderId {
    FolderId::from_bytes([number; 32])
}

fn key_of(bytes: &Bytes) -> ChunkKey {
    ChunkKey { folder: folder(1), id: ChunkId::of(bytes) }
}

fn chunk(number: u64, length: usize) -> (ChunkKey, Bytes) {
    let bytes = payload(number, length);
    (key_of(&bytes), bytes)
}

fn stored(new: bool, length: usize) -> Stored {
    Stored { new, length: length as u32 }
}

/// Small segments and batches, so that a test meets their ends.
fn small_options() -> SegmentOptions {
    let drawn = AtomicU64::new(0);
    let draw = move || Ok(u128::from(drawn.fetch_add(1, Ordering::SeqCst) + 1).to_le_bytes());
    let mut options = SegmentOptions::new(Arc::new(draw));
    options.segment_bytes = 16 * 1024;
    options.workers = 2;
    options.reserve_bytes = 0;
    options
}

/// A segment store and what outlives it.
struct Rig {
    directory: TempDir,
    disk: Arc<dyn Disk>,
    options: SegmentOptions,
    store: Option<SegmentStore>,
}

impl Rig {
    fn real() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        Self::new(Arc::new(disk), directory, small_options())
    }

    fn simulated(disk: &SimulatedDisk) -> Self {
        let directory = index_directory();
        Self::new(Arc::new(disk.clone()), directory, small_options())
    }

    fn new(disk: Arc<dyn Disk>, directory: TempDir, options: SegmentOptions) -> Self {
        let mut rig = Self { directory, disk, options, store: None };
        rig.store = Some(rig.open().unwrap());
        rig
    }

    fn index_path(&self) -> PathBuf {
        self.directory.path().join("index.sqlite")
    }

    fn open(&self) -> Result<SegmentStore, OpenError> {
        SegmentStore::open_on(Arc::clone(&self.disk), &self.index_path(), self.options.clone())
    }

    fn store(&self) -> &SegmentStore {
        self.store.as_ref().unwrap()
    }

    async fn close(&mut self) {
        self.store.take().unwrap().close().await;
    }

    /// Ends the store without closing it.
    fn kill(&mut self) {
        self.store = None;
    }

    fn start(&mut self) {
        self.store = Some(self.open().unwrap());
    }

    async fn put(&self, chunks: &[(ChunkKey, Bytes)]) -> Vec<Stored> {
        self.store().put(chunks.to_vec()).await.unwrap()
    }

    async fn assert_readable(&self, chunks: &[(ChunkKey, Bytes)]) {
        for (key, bytes) in chunks {
            assert_eq!(self.store().get(*key).await.unwrap().as_ref(), Some(bytes), "{key}");
        }
    }

    /// Where bytes lie: every place in every segment, in order.
    fn places(&self, bytes: &[u8]) -> Vec<(u32, u64)> {
        let mut places = Vec::new();
        for number in self.disk.segments().unwrap() {
            let contents = contents(self.disk.as_ref(), number).unwrap();
            let found =
                contents.windows(bytes.len()).enumerate().filter(|(_, some)| *some == bytes);
            places.extend(found.map(|(offset, _)| (number, offset as u64)));
        }
        places
    }

    /// Flips a bit of a stored byte, durably.
    fn flip(&self, segment: u32, offset: u64) {
        let file = self.disk.open(segment).unwrap();
        let mut byte = [0];
        assert_eq!(read_full(file.as_ref(), offset, &mut byte).unwrap(), 1);
        byte[0] ^= 1;
        assert_eq!(file.write_at(offset, &[IoSlice::new(&byte)]).unwrap(), 1);
        file.sync().unwrap();
    }

    /// Flips a bit of every stored copy of a payload.
    fn damage(&self, bytes: &Bytes) {
        let places = self.places(bytes);
        assert!(!places.is_empty());
        for (segment, offset) in places {
            self.flip(segment, offset + 1);
        }
    }
}

/// Where the index of a simulated disk lies: in memory where the system has that, as the tests
/// decide what a power cut does to it.
fn index_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn contents(disk: &dyn Disk, number: u32) -> io::Result<Vec<u8>> {
    let file = disk.open(number)?;
    let mut contents = vec![0; file.length()? as usize];
    read_full(file.as_ref(), 0, &mut contents)?;
    Ok(contents)
}
