//! Making records of the device log.
//!
//! Owns what each author has to put together. Every record is replayed before it is handed out, so
//! none is made that the rules refuse. Deterministic: seeds and times come from the caller.

use super::DeviceLog;
use super::record::{Generation, Genesis, ListedDevice, Record, What};
use crate::ids::{DeviceId, Head, LookupId};
use crate::keys::{
    DeviceKeys, RecoveryPublic, SigningKey, UserSecrets, seal_label, seal_previous_secret,
    seal_secret_box,
};
use crate::trust::signed::{Label, sign};
use crate::trust::{JoinCode, TrustError};
use std::collections::BTreeMap;

const NONCE_CONTEXT: &str = "driftless 2026 user genesis nonce v1";

/// A device that is about to be listed.
#[derive(Clone)]
pub struct NewDevice<'a> {
    /// Its own keys.
    pub keys: &'a DeviceKeys,
    /// Its name, for people; only the user's devices can read it.
    pub label: &'a str,
    /// The user secrets: new ones in a genesis, those of the invitation's blob otherwise.
    pub secrets: &'a UserSecrets,
    /// 32 fresh random bytes.
    pub seed: [u8; 32],
}

/// The next generation of the user secret.
#[derive(Clone)]
pub struct Rotation<'a> {
    /// The secrets up to now.
    pub secrets: &'a UserSecrets,
    /// The new secret: 32 fresh random bytes.
    pub secret: [u8; 32],
    /// 32 other fresh random bytes.
    pub seed: [u8; 32],
}

/// The first record of a user's log: lists the first device. Its secrets are generation 1 alone.
///
/// # Errors
/// [`TrustError`] when the label cannot be sealed, or the secrets are not generation 1.
pub fn genesis_record(
    new: &NewDevice<'_>,
    recovery: &RecoveryPublic,
    time_ms: u64,
) -> Result<Vec<u8>, TrustError> {
    let (generation, secret) = new.secrets.newest();
    let recipients = [*new.keys.agreement.public(), recovery.agreement];
    let what = What::Genesis(Genesis {
        device: listed_device(new)?,
        recovery: *recovery,
        nonce: blake3::derive_key(NONCE_CONTEXT, &new.seed),
        secret: Generation {
            number: generation,
            boxes: boxes(&recipients, &new.seed, generation, secret)?,
            previous: Vec::new(),
        },
    });
    let record = Record { index: 0, prev: Head::ZERO, time_ms, what };
    let bytes = sign(Label::DeviceLog, &record.encode(), &[&new.keys.signing]);
    DeviceLog::genesis(&bytes)?;
    Ok(bytes)
}

/// Opens the invitation of a code, signed by an enrolled device. It is void from `expires_ms` on.
///
/// # Errors
/// [`TrustError`] says which rule it would break.
pub fn invitation_record(
    log: &DeviceLog,
    signer: &SigningKey,
    code: &JoinCode,
    expires_ms: u64,
    time_ms: u64,
) -> Result<Vec<u8>, TrustError> {
    let what = What::InvitationOpened {
        signer: signer.device(),
        lookup: code.lookup(),
        key: code.signing_key().public(),
        kind: code.kind,
        expires_ms,
    };
    next_record(log, what, time_ms, &[signer])
}

/// Redeems a code: lists the new device, signed by the code's key and the device's own.
///
/// # Errors
/// [`TrustError`] says which rule it would break.
pub fn redeem_record(
    log: &DeviceLog,
    code: &JoinCode,
    new: &NewDevice<'_>,
    time_ms: u64,
) -> Result<Vec<u8>, TrustError> {
    let (generation, secret) = new.secrets.newest();
    let recipient = new.keys.agreement.public();
    let what = What::DeviceAdded {
        lookup: code.lookup(),
        device: listed_device(new)?,
        generation,
        secret: seal_secret_box(recipient, &new.seed, generation, secret)?,
    };
    next_record(log, what, time_ms, &[&code.signing_key(), &new.keys.signing])
}

/// Voids an open invitation, expired or not, signed by an enrolled device.
///
/// # Errors
/// [`TrustError`] says which rule it would break.
pub fn void_record(
    log: &DeviceLog,
    signer: &SigningKey,
    lookup: &LookupId,
    time_ms: u64,
) -> Result<Vec<u8>, TrustError> {
    let what = What::InvitationVoided { signer: signer.device(), lookup: *lookup };
    next_record(log, what, time_ms, &[signer])
}

/// Revokes a device and voids all open invitations, signed by an enrolled device. With a rotation
/// the user secret gets its next generation, which the revoked device does not get.
///
/// # Errors
/// [`TrustError`] says which rule it would break.
pub fn revoke_record(
    log: &DeviceLog,
    signer: &SigningKey,
    device: &DeviceId,
    rotation: Option<&Rotation<'_>>,
    time_ms: u64,
) -> Result<Vec<u8>, TrustError> {
    let secret = rotation.map(|next| next_generation(log, next, Some(device))).transpose()?;
    let what = What::DeviceRevoked {
        signer: signer.device(),
        device: *device,
        secret,
        epochs: BTreeMap::new(),
    };
    next_record(log, what, time_ms, &[signer])
}

/// Gives the user secret its next generation and voids all open invitations, whose blobs hold the
/// old one; signed by an enrolled device.
///
/// # Errors
/// [`TrustError`] says which rule it would break.
pub fn generation_record(
    log: &DeviceLog,
    signer: &SigningKey,
    rotation: &Rotation<'_>,
    time_ms: u64,
) -> Result<Vec<u8>, TrustError> {
    let secret = next_generation(log, rotation, None)?;
    let what = What::SecretGeneration { signer: signer.device(), secret };
    next_record(log, what, time_ms, &[signer])
}

fn next_record(
    log: &DeviceLog,
    what: What,
    time_ms: u64,
    keys: &[&SigningKey],
) -> Result<Vec<u8>, TrustError> {
    let record = Record { index: log.len(), prev: log.head(), time_ms, what };
    let bytes = sign(Label::DeviceLog, &record.encode(), keys);
    log.clone().append(&bytes)?;
    Ok(bytes)
}

fn listed_device(new: &NewDevice<'_>) -> Result<ListedDevice, TrustError> {
    let id = new.keys.device();
    Ok(ListedDevice {
        id,
        agreement: *new.keys.agreement.public(),
        sealed_label: seal_label(new.secrets, &id, new.label)?,
    })
}

fn next_generation(
    log: &DeviceLog,
    rotation: &Rotation<'_>,
    leaving: Option<&DeviceId>,
) -> Result<Generation, TrustError> {
    let (known, newest) = rotation.secrets.newest();
    if known != log.generation() {
        return Err(TrustError::Generation { expected: log.generation(), actual: known });
    }
    let number = known.saturating_add(1);
    let recipients = log.recipients(leaving);
    Ok(Generation {
        number,
        boxes: boxes(&recipients, &rotation.seed, number, &rotation.secret)?,
        previous: seal_previous_secret(&rotation.secret, number, newest),
    })
}

fn boxes(
    recipients: &[[u8; 32]],
    seed: &[u8; 32],
    generation: u32,
    secret: &[u8; 32],
) -> Result<BTreeMap<[u8; 32], Vec<u8>>, TrustError> {
    recipients
        .iter()
        .map(|recipient| Ok((*recipient, seal_secret_box(recipient, seed, generation, secret)?)))
        .collect()
}
