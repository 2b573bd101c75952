//! The user's devices: who they are, who is online, and revoking one.
//!
//! Owns how a device is named by a person, and the records that end an invitation or a device.

use super::ask::{ask, ask_done, now_ms, random32};
use super::refresh::{put_keyring, refresh_log};
use super::{Account, AccountError};
use crate::context::Environment;
use crate::remote::Remote;
use common::ids::DeviceId;
use common::trust::{DeviceRecord, Rotation, TrustError, revoke_record, void_record};
use common::wire::meta::{DeviceLogAppend, DevicePresence, Empty, RefusalCode, Reply, Request};
use std::collections::BTreeMap;

/// Rounds before giving up to other devices.
const ROUNDS: u32 = 8;
/// Fewest digits of an id that name a device.
const ID_DIGITS_MIN: usize = 8;

/// A device as `devices` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name; its id's first digits when the name cannot be read.
    pub name: String,
    /// Its key.
    pub id: DeviceId,
    /// Whether it is this one.
    pub is_self: bool,
    /// Whether it is connected; `None` when the server could not be asked.
    pub online: Option<bool>,
    /// When it was last connected, in milliseconds since 1970.
    pub last_seen_ms: Option<u64>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// How revoking a device ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Which device.
    pub device: DeviceId,
    /// Whether it had been revoked before.
    pub already: bool,
}

/// All devices, those enrolled first, by name.
///
/// # Errors
/// [`AccountError::Remote`] when the server could not be asked who is online.
pub async fn devices(
    account: &Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
) -> Result<Vec<DeviceInfo>, AccountError> {
    let replies = ask(remote, environment, Request::Presence(Empty {})).await?;
    let [Reply::Presence(presence)] = replies.as_slice() else {
        return Err(AccountError::Answer("asking who is online"));
    };
    let seen: BTreeMap<&[u8], &DevicePresence> =
        presence.devices.iter().map(|device| (device.device.as_slice(), device)).collect();
    let mut list = known_devices(account);
    for device in &mut list {
        let seen = seen.get(device.id.as_bytes().as_slice());
        device.online = Some(seen.is_some_and(|seen| seen.online) && !device.revoked);
        device.last_seen_ms = seen.map(|seen| seen.last_seen_ms).filter(|seen_ms| *seen_ms > 0);
    }
    Ok(list)
}

/// All devices as the log alone lists them, those enrolled first, by name.
#[must_use]
pub fn known_devices(account: &Account) -> Vec<DeviceInfo> {
    let info = |record: &DeviceRecord| DeviceInfo {
        name: name_of(account, record),
        id: record.id,
        is_self: record.id == account.device(),
        online: None,
        last_seen_ms: None,
        revoked: !record.is_enrolled(),
    };
    let mut list: Vec<DeviceInfo> = account.log().devices().map(info).collect();
    list.sort_by(|one, two| {
        (one.revoked, &one.name, one.id).cmp(&(two.revoked, &two.name, two.id))
    });
    list
}

fn name_of(account: &Account, record: &DeviceRecord) -> String {
    record.label(account.secrets()).unwrap_or_else(|_| {
        let mut id = record.id.to_string();
        id.truncate(ID_DIGITS_MIN);
        id
    })
}

impl Account {
    /// A device's name, for people; the front of its id when it has none that can be read.
    #[must_use]
    pub fn device_name(&self, device: &DeviceId) -> String {
        match self.log().device(device) {
            Some(record) => name_of(self, record),
            None => {
                let mut id = device.to_string();
                id.truncate(ID_DIGITS_MIN);
                id
            }
        }
    }

    /// The device that a person means: by name, or by the first digits of its id; one that was
    /// revoked only if no enrolled one is meant, and of several the last.
    fn find_device(&self, wanted: &str) -> Result<&DeviceRecord, AccountError> {
        let (enrolled, mut revoked): (Vec<_>, Vec<_>) =
            self.meant(wanted).into_iter().partition(|record| record.is_enrolled());
        revoked.sort_by_key(|record| record.revoked_at);
        match (enrolled.as_slice(), revoked.last()) {
            ([device], _) => Ok(device),
            ([], Some(revoked)) => Ok(revoked),
            ([], None) => Err(AccountError::NoSuchDevice(wanted.to_owned())),
            _ => Err(AccountError::AmbiguousDevice(wanted.to_owned())),
        }
    }

    /// Devices of this name; if there are none, those whose ids begin so.
    fn meant(&self, wanted: &str) -> Vec<&DeviceRecord> {
        let is_named = |record: &&DeviceRecord| name_of(self, record) == wanted;
        let begins = |record: &&DeviceRecord| record.id.to_string().starts_with(wanted);
        let named: Vec<_> = self.log().devices().filter(is_named).collect();
        if named.is_empty() && wanted.len() >= ID_DIGITS_MIN {
            return self.log().devices().filter(begins).collect();
        }
        named
    }
}

/// Revokes a device: it is no longer let in, the user secret gets its next generation, and open
/// invitations are void. The keyring is sealed anew. One that was revoked before stays so.
///
/// # Errors
/// [`AccountError::NoSuchDevice`], [`AccountError::AmbiguousDevice`], [`AccountError::RevokeSelf`].
pub async fn revoke_device(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
    name: &str,
) -> Result<Revoked, AccountError> {
    super::refresh(account, remote, environment).await?;
    let record = account.find_device(name)?;
    let device = record.id;
    if !record.is_enrolled() {
        return Ok(Revoked { device, already: true });
    }
    if device == account.device() {
        return Err(AccountError::RevokeSelf);
    }
    let (secret, seed) = (random32(environment), random32(environment));
    let time_ms = now_ms(environment);
    append(account, remote, environment, |account| {
        if !account.log().is_enrolled(&device) {
            return Ok(None);
        }
        let rotation = Rotation { secrets: account.secrets(), secret, seed };
        let signer = &account.device_keys().signing;
        revoke_record(account.log(), signer, &device, Some(&rotation), time_ms).map(Some)
    })
    .await?;
    // The new secret is in the log, sealed to this device too.
    refresh_log(account, remote, environment).await?;
    put_keyring(account, remote, environment, |_| Ok(())).await?;
    Ok(Revoked { device, already: false })
}

/// Voids the invitations of the user that have expired. Returns how many.
///
/// # Errors
/// [`AccountError`].
pub async fn void_expired(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
) -> Result<usize, AccountError> {
    let time_ms = now_ms(environment);
    let expired: Vec<_> = account.log().expired_invitations(time_ms).collect();
    for lookup in &expired {
        append(account, remote, environment, |account| {
            let still = account.log().expired_invitations(time_ms).any(|open| open == *lookup);
            let signer = &account.device_keys().signing;
            still.then(|| void_record(account.log(), signer, lookup, time_ms)).transpose()
        })
        .await?;
    }
    Ok(expired.len())
}

/// Appends a record, made anew whenever another device came first; `None` when nothing is left to
/// be done.
async fn append(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
    make: impl Fn(&Account) -> Result<Option<Vec<u8>>, TrustError>,
) -> Result<(), AccountError> {
    for _ in 0..ROUNDS {
        let Some(record) = make(account)? else { return Ok(()) };
        let request = Request::DeviceLogAppend(DeviceLogAppend { record: record.clone() });
        match ask_done(remote, environment, "appending to the device log", request).await {
            Ok(()) => {
                account.take_record(record)?;
                return Ok(());
            }
            // After a lost answer the record may be there: reading on tells, and `make` with it.
            Err(AccountError::Remote(error))
                if error.refusal_code() == Some(RefusalCode::Conflict) || error.is_offline() =>
            {
                refresh_log(account, remote, environment).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(AccountError::Contended("the device log"))
}
