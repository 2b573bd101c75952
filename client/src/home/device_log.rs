//! `device-log`: this device's copy of the user's device log, record after record.
//!
//! Owns its format, and the frame (title, checksum, body) of all binary files of a home. Whether
//! the records hold is the device log's own word.

use super::HomeError;
use common::limits::{LOG_RECORD_BYTES_MAX, LOG_RECORDS_MAX};
use std::path::Path;

/// Largest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const TITLE: &str = "driftless device log 1\n";
const CHECKSUM_CONTEXT: &str = "driftless 2026 home file checksum v1";
const CHECKSUM_BYTES: usize = 32;

/// Frames a file: title, checksum over title and body, body.
pub(super) fn sealed_file(title: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(title.len() + CHECKSUM_BYTES + body.len());
    bytes.extend_from_slice(title.as_bytes());
    bytes.extend_from_slice(&checksum(title, body));
    bytes.extend_from_slice(body);
    bytes
}

/// The body of a framed file; `None` when it is of another kind, cut or altered.
pub(super) fn unsealed_file<'a>(title: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let rest = bytes.strip_prefix(title.as_bytes())?;
    let (sum, body) = rest.split_first_chunk::<CHECKSUM_BYTES>()?;
    (checksum(title, body) == *sum).then_some(body)
}

pub(super) fn checksum(title: &str, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key(CHECKSUM_CONTEXT);
    hasher.update(title.as_bytes());
    hasher.update(body);
    *hasher.finalize().as_bytes()
}

pub(super) fn print(records: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for record in records {
        // No record is longer than LOG_RECORD_BYTES_MAX: the log has accepted it.
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(record);
    }
    sealed_file(TITLE, &body)
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Vec<u8>>, HomeError> {
    let malformed =
        |reason: &str| HomeError::Malformed { path: path.to_owned(), reason: reason.to_owned() };
    let mut rest = unsealed_file(TITLE, bytes).ok_or_else(|| malformed("its checksum is wrong"))?;
    let mut records = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if length > LOG_RECORD_BYTES_MAX || length > after.len() || records.len() >= LOG_RECORDS_MAX
        {
            return Err(malformed("a record has a wrong length"));
        }
        let (record, after) = after.split_at(length);
        records.push(record.to_vec());
        rest = after;
    }
    if rest.is_empty() { Ok(records) } else { Err(malformed("it ends within a record")) }
}
