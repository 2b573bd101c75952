//! Which pages of a database its write-ahead log replaces.
//!
//! Owns the format of the log, as "The WAL File Format" of SQLite's documentation (fileformat2.html,
//! section 4) and `walIndexRecover` of its wal.c have it: a frame counts if its salts are the header's
//! and the checksum over everything before it and itself is right, and if a commit follows. It must not
//! know where a log lies.

use crate::fs::error::{DatabaseProblem, FsError};
use crate::fs::path::RelPath;
use crate::fs::traits::ReadFile;
use std::collections::BTreeMap;

/// Bytes before the first frame. They are other ones when the log is begun anew; until then frames are
/// only added after the last commit.
pub(super) const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The lowest bit says whether checksums are made of big-endian words.
const MAGIC: u32 = 0x377f_0682;
/// The one version of the format that there is.
const VERSION: u32 = 3_007_000;

/// The committed part of a log.
#[derive(Debug, Default)]
pub(super) struct Log {
    page_bytes: u64,
    /// Pages of the database as of the last commit; `None` without one.
    pages: Option<u32>,
    /// Where the newest committed content of a page begins in the log; pages are counted from 1.
    frames: BTreeMap<u32, u64>,
}

/// Where the content of a range comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// So many bytes of the log, from this offset.
    Log(u64, u64),
    /// So many bytes of the database, from where they are asked for.
    Database(u64),
}

impl Log {
    /// Reads a log as far as `end`, in bytes, and its header. One without a valid header holds nothing,
    /// as for SQLite.
    ///
    /// # Errors
    /// [`DatabaseProblem::UnknownLog`] for one of another version, and those of reading.
    pub(super) fn read(file: &dyn ReadFile, end: u64, path: &RelPath) -> Result<Self, FsError> {
        let header = read_header(file)?;
        let magic = word(&header, 0);
        let page_bytes = word(&header, 8);
        let is_size = page_bytes.is_power_of_two() && (512..=65_536).contains(&page_bytes);
        let mut sum = Checksum { words: [0; 2], is_big_endian: magic & 1 == 1 };
        sum.add(&header[..24]);
        if magic & !1 != MAGIC || !is_size || !sum.is(&header, 24) {
            return Ok(Self::default());
        }
        if word(&header, 4) != VERSION {
            let reason = DatabaseProblem::UnknownLog;
            return Err(FsError::Database { path: path.clone(), reason });
        }
        let mut log = Self { page_bytes: page_bytes.into(), ..Self::default() };
        log.read_frames(file, end, [word(&header, 16), word(&header, 20)], sum)?;
        Ok(log)
    }

    fn read_frames(
        &mut self,
        file: &dyn ReadFile,
        end: u64,
        salts: [u32; 2],
        mut sum: Checksum,
    ) -> Result<(), FsError> {
        let page_bytes = usize::try_from(self.page_bytes).unwrap_or(usize::MAX);
        let mut frame = vec![0; FRAME_HEADER_BYTES.saturating_add(page_bytes)];
        let mut uncommitted = Vec::new();
        let mut at = HEADER_BYTES as u64;
        while at + frame.len() as u64 <= end && file.read_at(at, &mut frame)? == frame.len() {
            let (page, commit) = (word(&frame, 0), word(&frame, 4));
            if page == 0 || [word(&frame, 8), word(&frame, 12)] != salts {
                break;
            }
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER_BYTES..]);
            if !sum.is(&frame, 16) {
                break;
            }
            uncommitted.push((page, at + FRAME_HEADER_BYTES as u64));
            if commit != 0 {
                self.frames.extend(uncommitted.drain(..));
                self.pages = Some(commit);
            }
            at += frame.len() as u64;
        }
        Ok(())
    }

    /// Size in bytes of the database as of the last commit; `None` if the log has none.
    pub(super) fn content_bytes(&self) -> Option<u64> {
        self.pages.map(|pages| u64::from(pages) * self.page_bytes)
    }

    /// Where at most `length` bytes of the database come from, beginning at an offset in it.
    pub(super) fn source(&self, offset: u64, length: u64) -> Source {
        if self.frames.is_empty() {
            return Source::Database(length);
        }
        let page = u32::try_from(offset / self.page_bytes + 1).unwrap_or(u32::MAX);
        let within = offset % self.page_bytes;
        if let Some(start) = self.frames.get(&page) {
            return Source::Log(start + within, length.min(self.page_bytes - within));
        }
        let next = self.frames.range(page..).next();
        let until = next.map_or(u64::MAX, |(page, _)| u64::from(page - 1) * self.page_bytes);
        Source::Database(length.min(until - offset))
    }
}

/// What a log begins with; zeros where there is nothing.
pub(super) fn read_header(file: &dyn ReadFile) -> Result<[u8; HEADER_BYTES], FsError> {
    let mut header = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut header)?;
    Ok(if read == HEADER_BYTES { header } else { [0; HEADER_BYTES] })
}

/// The running checksum of a log.
struct Checksum {
    words: [u32; 2],
    is_big_endian: bool,
}

impl Checksum {
    /// Takes bytes in, a multiple of eight.
    fn add(&mut self, bytes: &[u8]) {
        let [mut one, mut two] = self.words;
        let read = if self.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        for pair in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *pair;
            one = one.wrapping_add(read([a, b, c, d])).wrapping_add(two);
            two = two.wrapping_add(read([e, f, g, h])).wrapping_add(one);
        }
        self.words = [one, two];
    }

    /// Whether it is the one that stands there.
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        self.words == [word(bytes, at), word(bytes, at + 4)]
    }
}

/// The big-endian number at an offset; 0 beyond the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
