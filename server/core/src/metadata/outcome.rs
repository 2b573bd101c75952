//! What came of a command.
//!
//! Owns answers, refusals and the events that others wait for. It must not know how they are sent.

use common::ids::{DeviceId, EntryId, FolderId, UserId};
use common::revision::{Epoch, Revision};
use common::trust::TrustError;
use common::wire::meta::{self, OutcomeKind, RefusalCode, RejectionCode};

/// What came of a command: an answer or a refusal for whom asked, and events for the others.
#[derive(Debug)]
pub struct Outcome {
    /// For the caller; to be told once the store's transaction is durable.
    pub answer: Result<Answer, Refused>,
    /// For everyone else, likewise.
    pub events: Vec<Event>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done, now or by an earlier command with the same content.
    Done,
    /// What became of a commit's groups, in order.
    Groups(Vec<GroupOutcome>),
    /// How many versions of places and contents were released.
    Released {
        /// So many.
        versions: u64,
    },
}

impl Answer {
    /// What became of a commit's groups; nothing for another command.
    #[must_use]
    pub fn into_groups(self) -> Vec<GroupOutcome> {
        match self {
            Self::Done | Self::Released { .. } => Vec::new(),
            Self::Groups(outcomes) => outcomes,
        }
    }
}

/// A change that others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A folder's journal has grown, or a new epoch began.
    Folder {
        /// Which.
        folder: FolderId,
        /// Life of its journal.
        epoch: Epoch,
        /// Its last revision.
        revision: Revision,
    },
    /// A user's device log has grown: devices may have come or gone.
    Devices {
        /// Whose.
        user: UserId,
    },
}

/// What became of a group; kept under its request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupOutcome {
    /// It is in the journal.
    Accepted {
        /// Its revision.
        revision: Revision,
        /// When, in milliseconds since 1970.
        time_ms: u64,
        /// Life of the journal.
        epoch: Epoch,
    },
    /// It had no effect.
    Rejected(Rejection),
}

impl GroupOutcome {
    /// The revision of an accepted group.
    #[must_use]
    pub const fn revision(&self) -> Option<Revision> {
        match self {
            Self::Accepted { revision, .. } => Some(*revision),
            Self::Rejected(_) => None,
        }
    }

    /// The code of a rejected group.
    #[must_use]
    pub const fn rejection(&self) -> Option<RejectionCode> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected(rejection) => Some(rejection.code),
        }
    }
}

/// Why a group had no effect, by its first change that could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What was in the way.
    pub code: RejectionCode,
    /// Number of the change in the group, from 0.
    pub change: u32,
    /// The entry that is in the way or stale, if there is one.
    pub entry: Option<EntryId>,
    /// For a person.
    pub message: String,
    /// The journal's last revision when the group was judged.
    pub revision: Revision,
}

impl From<&GroupOutcome> for meta::Outcome {
    fn from(outcome: &GroupOutcome) -> Self {
        let kind = match outcome {
            GroupOutcome::Accepted { revision, time_ms, epoch } => {
                OutcomeKind::Accepted(meta::Accepted {
                    revision: *revision,
                    time_ms: *time_ms,
                    epoch: *epoch,
                })
            }
            GroupOutcome::Rejected(rejection) => OutcomeKind::Rejected(meta::Rejected {
                code: rejection.code as i32,
                change: rejection.change,
                entry: rejection.entry.map(EntryId::to_vec).unwrap_or_default(),
                message: rejection.message.clone(),
                revision: rejection.revision,
            }),
        };
        Self { kind: Some(kind) }
    }
}

/// Why a command had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The peer is no enrolled device, or no longer.
    #[error("device {0} is not enrolled")]
    NotEnrolled(DeviceId),
    /// There is no such folder, or it is not one of the peer's user: one answer for both.
    #[error("no such folder")]
    NoSuchFolder,
    /// There is no such user.
    #[error("no such user")]
    NoSuchUser,
    /// The invitation is not known, was used, has expired, or is of another kind.
    #[error("the join code is not known, was used, or has expired")]
    InvitationInvalid,
    /// An invitation that expires in the past or lives for longer than allowed.
    #[error("an invitation expires within 30 days from now")]
    InvitationExpiry,
    /// The lookup id of an invitation is in use.
    #[error("the invitation's lookup id is in use")]
    LookupTaken,
    /// The device log has other records than the one that this one follows.
    #[error("the device log has moved on")]
    LogMoved,
    /// The keyring has another version than the one that this one follows.
    #[error("the keyring is at version {stored}")]
    KeyringMoved {
        /// The stored version.
        stored: u64,
    },
    /// The record may not follow the log's head.
    #[error("the record is not valid here: {0}")]
    RecordInvalid(TrustError),
    /// The record is valid but not one that this request takes.
    #[error("the record is not of the kind that this request takes")]
    RecordKind,
    /// The key is one of another user's device, or of one that was revoked.
    #[error("the key of device {0} is in use or was revoked")]
    DeviceTaken(DeviceId),
    /// A signed document does not hold.
    #[error("the signed document is not valid: {0}")]
    DocumentInvalid(TrustError),
    /// A signed document names another author, user or position than it may.
    #[error("the document is not one that this device can leave here")]
    DocumentForeign,
    /// A count is exhausted.
    #[error("no more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Something is larger than the limits allow.
    #[error("{what} of {actual} bytes is over the limit of {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Bytes that were given.
        actual: usize,
        /// Bytes that there may be.
        limit: usize,
    },
    /// Other settings came since a thinning was planned: it is planned anew.
    #[error("the folder's settings have moved on to revision {stored}")]
    SettingsMoved {
        /// The revision of the newest settings.
        stored: Revision,
    },
    /// A checkpoint of a moment that retention has thinned: nobody could be given it whole.
    #[error("the checkpoint's revision {0} has been thinned: sync first")]
    CheckpointThinned(Revision),
    /// A generation or an expiry that goes back.
    #[error("generation {given} does not follow {stored}")]
    GenerationBack {
        /// What was given.
        given: u64,
        /// What is stored.
        stored: u64,
    },
}

impl Refused {
    /// The number that stands for it on the wire.
    #[must_use]
    pub const fn code(&self) -> RefusalCode {
        match self {
            Self::NotEnrolled(_) => RefusalCode::NotEnrolled,
            Self::NoSuchFolder => RefusalCode::NoSuchFolder,
            Self::NoSuchUser => RefusalCode::NotFound,
            Self::InvitationInvalid => RefusalCode::InvitationInvalid,
            Self::LogMoved
            | Self::KeyringMoved { .. }
            | Self::GenerationBack { .. }
            | Self::SettingsMoved { .. }
            | Self::CheckpointThinned(_) => RefusalCode::Conflict,
            Self::TooMany { .. } | Self::RecordInvalid(TrustError::LogFull) => RefusalCode::Quota,
            Self::RecordInvalid(_)
            | Self::RecordKind
            | Self::DeviceTaken(_)
            | Self::DocumentInvalid(_)
            | Self::DocumentForeign
            | Self::InvitationExpiry
            | Self::LookupTaken => RefusalCode::RecordInvalid,
            Self::TooLarge { .. } => RefusalCode::Malformed,
        }
    }
}

impl From<&Refused> for meta::Refusal {
    fn from(refused: &Refused) -> Self {
        Self::new(refused.code(), refused.to_string())
    }
}
