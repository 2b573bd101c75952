//! Users: their device logs, keyrings, quotas and when their devices were seen.
//!
//! Owns what follows from a record of a device log. Whether a record holds is the word of
//! [`DeviceLog`] alone; here its consequences are written down so that a commit need not replay
//! the log. It must not know what a keyring says.

use super::super::outcome::{Event, Refused};
use super::super::query::enrolled;
use super::super::state::{DeviceState, Quota};
use super::super::store::{MetaReads, MetaStore, StoreError};
use super::{Stop, user_of};
use common::ids::{DeviceId, LookupId, UserId};
use common::limits::KEYRING_BYTES_MAX;
use common::trust::{DeviceLog, LogEvent, TrustError};

/// Records of a device log that are in memory at once while it is replayed.
const RECORDS_PAGE: usize = 32;

/// Replays the device log of a user. Costs a few signatures a record; only appending needs it.
fn replay(store: &(impl MetaReads + ?Sized), user: &UserId) -> Result<DeviceLog, Stop> {
    let corrupt = |_: TrustError| StoreError::Corrupt { what: "device log" };
    let first = store.log_records(user, 0, 1)?;
    let first = first.first().ok_or(StoreError::Corrupt { what: "device log" })?;
    let mut log = DeviceLog::genesis(first).map_err(corrupt)?;
    loop {
        let records = store.log_records(user, log.len(), RECORDS_PAGE)?;
        for record in &records {
            log.append(record).map_err(corrupt)?;
        }
        if records.len() < RECORDS_PAGE {
            return Ok(log);
        }
    }
}

/// Checks a record against the log of a user, appends it, and notes what follows for devices and
/// invitations. `accepts` says, before anything is written, whether the request takes such an
/// event.
pub(super) fn append(
    store: &mut dyn MetaStore,
    user: &UserId,
    record: &[u8],
    accepts: impl FnOnce(&dyn MetaReads, &LogEvent) -> Result<(), Stop>,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    let mut log = replay(store, user)?;
    let position = log.len();
    let event = log.append(record).map_err(|error| {
        if error.is_retryable() { Refused::LogMoved } else { Refused::RecordInvalid(error) }
    })?;
    accepts(store, &event)?;
    if let LogEvent::DeviceAdded { device, .. } = &event
        && store.device(device)?.is_some()
    {
        return Err(Refused::DeviceTaken(*device).into());
    }
    store.append_log(user, record, &log.head())?;
    note(store, user, position, &log, &event)?;
    events.push(Event::Devices { user: *user });
    Ok(())
}

/// Writes down what a record that holds means for devices and invitations.
fn note(
    store: &mut dyn MetaStore,
    user: &UserId,
    position: u64,
    log: &DeviceLog,
    event: &LogEvent,
) -> Result<(), Stop> {
    match event {
        LogEvent::DeviceAdded { device, lookup, .. } => {
            let added = DeviceState {
                user: *user,
                position,
                revoked: false,
                revoked_ms: None,
                seen_ms: None,
            };
            store.put_device(device, &added)?;
            store.delete_invitation(lookup)?;
        }
        LogEvent::DeviceRevoked { device, voided, .. } => {
            if let Some(state) = store.device(device)? {
                let revoked_ms = log.device(device).and_then(|record| record.revoked_ms);
                store.put_device(device, &DeviceState { revoked: true, revoked_ms, ..state })?;
            }
            drop_all(store, voided)?;
        }
        LogEvent::SecretGeneration { voided, .. } => drop_all(store, voided)?,
        LogEvent::InvitationVoided { lookup, .. } => store.delete_invitation(lookup)?,
        // The request that brings record and blob stores both.
        LogEvent::InvitationOpened { .. } => {}
    }
    Ok(())
}

fn drop_all(store: &mut dyn MetaStore, lookups: &[LookupId]) -> Result<(), StoreError> {
    for lookup in lookups {
        store.delete_invitation(lookup)?;
    }
    Ok(())
}

/// Takes any record that may follow, those of joining included: after a restore, devices repeat
/// what the server has forgotten (rule 4).
pub(super) fn append_log(
    store: &mut dyn MetaStore,
    device: &DeviceId,
    record: &[u8],
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    let user = user_of(store, device)?;
    append(store, &user, record, |_, _| Ok(()), events)
}

/// The first record of a new log, checked.
pub(super) fn genesis(record: &[u8], device: &DeviceId) -> Result<DeviceLog, Refused> {
    let log = DeviceLog::genesis(record).map_err(Refused::RecordInvalid)?;
    if !log.is_enrolled(device) {
        return Err(Refused::RecordInvalid(TrustError::NotEnrolled(*device)));
    }
    Ok(log)
}

pub(super) fn put_keyring(
    store: &mut dyn MetaStore,
    device: &DeviceId,
    version: u64,
    sealed: &[u8],
) -> Result<(), Stop> {
    let user = user_of(store, device)?;
    if sealed.len() > KEYRING_BYTES_MAX {
        let (actual, limit) = (sealed.len(), KEYRING_BYTES_MAX);
        return Err(Refused::TooLarge { what: "keyring", actual, limit }.into());
    }
    let (stored, bytes) = store.keyring(&user)?;
    if version > 0 && version == stored && bytes == sealed {
        // The same put again, after a lost reply.
        return Ok(());
    }
    if stored.checked_add(1) != Some(version) {
        return Err(Refused::KeyringMoved { stored }.into());
    }
    store.put_keyring(&user, version, sealed)?;
    Ok(())
}

pub(super) fn set_quota(
    store: &mut dyn MetaStore,
    user: &UserId,
    quota: &Quota,
) -> Result<(), Stop> {
    if store.user(user)?.is_none() {
        return Err(Refused::NoSuchUser.into());
    }
    store.set_quota(user, quota)?;
    Ok(())
}

pub(super) fn see_devices(store: &mut dyn MetaStore, seen: &[(DeviceId, u64)]) -> Result<(), Stop> {
    for (device, at_ms) in seen {
        if let Some(state) = enrolled(store, device)? {
            let seen_ms = Some(state.seen_ms.unwrap_or(0).max(*at_ms));
            store.put_device(device, &DeviceState { seen_ms, ..state })?;
        }
    }
    Ok(())
}
