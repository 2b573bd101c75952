//! The device log: a hash-chained, signed log of a user's devices, invitations and generations of
//! the user secret.
//!
//! Owns the replayed state and what may be asked of it; `replay` holds the rules by which records
//! are accepted, `record` their encoding, `author` how they are made. Devices and servers replay
//! the same bytes to the same state. It must not know how a log travels: callers pin its head.

mod author;
mod record;
mod replay;
#[cfg(test)]
mod tests;

pub use author::{
    NewDevice, Rotation, generation_record, genesis_record, invitation_record, redeem_record,
    revoke_record, void_record,
};

use crate::ids::{DeviceId, Head, LookupId, UserId};
use crate::keys::{
    AgreementKey, LabelError, RecoveryPublic, UserSecrets, open_label, open_previous_secret,
    open_secret_box,
};
use crate::trust::{JoinKind, TrustError};
use std::collections::BTreeMap;

/// A device that the log lists or listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its signing key.
    pub id: DeviceId,
    /// Its X25519 key.
    pub agreement: [u8; 32],
    /// Its label, sealed under a key derived from the user secret.
    pub sealed_label: Vec<u8>,
    /// Number of the record that listed it.
    pub added_at: u64,
    /// When, in milliseconds since 1970 by its own clock.
    pub added_ms: u64,
    /// Number of the record that revoked it.
    pub revoked_at: Option<u64>,
    /// When, in milliseconds since 1970 by the clock of the device that revoked it.
    pub revoked_ms: Option<u64>,
}

impl DeviceRecord {
    /// Whether the log lists it now.
    #[must_use]
    pub const fn is_enrolled(&self) -> bool {
        self.revoked_at.is_none()
    }

    /// Opens its label.
    ///
    /// # Errors
    /// [`LabelError`]: the device sealed something else, which is that device's problem alone.
    pub fn label(&self, secrets: &UserSecrets) -> Result<String, LabelError> {
        open_label(secrets, &self.id, &self.sealed_label)
    }
}

/// An invitation that was ever opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its public key, which signs the redeeming record.
    pub key: [u8; 32],
    /// Whom it lets in.
    pub kind: JoinKind,
    /// From when on it is void, in milliseconds since 1970.
    pub expires_ms: u64,
    /// The device that opened it.
    pub opened_by: DeviceId,
    /// What became of it.
    pub state: InvitationState,
}

impl Invitation {
    /// Whether it may be redeemed at this time.
    #[must_use]
    pub fn is_open_at(&self, now_ms: u64) -> bool {
        self.state == InvitationState::Open && now_ms < self.expires_ms
    }
}

/// What became of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationState {
    /// It waits, or has expired and waits to be voided.
    Open,
    /// It let this device in.
    Used(DeviceId),
    /// A device or a revocation voided it.
    Voided,
}

/// What an accepted record did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// A device was added.
    DeviceAdded {
        /// Which.
        device: DeviceId,
        /// With which invitation.
        lookup: LookupId,
    },
    /// A device was revoked.
    DeviceRevoked {
        /// Which.
        device: DeviceId,
        /// Invitations that were open, in ascending order.
        voided: Vec<LookupId>,
    },
    /// An invitation was opened.
    InvitationOpened {
        /// Where the server keeps its blob.
        lookup: LookupId,
        /// Whom it lets in.
        kind: JoinKind,
        /// From when on it is void, in milliseconds since 1970.
        expires_ms: u64,
    },
    /// An invitation was voided.
    InvitationVoided {
        /// Which.
        lookup: LookupId,
    },
    /// The user secret has a new generation.
    SecretGeneration {
        /// Its number.
        generation: u32,
        /// Invitations that were open, in ascending order: their blobs hold the old secret.
        voided: Vec<LookupId>,
    },
}

/// The state of a user's device log after its last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLog {
    user: UserId,
    /// The head after each record.
    heads: Vec<Head>,
    /// Bytes of all records.
    bytes: u64,
    devices: BTreeMap<DeviceId, DeviceRecord>,
    invitations: BTreeMap<LookupId, Invitation>,
    recovery: RecoveryPublic,
    generation: u32,
    /// The newest user secret, sealed to each enrolled device and the recovery key.
    boxes: BTreeMap<[u8; 32], Vec<u8>>,
    /// For each generation but the first, the secret before it, sealed under it.
    previous: BTreeMap<u32, Vec<u8>>,
}

impl DeviceLog {
    /// The user: the hash of the genesis record.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The head after the last record.
    #[must_use]
    pub fn head(&self) -> Head {
        self.heads.last().copied().unwrap_or(Head::ZERO)
    }

    /// Number of records, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a log has its genesis")]
    pub fn len(&self) -> u64 {
        self.heads.len() as u64
    }

    /// The head after the first `len` records: whether a pinned (length, head) lies on this log.
    #[must_use]
    pub fn head_at(&self, len: u64) -> Option<Head> {
        let at = usize::try_from(len).ok()?.checked_sub(1)?;
        self.heads.get(at).copied()
    }

    /// Number of records after which the log had this head.
    #[must_use]
    pub fn len_at(&self, head: &Head) -> Option<u64> {
        self.heads.iter().rposition(|known| known == head).map(|at| at as u64 + 1)
    }

    /// A device that is or was listed.
    #[must_use]
    pub fn device(&self, device: &DeviceId) -> Option<&DeviceRecord> {
        self.devices.get(device)
    }

    /// Whether the log lists this device now.
    #[must_use]
    pub fn is_enrolled(&self, device: &DeviceId) -> bool {
        self.device(device).is_some_and(DeviceRecord::is_enrolled)
    }

    /// Whether the log ever listed this device.
    #[must_use]
    pub fn was_enrolled(&self, device: &DeviceId) -> bool {
        self.devices.contains_key(device)
    }

    /// Whether the log listed this device when it had this head; `false` for a head it never had.
    #[must_use]
    pub fn was_enrolled_at(&self, device: &DeviceId, head: &Head) -> bool {
        let Some((len, record)) = self.len_at(head).zip(self.device(device)) else {
            return false;
        };
        record.added_at < len && record.revoked_at.is_none_or(|revoked| revoked >= len)
    }

    /// All devices ever listed, in ascending order of id.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceRecord> {
        self.devices.values()
    }

    /// All invitations ever opened, in ascending order of lookup id.
    pub fn invitations(&self) -> impl Iterator<Item = (&LookupId, &Invitation)> {
        self.invitations.iter()
    }

    /// One invitation.
    #[must_use]
    pub fn invitation(&self, lookup: &LookupId) -> Option<&Invitation> {
        self.invitations.get(lookup)
    }

    /// Invitations that have expired and are still to be voided, in ascending order.
    pub fn expired_invitations(&self, now_ms: u64) -> impl Iterator<Item = LookupId> + '_ {
        self.invitations
            .iter()
            .filter(move |(_, i)| i.state == InvitationState::Open && !i.is_open_at(now_ms))
            .map(|(lookup, _)| *lookup)
    }

    /// The newest generation of the user secret.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The public half of the user's recovery key.
    #[must_use]
    pub const fn recovery(&self) -> &RecoveryPublic {
        &self.recovery
    }

    /// Opens the user secrets with a device's or the recovery key: the newest generation, and those
    /// before it as far back as each seals the one before.
    ///
    /// # Errors
    /// [`TrustError::NoSecret`] when nothing is sealed to this key; [`TrustError::Agreement`] when
    /// what is sealed to it does not open.
    pub fn open_secrets(&self, key: &AgreementKey) -> Result<UserSecrets, TrustError> {
        let sealed = self.boxes.get(key.public()).ok_or(TrustError::NoSecret)?;
        let mut secret = open_secret_box(key, self.generation, sealed)?;
        let mut secrets = UserSecrets::starting_at(self.generation, *secret);
        for (generation, sealed) in self.previous.iter().rev() {
            // Earlier secrets open old labels only, so one that does not open ends the walk.
            let Ok(earlier) = open_previous_secret(&secret, *generation, sealed) else {
                break;
            };
            secrets.add(generation - 1, *earlier);
            secret = earlier;
        }
        Ok(secrets)
    }
}
