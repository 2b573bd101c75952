//! The writer's part in garbage collection: each change alone, between two batches.
//!
//! Owns what is looked at again before a chunk is trashed, purged or moved, and the order in which a
//! segment goes: *index, synced; file; name*. So a file is gone only once nothing durable points to
//! it. It must not decide what is garbage.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::compaction::{Step, Wanted};
use super::index::IndexError;
use super::reclaim::{Compacted, Dropped, Due, Reclaimed, TrashStamp};
use super::worker::{Reply, answer};
use super::writer::Writer;
use super::{ChunkKey, StoreError};

/// What the writer is asked for the garbage collection.
pub(super) enum ReclaimWrite {
    /// Put chunks into the trash.
    Trash { keys: Vec<ChunkKey>, stamp: TrashStamp, reply: Reply<Reclaimed> },
    /// Take chunks out of it.
    Untrash { keys: Vec<ChunkKey>, reply: Reply<Reclaimed> },
    /// Forget chunks of it.
    Purge { keys: Vec<ChunkKey>, due: Due, reply: Reply<Reclaimed> },
    /// Append what was read of a segment, and point to it there.
    Move { step: Step, reply: Reply<(Compacted, Option<u64>)> },
    /// Remove segments, given with the bytes of their files, that nothing points to: none of them is
    /// the newest, so nothing will.
    Drop { segments: Vec<(u32, u64)>, reply: Reply<Dropped> },
}

impl ReclaimWrite {
    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Trash { reply, .. } | Self::Untrash { reply, .. } | Self::Purge { reply, .. } => {
                answer(reply, Err(error));
            }
            Self::Move { reply, .. } => answer(reply, Err(error)),
            Self::Drop { reply, .. } => answer(reply, Err(error)),
        }
    }
}

impl Writer {
    /// Does one thing for the garbage collection.
    pub(super) fn reclaim(&mut self, write: ReclaimWrite) {
        if let Err(error) = self.shared.check_running() {
            return write.refuse(error);
        }
        // Receipts of this generation and of the one before prove presence.
        let stamped_before = self.shared.generation.load(Ordering::SeqCst).saturating_sub(1);
        match write {
            ReclaimWrite::Trash { keys, stamp, reply } => {
                let done = self.index.trash(&keys, stamp, stamped_before);
                answer(reply, done.map_err(|error| self.failed(error)));
            }
            ReclaimWrite::Untrash { keys, reply } => {
                let done = self.index.untrash(&keys);
                answer(reply, done.map_err(|error| self.failed(error)));
            }
            ReclaimWrite::Purge { keys, due, reply } => {
                answer(reply, self.purge(&keys, due, stamped_before));
            }
            ReclaimWrite::Move { step, reply } => answer(reply, self.relocate(step)),
            ReclaimWrite::Drop { segments, reply } => answer(reply, self.drop_segments(&segments)),
        }
    }

    fn failed(&self, error: IndexError) -> StoreError {
        match error {
            IndexError::NoRoom => self.full(),
            error => self.shared.stop_for_index(&error),
        }
    }

    fn purge(
        &mut self,
        keys: &[ChunkKey],
        due: Due,
        stamped_before: u64,
    ) -> Result<Reclaimed, StoreError> {
        let due = (due.trashed_before, due.since_ms_max);
        let purged = self.index.purge(keys, due, stamped_before);
        let (purged, done, totals) = purged.map_err(|error| self.failed(error))?;
        *self.shared.totals() = totals;
        for key in &purged {
            self.verified.remove(key);
        }
        Ok(done)
    }

    /// Appends what still lies where it was read.
    fn relocate(&mut self, step: Step) -> Result<(Compacted, Option<u64>), StoreError> {
        let mut compacted = Compacted { damaged: step.damaged, ..Compacted::default() };
        let (mut chunks, mut froms) = (Vec::new(), Vec::new());
        for Wanted { key, from, bytes } in step.wanted {
            if self.find(&key)?.is_some_and(|entry| entry.location == from) {
                compacted.moved.add(from.length);
                froms.push(from);
                chunks.push((key, bytes));
            }
        }
        if chunks.is_empty() {
            return Ok((compacted, step.next));
        }
        // It gives back more than it takes, so it may take of what puts leave alone.
        let mut batch = self.append(&chunks, self.options.reserve_bytes / 4)?;
        let placed = std::mem::take(&mut batch.placed);
        batch.moved =
            placed.into_iter().zip(froms).map(|((key, to), from)| (key, from, to)).collect();
        self.apply(batch)?;
        Ok((compacted, step.next))
    }

    fn drop_segments(&mut self, segments: &[(u32, u64)]) -> Result<Dropped, StoreError> {
        let mut dropped = Dropped::default();
        if segments.is_empty() {
            return Ok(dropped);
        }
        let numbers: Vec<u32> = segments.iter().map(|(number, _)| *number).collect();
        self.index.forget_empty_segments(&numbers).map_err(|error| self.failed(error))?;
        for (number, bytes) in segments {
            match self.disk.remove(*number) {
                Ok(()) => {
                    dropped.segments += 1;
                    dropped.bytes += bytes;
                    self.shared.segments.fetch_sub(1, Ordering::SeqCst);
                    self.segments.forget(*number);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                // It stays, unindexed; the next start indexes it anew.
                Err(source) => return Err(StoreError::Segments { source: Arc::new(source) }),
            }
        }
        self.disk
            .sync_directory()
            .map_err(|error| self.shared.stop(format!("syncing the segments' names: {error}")))?;
        Ok(dropped)
    }
}
