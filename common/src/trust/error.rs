//! Why a trust record or signed document is refused.
//!
//! Owns the error type and the checks on fields that every document shares. It must not know of
//! the network: a service maps these to its own codes.

use crate::ids::{DeviceId, IdLengthError, LookupId};
use crate::keys::{AgreementError, LabelError, SealedError};

/// A trust record or signed document that cannot be accepted, made or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not the encoding of this document.
    #[error("the document does not decode: {0}")]
    Malformed(String),
    /// An id of another length.
    #[error(transparent)]
    Id(#[from] IdLengthError),
    /// A required field is not there.
    #[error("the document has no {0}")]
    Missing(&'static str),
    /// A number that stands for nothing this version knows.
    #[error("{field} is {value}, which stands for nothing known")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What it said.
        value: u64,
    },
    /// More of something than the limits allow.
    #[error("{field} is {actual}, over the limit of {limit}")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// How much there is.
        actual: u64,
        /// How much there may be.
        limit: u64,
    },
    /// A field of fixed size has another.
    #[error("{field} has {actual} bytes, not {expected}")]
    Size {
        /// Which field.
        field: &'static str,
        /// Its size.
        expected: usize,
        /// What was given.
        actual: usize,
    },
    /// A signature is missing, spare, or not that of the key that has to sign.
    #[error("a signature is not that of the key that has to sign")]
    Signature,
    /// Signed for another cluster.
    #[error("the document was signed for another cluster")]
    WrongCluster,

    /// The first record of a log is no genesis.
    #[error("a device log begins with a genesis record")]
    GenesisExpected,
    /// A genesis that is not the first record.
    #[error("a genesis record is only the first of a device log")]
    GenesisRepeated,
    /// The record does not follow the log's head: it was forked, replayed or reordered, or another
    /// record came first.
    #[error("the record does not follow the head of the device log")]
    WrongHead,
    /// The record says another position than its own.
    #[error("the record is number {expected} of the log but says {actual}")]
    WrongIndex {
        /// Its position.
        expected: u64,
        /// What it says.
        actual: u64,
    },
    /// So many records, or bytes of them, that what is left is kept for revocations.
    #[error("the device log is full: it takes nothing more but revocations")]
    LogFull,
    /// The signer is not listed at this point of the log, or was revoked before.
    #[error("device {0} is not enrolled at this point of the device log")]
    NotEnrolled(DeviceId),
    /// The device was listed before, or its agreement key was; a revoked device never returns.
    #[error("device {0} or its key is or was in the device log already")]
    DeviceKnown(DeviceId),
    /// Revoking the only device would end the log.
    #[error("the only device of a user cannot be revoked")]
    LastDevice,

    /// The lookup id or key was used by an earlier invitation.
    #[error("the invitation was opened before")]
    InvitationKnown(LookupId),
    /// No such invitation in the log.
    #[error("the device log has no such invitation")]
    InvitationUnknown(LookupId),
    /// A device was added with it already: it works once.
    #[error("the invitation was used already")]
    InvitationUsed(LookupId),
    /// It was voided, by a device or by a revocation.
    #[error("the invitation was voided")]
    InvitationVoided(LookupId),
    /// The record's time is not before the invitation's expiry.
    #[error("the invitation has expired")]
    InvitationExpired(LookupId),
    /// It is for something else.
    #[error("the invitation is of another kind")]
    InvitationKind(LookupId),

    /// A new generation of the user secret has another number than the next.
    #[error("generation {expected} of the user secret is due, not {actual}")]
    Generation {
        /// Which is due.
        expected: u32,
        /// Which came.
        actual: u32,
    },
    /// The user secret is not sealed to exactly those who have to get it, in ascending order.
    #[error("the user secret is not sealed to exactly the listed devices and the recovery key")]
    Recipients,
    /// The key opens no generation of the user secret that the log holds.
    #[error("the device log holds no user secret for this key")]
    NoSecret,

    /// A label that cannot be used.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A box that cannot be made or opened.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// A sealed document that does not open.
    #[error(transparent)]
    Sealed(#[from] SealedError),
}

impl TrustError {
    /// Whether reading the log again and making the record anew may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::WrongHead | Self::WrongIndex { .. })
    }
}

impl From<prost::DecodeError> for TrustError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Refuses more than `limit` of a field.
pub(super) fn at_most(field: &'static str, actual: usize, limit: usize) -> Result<(), TrustError> {
    if actual > limit {
        return Err(TrustError::TooLarge { field, actual: actual as u64, limit: limit as u64 });
    }
    Ok(())
}

/// Refuses another version than the one that is known.
pub(super) fn version(actual: u32, known: u32) -> Result<(), TrustError> {
    if actual != known {
        return Err(TrustError::Unknown { field: "version", value: u64::from(actual) });
    }
    Ok(())
}

/// Reads a field of 32 bytes that is no id.
pub(super) fn bytes32(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], TrustError> {
    bytes.try_into().map_err(|_| TrustError::Size { field, expected: 32, actual: bytes.len() })
}
