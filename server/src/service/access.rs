//! Who may ask for what.
//!
//! Owns the two questions before every request: is the peer enrolled now, and is the folder its
//! user's. A folder that does not exist and one of another user give one answer. It must not read
//! anything else.

use super::refusal::{no_such_folder, not_enrolled, revoked};
use common::ids::{DeviceId, FolderId};
use common::wire::meta::Refusal;
use server_core::metadata::{DeviceState, FolderState, MetaReads, StoreError};

/// Why a read came to nothing.
#[derive(Debug)]
pub(super) enum Denied {
    /// The metadata store failed.
    Store(StoreError),
    /// The peer is to be told this.
    Refused(Refusal),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The peer's device, if it is enrolled now.
pub(super) fn device(reads: &dyn MetaReads, peer: &DeviceId) -> Result<DeviceState, Denied> {
    match reads.device(peer)? {
        Some(state) if state.revoked => Err(revoked(state.revoked_ms).into()),
        Some(state) => Ok(state),
        None => Err(not_enrolled(peer).into()),
    }
}

/// A folder, if the peer is enrolled now and the folder is its user's.
pub(super) fn folder(
    reads: &dyn MetaReads,
    peer: &DeviceId,
    folder: &FolderId,
) -> Result<FolderState, Denied> {
    let user = device(reads, peer)?.user;
    let state = reads.folder(folder)?.filter(|state| state.user == user);
    Ok(state.ok_or_else(no_such_folder)?)
}
