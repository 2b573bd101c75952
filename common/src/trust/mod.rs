//! Trust: who may speak for a user, a folder, a node or a cluster, and how a newcomer gets in.
//!
//! Owns the records of the device log and the rules by which they are replayed, join codes,
//! invitation blobs, and the documents that devices, nodes and the cluster sign (folder genesis,
//! checkpoint, receipts, capability). All bytes are deterministic: seeds and times come from the
//! caller. It must not know how documents travel or where they are stored.

mod device_log;
mod error;
mod folder;
mod invitation;
mod join_code;
mod signed;
mod storage;

pub use crate::keys::{
    DeviceKeys, Keyring, KeyringFolder, RecoveryKey, RecoveryPublic, UserSecrets,
};
pub use device_log::{
    DeviceLog, DeviceRecord, Invitation, InvitationState, LogEvent, NewDevice, Rotation,
    generation_record, genesis_record, invitation_record, redeem_record, revoke_record,
    void_record,
};
pub use error::TrustError;
pub use folder::{Checkpoint, FolderGenesis};
pub use invitation::{InvitationBlob, InvitedFolder};
pub use join_code::{JoinCode, JoinCodeError, JoinKind};
pub use storage::{Capability, ClaimedReceipts, ReceiptBatch, ReceiptItem};

pub(crate) use signed::{Label, Unverified, sign};
