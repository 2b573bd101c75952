//! `pins`: the furthest position of each folder's journal that this device has believed.
//!
//! Owns the file, which lies beside the keys and not in a state database, so that losing or
//! restoring a database does not make the device believe an older history. Pins are appended, one
//! `fdatasync` each, and the file is rewritten when it has grown; a torn tail is dropped.

use super::HomeError;
use super::device_log::checksum;
use super::durable::{self, Durable};
use crate::engine::Pins;
use common::ids::{FolderId, Head};
use common::revision::Cursor;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const TITLE: &str = "driftless pins 1\n";
/// Folder, epoch, revision, head.
const BODY_BYTES: usize = 32 + 8 + 8 + 32;
/// A body and the front of its checksum.
const RECORD_BYTES: usize = BODY_BYTES + 8;
/// Records after which the file is rewritten with one for each folder.
const RECORDS_MAX: usize = 4096;
/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The pins of a device.
#[derive(Debug)]
pub struct FilePins {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    pins: BTreeMap<FolderId, Cursor>,
    /// Open for appending; `None` after a failed write, until a rewrite succeeds.
    file: Option<File>,
    records: usize,
}

impl FilePins {
    pub(super) fn open(path: &Path) -> Result<Self, HomeError> {
        let bytes = durable::read(path, FILE_BYTES_MAX)?.unwrap_or_default();
        let pins = parse(&bytes).ok_or_else(|| HomeError::Malformed {
            path: path.to_owned(),
            reason: "it is no file of pins".to_owned(),
        })?;
        let mut kept = Kept { pins, file: None, records: 0 };
        kept.rewrite(path).map_err(|source| HomeError::Io {
            doing: "writing",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { path: path.to_owned(), kept: Mutex::new(kept) })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it holds this lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pins for FilePins {
    fn pinned(&self, folder: &FolderId) -> Option<Cursor> {
        self.lock().pins.get(folder).copied()
    }

    fn pin(&self, folder: &FolderId, cursor: &Cursor) -> io::Result<()> {
        let mut kept = self.lock();
        if kept.pins.get(folder) == Some(cursor) {
            return Ok(());
        }
        let before = kept.pins.insert(*folder, *cursor);
        let written = match kept.file.take() {
            Some(file) if kept.records < RECORDS_MAX => kept.append(file, folder, cursor),
            _ => kept.rewrite(&self.path),
        };
        if written.is_err() {
            match before {
                Some(before) => kept.pins.insert(*folder, before),
                None => kept.pins.remove(folder),
            };
        }
        written
    }
}

impl Kept {
    /// Durable when it returns. After a failure the file is dropped: it is rewritten, never synced
    /// again.
    fn append(&mut self, mut file: File, folder: &FolderId, cursor: &Cursor) -> io::Result<()> {
        file.write_all(&record(folder, cursor))?;
        file.sync_data()?;
        self.records += 1;
        self.file = Some(file);
        Ok(())
    }

    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        let mut bytes = TITLE.as_bytes().to_vec();
        for (folder, cursor) in &self.pins {
            bytes.extend_from_slice(&record(folder, cursor));
        }
        Durable::private(path).write(&bytes).map_err(|error| match error {
            HomeError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })?;
        self.file = Some(OpenOptions::new().append(true).mode(0o600).open(path)?);
        self.records = self.pins.len();
        Ok(())
    }
}

fn record(folder: &FolderId, cursor: &Cursor) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..32].copy_from_slice(folder.as_bytes());
    bytes[32..40].copy_from_slice(&cursor.epoch.to_le_bytes());
    bytes[40..48].copy_from_slice(&cursor.revision.to_le_bytes());
    bytes[48..80].copy_from_slice(cursor.head.as_bytes());
    let sum = checksum(TITLE, &bytes[..BODY_BYTES]);
    bytes[BODY_BYTES..].copy_from_slice(&sum[..RECORD_BYTES - BODY_BYTES]);
    bytes
}

/// The newest pin of each folder; `None` when this is another file.
fn parse(bytes: &[u8]) -> Option<BTreeMap<FolderId, Cursor>> {
    let mut pins = BTreeMap::new();
    if bytes.is_empty() {
        return Some(pins);
    }
    for chunk in bytes.strip_prefix(TITLE.as_bytes())?.chunks(RECORD_BYTES) {
        let Ok(record) = <&[u8; RECORD_BYTES]>::try_from(chunk) else { break };
        let Some((folder, cursor)) = parse_record(record) else { break };
        pins.insert(folder, cursor);
    }
    Some(pins)
}

fn parse_record(bytes: &[u8; RECORD_BYTES]) -> Option<(FolderId, Cursor)> {
    let (body, sum) = bytes.split_at(BODY_BYTES);
    if !checksum(TITLE, body).starts_with(sum) {
        return None;
    }
    let (folder, rest) = body.split_first_chunk::<32>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let (revision, rest) = rest.split_first_chunk::<8>()?;
    let head = Head::from_slice(rest).ok()?;
    let (epoch, revision) = (u64::from_le_bytes(*epoch), u64::from_le_bytes(*revision));
    Some((FolderId::from_bytes(*folder), Cursor { epoch, revision, head }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(revision: u64) -> Cursor {
        Cursor { epoch: 1, revision, head: Head::from_bytes([9; 32]) }
    }

    #[test]
    fn pins_survive_and_a_torn_tail_is_dropped() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pins");
        let folder = FolderId::from_bytes([1; 32]);
        let pins = FilePins::open(&path).unwrap();
        assert_eq!(pins.pinned(&folder), None);
        for revision in 1..=3 {
            pins.pin(&folder, &cursor(revision)).unwrap();
        }
        drop(pins);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&record(&folder, &cursor(4))[..RECORD_BYTES - 1]).unwrap();
        let pins = FilePins::open(&path).unwrap();
        assert_eq!(pins.pinned(&folder), Some(cursor(3)));
        let expected = (TITLE.len() + RECORD_BYTES) as u64;
        assert_eq!(std::fs::metadata(&path).unwrap().len(), expected, "rewritten when opened");
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pins");
        let pins = FilePins::open(&path).unwrap();
        let folder = FolderId::from_bytes([1; 32]);
        pins.lock().records = RECORDS_MAX;
        pins.pin(&folder, &cursor(1)).unwrap();
        assert_eq!(pins.lock().records, 1);
        pins.pin(&folder, &cursor(2)).unwrap();
        assert_eq!(FilePins::open(&path).unwrap().pinned(&folder), Some(cursor(2)));
    }

    #[test]
    fn another_file_is_not_taken_for_pins() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pins");
        std::fs::write(&path, b"something else").unwrap();
        assert!(matches!(FilePins::open(&path), Err(HomeError::Malformed { .. })));
    }
}
