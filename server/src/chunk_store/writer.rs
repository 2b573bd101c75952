//! The one thread that writes: it gathers what callers wait for, appends it, syncs once, indexes
//! it, and only then answers.
//!
//! Owns the order *bytes, sync, name, index, answer*, and what a failure leaves behind: want of
//! room takes the batch back and refuses it; any other failed write or sync stops the store, as
//! what is on the disk is then unknown, and a later sync that succeeds proves nothing. It must not
//! read chunks. The store starts it; it ends when the last worker has.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::disk::{Disk, is_no_room, write_full};
use super::index::{self, Entry, Index, IndexBatch, IndexError, Location, SegmentRow};
use super::reclaim_writer::ReclaimWrite;
use super::record::{HEADER_BYTES, Header, Kind, SegmentId};
use super::recovery::{Recovered, Tail};
use super::segment_store::{SegmentOptions, Shared};
use super::segments::Segments;
use super::verified::Verified;
use super::worker::{Reply, answer};
use super::{ChunkKey, StoreError, StoreState, Stored};

/// What the writer is asked.
pub(super) enum Write {
    /// Store chunks whose bytes were checked against their ids.
    Put { chunks: Vec<(ChunkKey, Bytes)>, reply: Reply<Vec<Stored>>, permit: OwnedSemaphorePermit },
    /// Stamp chunks with the present generation, then answer with the lengths; a chunk that is
    /// gone by then has none.
    Stamp {
        stale: Vec<(usize, ChunkKey)>,
        lengths: Vec<Option<u32>>,
        reply: Reply<Vec<Option<u32>>>,
    },
    /// Raise the generation.
    Advance { generation: u64, reply: Reply<()> },
    /// Something for the garbage collection, alone: what a batch has planned on must not change
    /// before it is written.
    Reclaim(ReclaimWrite),
}

/// Everything the writer needs.
pub(super) struct WriterParts {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index: Index,
    pub(super) index_path: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) verified: Arc<Verified>,
    pub(super) segments: Arc<Segments>,
    pub(super) options: SegmentOptions,
    pub(super) recovered: Recovered,
}

/// The writer of one store.
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index: Index,
    index_path: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) verified: Arc<Verified>,
    pub(super) segments: Arc<Segments>,
    pub(super) options: SegmentOptions,
    active: Option<Active>,
    next_number: u32,
}

/// The segment that is appended to.
struct Active {
    tail: Tail,
    /// Whether its name is known to be durable.
    name_durable: bool,
}

/// A put of the batch, and what it will be answered if the batch succeeds.
struct Put {
    stored: Vec<Stored>,
    reply: Reply<Vec<Stored>>,
    /// Whether it depends on what the batch appends.
    appends: bool,
    /// Held until the answer, as the bytes are.
    _permit: OwnedSemaphorePermit,
}

/// Haves of the batch.
struct Have {
    lengths: Vec<Option<u32>>,
    reply: Reply<Vec<Option<u32>>>,
}

/// What a batch comes to.
#[derive(Default)]
struct Batch {
    puts: Vec<Put>,
    haves: Vec<Have>,
    appends: Vec<(ChunkKey, Bytes)>,
    appended: BTreeSet<ChunkKey>,
    stamped: BTreeSet<ChunkKey>,
}

impl Writer {
    pub(super) fn new(parts: WriterParts) -> Self {
        let WriterParts { disk, index, index_path, shared, verified, segments, options, recovered } =
            parts;
        // Recovery has synced the names of all segments that it found.
        let active = recovered.active.map(|tail| Active { tail, name_durable: true });
        let next_number = recovered.next_number;
        Self { disk, index, index_path, shared, verified, segments, options, active, next_number }
    }

    /// Writes until nobody can ask any more, then closes the index.
    pub(super) fn run(mut self, writes: &Receiver<Write>) {
        while let Ok(first) = writes.recv() {
            let (gathered, reclaim) = self.gather(first, writes);
            if !gathered.is_empty()
                && let Err(error) = self.serve(gathered)
            {
                tracing::debug!(%error, "a batch was not written");
            }
            if let Some(reclaim) = reclaim {
                self.reclaim(reclaim);
            }
        }
        self.end();
    }

    fn end(self) {
        let Self { index, index_path, shared, .. } = self;
        let running = shared.check_running().is_ok();
        if running && shared.closing.load(Ordering::SeqCst) {
            if let Err(error) = index.close_clean() {
                tracing::warn!(%error, "the index was not closed cleanly; it will be checked");
            }
            return;
        }
        drop(index);
        if shared.index_damaged.load(Ordering::SeqCst)
            && let Err(error) = index::remove(&index_path)
        {
            tracing::error!(%error, path = %index_path.display(), "remove the damaged index");
        }
    }

    /// Takes what waits already, up to the bytes of one batch, or to what is done alone.
    fn gather(&self, first: Write, writes: &Receiver<Write>) -> (Vec<Write>, Option<ReclaimWrite>) {
        let (mut bytes, mut gathered, mut next) = (0, Vec::new(), Some(first));
        while let Some(write) = next {
            if let Write::Reclaim(reclaim) = write {
                return (gathered, Some(reclaim));
            }
            bytes += write.bytes();
            gathered.push(write);
            let has_room = bytes < self.options.batch_bytes_max;
            next = if has_room { writes.try_recv().ok() } else { None };
        }
        (gathered, None)
    }

    /// Serves a batch: every reply in it is answered, whatever happens.
    fn serve(&mut self, gathered: Vec<Write>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for write in gathered {
            // A batch whose planning failed may not be written; what follows fails the same way.
            match self.shared.check_running() {
                Ok(()) => self.plan(write, &mut batch),
                Err(error) => write.refuse(error),
            }
        }
        if let Err(error) = self.shared.check_running() {
            batch.refuse_all(&error);
            return Err(error);
        }
        let placed = match self.append(&batch.appends, self.options.reserve_bytes) {
            Ok(placed) => placed,
            Err(error @ StoreError::Stopped { .. }) => {
                batch.refuse_all(&error);
                return Err(error);
            }
            Err(error) => {
                batch.refuse_appends(&error);
                IndexBatch::default()
            }
        };
        let result = self.index(placed, &batch);
        match &result {
            Ok(()) => batch.answer_all(),
            Err(error) => batch.refuse_all(error),
        }
        result
    }

    fn plan(&self, write: Write, batch: &mut Batch) {
        match write {
            Write::Reclaim(reclaim) => reclaim.refuse(StoreError::Closed),
            Write::Advance { generation, reply } => answer(reply, self.advance(generation)),
            Write::Put { chunks, reply, permit } => match self.plan_put(chunks, batch) {
                Ok((stored, appends)) => {
                    batch.puts.push(Put { stored, reply, appends, _permit: permit });
                }
                Err(error) => answer(reply, Err(error)),
            },
            Write::Stamp { stale, mut lengths, reply } => {
                for (place, key) in stale {
                    match self.find(&key) {
                        Ok(Some(entry)) => self.stamp_if_stale(key, entry, batch),
                        Ok(None) => lengths[place] = None,
                        Err(error) => return answer(reply, Err(error)),
                    }
                }
                batch.haves.push(Have { lengths, reply });
            }
        }
    }

    /// Decides for each chunk whether its bytes are appended. A worker has verified the stored
    /// copy of each that is stored; one that is still not known to be whole is damaged, and written
    /// again.
    fn plan_put(
        &self,
        chunks: Vec<(ChunkKey, Bytes)>,
        batch: &mut Batch,
    ) -> Result<(Vec<Stored>, bool), StoreError> {
        let mut stored = Vec::with_capacity(chunks.len());
        let mut appends = false;
        for (key, bytes) in chunks {
            let length = bytes.len() as u32;
            let mut new = false;
            if batch.appended.contains(&key) {
                appends = true;
            } else {
                match self.find(&key)? {
                    Some(entry) if self.verified.contains(&key) => {
                        self.stamp_if_stale(key, entry, batch);
                    }
                    entry => {
                        new = entry.is_none();
                        appends = true;
                        batch.appended.insert(key);
                        batch.appends.push((key, bytes));
                    }
                }
            }
            stored.push(Stored { new, length });
        }
        Ok((stored, appends))
    }

    pub(super) fn find(&self, key: &ChunkKey) -> Result<Option<Entry>, StoreError> {
        self.index.find(key).map_err(|error| self.shared.stop_for_index(&error))
    }

    fn stamp_if_stale(&self, key: ChunkKey, entry: Entry, batch: &mut Batch) {
        if entry.generation < self.shared.generation.load(Ordering::SeqCst) {
            batch.stamped.insert(key);
        }
    }

    fn advance(&self, generation: u64) -> Result<(), StoreError> {
        if generation <= self.shared.generation.load(Ordering::SeqCst) {
            return Ok(());
        }
        match self.disk.store_generation(generation) {
            Ok(()) => {
                self.shared.generation.store(generation, Ordering::SeqCst);
                Ok(())
            }
            Err(error) if is_no_room(&error) => Err(self.full()),
            Err(error) => Err(self.shared.stop(format!("storing the generation: {error}"))),
        }
    }

    /// Appends chunks to the active segment and makes them durable; says what is to be indexed.
    /// Leaves `reserve_bytes` of the disk free.
    pub(super) fn append(
        &mut self,
        chunks: &[(ChunkKey, Bytes)],
        reserve_bytes: u64,
    ) -> Result<IndexBatch, StoreError> {
        if chunks.is_empty() {
            return Ok(IndexBatch::default());
        }
        let bytes: u64 = chunks.iter().map(|(_, bytes)| (HEADER_BYTES + bytes.len()) as u64).sum();
        // A disk that does not say how much is free says so at the write.
        let free_bytes = self.disk.free_bytes().unwrap_or(u64::MAX);
        if free_bytes < bytes.saturating_add(reserve_bytes) {
            return Err(self.full());
        }
        let active = self.segment_for(bytes)?;
        let tail = &active.tail;
        match write_records(tail, chunks) {
            Ok(placed) => {
                let synced = tail.file.sync().and_then(|()| {
                    if active.name_durable { Ok(()) } else { self.disk.sync_directory() }
                });
                if let Err(error) = synced {
                    return Err(self
                        .shared
                        .stop(format!("syncing segment {}: {error}", tail.number)));
                }
                let end = placed.last().map_or(tail.end, |(_, location)| location.end());
                let mark = Some((tail.number, SegmentRow { id: tail.id, mark: end }));
                self.active = Some(Active { name_durable: true, ..active });
                Ok(IndexBatch { placed, mark, ..IndexBatch::default() })
            }
            Err(error) if is_no_room(&error) => {
                let taken_back = self.take_back(&active.tail);
                self.active = Some(active);
                taken_back?;
                Err(self.full())
            }
            Err(error) => {
                Err(self.shared.stop(format!("writing segment {}: {error}", tail.number)))
            }
        }
    }

    /// The segment that these bytes go to: the active one, or a new one if they do not fit.
    fn segment_for(&mut self, bytes: u64) -> Result<Active, StoreError> {
        if let Some(active) = self.active.take() {
            let is_empty = active.tail.end <= HEADER_BYTES as u64;
            if is_empty || active.tail.end + bytes <= self.options.segment_bytes {
                return Ok(active);
            }
        }
        let made = (self.options.segment_id)()
            .and_then(|id| Ok((SegmentId(id), self.disk.create(self.next_number)?)));
        match made {
            Ok((id, file)) => {
                let tail = Tail { number: self.next_number, id, file, end: 0 };
                self.next_number = self.next_number.saturating_add(1);
                self.shared.segments.fetch_add(1, Ordering::SeqCst);
                Ok(Active { tail, name_durable: false })
            }
            Err(error) if is_no_room(&error) => Err(self.full()),
            // Nothing was written, so nothing is unknown: too many open files, say.
            Err(error) => Err(StoreError::NewSegment { source: Arc::new(error) }),
        }
    }

    /// Takes back what a batch left after the last record.
    fn take_back(&self, tail: &Tail) -> Result<(), StoreError> {
        tail.file
            .truncate(tail.end)
            .map_err(|error| self.shared.stop(format!("cutting segment {}: {error}", tail.number)))
    }

    /// Indexes what was appended, and stamps.
    fn index(&mut self, mut placed: IndexBatch, batch: &Batch) -> Result<(), StoreError> {
        placed.stamped = batch.stamped.iter().copied().collect();
        if placed.placed.is_empty() && placed.stamped.is_empty() {
            return Ok(());
        }
        self.apply(placed)
    }

    /// Applies to the index what was appended; takes it back if the index has no room for it.
    pub(super) fn apply(&mut self, placed: IndexBatch) -> Result<(), StoreError> {
        let generation = self.shared.generation.load(Ordering::SeqCst);
        match self.index.apply(&placed, generation) {
            Ok(totals) => {
                *self.shared.totals() = totals;
                if let (Some(active), Some((_, row))) = (&mut self.active, placed.mark) {
                    active.tail.end = row.mark;
                    self.set_state(StoreState::Open);
                }
                let moved = placed.moved.iter().map(|(key, ..)| key);
                for key in placed.placed.iter().map(|(key, _)| key).chain(moved) {
                    self.verified.insert(*key);
                }
                Ok(())
            }
            Err(IndexError::NoRoom) => {
                if let (Some(active), Some(_)) = (&self.active, placed.mark) {
                    self.take_back(&active.tail)?;
                }
                Err(self.full())
            }
            Err(error) => Err(self.shared.stop_for_index(&error)),
        }
    }

    pub(super) fn full(&self) -> StoreError {
        self.set_state(StoreState::Full);
        let (free_bytes, reserve_bytes) =
            (self.disk.free_bytes().unwrap_or_default(), self.options.reserve_bytes);
        StoreError::DiskFull { free_bytes, reserve_bytes }
    }

    fn set_state(&self, new: StoreState) {
        let mut state = self.shared.state();
        if *state != new && matches!(*state, StoreState::Open | StoreState::Full) {
            tracing::info!(state = ?new, "the chunk store changed its state");
            *state = new;
        }
    }
}

/// Writes the records of chunks after the tail, and the segment's start if it has none; says where
/// they lie.
fn write_records(
    tail: &Tail,
    chunks: &[(ChunkKey, Bytes)],
) -> io::Result<Vec<(ChunkKey, Location)>> {
    let mut headers = Vec::with_capacity(chunks.len() + 1);
    let mut placed = Vec::with_capacity(chunks.len());
    let mut position = tail.end;
    if position == 0 {
        headers.push(Header { kind: Kind::Start, position, segment: tail.id }.encode());
        position = HEADER_BYTES as u64;
    }
    for (key, bytes) in chunks {
        let length = bytes.len() as u32;
        let kind = Kind::Chunk { key: *key, length };
        headers.push(Header { kind, position, segment: tail.id }.encode());
        let location = Location { segment: tail.number, position, length };
        placed.push((*key, location));
        position = location.end();
    }
    let (starts, headers) = headers.split_at(headers.len() - chunks.len());
    let mut slices: Vec<IoSlice<'_>> = starts.iter().map(|start| IoSlice::new(start)).collect();
    for (header, (_, bytes)) in headers.iter().zip(chunks) {
        slices.push(IoSlice::new(header));
        slices.push(IoSlice::new(bytes));
    }
    write_full(tail.file.as_ref(), tail.end, &mut slices)?;
    Ok(placed)
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Put { chunks, .. } => chunks.iter().map(|(_, bytes)| bytes.len()).sum(),
            Self::Stamp { .. } | Self::Advance { .. } | Self::Reclaim(_) => 0,
        }
    }

    fn refuse(self, error: StoreError) {
        match self {
            Self::Put { reply, .. } => answer(reply, Err(error)),
            Self::Stamp { reply, .. } => answer(reply, Err(error)),
            Self::Advance { reply, .. } => answer(reply, Err(error)),
            Self::Reclaim(reclaim) => reclaim.refuse(error),
        }
    }
}

impl Batch {
    fn answer_all(self) {
        for put in self.puts {
            answer(put.reply, Ok(put.stored));
        }
        for have in self.haves {
            answer(have.reply, Ok(have.lengths));
        }
    }

    fn refuse_all(self, error: &StoreError) {
        for put in self.puts {
            answer(put.reply, Err(error.clone()));
        }
        for have in self.haves {
            answer(have.reply, Err(error.clone()));
        }
    }

    /// Refuses the puts that needed room, and keeps those that did not.
    fn refuse_appends(&mut self, error: &StoreError) {
        for put in std::mem::take(&mut self.puts) {
            if put.appends {
                answer(put.reply, Err(error.clone()));
            } else {
                self.puts.push(put);
            }
        }
    }
}
