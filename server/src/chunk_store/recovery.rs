//! Bringing the index up to the segments when a store is opened, after a clean close or a crash.
//!
//! Owns the comparison of segments and index marks. It must not know SQL, nor serve anyone.
//!
//! - What lies after a segment's mark is scanned and indexed, always: after a clean close there is
//!   nothing, after a crash it is what the index lost, and without an index it is everything. The
//!   index is brought up in steps, so that an interrupted recovery goes on where it was.
//! - In the newest segment payloads are verified, as a crash may have torn its tail; the tail after
//!   its last whole record is cut off. Older segments were synced before a newer one was begun, so
//!   there headers suffice: whatever is read later is verified, and a damaged copy is an error.
//! - A segment that is missing, another one, or shorter than its mark was lost or put back from a
//!   backup: its rows go, and what is there is scanned.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, SegmentFile};
use super::index::{Index, IndexBatch, IndexError, SegmentRow};
use super::record::{HEADER_BYTES, SegmentId};
use super::scan::{Found, Scan, read_start};

/// Records indexed in one transaction.
const BATCH_RECORDS: usize = 4096;

/// Why recovery could not be finished.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    /// The segments could not be read or cut.
    #[error("recovering the segments: {0}")]
    Disk(#[from] io::Error),
    /// The index could not be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Where writing goes on.
pub(super) struct Recovered {
    /// The newest segment, if it can be appended to.
    pub(super) active: Option<Tail>,
    /// Number of the next segment to make.
    pub(super) next_number: u32,
    /// Segment files that there are.
    pub(super) segments: u64,
}

/// The end of a segment that can be appended to.
pub(super) struct Tail {
    pub(super) number: u32,
    pub(super) id: SegmentId,
    pub(super) file: Arc<dyn SegmentFile>,
    /// End of the last record.
    pub(super) end: u64,
}

/// Indexes all that the segments hold, and cuts a torn tail off.
pub(super) fn recover(
    disk: &dyn Disk,
    index: &mut Index,
    generation: u64,
) -> Result<Recovered, RecoveryError> {
    let numbers = disk.segments()?;
    let mut rows = index.segments()?;
    forget_missing(index, &numbers, &mut rows)?;
    let newest = numbers.last().copied();
    // What a killed process left in the system's memory is about to be vouched for.
    disk.sync_directory()?;
    let mut recovered = Recovered {
        active: None,
        next_number: newest.map_or(1, |number| number.saturating_add(1)),
        segments: numbers.len() as u64,
    };
    for number in numbers {
        let file = disk.open(number)?;
        let is_newest = Some(number) == newest;
        if is_newest && file.length()? == 0 {
            // Made, and never written: it is made again.
            recovered.next_number = number;
            recovered.segments -= 1;
            break;
        }
        let start = read_start(file.as_ref());
        let mut row = rows.get(&number).copied();
        if let Some(known) = row
            && (file.length()? < known.mark || start.is_some_and(|id| id != known.id))
        {
            tracing::warn!(segment = number, "the segment is not the one indexed; scanned again");
            index.forget_segment(number)?;
            row = None;
        }
        let id = row.map(|row| row.id).or(start);
        let mark = row.map_or(0, |row| row.mark);
        if file.length()? > mark {
            file.settle()?;
        }
        let mut scan = Scan::new(file.as_ref(), number, id, mark)?;
        index_rest(&mut scan, index, is_newest, generation)?;
        let (end, length, unreadable) = (scan.end(), scan.length(), scan.first_unreadable());
        // Without its own start header, or unreadable in places, a segment is left as it is: what
        // cannot be told apart from a torn tail may be a record.
        if let (true, Some(id), None) = (is_newest, start, unreadable) {
            cut(file.as_ref(), number, end, length)?;
            recovered.active = Some(Tail { number, id, file, end });
        }
    }
    Ok(recovered)
}

fn forget_missing(
    index: &mut Index,
    numbers: &[u32],
    rows: &mut BTreeMap<u32, SegmentRow>,
) -> Result<(), IndexError> {
    let missing: Vec<u32> =
        rows.keys().copied().filter(|number| numbers.binary_search(number).is_err()).collect();
    for number in missing {
        tracing::error!(segment = number, "an indexed segment is missing; its chunks are lost");
        index.forget_segment(number)?;
        rows.remove(&number);
    }
    Ok(())
}

/// Indexes what the scan finds, and how far it came.
fn index_rest(
    scan: &mut Scan<'_>,
    index: &mut Index,
    verify: bool,
    generation: u64,
) -> Result<(), IndexError> {
    if scan.end() >= scan.length() {
        return Ok(());
    }
    let mut batch = IndexBatch::default();
    loop {
        let found = scan.next(verify);
        if let Some(found) = &found
            && (verify || replaces(scan, index, &batch, found)?)
        {
            batch.placed.push((found.key, found.location));
        }
        if found.is_none() || batch.placed.len() >= BATCH_RECORDS {
            // What the disk did not answer for is looked at again at the next start.
            let mark = scan.first_unreadable().unwrap_or(u64::MAX).min(scan.end());
            let number = scan.number();
            batch.mark = scan.id().map(|id| (number, SegmentRow { id, mark }));
            index.apply(&std::mem::take(&mut batch), generation)?;
        }
        if found.is_none() {
            return Ok(());
        }
    }
}

/// Whether a record that was not verified takes the place of what is indexed: a chunk is stored
/// twice when the first copy was damaged, and either may be the damaged one.
fn replaces(
    scan: &mut Scan<'_>,
    index: &Index,
    batch: &IndexBatch,
    found: &Found,
) -> Result<bool, IndexError> {
    let known =
        batch.placed.iter().any(|(key, _)| *key == found.key) || index.find(&found.key)?.is_some();
    Ok(!known || scan.is_whole(&found.key, &found.location))
}

/// Cuts off what follows the last whole record, so that it cannot be taken for one later.
fn cut(file: &dyn SegmentFile, number: u32, end: u64, length: u64) -> io::Result<()> {
    if end < length && end >= HEADER_BYTES as u64 {
        tracing::warn!(segment = number, bytes = length - end, "cut a torn tail off");
        file.truncate(end)?;
        file.sync()?;
    }
    Ok(())
}
