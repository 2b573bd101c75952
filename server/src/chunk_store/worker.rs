//! One of the threads that hash, look up and read for the callers of a store.
//!
//! Owns what is decided before the writer is asked: whether bytes are the chunk's, and whether a
//! stored copy is whole. It must not write files or the index. The store starts it; it ends when
//! the store is closed or dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;

use bytes::Bytes;
use common::ids::ChunkId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::index::{Entry, IndexError, IndexReader};
use super::reclaim::{Compacted, Surveyed};
use super::reclaim_writer::ReclaimWrite;
use super::segment_store::Shared;
use super::segments::{Read, ReadError, Segments};
use super::verified::Verified;
use super::writer::Write;
use super::{ChunkKey, StoreError, Stored};

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What a worker is asked.
pub(super) enum Work {
    Put {
        chunks: Vec<(ChunkKey, Bytes)>,
        reply: Reply<Vec<Stored>>,
        permit: OwnedSemaphorePermit,
    },
    Get {
        key: ChunkKey,
        reply: Reply<Option<Bytes>>,
    },
    Have {
        keys: Vec<ChunkKey>,
        reply: Reply<Vec<Option<u32>>>,
    },
    Survey {
        after: Option<ChunkKey>,
        limit: usize,
        reply: Reply<Vec<Surveyed>>,
    },
    /// Chunks and bytes with headers that are wanted of each segment.
    Uses {
        reply: Reply<BTreeMap<u32, (u64, u64)>>,
    },
    /// Copies some of what is wanted of a segment, from a position on.
    Compact {
        segment: u32,
        position: u64,
        reply: Reply<(Compacted, Option<u64>)>,
    },
    Reclaim(ReclaimWrite),
    Advance {
        generation: u64,
        reply: Reply<()>,
    },
}

/// Everything a worker needs.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) index: IndexReader,
    pub(super) segments: Arc<Segments>,
    pub(super) verified: Arc<Verified>,
    pub(super) writes: Sender<Write>,
}

/// What a have comes to.
struct Had {
    lengths: Vec<Option<u32>>,
    /// Chunks that are whole and need a new stamp, each with its place among the lengths.
    stale: Vec<(usize, ChunkKey)>,
}

impl Worker {
    /// Works until there is nothing more to receive.
    pub(super) fn run(self, receive: impl Fn() -> Option<Work>) {
        while let Some(work) = receive() {
            match work {
                Work::Put { chunks, reply, permit } => match self.check_put(&chunks) {
                    Ok(()) => self.write(Write::Put { chunks, reply, permit }),
                    Err(error) => answer(reply, Err(error)),
                },
                Work::Get { key, reply } => answer(reply, self.get(&key)),
                Work::Have { keys, reply } => self.have(keys, reply),
                Work::Survey { after, limit, reply } => {
                    let surveyed = self.ask(|index| index.survey(after.as_ref(), limit));
                    answer(reply, surveyed);
                }
                Work::Uses { reply } => answer(reply, self.ask(IndexReader::segment_uses)),
                Work::Compact { segment, position, reply } => {
                    match self.read_step(segment, position) {
                        Ok(step) => self.write(Write::Reclaim(ReclaimWrite::Move { step, reply })),
                        Err(error) => answer(reply, Err(error)),
                    }
                }
                Work::Reclaim(write) => self.write(Write::Reclaim(write)),
                Work::Advance { generation, reply } => {
                    self.write(Write::Advance { generation, reply });
                }
            }
        }
    }

    fn write(&self, write: Write) {
        if self.writes.send(write).is_err() {
            // The reply went with it, and its caller learns that from the drop.
            self.shared.stop("its writer has ended".to_owned());
        }
    }

    /// Checks bytes against ids, and verifies the stored copies of what is stored already, so that
    /// the writer finds them verified or writes them again.
    fn check_put(&self, chunks: &[(ChunkKey, Bytes)]) -> Result<(), StoreError> {
        self.shared.check_running()?;
        for (key, bytes) in chunks {
            if ChunkId::of(bytes) != key.id {
                return Err(StoreError::WrongBytes { key: *key });
            }
        }
        for (key, _) in chunks {
            if !self.verified.contains(key)
                && let Some(entry) = self.find(key)?
            {
                self.is_whole(key, entry)?;
            }
        }
        Ok(())
    }

    fn get(&self, key: &ChunkKey) -> Result<Option<Bytes>, StoreError> {
        let Some(entry) = self.find(key)? else { return Ok(None) };
        match self.read(key, entry)? {
            Some(read) => Ok(Some(read.bytes)),
            None => Err(StoreError::Damaged { key: *key }),
        }
    }

    fn have(&self, keys: Vec<ChunkKey>, reply: Reply<Vec<Option<u32>>>) {
        match self.lengths(&keys) {
            Ok(Had { lengths, stale }) if stale.is_empty() => answer(reply, Ok(lengths)),
            Ok(Had { lengths, stale }) => self.write(Write::Stamp { stale, lengths, reply }),
            Err(error) => answer(reply, Err(error)),
        }
    }

    /// Lengths of the chunks that are whole, and which of them need a new stamp.
    fn lengths(&self, keys: &[ChunkKey]) -> Result<Had, StoreError> {
        self.shared.check_running()?;
        let mut lengths = vec![None; keys.len()];
        let mut stale = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let Some(entry) = self.find(key)? else { continue };
            if !self.verified.contains(key) && !self.is_whole(key, entry)? {
                continue;
            }
            lengths[place] = Some(entry.location.length);
            if entry.generation < self.shared.generation.load(Ordering::SeqCst) {
                stale.push((place, *key));
            }
        }
        Ok(Had { lengths, stale })
    }

    /// Verifies a stored copy and remembers the result.
    fn is_whole(&self, key: &ChunkKey, entry: Entry) -> Result<bool, StoreError> {
        let whole = self.read(key, entry)?.is_some_and(|read| read.header_whole);
        if !whole {
            tracing::warn!(%key, "the stored copy is damaged; it waits to be put again");
        }
        Ok(whole)
    }

    /// Reads a chunk, and again if it was meanwhile written elsewhere; `None` when it is damaged.
    fn read(&self, key: &ChunkKey, mut entry: Entry) -> Result<Option<Read>, StoreError> {
        loop {
            match self.segments.read(key, &entry.location) {
                Ok(read) => {
                    if read.header_whole {
                        self.verified.insert(*key);
                    } else {
                        self.verified.remove(key);
                    }
                    return Ok(Some(read));
                }
                Err(ReadError::Damaged) => {}
                Err(ReadError::Failed(source)) => {
                    return Err(StoreError::Read { key: *key, source: Arc::new(source) });
                }
            }
            let now = self.find(key)?;
            match now {
                Some(moved) if moved.location != entry.location => entry = moved,
                _ => {
                    self.verified.remove(key);
                    return Ok(None);
                }
            }
        }
    }

    pub(super) fn find(&self, key: &ChunkKey) -> Result<Option<Entry>, StoreError> {
        self.ask(|index| index.find(key))
    }

    fn ask<T>(
        &self,
        ask: impl FnOnce(&IndexReader) -> Result<T, IndexError>,
    ) -> Result<T, StoreError> {
        ask(&self.index).map_err(|error| self.shared.stop_for_index(&error))
    }
}

/// Sends an answer; a caller that no longer waits is none of the store's business.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    let _ = reply.send(result);
}
