//! Reading chunks from segment files, verified, with a bounded number of files open.
//!
//! Owns the open files that reads share. It must not know the index or the writer.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use common::ids::ChunkId;
use common::limits::SEALED_BYTES_MAX;
use rustix::io::Errno;

use super::ChunkKey;
use super::disk::{Disk, SegmentFile, read_full};
use super::index::Location;
use super::record::{HEADER_BYTES, Header, Kind};

/// Segment files that reads keep open, so that a large store needs few descriptors.
const OPEN_FILES_MAX: usize = 128;

/// The segment files of a store, for reading.
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    open: Mutex<OpenFiles>,
}

#[derive(Default)]
struct OpenFiles {
    /// Each with the tick of its last use.
    files: BTreeMap<u32, (u64, Arc<dyn SegmentFile>)>,
    tick: u64,
}

/// Whole bytes of a chunk.
pub(super) struct Read {
    pub(super) bytes: Bytes,
    /// Whether the record's header is whole too, so that a rebuilt index would find the chunk.
    pub(super) header_whole: bool,
}

/// Why a chunk was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The copy is lost or altered.
    Damaged,
    /// The system failed in a way that says nothing about the copy.
    Failed(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        let is_lost = error.kind() == io::ErrorKind::NotFound
            || error.raw_os_error() == Some(Errno::IO.raw_os_error());
        if is_lost { Self::Damaged } else { Self::Failed(error) }
    }
}

impl Segments {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, open: Mutex::default() }
    }

    /// Reads the chunk that lies at `location` and verifies it against its id.
    pub(super) fn read(&self, key: &ChunkKey, location: &Location) -> Result<Read, ReadError> {
        // The length comes from an index that may be damaged: it must not decide how much memory
        // is taken.
        let length = location.length as usize;
        if length > SEALED_BYTES_MAX {
            return Err(ReadError::Damaged);
        }
        let file = self.file(location.segment)?;
        let mut record = vec![0; HEADER_BYTES + length];
        let read = read_full(file.as_ref(), location.position, &mut record)?;
        if read < record.len() || ChunkId::of(&record[HEADER_BYTES..]) != key.id {
            return Err(ReadError::Damaged);
        }
        let header = record.first_chunk().and_then(Header::decode);
        let header_whole = header.is_some_and(|header| {
            header.position == location.position
                && header.kind == Kind::Chunk { key: *key, length: location.length }
        });
        Ok(Read { bytes: Bytes::from(record).slice(HEADER_BYTES..), header_whole })
    }

    /// Lets go of a segment whose file was removed, so that the disk gets its room back. Nobody can
    /// open it any more: a file is opened and remembered under one lock.
    pub(super) fn forget(&self, number: u32) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).files.remove(&number);
    }

    /// The file of a segment.
    pub(super) fn file(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        // Nothing under this lock panics half-way through a change.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.tick += 1;
        let tick = open.tick;
        if let Some((used, file)) = open.files.get_mut(&number) {
            *used = tick;
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(number)?;
        if open.files.len() >= OPEN_FILES_MAX {
            let unused = open.files.iter().min_by_key(|(_, (used, _))| *used).map(|(n, _)| *n);
            open.files.retain(|number, _| Some(*number) != unused);
        }
        open.files.insert(number, (tick, Arc::clone(&file)));
        Ok(file)
    }
}
