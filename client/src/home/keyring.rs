//! `keyring`: the last keyring that this device saw, as the server keeps it.
//!
//! Owns the file's format. The keyring stays sealed; its version is a pin: no older one is taken.

use super::HomeError;
use super::device_log::{sealed_file, unsealed_file};
use common::limits::KEYRING_BYTES_MAX;
use std::path::Path;

/// Largest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = KEYRING_BYTES_MAX as u64 + 1024;
const TITLE: &str = "driftless keyring 1\n";

/// A sealed keyring and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKeyring {
    /// Version, from 1.
    pub version: u64,
    /// As it came from or went to the server.
    pub sealed: Vec<u8>,
}

impl StoredKeyring {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, HomeError> {
        let body = unsealed_file(TITLE, bytes).and_then(|body| body.split_first_chunk::<8>());
        let Some((version, sealed)) = body else {
            let reason = "its checksum is wrong".to_owned();
            return Err(HomeError::Malformed { path: path.to_owned(), reason });
        };
        Ok(Self { version: u64::from_le_bytes(*version), sealed: sealed.to_vec() })
    }

    pub(super) fn print(&self) -> Vec<u8> {
        sealed_file(TITLE, &[&self.version.to_le_bytes()[..], &self.sealed].concat())
    }
}
