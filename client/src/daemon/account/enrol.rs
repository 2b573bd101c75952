//! Enrolment: the first device of a user, and another device by a code.
//!
//! Owns what is made and checked on the way in. The flow is `prepare` → write it down → redeem at
//! the server → [`redeemed`]; preparing asks nobody, and redeeming the same record twice has one
//! effect, so that a device that was stopped half way goes on from what it wrote down.

use super::ask::{now_ms, random32};
use super::{Account, AccountError};
use crate::context::Environment;
use crate::home::{Pending, PendingKind, StoredKeys};
use crate::remote::join::Left;
use common::ids::{DeviceId, FolderId};
use common::keys::{DeviceKeys, RecoveryKey, UserSecrets};
use common::revision::Cursor;
use common::trust::{
    Checkpoint, DeviceLog, InvitationBlob, InvitationState, JoinCode, JoinKind, NewDevice,
    TrustError, genesis_record, redeem_record,
};

/// What an invitation says beside who the user is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invited {
    /// The folder that the person was invited to.
    pub folder: Option<FolderId>,
    /// All folders: id, name, and from where to take it.
    pub folders: Vec<(FolderId, String, Option<Cursor>)>,
    /// The keyring has this version or a later one.
    pub keyring_version: u64,
}

/// Makes a new user with this device as its first, to be redeemed with a bootstrap code.
///
/// # Errors
/// [`AccountError::CodeKind`] for a code of another kind; [`AccountError::Trust`] when the name is
/// no label.
pub fn prepare_bootstrap(
    code: &JoinCode,
    name: &str,
    environment: &dyn Environment,
) -> Result<Pending, AccountError> {
    if code.kind != JoinKind::Bootstrap {
        return Err(AccountError::CodeKind(code.kind));
    }
    let device = DeviceKeys::from_seed(random32(environment));
    let secrets = UserSecrets::first(random32(environment));
    let recovery = random32(environment);
    let public = RecoveryKey::from_seed(recovery).public();
    let new =
        NewDevice { keys: &device, label: name, secrets: &secrets, seed: random32(environment) };
    let record = genesis_record(&new, &public, now_ms(environment))?;
    Ok(Pending {
        code: code.clone(),
        keys: StoredKeys { device, secrets },
        name: name.to_owned(),
        record,
        kind: PendingKind::Bootstrap { recovery },
    })
}

/// Checks what was left for a joiner and makes the record that redeems the code. `keys` are the
/// new device's own.
///
/// # Errors
/// [`AccountError::CodeKind`]; [`AccountError::ForeignLog`] when the device log is not the one that
/// the blob vouches for, or does not list the invitation; [`AccountError::Trust`].
pub fn prepare_device(
    code: &JoinCode,
    left: Left,
    keys: DeviceKeys,
    name: &str,
    environment: &dyn Environment,
) -> Result<Pending, AccountError> {
    if code.kind != JoinKind::Device {
        return Err(AccountError::CodeKind(code.kind));
    }
    let blob = InvitationBlob::open(&code.wrap_key(), &left.blob)?;
    let log = DeviceLog::replay(left.device_log.iter().map(Vec::as_slice))?;
    check_log(code, &blob, &log, now_ms(environment))?;
    let name = unique_name(&log, &blob.user_secrets, name);
    let new = NewDevice {
        keys: &keys,
        label: &name,
        secrets: &blob.user_secrets,
        seed: random32(environment),
    };
    let record = redeem_record(&log, code, &new, now_ms(environment))?;
    Ok(Pending {
        code: code.clone(),
        keys: StoredKeys { device: keys, secrets: blob.user_secrets },
        name,
        record,
        kind: PendingKind::Device { log: left.device_log, blob: left.blob },
    })
}

/// The log goes on from the head that the blob names, and lists the code's own invitation, open.
fn check_log(
    code: &JoinCode,
    blob: &InvitationBlob,
    log: &DeviceLog,
    now_ms: u64,
) -> Result<(), AccountError> {
    if log.user() != blob.user {
        return Err(AccountError::ForeignLog("it is another user's"));
    }
    if log.head_at(blob.device_log_len) != Some(blob.device_log_head) {
        return Err(AccountError::ForeignLog("it does not go on from where the code was made"));
    }
    let lookup = code.lookup();
    let invitation =
        log.invitation(&lookup).ok_or(AccountError::ForeignLog("it has no such invitation"))?;
    if invitation.kind != code.kind || invitation.key != code.signing_key().public() {
        return Err(AccountError::ForeignLog("its invitation has another key"));
    }
    match invitation.state {
        InvitationState::Used(_) => Err(TrustError::InvitationUsed(lookup).into()),
        InvitationState::Voided => Err(TrustError::InvitationVoided(lookup).into()),
        InvitationState::Open if !invitation.is_open_at(now_ms) => {
            Err(TrustError::InvitationExpired(lookup).into())
        }
        InvitationState::Open => Ok(()),
    }
}

/// The account of a device whose record was redeemed, and what the invitation said.
///
/// # Errors
/// [`AccountError::Trust`] when the noted record does not follow the noted log.
pub fn redeemed(pending: &Pending) -> Result<(Account, Invited), AccountError> {
    match &pending.kind {
        PendingKind::Bootstrap { .. } => {
            let account = Account::new(pending.keys.clone(), vec![pending.record.clone()])?;
            Ok((account, Invited::default()))
        }
        PendingKind::Device { log, blob } => {
            let mut records = log.clone();
            records.push(pending.record.clone());
            let blob = InvitationBlob::open(&pending.code.wrap_key(), blob)?;
            let account = Account::new(pending.keys.clone(), records)?;
            let invited = invited(&blob, account.log())?;
            Ok((account, invited))
        }
    }
}

fn invited(blob: &InvitationBlob, log: &DeviceLog) -> Result<Invited, AccountError> {
    let mut folders = Vec::with_capacity(blob.folders.len());
    for folder in &blob.folders {
        let cursor = match folder.checkpoint.as_slice() {
            [] => None,
            bytes => {
                let checkpoint = Checkpoint::open(bytes)?;
                if checkpoint.folder != folder.folder || !log.was_enrolled(&checkpoint.device) {
                    return Err(AccountError::ForeignLog("a checkpoint is not of its folder"));
                }
                Some(checkpoint.cursor)
            }
        };
        folders.push((folder.folder, folder.name.clone(), cursor));
    }
    Ok(Invited { folder: blob.invited, folders, keyring_version: blob.keyring_version })
}

/// The name itself, or with a number behind it when an enrolled device has it.
#[must_use]
pub fn unique_name(log: &DeviceLog, secrets: &UserSecrets, name: &str) -> String {
    let taken = |wanted: &str| {
        let same = |device: &DeviceId| {
            let record = log.device(device).filter(|record| record.is_enrolled());
            record.is_some_and(|record| record.label(secrets).is_ok_and(|label| label == wanted))
        };
        log.devices().any(|device| same(&device.id))
    };
    let mut unique = name.to_owned();
    let mut number = 2;
    while taken(&unique) {
        unique = format!("{name}-{number}");
        number += 1;
    }
    unique
}
