//! `joining`: an enrolment that was asked of the server and may or may not have taken effect.
//!
//! Owns the file's format. It is written before the server is asked and removed after the home is
//! complete, so that a device that was stopped in between repeats the very same request.

use super::HomeError;
use super::device_log::{sealed_file, unsealed_file};
use super::keys::{KeysMessage, StoredKeys};
use common::limits::{FRAME_BYTES_MAX, LOG_RECORD_BYTES_MAX};
use common::trust::JoinCode;
use prost::Message;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Largest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 64 * (FRAME_BYTES_MAX as u64) + LOG_RECORD_BYTES_MAX as u64;
const TITLE: &str = "driftless enrolment 1\n";

/// An enrolment that is under way.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The code with which it was asked.
    pub code: JoinCode,
    /// The device's keys and, of an invited device, the user's secrets.
    pub keys: StoredKeys,
    /// The name that the device goes by.
    pub name: String,
    /// The record that redeems the code.
    pub record: Vec<u8>,
    /// What it enrols.
    pub kind: PendingKind,
}

/// What an enrolment makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingKind {
    /// A new user with this first device.
    Bootstrap {
        /// Seed of the recovery key, until a person has seen it.
        recovery: [u8; 32],
    },
    /// Another device of a user.
    Device {
        /// The device log before the record.
        log: Vec<Vec<u8>>,
        /// The blob, sealed under the code as it came.
        blob: Vec<u8>,
    },
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct PendingMessage {
    #[prost(string, tag = "1")]
    code: String,
    #[prost(message, optional, tag = "2")]
    keys: Option<KeysMessage>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(bytes = "vec", tag = "4")]
    record: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    log: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "6")]
    blob: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    recovery: Vec<u8>,
}

impl Drop for PendingMessage {
    fn drop(&mut self) {
        self.code.zeroize();
        self.recovery.zeroize();
    }
}

impl Pending {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, HomeError> {
        let malformed = |reason: String| HomeError::Malformed { path: path.to_owned(), reason };
        let body = unsealed_file(TITLE, bytes)
            .ok_or_else(|| malformed("its checksum is wrong".to_owned()))?;
        let message = PendingMessage::decode(body).map_err(|error| malformed(error.to_string()))?;
        let keys = message.keys.as_ref().and_then(StoredKeys::from_message);
        let kind = match <[u8; 32]>::try_from(message.recovery.as_slice()) {
            Ok(recovery) => PendingKind::Bootstrap { recovery },
            Err(_) => PendingKind::Device { log: message.log.clone(), blob: message.blob.clone() },
        };
        Ok(Self {
            code: message
                .code
                .parse()
                .map_err(|error: common::trust::JoinCodeError| malformed(error.to_string()))?,
            keys: keys.ok_or_else(|| malformed("a key has another size".to_owned()))?,
            name: message.name.clone(),
            record: message.record.clone(),
            kind,
        })
    }

    pub(super) fn print(&self) -> Zeroizing<Vec<u8>> {
        let (log, blob, recovery) = match &self.kind {
            PendingKind::Bootstrap { recovery } => (Vec::new(), Vec::new(), recovery.to_vec()),
            PendingKind::Device { log, blob } => (log.clone(), blob.clone(), Vec::new()),
        };
        let message = PendingMessage {
            code: self.code.to_string(),
            keys: Some(self.keys.message()),
            name: self.name.clone(),
            record: self.record.clone(),
            log,
            blob,
            recovery,
        };
        Zeroizing::new(sealed_file(TITLE, &Zeroizing::new(message.encode_to_vec())))
    }
}
