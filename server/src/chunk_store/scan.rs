//! Finding the records of a segment file by reading it.
//!
//! Owns what counts as a record and how to go on after bytes that are none. It must not know the
//! index, nor what becomes of what is found.

use std::io;

use common::ids::ChunkId;
use common::limits::SEALED_BYTES_MAX;

use super::ChunkKey;
use super::disk::{SegmentFile, read_full};
use super::index::Location;
use super::record::{HEADER_BYTES, Header, Kind, MAGIC, SegmentId};

/// Bytes read at a time when looking for the next header.
const SEARCH_BYTES: usize = 256 * 1024;
/// Bytes skipped where the disk does not answer: a page, the least that fails.
const UNREADABLE_BYTES: u64 = 4096;

/// Reads one segment from a position to its end.
pub(super) struct Scan<'a> {
    file: &'a dyn SegmentFile,
    number: u32,
    length: u64,
    position: u64,
    id: Option<SegmentId>,
    /// End of the last whole record, or of the start header.
    end: u64,
    first_unreadable: Option<u64>,
}

/// A record with a whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: ChunkKey,
    pub(super) location: Location,
}

/// The start header of a segment.
pub(super) fn read_start(file: &dyn SegmentFile) -> Option<SegmentId> {
    let header = read_header(file, 0).ok()??;
    (header.kind == Kind::Start && header.position == 0).then_some(header.segment)
}

fn read_header(file: &dyn SegmentFile, position: u64) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_BYTES];
    let read = read_full(file, position, &mut bytes)?;
    Ok(if read < HEADER_BYTES { None } else { Header::decode(&bytes) })
}

impl<'a> Scan<'a> {
    /// Begins after `mark`, where the index ends, or after the start header. Without an `id` the
    /// first whole header tells it: the start header may be what is damaged.
    pub(super) fn new(
        file: &'a dyn SegmentFile,
        number: u32,
        id: Option<SegmentId>,
        mark: u64,
    ) -> io::Result<Self> {
        let position = mark.max(HEADER_BYTES as u64);
        let length = file.length()?;
        Ok(Self { file, number, length, position, id, end: position, first_unreadable: None })
    }

    /// The number of the segment.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The id of the segment, if any header told it.
    pub(super) fn id(&self) -> Option<SegmentId> {
        self.id
    }

    /// End of the last record that the caller has not called torn.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Where the disk first did not answer.
    pub(super) fn first_unreadable(&self) -> Option<u64> {
        self.first_unreadable
    }

    /// Bytes of the file when the scan began.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The next record; with `verify` the next one whose payload is whole.
    pub(super) fn next(&mut self, verify: bool) -> Option<Found> {
        while self.position < self.length {
            let Some((key, length)) = self.chunk_here() else {
                self.position = self.search(self.position + 1);
                continue;
            };
            let location = Location { segment: self.number, position: self.position, length };
            let next = location.end();
            let whole = !verify || self.is_whole(&key, &location);
            self.position = next;
            if whole {
                self.end = next;
                return Some(Found { key, location });
            }
        }
        None
    }

    /// The chunk whose record begins at the position, if one does.
    fn chunk_here(&mut self) -> Option<(ChunkKey, u32)> {
        let header = match read_header(self.file, self.position) {
            Ok(header) => header?,
            Err(_) => {
                self.first_unreadable.get_or_insert(self.position);
                return None;
            }
        };
        let Kind::Chunk { key, length } = header.kind else { return None };
        let end = self.position + HEADER_BYTES as u64 + u64::from(length);
        let fits = length as usize <= SEALED_BYTES_MAX && end <= self.length;
        let is_here = header.position == self.position && fits;
        let is_ours = self.id.is_none_or(|id| id == header.segment);
        if !(is_here && is_ours) {
            return None;
        }
        self.id = Some(header.segment);
        Some((key, length))
    }

    /// Whether the payload of a record is whole.
    pub(super) fn is_whole(&mut self, key: &ChunkKey, location: &Location) -> bool {
        let mut payload = vec![0; location.length as usize];
        match read_full(self.file, location.position + HEADER_BYTES as u64, &mut payload) {
            Ok(read) => read == payload.len() && ChunkId::of(&payload) == key.id,
            Err(_) => {
                self.first_unreadable.get_or_insert(location.position);
                false
            }
        }
    }

    /// Where the next header may begin.
    fn search(&mut self, from: u64) -> u64 {
        let mut window = vec![0; SEARCH_BYTES];
        let mut from = from;
        while from < self.length {
            let read = match read_full(self.file, from, &mut window) {
                Ok(read) => read,
                Err(_) => {
                    self.first_unreadable.get_or_insert(from);
                    // A window may fail for one page of it.
                    if window.len() as u64 > UNREADABLE_BYTES {
                        window.truncate(UNREADABLE_BYTES as usize);
                    } else {
                        from = (from / UNREADABLE_BYTES + 1) * UNREADABLE_BYTES;
                    }
                    continue;
                }
            };
            let found = window[..read].windows(MAGIC.len()).position(|bytes| bytes == MAGIC);
            if let Some(offset) = found {
                return from + offset as u64;
            }
            if read < window.len() {
                break;
            }
            // The magic may lie across the end of the window.
            from += (read - (MAGIC.len() - 1)) as u64;
        }
        self.length
    }
}
