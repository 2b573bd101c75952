//! Reading out of a segment what is still wanted of it, a step at a time.
//!
//! Owns which records are live: those that the index points to. It must not write: what it reads
//! goes to the writer, which looks again whether it is wanted.

use bytes::Bytes;

use super::index::Location;
use super::record::HEADER_BYTES;
use super::scan::Scan;
use super::segments::ReadError;
use super::worker::Worker;
use super::{ChunkKey, StoreError};

/// Bytes of chunks that one step copies, about.
const STEP_BYTES_SOFT: u64 = 2 * 1024 * 1024;
/// Records that one step looks at, at most.
const STEP_RECORDS_MAX: usize = 4096;

/// A chunk that is wanted elsewhere.
pub(super) struct Wanted {
    pub(super) key: ChunkKey,
    pub(super) from: Location,
    pub(super) bytes: Bytes,
}

/// What a step found.
pub(super) struct Step {
    pub(super) wanted: Vec<Wanted>,
    /// Chunks that are wanted and damaged.
    pub(super) damaged: u64,
    /// Where the next step begins; `None` at the end.
    pub(super) next: Option<u64>,
}

impl Worker {
    /// Reads what is wanted of a segment from a position on.
    pub(super) fn read_step(&self, segment: u32, position: u64) -> Result<Step, StoreError> {
        self.shared.check_running()?;
        let failed = |source| StoreError::Segments { source: std::sync::Arc::new(source) };
        let file = self.segments.file(segment).map_err(failed)?;
        let position = position.max(HEADER_BYTES as u64);
        let mut scan = Scan::new(file.as_ref(), segment, None, position).map_err(failed)?;
        let mut step = Step { wanted: Vec::new(), damaged: 0, next: None };
        let mut bytes = 0;
        for _ in 0..STEP_RECORDS_MAX {
            let Some(found) = scan.next(false) else { return Ok(step) };
            let known = self.find(&found.key)?;
            if known.is_none_or(|entry| entry.location != found.location) {
                continue;
            }
            match self.segments.read(&found.key, &found.location) {
                Ok(read) => {
                    bytes += read.bytes.len() as u64;
                    let (key, from) = (found.key, found.location);
                    step.wanted.push(Wanted { key, from, bytes: read.bytes });
                }
                Err(ReadError::Damaged) => {
                    self.verified.remove(&found.key);
                    tracing::error!(key = %found.key, segment, "damaged; its segment stays");
                    step.damaged += 1;
                }
                Err(ReadError::Failed(source)) => {
                    let source = std::sync::Arc::new(source);
                    return Err(StoreError::Read { key: found.key, source });
                }
            }
            if bytes >= STEP_BYTES_SOFT {
                break;
            }
        }
        step.next = Some(scan.end());
        Ok(step)
    }
}
