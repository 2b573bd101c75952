//! Commands: everything that changes the metadata.
//!
//! Owns their shapes. A command carries the time at which it was taken, in milliseconds since
//! 1970, and every random byte that it needs. It must not know what it will do.

use super::commit::PreparedCommit;
use super::reclaim::ObjectChange;
use super::state::Quota;
use crate::retention::Whole;
use common::ids::{DeviceId, EntryId, FolderId, LookupId, UserId};
use common::revision::Revision;

/// What to do, and when it was asked.
#[derive(Clone, Debug)]
pub struct Command {
    /// The server's clock in milliseconds since 1970. It may go back; stamps never do.
    pub time_ms: u64,
    /// What to do.
    pub action: Action,
}

/// What a command does. `device` is the peer: the key that the connection has proven.
#[derive(Clone, Debug)]
pub enum Action {
    /// The administrator leaves an invitation for the first device of a new user.
    OpenBootstrap {
        /// Derived from the one-time secret.
        lookup: LookupId,
        /// From when on it is void.
        expires_ms: u64,
    },
    /// The first device of a user redeems a bootstrap invitation with its device log's genesis.
    RedeemBootstrap {
        /// Who joins.
        device: DeviceId,
        /// Derived from the one-time secret.
        lookup: LookupId,
        /// The signed first record of a new device log.
        genesis: Vec<u8>,
        /// What the new user may occupy.
        quota: Quota,
    },
    /// Appends a record to the log of the device's user.
    AppendLog {
        /// Who asks.
        device: DeviceId,
        /// The signed record.
        record: Vec<u8>,
    },
    /// Opens an invitation: log record and blob at once.
    OpenInvitation {
        /// Who asks.
        device: DeviceId,
        /// The signed record; names the invitation's key, lookup id and expiry.
        record: Vec<u8>,
        /// What the joiner will need, sealed.
        blob: Vec<u8>,
    },
    /// A new device redeems an invitation; its blob goes at once.
    RedeemInvitation {
        /// Who joins.
        device: DeviceId,
        /// Derived from the one-time secret.
        lookup: LookupId,
        /// The signed record that adds it.
        record: Vec<u8>,
    },
    /// Replaces the keyring of the device's user when the stored version is one less.
    PutKeyring {
        /// Who asks.
        device: DeviceId,
        /// The new version.
        version: u64,
        /// Sealed and signed.
        sealed: Vec<u8>,
    },
    /// Makes a folder; again with the same genesis does nothing.
    CreateFolder {
        /// Who asks.
        device: DeviceId,
        /// Signed genesis.
        genesis: Vec<u8>,
    },
    /// Leaves a signed checkpoint of a folder; an older one than the newest is dropped.
    PutCheckpoint {
        /// Who asks.
        device: DeviceId,
        /// Encoded and signed.
        checkpoint: Vec<u8>,
    },
    /// Commits groups to a folder.
    Commit(PreparedCommit),
    /// The administrator bounds what a user may occupy.
    SetQuota {
        /// Whom.
        user: UserId,
        /// By what.
        quota: Quota,
    },
    /// The store was restored from a backup: every folder starts a new epoch, and every invitation
    /// is void (rule 4).
    BeginEpoch,
    /// Garbage collection begins this generation (rule 2): receipts of two before are refused.
    BeginGeneration {
        /// Its number; only grows.
        generation: u64,
    },
    /// Thinning begins: from now on these moments alone are whole, and the labels and the newest
    /// checkpoint.
    MoveHorizon {
        /// Of which folder.
        folder: FolderId,
        /// Revision of the newest settings that the plan knew, 0 for none: when others came since,
        /// it is refused.
        settings: Revision,
        /// What stays whole.
        whole: Whole,
    },
    /// Releases what no whole moment shows of these entries, at most
    /// [`super::thinning::RELEASED_TOGETHER`] versions.
    Release {
        /// Of which folder.
        folder: FolderId,
        /// Which entries: a few hundred at a time, so that commits are not held up.
        entries: Vec<EntryId>,
    },
    /// Garbage collection changes what is known of a folder's objects.
    ChangeObjects {
        /// Whose.
        folder: FolderId,
        /// In order.
        changes: Vec<ObjectChange>,
    },
    /// These devices had a connection.
    SeeDevices {
        /// Which, and when last, in milliseconds since 1970; those that are not known are passed
        /// over.
        seen: Vec<(DeviceId, u64)>,
    },
    /// The disks of these devices hold folders as of a revision.
    NotePositions {
        /// Which, and as of which revision; those that are not known are passed over.
        positions: Vec<(FolderId, DeviceId, Revision)>,
    },
}
