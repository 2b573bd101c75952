//! Errors of the parts as refusals on the wire.
//!
//! Owns the choice of code for each. A refusal's text is for the peer's user: it names no path of
//! this machine. It must not decide what is refused.

use super::times::rfc3339;
use crate::chunk_store::StoreError;
use crate::meta_store::MetaError;
use common::ids::{DeviceId, IdLengthError};
use common::wire::meta::{Refusal, RefusalCode};
use server_core::metadata::StoreError as MetaStoreError;

pub(super) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message)
}

pub(super) fn busy(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Busy, message)
}

pub(super) fn bad_id(error: IdLengthError) -> Refusal {
    malformed(error.to_string())
}

pub(super) fn not_enrolled(peer: &DeviceId) -> Refusal {
    Refusal::new(RefusalCode::NotEnrolled, format!("device {peer} is not enrolled"))
}

/// For a device that the device log of its user lists as revoked.
pub(super) fn revoked(at_ms: Option<u64>) -> Refusal {
    let when = at_ms.map(|at_ms| format!(" on {}", rfc3339(at_ms))).unwrap_or_default();
    Refusal::new(RefusalCode::Revoked, format!("this device was revoked{when}"))
}

/// One answer for a folder that does not exist and for another user's.
pub(super) fn no_such_folder() -> Refusal {
    Refusal::new(RefusalCode::NoSuchFolder, "no such folder")
}

pub(super) fn of_chunk_store(error: &StoreError) -> Refusal {
    let (code, message) = match error {
        StoreError::TooLarge { .. } | StoreError::WrongBytes { .. } => {
            (RefusalCode::Malformed, error.to_string())
        }
        StoreError::Damaged { .. } => (RefusalCode::Damaged, error.to_string()),
        StoreError::DiskFull { reserve_bytes, .. } => (
            RefusalCode::DiskFull,
            format!(
                "the server's disk is full (the last {} MiB are kept for its databases)",
                reserve_bytes / (1024 * 1024)
            ),
        ),
        StoreError::Stopped { .. } => (
            RefusalCode::Stopped,
            "the server's chunk store has stopped after a failed write".to_owned(),
        ),
        // All pass: the disk may answer again, and a closed store belongs to a server that is
        // stopping and will be started again.
        StoreError::Read { .. } | StoreError::NewSegment { .. } | StoreError::Segments { .. } => {
            (RefusalCode::Busy, "the server's disk did not answer".to_owned())
        }
        StoreError::Closed => (RefusalCode::Busy, "the server is stopping".to_owned()),
    };
    if !matches!(code, RefusalCode::Malformed) {
        tracing::warn!(%error, "a chunk request failed");
    }
    Refusal::new(code, message)
}

/// The metadata service has stopped after a failed write.
pub(super) fn stopped() -> Refusal {
    Refusal::new(RefusalCode::Stopped, "the server's metadata service has stopped after a failure")
}

pub(super) fn of_metadata(error: &MetaError) -> Refusal {
    match error {
        MetaError::Refused(refused) => return Refusal::from(refused),
        MetaError::DiskFull | MetaError::Read(MetaStoreError::DiskFull) => {
            tracing::warn!("the metadata's disk is full");
            return Refusal::new(RefusalCode::DiskFull, "the server's disk is full");
        }
        MetaError::Read(error @ MetaStoreError::Unopened(_)) => {
            let error: &dyn std::error::Error = error;
            tracing::warn!(error, "the metadata cannot be read just now");
            return busy("the server cannot read its metadata just now");
        }
        MetaError::Stopped => {}
        MetaError::Read(source) => tracing::error!(error = %source, "the metadata cannot be read"),
    }
    stopped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_cannot_begin_is_tried_again() {
        let source = Box::new(std::io::Error::from(rustix::io::Errno::MFILE));
        let error = MetaError::Read(MetaStoreError::Unopened(source));
        assert!(error.is_retryable());
        assert_eq!(of_metadata(&error).code, RefusalCode::Busy as i32);
        let damaged = MetaError::Read(MetaStoreError::Corrupt { what: "row" });
        assert!(!damaged.is_retryable());
        assert_eq!(of_metadata(&damaged).code, RefusalCode::Stopped as i32);
    }
}
